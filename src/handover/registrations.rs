//! What the kernel keeps for a thread: found, let go, taken over. And what must hold before any of it.

use super::Obstacle;
use super::aside;
use super::machine;
use crate::error::Errno;
use crate::sys::thread::{self, RobustList, SignalStack};
use core::ffi::c_int;
use core::ptr;

/// The thread's registrations.
pub(super) struct Registrations {
    known: Known,
    /// Where `rseq(2)` is registered, and how long that is; NULL where it is not.
    rseq: (*mut u8, u32),
    signal_stack: SignalStack,
    /// Whether it may dump core and be traced: the kernel keeps that with the memory, and takes it away from whoever
    /// gives up privileges.
    dumpable: c_int,
}

/// What the C library knows of its thread, as far as a fork changes it; NULL where there is none of it.
pub(crate) struct Known {
    /// Its copy of the id.
    tid: *mut c_int,
    /// Where the kernel writes 0 at the thread's end, and what is there until then.
    end: *mut c_int,
    until_end: c_int,
    /// The robust mutexes that the thread holds.
    robust: *mut RobustList,
}

impl Registrations {
    /// Looks for them, and for what stands against handover.
    pub(super) fn find() -> Result<Self, Obstacle> {
        if machine::is_under_valgrind() {
            return Err(Obstacle::Valgrind);
        }
        refuse_shadow_stack()?;
        refuse_company()?;
        let known = Known::find()?;
        let signal_stack = thread::signal_stack().map_err(|_| Obstacle::Clone)?;
        let dumpable = thread::dumpable().map_err(|_| Obstacle::Clone)?;
        Ok(Self { known, rseq: (ptr::null_mut(), 0), signal_stack, dumpable })
    }

    /// In the caller: nothing that the kernel writes for this thread must hit the daemon, which then has the memory.
    pub(super) fn let_go(&mut self) -> Result<(), Obstacle> {
        self.rseq = leave_rseq()?;
        self.known.leave().map_err(|_| {
            // Ignored: as in `take_back`.
            let _ = self.take_over();
            Obstacle::Clone
        })
    }

    /// Makes this process's thread the one that the C library knows.
    pub(super) fn take_over(&self) -> Result<(), Errno> {
        let known = self.known.take_over();
        let (area, length) = self.rseq;
        // SAFETY: it was registered before, for the thread that this one goes on as.
        let rseq = if area.is_null() { Ok(()) } else { unsafe { thread::rseq(area, length, 0) } };
        known.and(rseq) // all that can be, whatever fails
    }

    /// In the caller, when it has its memory again.
    pub(super) fn set_dumpable(&self) {
        if thread::dumpable() != Ok(self.dumpable) {
            // Ignored: only 2 cannot be set, and who has that has never been more.
            let _ = thread::set_dumpable(self.dumpable);
        }
    }

    /// In the daemon, for which the kernel has forgotten it.
    pub(super) fn set_signal_stack(&self) -> Result<(), Errno> {
        if self.signal_stack.flags & thread::SS_DISABLE != 0 {
            return Ok(());
        }
        let stack = SignalStack { flags: self.signal_stack.flags & !thread::SS_ONSTACK, ..self.signal_stack };
        // SAFETY: it was set before, for the thread that this one goes on as.
        unsafe { thread::set_signal_stack(&stack) }
    }
}

impl Known {
    const NONE: Self = Self { tid: ptr::null_mut(), end: ptr::null_mut(), until_end: 0, robust: ptr::null_mut() };

