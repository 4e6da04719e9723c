//! Aside: where the parents of such clones go on, and what all three processes share.

use super::machine;
use super::registrations::{self, Registrations};
use super::{Obstacle, Parting};
use crate::deadline;
use crate::error::{Errno, Error};
use crate::options::LateFailure;
use crate::report::GRACE_MILLISECONDS;
use crate::signals;
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering::SeqCst};

/// A small stack.
#[repr(C, align(64))]
struct Stack<const SIZE: usize>(UnsafeCell<[MaybeUninit<u8>; SIZE]>);

// SAFETY: one process uses it at a time: who begins is alone with its memory, see `registrations::refuse_company`.
unsafe impl<const SIZE: usize> Sync for Stack<SIZE> {}

impl<const SIZE: usize> Stack<SIZE> {
    const fn new() -> Self {
        Self(UnsafeCell::new([MaybeUninit::uninit(); SIZE]))
    }

    /// Its upper end, from which it grows down.
    const fn end(&self) -> *mut u8 {
        self.0.get().cast::<u8>().wrapping_add(SIZE)
    }
}

/// What the processes share, of which there is one start at a time.
struct Shared {
    registrations: UnsafeCell<MaybeUninit<Registrations>>,
    path: UnsafeCell<[u8; PATH_MAX]>,
    hook: UnsafeCell<MaybeUninit<Option<LateFailure>>>,
}

// SAFETY: as for the stacks.
unsafe impl Sync for Shared {}

const PATH_MAX: usize = 4096;

static CALLERS: Stack<{ 12 << 10 }> = Stack::new();
static LEADERS: Stack<{ 4 << 10 }> = Stack::new();
static SHARED: Shared = Shared {
    registrations: UnsafeCell::new(MaybeUninit::uninit()),
    path: UnsafeCell::new([0; PATH_MAX]),
    hook: UnsafeCell::new(MaybeUninit::uninit()),
};
static HAS_GONE_ON: AtomicBool = AtomicBool::new(false);

/// Whose stack.
#[derive(Clone, Copy)]
pub(crate) enum Aside {
    Caller,
    Leader,
}

/// In the caller, whose signals are blocked: makes it ready to part with its memory.
pub(crate) fn prepare() -> Result<(), Obstacle> {
    let mut found = Registrations::find()?;
    signals::block_all().map_err(|_| Obstacle::Clone)?;
    found.let_go().inspect_err(|_| signals::block_ours())?;
    HAS_GONE_ON.store(false, SeqCst);
    // SAFETY: this process is alone with its memory.
    unsafe { SHARED.registrations.get().write(MaybeUninit::new(found)) };
    Ok(())
}

/// The registrations, between `prepare` and the end.
fn kept() -> &'static Registrations {
    // SAFETY: `prepare` has written them, and nobody does again while anybody has this.
    unsafe { &*SHARED.registrations.get().cast::<Registrations>() }
}

/// In the daemon: the thread is this one now.
pub(crate) fn take_over() -> Result<(), Errno> {
    kept().take_over()?;
    kept().set_signal_stack()
}

/// In the caller, which has not parted with its memory, or has it again.
pub(crate) fn take_back() {
    const TRIES: u32 = 3;
    // Ignored at last: nobody could be told.
    let _ = (0..TRIES).any(|_| kept().take_over().is_ok());
    kept().set_dumpable();
    signals::block_ours();
}

/// A copy of that path which lives as long as the start; the caller's own belongs to the daemon's program.
pub(crate) fn keep_path(path: &CStr) -> Option<&'static CStr> {
    let bytes = path.to_bytes_with_nul();
    if bytes.len() > PATH_MAX {
        return None; // no file can be opened by it
    }
    // SAFETY: this process is alone with its memory, and it fits.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), SHARED.path.get().cast::<u8>(), bytes.len()) };
    // SAFETY: nobody writes there while anybody has this.
    let kept = unsafe { &*SHARED.path.get() };
    CStr::from_bytes_until_nul(kept).ok()
}

