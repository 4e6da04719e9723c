//! The leader that watches its daemon: until that has executed a program or died, or until the program is ready.

use crate::deadline::Deadline;
use crate::error::{Errno, Error, Step};
use crate::fds::{self, Fd};
use crate::report::{Listener, Message, Reporter};
use crate::signals;
use crate::sys::direct as sys;
use core::ffi::c_int;

/// The leader waits until its daemon has executed the program or died, says which, and exits.
///
/// Both close the witness pipe. But a parent may change the process group of its child only until that has executed a
/// program: then it is EACCES (setpgid(2); EPERM when the program has even made a session of its own). The group asked
/// for is the one that the daemon is in, so nothing changes. The daemon is not reaped before, so its number is its own.
pub(crate) fn watch(
    leader: c_int,
    daemon: c_int,
    listener: &Listener,
    reporter: &Reporter,
    watching: Option<&Fd>,
) -> ! {
    let executed = listener.until_end(Deadline::NONE).and_then(|()| has_executed(leader, daemon));
    let message = match (executed, watching) {
        (Ok(()), None) => Ok(Message::new(Message::READY, daemon)),
        (Ok(()), Some(watching)) => watch_on(daemon, reporter, watching),
        (Err(error), _) => {
            end(daemon); // dead, or, with no answer that the kernel gives, perhaps alive
            Err(error)
        }
    };
    let message = message.unwrap_or_else(Message::failed);
    if let Err(error) = reporter.tell(message) {
        // The caller was killed. Nobody learns that there is a daemon, so there shall be none; nor this leader.
        if sys::is_child(daemon).is_ok() {
            end(daemon);
        }
        // Ignored, and so are those of the last words: there is nobody.
        let _ = reporter.tell(Message::failed(error));
        let _ = sys::kill(-leader, sys::SIGKILL);
    }
    sys::exit(0)
}

/// An error when it has not, or nobody knows.
fn has_executed(leader: c_int, daemon: c_int) -> Result<(), Error> {
    match sys::setpgid(daemon, leader) {
        Err(Errno::EACCES) => Ok(()),
        // A filter says so too.
        Err(Errno::EPERM) if sys::getsid(daemon).is_ok_and(|session| session != leader) => Ok(()),
        unexecuted => Err(Error::new(Step::Wait, unexecuted.err().unwrap_or(Errno::ESRCH))),
    }
}

/// The program has been executed, and the caller waits until it is ready. The leader, which is its parent, waits for
/// its death; or until it shall be ended: when the caller says so, or is dead, and nobody would learn that it is ready.
fn watch_on(daemon: c_int, reporter: &Reporter, watching: &Fd) -> Result<Message, Error> {
    // On an error, the caller decides: the program may just have told it that it is ready.
    match until_it_ends(daemon, reporter, watching)? {
        Some(sys::End::Exited(status)) => return Ok(Message::new(Message::GAVE_UP, status)),
        Some(sys::End::Killed) => {}
        None => end(daemon),
    }
    Err(Error::new(Step::Wait, Errno::ESRCH))
}

/// How it has ended; `None` when it shall be ended.
fn until_it_ends(daemon: c_int, reporter: &Reporter, watching: &Fd) -> Result<Option<sys::End>, Error> {
    reporter.tell(Message::new(Message::STARTED, daemon))?;
    let at = Error::at(Step::Wait);
    loop {
        let heard = reporter.is_heard_until(watching).map_err(at)?;
        // Others may send that signal, too.
        let sender = sys::take_pending_signal(signals::only(signals::GIVE_UP));
        // Ignored: there is none, when it was something else. It may also tell of a stop, or of another child.
        let _ = sys::drop_pending_signal(signals::only(sys::SIGCHLD));
        let end = fds::uninterrupted(|| sys::reap(daemon)).map_err(at)?;
        if end.is_some() || !heard || sender == Ok(sys::getppid()) {
            return Ok(end);
        }
    }
}

/// Kills a child of ours, dead or alive, and reaps it: nothing of it shall be left.
fn end(child: c_int) {
    // Ignored: what cannot be done here, is done by who waits for us.
    let _ = match sys::kill(child, sys::SIGKILL) {
        Ok(()) => fds::uninterrupted(|| sys::wait_and_reap(child)),
        Err(_) => sys::reap(child).map(drop), // if it is dead
    };
}