    /// Looks for it, in a thread that is to be handed over.
    fn find() -> Result<Self, Obstacle> {
        let mut known = Self::NONE;
        let (end, robust) = known.look();
        // A filter may say that there is no such call, when there is a list.
        if robust.is_err() && (robust != Err(Errno::ENOSYS) || thread::has_robust_lists()) || !known.holds_nothing() {
            return Err(Obstacle::RobustMutex);
        }
        let before = before(known.robust);
        // SAFETY: `is_id` has read what is before it.
        if ptr::eq(before.cast(), known.tid) && !ptr::eq(unsafe { (*before).last }, known.robust) {
            return Err(Obstacle::ThreadId); // it is not glibc's
        }
        // SAFETY: NULL, or the kernel will write there when the thread ends, so it can be read.
        known.until_end = unsafe { known.end.as_ref() }.copied().unwrap_or(0);
        let no_library = cfg!(not(feature = "libc")) && known.end.is_null() && known.robust.is_null();
        if end.is_err() || !known.has_library() && !no_library { Err(Obstacle::ThreadId) } else { Ok(known) }
    }

    /// The same before a fork that nobody tells the C library of; as much as there is to be had.
    #[cfg(not(feature = "libc"))]
    pub(crate) fn before_fork() -> Self {
        let mut known = Self::NONE;
        let _ = known.look();
        known
    }

    /// Up to 2.42, glibc's copy of the id is where it lets the kernel write at the end; in all versions it is before the
    /// list.
    fn look(&mut self) -> (Result<(), Errno>, Result<(), Errno>) {
        let asked = (thread::tid_address(&mut self.end), thread::robust_list(&mut self.robust));
        for place in [self.end, before(self.robust).cast()] {
            if is_id(place) {
                self.tid = place;
            }
        }
        asked
    }

    /// Whether there is a C library that is known: glibc.
    pub(crate) fn has_library(&self) -> bool {
        !self.tid.is_null()
    }

    /// Whether the thread has no robust mutex, and is taking none.
    fn holds_nothing(&self) -> bool {
        // SAFETY: NULL, or the C library's list of this thread, which nobody else changes.
        unsafe { self.robust.as_ref() }.is_none_or(|list| ptr::eq(list.first, list) && list.pending.is_null())
    }

    /// The kernel shall do nothing when this thread ends.
    fn leave(&self) -> Result<(), Errno> {
        // SAFETY: NULL is none.
        unsafe { thread::set_tid_address(ptr::null_mut()) }?;
        // SAFETY: as above.
        if self.robust.is_null() { Ok(()) } else { unsafe { thread::set_robust_list(ptr::null_mut()) } }
    }

    /// Makes this process's thread the one that the C library knows.
    pub(crate) fn take_over(&self) -> Result<(), Errno> {
        // A daemon that had taken it over and has failed, has ended: glibc 2.43 has "joinable" there, and 0 is "exited".
        // SAFETY: NULL, or the C library's, in memory that is this process's.
        unsafe { self.end.as_mut() }.into_iter().for_each(|end| *end = self.until_end);
        // SAFETY: as above: its copy of the id.
        unsafe { self.tid.as_mut() }.into_iter().for_each(|tid| *tid = thread::gettid());
        // SAFETY: it was the address before, for the thread that this one goes on as.
        let end = unsafe { thread::set_tid_address(self.end) };
        // SAFETY: as above.
        end.and(if self.robust.is_null() { Ok(()) } else { unsafe { thread::set_robust_list(self.robust) } })
    }

    /// After a fork, in the child: the same, but what the parent's thread holds is its own, as after the C library's fork.
    #[cfg(not(feature = "libc"))]
    pub(crate) fn take_over_without_mutexes(&self) {
        // SAFETY: NULL, or the C library's, in memory that is this process's.
        let Some(tid) = (unsafe { self.tid.as_mut() }) else { return };
        *tid = thread::gettid();
        let before = before(self.robust);
        if ptr::eq(before.cast(), self.tid) {
            // SAFETY: the C library's list of this thread, which nobody else changes.
            unsafe { (*self.robust).first = self.robust };
            // SAFETY: what stands before the list in the same structure.
            unsafe { (*before).last = self.robust };
        }
        // Ignored, as glibc does.
        // SAFETY: both were it before, for the thread that this one goes on as.
        let _ = unsafe { thread::set_tid_address(self.end) };
        // SAFETY: as above.
        let _ = unsafe { thread::set_robust_list(self.robust) };
    }
}

