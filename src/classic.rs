//! `daemon(3)`, with a second fork and the truth: the shortest [`Plan`].

use crate::error::{Error, Step};
use crate::fds::{Fd, uninterrupted};
use crate::forks::{self, Plan, Side};
use crate::report::{Listener, Message, Outcome, Reporter};
use crate::sys::{self, SignalSet};
use crate::{signals, stdio};
use core::ffi::c_int;

struct Classic {
    keep_directory: bool,
    null: Option<Fd>,
}

/// Turns the process into a daemon as `daemon(3)` does. Returns in the daemon, which is ready then; on failure, in the
/// caller.
pub(crate) fn detach(keep_directory: bool, keep_streams: bool) -> Result<(), Error> {
    forks::refuse_process_1()?;
    let null = if keep_streams { None } else { Some(stdio::open_null().map_err(Error::at(Step::Stdin))?) };
    match forks::fork_off(&mut Classic { keep_directory, null })? {
        Side::Daemon(_) => Ok(()),
        Side::Caller(outcome, signals) => {
            let Err(error) = outcome else { sys::exit(0) };
            signals.forget_the_leader();
            signals.unblock();
            Err(error)
        }
    }
}

impl Plan for Classic {
    fn settle(&mut self, leader: c_int, mask: SignalSet, reporter: &mut Reporter) -> Result<(), Error> {
        if !self.keep_directory {
            uninterrupted(|| sys::chdir(c"/")).map_err(Error::at(Step::Directory))?;
        }
        if let Some(null) = self.null.take() {
            stdio::put_on_all(null.number())?;
        }
        forks::outlive(leader);
        signals::unblock_and(mask, || reporter.tell(Message::new(Message::READY, sys::getpid())))
    }

    fn wait(&mut self, listener: Listener, leader: c_int, _: SignalSet) -> Result<Outcome, Error> {
        self.null = None;
        listener.wait_for_one(leader)
    }
}
