//! Signals: held back during the start, and as at a program's begin in the daemon.

use crate::error::{Errno, Error, Step};
use crate::fds::{Fd, uninterrupted};
use crate::sys::direct::{self as sys, Disposition, SignalSet};
use crate::sys::reserved_signals;
use core::ffi::c_int;

/// The signals that a terminal sends, or its end.
const FROM_THE_TERMINAL: SignalSet = only(sys::SIGHUP)
    | only(sys::SIGINT)
    | only(sys::SIGQUIT)
    | only(sys::SIGTSTP)
    | only(sys::SIGTTIN)
    | only(sys::SIGTTOU);

/// The set of one signal.
pub(crate) const fn only(signal: c_int) -> SignalSet {
    1 << (signal - 1)
}

/// The caller's signals, blocked.
///
/// From the first fork to setsid the leader is in the foreground process group, where ^C would hit it, and a handler
/// of the caller's must not run in a half-made daemon.
pub(crate) struct Signals {
    /// The mask to put back.
    pub(crate) mask: SignalSet,
    /// Whether a SIGCHLD was pending already.
    child_pending: bool,
}

impl Signals {
    /// Blocks every signal.
    pub(crate) fn block() -> Result<Self, Errno> {
        let mask = sys::rt_sigprocmask(sys::SIG_SETMASK, !reserved_signals())?;
        Ok(Self { mask, child_pending: is_pending(sys::SIGCHLD) })
    }

    /// Takes away the SIGCHLD of the leader, which the caller knows nothing of, unless it may also be another child's.
    pub(crate) fn forget_the_leader(&self) {
        if !self.child_pending && sys::has_children() == Err(Errno::ECHILD) {
            // Ignored: there is none, or at worst there is a SIGCHLD without a child.
            let _ = uninterrupted(|| sys::drop_pending_signal(only(sys::SIGCHLD)));
        }
    }

    /// Puts the caller's mask back.
    pub(crate) fn unblock(&self) {
        restore(self.mask);
    }
}

/// Blocks also what is the C library's own.
#[cfg(untty_handover)]
pub(crate) fn block_all() -> Result<(), Errno> {
    set_mask(!0)
}

/// Blocks what [`Signals::block`] does.
#[cfg(untty_handover)]
pub(crate) fn block_ours() {
    restore(!reserved_signals());
}

/// Gives those with a handler their default disposition, as an exec is about to do. What is pending is forgotten: the
/// handler would have had it.
pub(crate) fn drop_handlers() -> Result<(), Errno> {
    let handled = handled();
    let mut each = (1..=sys::SIGNAL_MAX).filter(|signal| handled & only(*signal) != 0);
    each.try_for_each(|signal| {
        disposition(signal, Some(&Disposition::IGNORE))?;
        disposition(signal, Some(&Disposition::DEFAULT)).map(drop)
    })
}

/// Those with a handler.
pub(crate) fn handled() -> SignalSet {
    (1..=sys::SIGNAL_MAX).fold(0, |set, signal| match disposition(signal, None) {
        Ok(it) if it.is_handler() => set | only(signal),
        _ => set,
    })
}

fn is_pending(signal: c_int) -> bool {
    sys::rt_sigpending().is_ok_and(|pending| pending & only(signal) != 0)
}

/// Sets the signal mask.
pub(crate) fn set_mask(mask: SignalSet) -> Result<(), Errno> {
    sys::rt_sigprocmask(sys::SIG_SETMASK, mask).map(drop)
}

/// Puts back a mask. Nobody could be told of a failure, so it is tried again.
fn restore(mask: SignalSet) {
    const TRIES: u32 = 3;
    for _ in 0..TRIES {
        if set_mask(mask).is_ok() {
            return;
        }
    }
}

