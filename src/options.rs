//! How to become a daemon: the options.

use crate::credentials::Credentials;
use crate::environment::Environment;
use crate::error::Error;
use crate::readiness::Readiness;
use crate::stdio::Stdio;
use core::ffi::{CStr, c_int};
use core::time::Duration;

/// How to become a daemon: options, then [`detach`](Self::detach) or [`spawn`](Self::spawn).
///
/// The defaults are those of a classic daemon: working directory `/`, umask 027, standard streams on `/dev/null`,
/// every other descriptor closed, every signal at its default and none blocked, the caller exits 0 when the daemon is
/// ready.
///
/// ```
/// use untty::{Daemon, Stdio};
/// const DAEMON: Daemon<'static> = Daemon::new()
///     .directory(c"/var/lib/example")
///     .stdout(Stdio::File(c"/var/log/example.log"))
///     .stderr(Stdio::Stdout);
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "options do nothing by themselves"]
pub struct Daemon<'a> {
    pub(crate) root: Option<&'a CStr>,
    pub(crate) directory: Option<&'a CStr>,
    pub(crate) umask: Option<u32>,
    pub(crate) streams: [Stdio<'a>; 3],
    pub(crate) keep: &'a [i32],
    pub(crate) close_descriptors: bool,
    pub(crate) reset_signals: bool,
    pub(crate) accept_threads: bool,
    pub(crate) return_in_caller: bool,
    pub(crate) hold_signals: bool,
    pub(crate) deadline: Option<Duration>,
    pub(crate) pid_file: Option<&'a CStr>,
    pub(crate) credentials: Option<Credentials<'a>>,
    pub(crate) environment: Option<Environment>,
    pub(crate) tell_supervisor: bool,
    pub(crate) stay_if_supervised: bool,
    pub(crate) ready_fd: Option<c_int>,
    pub(crate) readiness: Readiness<'a>,
    pub(crate) handover: bool,
    pub(crate) on_late_failure: Option<LateFailure>,
}

/// Who is told of a failure that comes too late to be returned.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LateFailure {
    Rust(fn(Error)),
    #[cfg(feature = "capi")]
    C(unsafe extern "C" fn(*const crate::capi::untty_error)),
}

impl LateFailure {
    pub(crate) fn call(self, error: Error) {
        match self {
            Self::Rust(hook) => hook(error),
            #[cfg(feature = "capi")]
            // SAFETY: what the C program gave for this.
            Self::C(hook) => unsafe { hook(&crate::capi::untty_error::of(error)) },
        }
    }
}

