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

/// What the C library knows of its thread, as far as a fork changes it.
pub(crate) struct Known {
    /// The library's copy of the id; NULL where there is no C library.
    tid: *mut c_int,
    /// Where the kernel writes 0 at the thread's end, and what is there until then; NULL where it does not.
    end: *mut c_int,
    until_end: c_int,
    /// The robust mutexes that it holds; NULL where there is no such list.
    robust: (*mut RobustList, usize),
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
        if !known.holds_nothing() {
            return Err(Obstacle::RobustMutex);
        }
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
        self.known.take_over()?;
        let (area, length) = self.rseq;
        // SAFETY: it was registered before, for the thread that this one goes on as.
        if area.is_null() { Ok(()) } else { unsafe { thread::rseq(area, length, 0) } }
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
    /// Looks for it.
    pub(crate) fn find() -> Result<Self, Obstacle> {
        let end = thread::tid_address().map_err(|_| Obstacle::ThreadId)?;
        let robust = match thread::get_robust_list() {
            // A filter may say so of this call alone, when there is a list.
            Err(Errno::ENOSYS) if !thread::has_robust_lists() => (ptr::null_mut(), 0),
            list => list.map_err(|_| Obstacle::RobustMutex)?,
        };
        let tid = if is_id(end) { end } else { id_before(robust.0) };
        let no_library = cfg!(not(feature = "libc")) && end.is_null() && robust.0.is_null();
        // SAFETY: NULL, or the kernel will write there when the thread ends, so it can be read.
        let until_end = unsafe { end.as_ref() }.copied().unwrap_or(0);
        if tid.is_null() && !no_library { Err(Obstacle::ThreadId) } else { Ok(Self { tid, end, until_end, robust }) }
    }

    /// Whether the thread has no robust mutex, and is taking none.
    fn holds_nothing(&self) -> bool {
        let (list, _) = self.robust;
        // SAFETY: NULL, or the C library's list of this thread, which nobody else changes.
        unsafe { list.as_ref() }.is_none_or(|head| ptr::eq(head.first, list) && head.pending.is_null())
    }

    /// The kernel shall do nothing when this thread ends.
    fn leave(&self) -> Result<(), Errno> {
        // SAFETY: NULL is none.
        unsafe { thread::set_tid_address(ptr::null_mut()) }?;
        let (list, size) = self.robust;
        // SAFETY: as above.
        if list.is_null() { Ok(()) } else { unsafe { thread::set_robust_list(ptr::null_mut(), size) } }
    }

    /// Makes this process's thread the one that the C library knows.
    pub(crate) fn take_over(&self) -> Result<(), Errno> {
        if !self.end.is_null() {
            // A daemon that had taken it over and has failed, has ended: glibc 2.43 has "joinable" there, and 0 is "exited".
            // SAFETY: the C library's, in memory that is this process's.
            unsafe { self.end.write(self.until_end) };
        }
        if !self.tid.is_null() {
            // SAFETY: the C library's copy of the id, in memory that is this process's.
            unsafe { self.tid.write(thread::gettid()) };
        }
        // SAFETY: it was the address before, for the thread that this one goes on as.
        unsafe { thread::set_tid_address(self.end) }?;
        let (list, size) = self.robust;
        // SAFETY: as above.
        if list.is_null() { Ok(()) } else { unsafe { thread::set_robust_list(list, size) } }
    }

    /// Whether there is a C library that is known: glibc.
    #[cfg(not(feature = "libc"))]
    pub(crate) fn has_library(&self) -> bool {
        !self.tid.is_null()
    }

    /// After a fork, in the child: what the parent's thread holds is its own, as after the C library's fork.
    #[cfg(not(feature = "libc"))]
    pub(crate) fn forget_mutexes(&self) {
        let (list, _) = self.robust;
        if list.is_null() {
            return;
        }
        // SAFETY: the C library's list of this thread, which nobody else changes.
        unsafe { (*list).first = list };
        let before = list.cast::<BeforeRobust>().wrapping_sub(1);
        if ptr::eq(before.cast(), self.tid) {
            // SAFETY: the id is there, so it is glibc's.
            unsafe { (*before).previous = list };
        }
    }
}

/// Whether that is the C library's copy of this thread's id. Up to 2.42, glibc lets the kernel write there at the end. In
/// musl's place there is something else.
fn is_id(place: *const c_int) -> bool {
    if place.is_null() {
        return false;
    }
    // SAFETY: the kernel will write there when the thread ends, so it can be read.
    let id = unsafe { place.read() };
    // SAFETY: it lies within a structure of the C library's.
    let next = unsafe { place.wrapping_add(1).read() };
    // glibc before 2.25 has a copy of the process's id there, which nothing here could keep true.
    id == thread::gettid() && next == 0
}

/// What stands before the list of the robust mutexes in glibc's `struct pthread` since 2.4.
#[repr(C)]
struct BeforeRobust {
    tid: c_int,
    unused: c_int,
    previous: *const RobustList,
}

/// The C library's copy of this thread's id, found by the list of the robust mutexes; NULL if what stands there is
/// anything else.
fn id_before(list: *mut RobustList) -> *mut c_int {
    const PAGE: usize = 4096;
    let before = list.cast::<BeforeRobust>().wrapping_sub(1);
    if list.is_null() || list.addr() % PAGE < size_of::<BeforeRobust>() {
        return ptr::null_mut(); // not on the list's page, so it may not be there
    }
    // SAFETY: on the same page. Whatever it is, it has these bits.
    let BeforeRobust { tid, unused, previous } = unsafe { before.read() };
    // SAFETY: the C library's list of this thread.
    let is_glibc = tid == thread::gettid() && unused == 0 && ptr::eq(previous, unsafe { last(list) });
    if is_glibc { before.cast::<c_int>() } else { ptr::null_mut() }
}

/// The list's last entry: itself, if there is no other. NULL if there are more than the kernel would look at.
///
/// # Safety
/// It must be the list of this thread.
unsafe fn last(list: *const RobustList) -> *const RobustList {
    const ROBUST_LIST_LIMIT: usize = 2048;
    let mut entry = list;
    for _ in 0..=ROBUST_LIST_LIMIT {
        // SAFETY: the caller's promise; the kernel would read the same when the thread ends.
        let next = unsafe { (*entry).first }.map_addr(|address| address & !1); // the bit says: with priority inheritance
        if ptr::eq(next, list) {
            return entry;
        }
        entry = next;
    }
    ptr::null()
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
    // SAFETY: two addresses.
    let [offset, size] = unsafe { machine::rseq_symbols().read() };
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