/// Sets the mask of a daemon, and tells its caller while SIGPIPE alone stays blocked. Whoever cannot be told, goes.
pub(crate) fn unblock_and<E>(
    mask: SignalSet,
    failed: impl Fn(Errno) -> E,
    tell: impl FnOnce() -> Result<(), E>,
) -> Result<(), E> {
    set_mask(mask | only(sys::SIGPIPE)).map_err(failed)?;
    tell()?;
    restore(mask);
    Ok(())
}

/// Runs what may fail with that errno and raise that signal, and takes the signal back. It is sent to the thread whose
/// call failed, so blocking it in this thread and taking it from its pending signals changes nothing for anybody else.
///
/// Where signals cannot be blocked it is run all the same: what has to be told comes before what may happen then.
pub(crate) fn without(signal: c_int, errno: Errno, call: &mut dyn FnMut() -> Result<(), Errno>) -> Result<(), Errno> {
    let blocked = sys::rt_sigprocmask(sys::SIG_BLOCK, only(signal));
    let pending_before = is_pending(signal);
    let result = call();
    if result == Err(errno) && !pending_before {
        // Ignored: there is none when the signal is ignored.
        let _ = sys::drop_pending_signal(only(signal));
    }
    if let Ok(mask) = blocked {
        restore(mask);
    }
    result
}

/// Gives every signal its default disposition, and forgets what the terminal has sent.
pub(crate) fn reset() -> Result<(), Error> {
    let the_librarys = the_librarys();
    for signal in 1..=sys::SIGNAL_MAX {
        reset_one(signal, the_librarys).map_err(Error::at(Step::Signals))?;
    }
    Ok(())
}

/// The signals that the C library keeps for itself. Raw calls reach these too, so there it counts whose program this is:
/// glibc's are 32 and 33.
fn the_librarys() -> SignalSet {
    #[cfg(all(untty_handover, not(feature = "libc")))]
    if crate::handover::Known::before_fork().has_library() {
        return only(32) | only(33);
    }
    reserved_signals()
}

fn reset_one(signal: c_int, the_librarys: SignalSet) -> Result<(), Errno> {
    if signal == sys::SIGKILL || signal == sys::SIGSTOP {
        return Ok(()); // cannot be changed, so need not be
    }
    // A handler of the C library's own stays: it was told once that it is installed, and will not install it again.
    if the_librarys & only(signal) != 0 && !disposition(signal, None)?.is_ignore() {
        return Ok(());
    }
    if FROM_THE_TERMINAL & only(signal) != 0 {
        // A signal that gets ignored is no longer pending either: POSIX, sigaction().
        disposition(signal, Some(&Disposition::IGNORE))?;
    }
    disposition(signal, Some(&Disposition::DEFAULT)).map(drop)
}

/// Makes sure that a dead child stays a zombie until it is waited for; returns what to put back.
pub(crate) fn keep_zombies() -> Result<Disposition, Error> {
    disposition(sys::SIGCHLD, Some(&Disposition::DEFAULT)).map_err(Error::at(Step::Signals))
}

/// What the caller sends a leader that watches a daemon which shall be ended. From others it means nothing.
pub(crate) const GIVE_UP: c_int = sys::SIGNAL_MAX;

/// A descriptor that tells when a child of this process has ended, or when it shall give up; both signals are blocked.
pub(crate) fn of_watching() -> Result<Fd, Error> {
    sys::signalfd(only(sys::SIGCHLD) | only(GIVE_UP)).and_then(Fd::above_stdio).map_err(Error::at(Step::Signals))
}

/// Undoes [`keep_zombies`].
pub(crate) fn put_back(child: &Disposition) -> Result<(), Error> {
    disposition(sys::SIGCHLD, Some(child)).map(drop).map_err(Error::at(Step::Signals))
}

fn disposition(signal: c_int, new: Option<&Disposition>) -> Result<Disposition, Errno> {
    // SAFETY: every caller above passes DEFAULT, IGNORE or what was returned for that signal.
    unsafe { sys::rt_sigaction(signal, new) }
}