/// Whether that is the C library's copy of this thread's id. In musl's places there is something else. glibc before 2.25
/// has a copy of the process's id after it, which nothing here could keep true.
///
/// The second place is believed to be there only if it is on the page of what follows it: 16 bytes on.
fn is_id(place: *const c_int) -> bool {
    const PAGE: usize = 4096;
    const LAST: usize = PAGE - 2 * size_of::<BeforeRobust>();
    // Neither NULL nor what is before a NULL.
    let is_place = place.addr().wrapping_sub(1) % PAGE < LAST;
    // SAFETY: within a structure of the C library's that is longer than that.
    is_place && unsafe { place.cast::<[c_int; 2]>().read() } == [thread::gettid(), 0]
}

/// What stands before the list of the robust mutexes in glibc's `struct pthread`, since 2.4.
#[repr(C)]
struct BeforeRobust {
    tid: c_int,
    unused: c_int,
    last: *const RobustList,
}

/// That, where there is a glibc.
fn before(list: *mut RobustList) -> *mut BeforeRobust {
    list.cast::<BeforeRobust>().wrapping_sub(1)
}

/// Memory that somebody else has too is not ours to hand over: other threads, a parent that has vforked, or the
/// processes of a start that is not over.
pub(super) fn refuse_company() -> Result<(), Obstacle> {
    thread::unshare_memory().map_err(|_| Obstacle::Shared)
}

/// The child of such a clone gets a shadow stack of its own (Documentation/arch/x86/shstk.rst), and cannot return through
/// its parent's frames.
fn refuse_shadow_stack() -> Result<(), Obstacle> {
    match thread::shadow_stack_status() {
        Ok(0) | Err(Errno::EINVAL | Errno::ENOSYS) => Ok(()), // none, or a kernel that knows none
        _ => Err(Obstacle::ShadowStack),
    }
}

/// `sizeof(struct rseq)` as it was first; an area is never shorter.
const AREA: u32 = 32;

/// Unregisters glibc's area: where, and how long. NULL if nothing is registered.
fn leave_rseq() -> Result<(*mut u8, u32), Obstacle> {
    if let Some((area, length)) = glibc_area() {
        // SAFETY: nothing gets registered.
        match unsafe { thread::rseq(area, length, thread::RSEQ_FLAG_UNREGISTER) } {
            Ok(()) => return Ok((area, length)),
            Err(Errno::EINVAL) => {}              // not for this thread
            Err(_) => return Err(Obstacle::Rseq), // a filter: even ENOSYS, since glibc has registered it
        }
    }
    // Whether somebody has registered another one, its own registration tells.
    let own = aside::scratch();
    // SAFETY: memory that nobody uses now; it is unregistered at once.
    match unsafe { thread::rseq(own, AREA, 0) } {
        Err(Errno::ENOSYS) => Ok((ptr::null_mut(), 0)),
        Err(_) => Err(Obstacle::Rseq),
        // SAFETY: nothing gets registered.
        Ok(()) => unsafe { thread::rseq(own, AREA, thread::RSEQ_FLAG_UNREGISTER) }
            .map(|()| (ptr::null_mut(), 0))
            .map_err(|_| Obstacle::Rseq),
    }
}

/// glibc's area in this thread, if it has one. Its size is said to be that of the members in use, and so may be smaller
/// than what was registered.
fn glibc_area() -> Option<(*mut u8, u32)> {
    let [offset, size] = machine::rseq_symbols();
    if offset.is_null() || size.is_null() {
        return None;
    }
    // SAFETY: glibc's `extern const unsigned int __rseq_size`.
    let size = unsafe { size.read() };
    if size == 0 {
        return None; // it has not registered it
    }
    // SAFETY: glibc's `extern const ptrdiff_t __rseq_offset`.
    let offset = unsafe { offset.cast::<isize>().read() };
    // SAFETY: where there is a glibc, there is a thread control block.
    let thread = unsafe { machine::thread_pointer() };
    Some((thread.wrapping_offset(offset), size.max(AREA)))
}
