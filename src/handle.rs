//! Which process this is, and what the daemon holds: the way to the waiting caller and to the supervisor, and the pid
//! file.

use crate::deadline::Deadline;
use crate::error::{Errno, Error, Step};
use crate::handover::Way;
use crate::report::{self, Message, Reporter};
use crate::signals;
use crate::supervisor;
use crate::sys::direct as sys;
use core::ffi::c_int;
use core::mem;

/// Which process this is after [`Daemon::detach`](crate::Daemon::detach).
#[derive(Debug)]
#[must_use = "the daemon has to say that it is ready"]
pub enum Process {
    /// The original process, with [`Daemon::return_in_caller`](crate::Daemon::return_in_caller) only: the daemon is
    /// ready.
    Caller {
        /// The daemon's process id.
        daemon: i32,
    },
    /// The daemon. The caller waits for [`Handle::ready`](crate::Handle::ready).
    Daemon(Handle),
}

/// What the daemon holds: the way to the waiting caller and to the supervisor, and the pid file.
///
/// Dropping it says nothing: the caller waits on, until the daemon ends or the deadline comes. The descriptors are
/// close-on-exec, and -1 where there is none.
#[derive(Debug)]
#[must_use = "the caller waits until ready() or fail()"]
pub struct Handle {
    pub(crate) report: c_int,
    pub(crate) supervisor: c_int,
    pub(crate) ready_fd: c_int,
    pub(crate) pid_file: c_int,
    /// Whether that was said.
    pub(crate) ready: bool,
    /// The way's number.
    pub(crate) way: c_int,
}

impl Handle {
    #[cfg(feature = "capi")]
    pub(crate) const NONE: Self = Self { report: -1, supervisor: -1, ready_fd: -1, pid_file: -1, ready: false, way: 0 };

    /// `ready()`—the daemon is ready: the caller tells the supervisor, if there is one, and exits 0 or returns.
    ///
    /// The supervisor that the environment named (`NOTIFY_SOCKET`) is told `READY=1` and `MAINPID=` by the caller,
    /// since a supervisor may listen to the process that it has started and to no other (`NotifyAccess=main`). If it
    /// cannot be told, the start fails in the caller, and this daemon is ended. A
    /// [supervised](crate::Daemon::stay_if_supervised) process tells it by itself. The
    /// [ready_fd](crate::Daemon::ready_fd) gets its newline first.
    ///
    /// # Errors
    /// - ([`Step::Notify`], errno): the ready_fd, or a supervised process's supervisor, could not be told. A caller
    ///   still waits.
    /// - ([`Step::Ready`], EPIPE): the caller is gone, killed while it waited. Nobody was told that the daemon runs;
    ///   whether it should is its program's decision. SIGPIPE is not raised.
    /// - ([`Step::Ready`], EALREADY): this was said before.
    ///
    /// # Notes
    /// With a supervisor it returns when the caller has gone on, so that the supervisor listens to this process. A
    /// caller that is killed in that very moment has perhaps not told the supervisor, which sees its death instead.
    pub fn ready(&mut self) -> Result<(), Error> {
        if self.ready {
            return Err(Error::new(Step::Ready, Errno::EALREADY));
        }
        self.write_newline()?;
        if self.report < 0 {
            self.tell_supervisor()?;
            self.ready = true;
            return Ok(());
        }
        self.ready = true;
        let reporter = Reporter::take(mem::replace(&mut self.report, -1));
        reporter.tell_quietly(Message::new(Message::READY, sys::getpid()))?;
        if self.supervisor >= 0 || self.way == Way::Handover.number() {
            // The supervisor listens to this process only when the caller, which then goes, has told of it. And with
            // handover the caller is in this memory until it goes.
            reporter.until_nobody_listens();
        }
        Ok(())
    }

    /// On the ready_fd, which ends with it.
    fn write_newline(&mut self) -> Result<(), Error> {
        if self.ready_fd >= 0 {
            let fd = self.ready_fd;
            signals::without(sys::SIGPIPE, Errno::EPIPE, &mut || report::write_newline(fd))
                .map_err(Error::at(Step::Notify))?;
            self.ready_fd = -1;
        }
        Ok(())
    }

    fn tell_supervisor(&self) -> Result<(), Error> {
        if self.supervisor < 0 {
            Ok(())
        } else {
            supervisor::notify_ready(self.supervisor, sys::getpid(), Deadline::NONE, None)
        }
    }

    /// `notify(state)`—sends the supervisor a message of the protocol of `sd_notify(3)`, at any time: `STATUS=…`,
    /// `STOPPING=1`, `WATCHDOG=1`, `RELOADING=1` (to which the monotonic time is added, as the protocol wants it),
    /// several of them with a newline between. False when the environment named no supervisor.
    ///
    /// # Errors
    /// ([`Step::Notify`](crate::Step::Notify), errno): it was not sent. EINVAL: it is empty.
    pub fn notify(&self, state: &[u8]) -> Result<bool, Error> {
        if state.is_empty() {
            return Err(Error::new(Step::Notify, Errno::EINVAL)); // nothing would be sent
        }
        if self.supervisor < 0 {
            return Ok(false);
        }
        supervisor::notify(self.supervisor, state).map(|()| true)
    }

    /// `fail(status)`—there will be no daemon: ends this process with `_exit(2)`, and the caller with that status.
    ///
    /// The status is cut to 8 bits as always, and one that would then be 0, and claim success, becomes 1.
    pub fn fail(self, status: i32) -> ! {
        let status = if status & 0xff == 0 { 1 } else { status & 0xff };
        if self.report >= 0 {
            // It stays open until the exit: its end tells that this process is gone.
            let reporter = Reporter::take(self.report);
            // Ignored: a caller that is gone needs no status.
            let _ = reporter.tell_quietly(Message::new(Message::GAVE_UP, status));
            sys::exit(status);
        }
        sys::exit(status)
    }

    /// The descriptors, for who must close descriptors by himself and has to spare them: to the caller, to the
    /// supervisor, the ready_fd, the pid file's. -1 where there is none.
    #[must_use]
    pub const fn descriptors(&self) -> [i32; 4] {
        [self.report, self.supervisor, self.ready_fd, self.pid_file]
    }

    /// How the daemon came to be.
    #[must_use]
    pub fn way(&self) -> Way {
        Way::from_number(self.way)
    }

    #[cfg(feature = "capi")]
    pub(crate) const fn from_descriptors([report, supervisor, ready_fd, pid_file]: [c_int; 4]) -> Self {
        Self { report, supervisor, ready_fd, pid_file, ..Self::NONE }
    }

    #[cfg(feature = "capi")]
    pub(crate) const fn is_ready(&self) -> bool {
        self.ready
    }
}
