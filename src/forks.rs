//! The two forks, which are the same for every start: rows 2 to 4 and 13 of the table in README.md.
//!
//! What is done around them is a [`Plan`]. There are three: a program that goes on as the daemon, and another program
//! that is executed as the daemon (`sequence`); and `daemon(3)`'s (`classic`), which is so short that who links only
//! that one gets two kilobytes.

use crate::deadline;
use crate::error::{Errno, Error, Step};
use crate::report::{self, Listener, Outcome, Reporter};
use crate::signals::Signals;
use crate::sys::{self, SignalSet};
use core::ffi::c_int;

/// What a start does around its forks.
pub(crate) trait Plan {
    /// 4, in the leader: forks the daemon, and returns in that.
    fn fork_again(&mut self, _leader: c_int, _reporter: &mut Reporter) -> Result<(), Error> {
        fork_and_leave()
    }

    /// 5 to 12, in the daemon. Every signal is blocked; the caller's mask was that one.
    fn settle(&mut self, leader: c_int, mask: SignalSet, reporter: &mut Reporter) -> Result<(), Error>;

    /// 13, in the caller.
    fn wait(&mut self, listener: Listener, leader: c_int, mask: SignalSet) -> Result<Outcome, Error>;
}

/// Which process this is when the forks are done.
pub(crate) enum Side {
    /// The daemon, settled; and its way to the caller.
    Daemon(Reporter),
    /// The caller, which knows the outcome. Its signals are still blocked.
    Caller(Result<Outcome, Error>, Signals),
}

/// 2: the report pipe, and the first fork.
pub(crate) fn fork_off(plan: &mut dyn Plan) -> Result<Side, Error> {
    let (listener, reporter) = report::pipe()?;
    let signals = Signals::block()?;
    match fork(Step::Fork).inspect_err(|_| signals.unblock())? {
        None => {
            drop(listener);
            Ok(Side::Daemon(lead(plan, reporter, signals.mask)))
        }
        Some(leader) => {
            drop(reporter);
            Ok(Side::Caller(plan.wait(listener, leader, signals.mask), signals))
        }
    }
}

/// The leader, and the daemon that it forks: 3 to 12. An error is the end of either.
fn lead(plan: &mut dyn Plan, mut reporter: Reporter, mask: SignalSet) -> Reporter {
    match become_daemon(plan, &mut reporter, mask) {
        Ok(()) => reporter,
        Err(error) => reporter.fail(error),
    }
}

fn become_daemon(plan: &mut dyn Plan, reporter: &mut Reporter, mask: SignalSet) -> Result<(), Error> {
    let leader = sys::setsid().map_err(Error::at(Step::Setsid))?;
    if leader == 1 || sys::getppid() == 0 {
        // In another pid namespace than the caller: the end of its first process would be the daemon's, and its numbers
        // mean other processes to the caller (pid_namespaces(7)).
        return Err(Error::new(Step::Setsid, Errno::EINVAL));
    }
    plan.fork_again(leader, reporter)?;
    plan.settle(leader, mask, reporter)
}

/// `None` in the child, the child in the parent.
pub(crate) fn fork(step: Step) -> Result<Option<c_int>, Error> {
    // SAFETY: until the daemon's program goes on, the child makes only async-signal-safe calls; after that, the
    // entries' contracts hold.
    let child = unsafe { sys::fork() }.map_err(Error::at(step))?;
    Ok(Some(child).filter(|child| *child != 0))
}

/// 4: what stays is no session leader and can never acquire a controlling terminal.
pub(crate) fn fork_and_leave() -> Result<(), Error> {
    match fork(Step::ForkAgain)? {
        None => Ok(()),
        Some(_) => sys::exit(0),
    }
}

/// The daemon waits until its leader is gone, which it nearly always is by now. Nothing tells an orphan that it has
/// become one, so it looks every millisecond.
pub(crate) fn outlive(leader: c_int) {
    while sys::getppid() == leader {
        deadline::pause();
    }
}

/// 0: the end of process 1 of a pid namespace is the end of all others in it (pid_namespaces(7)), so it must not exit.
pub(crate) fn refuse_process_1() -> Result<(), Error> {
    if sys::getpid() == 1 { Err(Error::new(Step::Setsid, Errno::EINVAL)) } else { Ok(()) }
}