impl Default for Daemon<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> Daemon<'a> {
    /// The defaults of a classic daemon.
    pub const fn new() -> Self {
        Self {
            root: None,
            directory: Some(c"/"),
            umask: Some(0o027),
            streams: [Stdio::Null; 3],
            keep: &[],
            close_descriptors: true,
            reset_signals: true,
            accept_threads: false,
            return_in_caller: false,
            hold_signals: false,
            deadline: None,
            pid_file: None,
            credentials: None,
            environment: None,
            tell_supervisor: true,
            stay_if_supervised: false,
            ready_fd: None,
            readiness: Readiness::Executed,
            handover: false,
            on_late_failure: None,
        }
    }

    /// The daemon's root directory, set before the working directory, which then lies in it: `/` if none is given.
    ///
    /// The pid file, the standard streams and the supervisor's socket are opened before, where the caller is. What the
    /// daemon keeps open leads out of the root directory if it is a directory's descriptor.
    pub const fn root(mut self, path: &'a CStr) -> Self {
        self.root = Some(path);
        self
    }

    /// The daemon's working directory. A relative path starts at the caller's, or in the [root](Self::root) directory.
    pub const fn directory(mut self, path: &'a CStr) -> Self {
        self.directory = Some(path);
        self
    }

    /// Leaves the working directory as it is. Its file system then cannot be unmounted while the daemon runs.
    pub const fn keep_directory(mut self) -> Self {
        self.directory = None;
        self
    }

    /// The daemon's umask, 0 to 0777; 0 gives it full control over the modes of its files.
    pub const fn umask(mut self, mask: u32) -> Self {
        self.umask = Some(mask);
        self
    }

    /// Leaves the umask as it is.
    pub const fn keep_umask(mut self) -> Self {
        self.umask = None;
        self
    }

    /// The daemon's standard input.
    pub const fn stdin(mut self, stream: Stdio<'a>) -> Self {
        let [_, output, error] = self.streams;
        self.streams = [stream, output, error];
        self
    }

    /// The daemon's standard output.
    pub const fn stdout(mut self, stream: Stdio<'a>) -> Self {
        let [input, _, error] = self.streams;
        self.streams = [input, stream, error];
        self
    }

    /// The daemon's standard error.
    pub const fn stderr(mut self, stream: Stdio<'a>) -> Self {
        let [input, output, _] = self.streams;
        self.streams = [input, output, stream];
        self
    }

    /// Descriptors that stay open, with their flags; in any order. Numbers that are not open do no harm.
    pub const fn keep(mut self, descriptors: &'a [i32]) -> Self {
        self.keep = descriptors;
        self
    }

    /// Closes nothing above 2.
    pub const fn keep_descriptors(mut self) -> Self {
        self.close_descriptors = false;
        self
    }

    /// Leaves signal dispositions, handlers and the signal mask as they are.
    pub const fn keep_signals(mut self) -> Self {
        self.reset_signals = false;
        self
    }

    /// Forks even if the caller has more threads. None of them is in the daemon, and what they held stays locked there.
    pub const fn accept_threads(mut self) -> Self {
        self.accept_threads = true;
        self
    }

    /// When the daemon is ready, the caller returns its process id instead of exiting.
    pub const fn return_in_caller(mut self) -> Self {
        self.return_in_caller = true;
        self
    }

    /// When the daemon is ready, all signals stay blocked in the caller. For a launcher that returns, says something
    /// and exits: a ^C of the last moment, held back until then, would end it with a status that denies the daemon.
    pub const fn hold_signals(mut self) -> Self {
        self.hold_signals = true;
        self
    }

    /// How long, in whole microseconds, the caller waits for the daemon to be ready. Then the start is ended: the
    /// daemon and everything it has forked into its process group are killed, and the error is
    /// ([`Step::Wait`](crate::Step::Wait), ETIMEDOUT). Without a deadline the caller waits as long as the daemon lives.
    pub const fn deadline(mut self, time: Duration) -> Self {
        self.deadline = Some(time);
        self
    }

    /// The daemon's pid file, for one daemon at a time.
    ///
    /// It is opened and locked in the caller, before the first fork: if its daemon runs already, or is being started,
    /// the error is ([`Step::PidFile`](crate::Step::PidFile), EEXIST), and [`pid_file_read`](crate::pid_file_read)
    /// tells whose it is. The daemon writes its pid before it gives up privileges and before the caller returns, with
    /// mode 0644 under any umask, and holds the file as long as it lives. A stale file is written anew; after a failure
    /// everything is as before (but see [`stay_if_supervised`](Self::stay_if_supervised)).
    ///
    /// It must be a regular file with one name, of this user's, with nothing but a number in it; symbolic links are not
    /// followed. With [`spawn`](Self::spawn) the program inherits a descriptor that holds it, which can only read: a
    /// program that closes every descriptor, or one of that file, gives up the file.
    pub const fn pid_file(mut self, path: &'a CStr) -> Self {
        self.pid_file = Some(path);
        self
    }

    /// The daemon's user id, group id and supplementary groups: numbers, none of them -1. An empty list empties them.
    ///
    /// They are set last of all, in the order that works (`setgroups`, `setresgid`, `setresuid`), then read back, and
    /// one attempt to regain the old user id has to fail. Capabilities are given up too, unless the user is root.
    pub const fn user(mut self, uid: u32, gid: u32, groups: &'a [u32]) -> Self {
        self.credentials = Some(Credentials { uid, gid, groups });
        self
    }

    /// Where to look for a supervisor, instead of [`Environment::own`](crate::Environment::own).
    pub const fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// No word to a supervisor, whatever the environment says.
    pub const fn ignore_supervisor(mut self) -> Self {
        self.tell_supervisor = false;
        self
    }

    /// Where a [supervisor](crate::supervisor) runs this very process as a service, nothing is forked: this process
    /// gets the state that was asked for, and goes on as the daemon. There is no caller that waits, and no deadline.
    ///
    /// Standard streams that would go to `/dev/null` stay where the supervisor has put them, and the sockets that it
    /// has opened ([`listen_fds`](crate::listen_fds)) stay open.
    ///
    /// If a step fails then, the error is returned in a process that may have been changed by the steps before, and a
    /// pid file may have another text: the process should exit, and its supervisor will start it again.
    pub const fn stay_if_supervised(mut self) -> Self {
        self.stay_if_supervised = true;
        self
    }

    /// A descriptor on which [`Handle::ready`](crate::Handle::ready) writes a newline, and closes it: `notification-fd`
    /// of `s6-supervise`.
    pub const fn ready_fd(mut self, fd: i32) -> Self {
        self.ready_fd = Some(fd);
        self
    }

    /// For [`spawn`](Self::spawn): when the program is ready, and the caller returns.
    pub const fn readiness(mut self, readiness: Readiness<'a>) -> Self {
        self.readiness = readiness;
        self
    }

    /// The daemon takes the caller's memory over instead of getting a copy, so that it makes no difference how much there
    /// is: nothing is copied, no page faults afterwards, no memory has to be there twice, and what was locked
    /// (`mlock(2)`) stays locked.
    ///
    /// Where that cannot be, two forks are made as always; [`Handle::way`](crate::Handle::way) tells. The
    /// [rationale](crate::handover_rationale) says why it may be done, what else survives, and what it is not for.
    ///
    /// Until the daemon's program goes on (with [`keep_signals`](Self::keep_signals): until its handlers may run, just
    /// before), a failure is returned in the caller as always. From then on the caller
    /// cannot return, since its stack is the daemon's. If the daemon fails before it is ready, the caller exits: with the
    /// status of [`Handle::fail`](crate::Handle::fail), or with 1 after a word [`on_late_failure`](Self::on_late_failure).
    /// While it waits, signals that it handles are held back.
    ///
    /// With [`spawn`](Self::spawn) the program gets a memory of its own, and the caller returns in every case but one: when a
    /// daemon that has not executed it yet can neither go on nor be ended. Which way was taken cannot be asked there; it makes no
    /// other difference than the time.
    pub const fn handover(mut self) -> Self {
        self.handover = true;
        self
    }

    /// With [`handover`](Self::handover): what the caller calls before it exits with status 1, because the daemon has
    /// failed when its program had gone on already.
    ///
    /// It runs in the caller, when the daemon is gone, on a stack of a few kilobytes and in the memory that the daemon has
    /// left, whatever it was about: so it may only do what a signal handler may (`signal-safety(7)`). If the daemon could not
    /// be ended ([`Step::Wait`](crate::Step::Wait), EPERM, or it is stuck in the kernel) it still has that memory, and the
    /// caller cannot return even if the daemon's program had not gone on.
    pub const fn on_late_failure(mut self, hook: fn(Error)) -> Self {
        self.on_late_failure = Some(LateFailure::Rust(hook));
        self
    }
}
