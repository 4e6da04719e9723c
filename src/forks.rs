//! The two forks, and the session between them: rows 0 to 4 of the table in README.md.

use crate::deadline;
use crate::error::Errno;
use crate::handover::{self, Aside, Parting};
use crate::sys;
use core::ffi::c_int;

/// 0: the end of process 1 of a pid namespace is the end of all others in it (pid_namespaces(7)), so it must not exit.
pub(crate) fn refuse_process_1() -> Result<(), Errno> {
    if sys::getpid() == 1 { Err(Errno::EINVAL) } else { Ok(()) }
}

/// 2 and 4: 0 in the child, the child in the parent.
pub(crate) fn fork() -> Result<c_int, Errno> {
    // There may be a C library all the same.
    #[cfg(all(untty_handover, not(feature = "libc")))]
    let known = handover::Known::before_fork();
    // SAFETY: until the daemon's program goes on, the child makes only async-signal-safe calls; after that, the
    // entries' contracts hold.
    let child = unsafe { sys::fork() };
    #[cfg(all(untty_handover, not(feature = "libc")))]
    if child == Ok(0) {
        known.take_over_without_mutexes();
    }
    child
}

/// 2 and 4, either way: true in the child, which goes on here; false in the parent, if it returns. With `aside` the two
/// have the same memory, and the parent goes on aside.
///
/// # Safety
/// With `aside`, as for [`handover::part`].
#[inline(always)] // less stack
pub(crate) unsafe fn part<P: Parting>(aside: Option<Aside>, state: &mut P::State) -> Result<bool, Errno> {
    if let Some(aside) = aside {
        // SAFETY: the caller's promise.
        return unsafe { handover::part::<P>(aside, state) };
    }
    let child = fork()?;
    if child == 0 {
        P::child(state)
    } else {
        P::parent(state, child)
    }
    Ok(child == 0)
}

/// 3: a new session without a terminal; the leader's number, which is the session's.
pub(crate) fn lead_a_session() -> Result<c_int, Errno> {
    let leader = sys::setsid()?;
    // In another pid namespace than the caller: the end of its first process would be the daemon's, and its numbers mean
    // other processes to the caller (pid_namespaces(7)).
    if leader == 1 || sys::getppid() == 0 { Err(Errno::EINVAL) } else { Ok(leader) }
}

/// 4: what stays is no session leader and can never acquire a controlling terminal.
#[cfg(feature = "capi")]
pub(crate) fn fork_and_leave() -> Result<(), Errno> {
    if fork()? == 0 { Ok(()) } else { sys::exit(0) }
}

/// 4, the end: the daemon waits until its leader is gone, which it nearly always is by now. Nothing tells an orphan that
/// it has become one, so it looks soon, then later and later, and at last every millisecond.
pub(crate) fn outlive(leader: c_int) {
    let mut time = 1000;
    while sys::getppid() == leader {
        deadline::pause_for(time);
        if time < deadline::MILLISECOND {
            time *= 2;
        }
    }
}