/// Whom to tell of a failure that comes too late to be returned.
pub(crate) fn keep_hook(hook: Option<LateFailure>) {
    // SAFETY: this process is alone with its memory.
    unsafe { SHARED.hook.get().write(MaybeUninit::new(hook)) };
}

/// Tells that, in a caller that has its memory again; or in one whose daemon could not be ended.
pub(crate) fn tell_late(error: Error, is_alone: bool) {
    if is_alone {
        take_back();
    }
    // SAFETY: it was kept before the clone.
    if let Some(hook) = unsafe { SHARED.hook.get().cast::<Option<LateFailure>>().read() } {
        hook.call(error);
    }
}

/// Whether the daemon's program goes on, with the memory.
pub(crate) fn has_gone_on() -> bool {
    HAS_GONE_ON.load(SeqCst)
}

/// The daemon's program goes on; or it does not.
pub(crate) fn goes_on(it_does: bool) {
    HAS_GONE_ON.store(it_does, SeqCst);
}

/// Waits until nobody else has this memory: whether that is so.
pub(crate) fn is_alone() -> bool {
    (0..GRACE_MILLISECONDS).any(|_| {
        let alone = registrations::refuse_company().is_ok();
        if !alone {
            deadline::pause();
        }
        alone
    })
}

/// Clones, with the memory. The child goes on here. The parent goes on aside, on a stack of its own, with a copy of the
/// state, as after a fork: it returns here, and takes that copy along, when [`Parting::parent`] returns.
///
/// Whatever the child does in [`Parting::child`] is done below this frame. So this frame is whole when the parent returns
/// to it, if the child has not.
///
/// # Safety
/// The caller must ensure that
/// - nobody else has this memory, but the processes of this start;
/// - the parent returns only if the child never does;
/// - aside, no state of the C library is used while the child may use it.
pub(crate) unsafe fn part<P: Parting>(aside: Aside, state: &mut P::State) -> Result<bool, Errno> {
    let end = match aside {
        Aside::Caller => CALLERS.end(),
        Aside::Leader => LEADERS.end(),
    };
    const { assert!(align_of::<P::State>() <= 16 && size_of::<P::State>() <= 1024) };
    let copy = end.wrapping_sub(size_of::<P::State>().next_multiple_of(16)).cast::<P::State>();
    // SAFETY: it fits, and is aligned as the stack's end is. Each process has one of the two and forgets the other.
    unsafe { ptr::copy_nonoverlapping(state, copy, 1) };
    let here = ptr::from_mut(state);
    // SAFETY: the caller's promises.
    let result = unsafe { machine::clone_and_call(here.cast(), copy.cast(), in_child::<P>, in_parent::<P>) };
    match result {
        0 => Ok(true),
        1 => {
            // SAFETY: nobody uses the copy any more; what the child has made of the state is its own, and forgotten.
            unsafe { ptr::copy_nonoverlapping(copy, here, 1) };
            Ok(false)
        }
        #[expect(clippy::cast_possible_truncation, reason = "an errno")]
        errno => Err(Errno::new(errno.wrapping_neg() as c_int)),
    }
}

extern "C" fn in_child<P: Parting>(state: *mut c_void) {
    // SAFETY: the state that `part` was given, and this process's alone.
    P::child(unsafe { &mut *state.cast::<P::State>() });
}

extern "C" fn in_parent<P: Parting>(copy: *mut c_void, child: c_int) {
    // SAFETY: the copy that `part` has made, and this process's alone.
    P::parent(unsafe { &mut *copy.cast::<P::State>() }, child);
}

/// Zeroes, of which nobody makes use now: for [`registrations`].
pub(super) fn scratch() -> *mut u8 {
    let start = CALLERS.0.get().cast::<u8>();
    // SAFETY: the far end of a stack on which nobody is.
    unsafe { ptr::write_bytes(start, 0, 64) };
    start
}
