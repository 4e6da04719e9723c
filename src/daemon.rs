//! Options, and the sequence: one short function a step, in the order they run.

use crate::credentials::Credentials;
use crate::environment::Environment;
use crate::error::{Errno, Error, Step};
use crate::fds::{self, Fd};
use crate::pid_file::{self, PidFile};
use crate::readiness::{self, Awaited, Promise, Readiness};
use crate::report::{self, Deadline, Listener, Message, Outcome, Reporter, Wait};
use crate::signals::{self, Signals};
use crate::stdio::{self, Stdio, Streams};
use crate::supervisor;
use crate::sys::{self, SignalSet, StringArray};
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
    root: Option<&'a CStr>,
    directory: Option<&'a CStr>,
    umask: Option<u32>,
    streams: [Stdio<'a>; 3],
    keep: &'a [i32],
    close_descriptors: bool,
    reset_signals: bool,
    accept_threads: bool,
    return_in_caller: bool,
    hold_signals: bool,
    deadline: Option<Duration>,
    pid_file: Option<&'a CStr>,
    credentials: Option<Credentials<'a>>,
    environment: Option<Environment>,
    tell_supervisor: bool,
    stay_if_supervised: bool,
    ready_fd: Option<c_int>,
    readiness: Readiness<'a>,
}

/// Which process this is after [`Daemon::detach`].
#[derive(Debug)]
#[must_use = "the daemon has to say that it is ready"]
pub enum Process {
    /// The original process, with [`Daemon::return_in_caller`] only: the daemon is ready.
    Caller {
        /// The daemon's process id.
        daemon: i32,
    },
    /// The daemon. The caller waits for [`Handle::ready`].
    Daemon(Handle),
}

/// What the daemon holds: the way to the waiting caller and to the supervisor, and the pid file.
///
/// Dropping it says nothing: the caller waits on, until the daemon ends or the deadline comes. The descriptors are
/// close-on-exec, and -1 where there is none.
#[derive(Debug)]
#[must_use = "the caller waits until ready() or fail()"]
pub struct Handle {
    report: c_int,
    supervisor: c_int,
    ready_fd: c_int,
    pid_file: c_int,
    ready: bool,
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

    /// The daemon's working directory. A relative path starts at the caller's.
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

    /// When the daemon is ready, all signals stay blocked in the caller. For a launcher that returns, says something and
    /// exits: a ^C of the last moment, held back until then, would end it with a status that denies the daemon.
    pub const fn hold_signals(mut self) -> Self {
        self.hold_signals = true;
        self
    }

    /// How long, in whole milliseconds, the caller waits for the daemon to be ready. Then the start is ended: the
    /// daemon and everything it has forked into its process group are killed, and the error is
    /// ([`Step::Wait`], ETIMEDOUT). Without a deadline the caller waits as long as the daemon lives.
    pub const fn deadline(mut self, time: Duration) -> Self {
        self.deadline = Some(time);
        self
    }

    /// The daemon's pid file, for one daemon at a time.
    ///
    /// It is opened and locked in the caller, before the first fork: if its daemon runs already, or is being started, the
    /// error is ([`Step::PidFile`], EEXIST), and [`pid_file_read`](crate::pid_file_read) tells whose it is. The daemon
    /// writes its pid before it gives up privileges and before the caller returns, with mode 0644 under any umask, and
    /// holds the file as long as it lives. A stale file is written anew; after a failure everything is as before.
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
    /// They are set last of all, in the order that works (`setgroups`, `setresgid`, `setresuid`), then read back, and one
    /// attempt to regain the old user id has to fail. Capabilities are given up too, unless the user is root.
    pub const fn user(mut self, uid: u32, gid: u32, groups: &'a [u32]) -> Self {
        self.credentials = Some(Credentials { uid, gid, groups });
        self
    }

    /// Where to look for a supervisor, instead of [`Environment::own`].
    pub const fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }

    /// No word to a supervisor, whatever the environment says.
    pub const fn ignore_supervisor(mut self) -> Self {
        self.tell_supervisor = false;
        self
    }

    /// Where a [supervisor](crate::supervisor) runs this very process as a service, nothing is forked: this process gets
    /// the state that was asked for, and goes on as the daemon. There is no caller that waits, and no deadline.
    ///
    /// Standard streams that would go to `/dev/null` stay where the supervisor has put them, and the sockets that it has
    /// opened ([`listen_fds`](crate::listen_fds)) stay open.
    ///
    /// If a step fails then, the error is returned in a process that may have been changed by the steps before: it
    /// should exit, and its supervisor will start it again.
    pub const fn stay_if_supervised(mut self) -> Self {
        self.stay_if_supervised = true;
        self
    }

    /// A descriptor on which [`Handle::ready`] writes a newline, and closes it: `notification-fd` of `s6-supervise`.
    pub const fn ready_fd(mut self, fd: i32) -> Self {
        self.ready_fd = Some(fd);
        self
    }

    /// For [`spawn`](Self::spawn): when the program is ready, and the caller returns.
    pub const fn readiness(mut self, readiness: Readiness<'a>) -> Self {
        self.readiness = readiness;
        self
    }

    /// `detach()`—turns the calling process into a daemon.
    ///
    /// Returns in the daemon, and exits 0 in the caller (with `_exit(2)`: no atexit handlers, no flushing) once the
    /// daemon is [ready](Handle::ready). With [`return_in_caller`](Self::return_in_caller) it returns in both.
    ///
    /// If the daemon calls [`Handle::fail`], the caller exits with that status; with `return_in_caller` it gets the
    /// error [`Step::Fail`] with the status for an errno.
    ///
    /// # Errors
    /// In the caller, which is then as it was, and no other process is left: the step that failed and its errno. A
    /// daemon that dies before it is ready is ([`Step::Wait`], ESRCH). A log that did not exist may now exist, empty.
    ///
    /// # Safety
    /// The caller must ensure that
    /// - no descriptor above 2 that is not in [`keep`](Self::keep) is used in the daemon afterwards: owners such as
    ///   `std::fs::File`, a runtime's poller or a C library's stream must be gone or never be touched or dropped again;
    /// - nothing that is tied to the process id, to a thread or to the terminal is relied on afterwards: other threads
    ///   do not exist in the daemon, and neither do timers, record locks or pending signals;
    /// - with [`accept_threads`](Self::accept_threads), the daemon calls only async-signal-safe functions if there were
    ///   other threads;
    /// - with feature `raw`, no C library is in the process (it would not know of the forks).
    ///
    /// # Notes
    /// Signals are blocked in the caller until the sequence is done, and then have their usual meaning while the
    /// daemon gets ready. A caller that one of them ends leaves the daemon running; the daemon learns it from
    /// [`Handle::ready`] (EPIPE). A caller that is killed (SIGKILL) before the sequence is done leaves no daemon.
    /// A caller that handles SIGCHLD, and has other children or waits for the daemon to get ready, gets one for the leader.
    ///
    /// # References
    /// `daemon(7)`, `fork(2)`, `setsid(2)`, `credentials(7)`; POSIX.1-2024, General Terminal Interface, 11.1.3.
    pub unsafe fn detach(&self) -> Result<Process, Error> {
        self.start(After::Return)
    }

    /// As [`detach`](Self::detach), but the daemon is ready when the sequence is done. A daemon whose caller was killed
    /// meanwhile ends: nobody was told of it.
    ///
    /// # Safety
    /// As for `detach`.
    #[cfg(feature = "capi")]
    pub(crate) unsafe fn detach_ready(&self) -> Result<Process, Error> {
        self.start(After::ReturnReady)
    }

    /// `spawn(program, argv, envp)`—starts a program as a daemon and returns its process id.
    ///
    /// The daemon executes `program` (a path; nothing is searched) with `execve(2)`. The caller returns when that has
    /// been done, and never exits. It may have threads: nothing but this library's code runs in the forked processes.
    ///
    /// # Errors
    /// As for [`detach`](Self::detach), and ([`Step::Exec`], errno) when the program cannot be executed. A daemon that
    /// is killed just before it executes the program is a failure too.
    ///
    /// # Safety
    /// Both arrays must end with NULL and hold valid C strings. With feature `raw`, no C library is in the process.
    ///
    /// # Notes
    /// The leader stays until the outcome is known: it alone can tell an exec from a death (`setpgid(2)`, EACCES). A
    /// program that the kernel kills while it loads it (no memory for its segments) counts as executed. If the caller
    /// ends, by whatever signal, before it knows the outcome, the daemon is killed too.
    ///
    /// With a [readiness](Self::readiness) to wait for, a program that ends before is an error: ([`Step::Fail`], its exit
    /// status) or ([`Step::Wait`], ESRCH), and ([`Step::Notify`], errno) if it had told an `ERRNO=`.
    pub unsafe fn spawn(&self, program: &CStr, argv: StringArray, envp: StringArray) -> Result<i32, Error> {
        match self.return_in_caller().accept_threads().start(After::Exec { program, argv, envp })? {
            Process::Caller { daemon } => Ok(daemon),
            Process::Daemon(_) => sys::exit(1), // the daemon has executed the program or exited
        }
    }
}

impl Handle {
    const NONE: Self = Self { report: -1, supervisor: -1, ready_fd: -1, pid_file: -1, ready: false };

    /// The pid file is the daemon's now, to its end.
    fn with_pid_file(mut self, pid_file: Option<PidFile<'_>>) -> Self {
        self.pid_file = pid_file.map_or(-1, PidFile::leave_open);
        self
    }

    /// `ready()`—the daemon is ready: tells the supervisor, if there is one, and the caller, which exits 0 or returns.
    ///
    /// The supervisor that the environment named (`NOTIFY_SOCKET`) is told `READY=1` and `MAINPID=`, and the
    /// [ready_fd](Daemon::ready_fd) gets its newline.
    ///
    /// # Errors
    /// - ([`Step::Notify`], errno): the supervisor could not be told. The caller still waits.
    /// - ([`Step::Ready`], EPIPE): the caller is gone, killed while it waited. Nobody was told that the daemon runs;
    ///   whether it should is its program's decision. SIGPIPE is not raised.
    /// - ([`Step::Ready`], EALREADY): this was said before.
    pub fn ready(&mut self) -> Result<(), Error> {
        if self.ready {
            return Err(Error::new(Step::Ready, Errno::EALREADY));
        }
        self.tell_supervisor()?;
        self.ready = true;
        if self.report < 0 {
            return Ok(()); // a supervised process has no caller
        }
        let reporter = Reporter::take(core::mem::replace(&mut self.report, -1));
        reporter.tell(Message::Ready(sys::getpid()))
    }

    fn tell_supervisor(&mut self) -> Result<(), Error> {
        if self.ready_fd >= 0 {
            supervisor::newline(self.ready_fd)?;
            self.ready_fd = -1;
        }
        if self.supervisor >= 0 { supervisor::notify_ready(self.supervisor) } else { Ok(()) }
    }

    /// `notify(state)`—sends the supervisor a message of the protocol of `sd_notify(3)`, at any time: `STATUS=…`,
    /// `STOPPING=1`, `WATCHDOG=1`, `RELOADING=1` (to which the monotonic time is added, as the protocol wants it), several
    /// of them with a newline between. False when the environment named no supervisor.
    ///
    /// # Errors
    /// ([`Step::Notify`], errno): it was not sent.
    pub fn notify(&self, state: &[u8]) -> Result<bool, Error> {
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
            let _ = reporter.tell(Message::GaveUp(status));
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

    #[cfg(feature = "capi")]
    pub(crate) const fn from_descriptors([report, supervisor, ready_fd, pid_file]: [c_int; 4], ready: bool) -> Self {
        Self { report, supervisor, ready_fd, pid_file, ready }
    }

    #[cfg(feature = "capi")]
    pub(crate) const fn is_ready(&self) -> bool {
        self.ready
    }
}

/// What follows in the daemon when the sequence is done.
#[derive(Clone, Copy)]
enum After<'a> {
    /// Its program goes on, and will say when it is ready.
    Return,
    /// Its program goes on, and the daemon is ready already.
    #[cfg(feature = "capi")]
    ReturnReady,
    /// It becomes another program.
    Exec { program: &'a CStr, argv: StringArray, envp: StringArray },
}

/// What the caller opens for the daemon.
struct Outfit {
    streams: Streams,
    /// To the supervisor.
    supervisor: Option<Fd>,
    /// For the program, to say that it is ready.
    promise: Option<Promise>,
}

/// The pipes that the daemon holds: to the caller, and to the leader that waits for an exec.
struct Pipes {
    reporter: Reporter,
    witness: Option<Reporter>,
}

// The sequence, in the order of the table in README.md. Numbers are the table's rows.

impl Daemon<'_> {
    /// The caller: 0 to 2, then 13.
    fn start(&self, after: After<'_>) -> Result<Process, Error> {
        self.refuse_bad_options()?;
        self.refuse_threads()?;
        self.refuse_closed_descriptors()?;
        let supervised = self.is_supervised();
        let mut pid_file = self.pid_file.map(pid_file::open).transpose()?;
        let (outfit, awaited) = self.open_outfit(&after, supervised)?;
        if supervised {
            return self.stay(after, outfit, pid_file);
        }
        let deadline = Deadline::after(self.deadline)?;
        let (listener, reporter) = report::pipe()?;
        let signals = Signals::block()?;
        match fork(Step::Fork) {
            Ok(Side::Child) => {
                drop((listener, awaited));
                let handle = self.lead(after, outfit, pid_file.as_mut(), signals.mask, reporter);
                Ok(Process::Daemon(handle.with_pid_file(pid_file)))
            }
            Ok(Side::Parent(leader)) => {
                drop((reporter, outfit));
                let leader_stays = matches!(after, After::Exec { .. });
                let outcome = listener.wait(&Wait { leader, deadline, mask: signals.mask, leader_stays, awaited });
                match &outcome {
                    Ok(Outcome::Ready(_)) => pid_file.map_or((), PidFile::give_away),
                    _ => drop(pid_file), // which undoes it
                }
                self.leave(outcome, &signals)
            }
            Err(error) => {
                signals.unblock();
                Err(error)
            }
        }
    }

    /// 0: options that no kernel call would refuse.
    fn refuse_bad_options(&self) -> Result<(), Error> {
        let umask = self.umask.is_none_or(|mask| mask <= 0o777);
        let ids = self.credentials.is_none_or(|credentials| credentials.are_ids());
        let number = !matches!(self.readiness, Readiness::Newline(..=sys::STDERR));
        if umask && ids && number { Ok(()) } else { Err(Error::new(Step::Options, Errno::EINVAL)) }
    }

    /// 0: other threads would not exist in the daemon, and what they had locked would stay locked.
    ///
    /// A thread that has been joined may still be about to leave, so a second look may find none.
    fn refuse_threads(&self) -> Result<(), Error> {
        const LOOKS: u32 = 10;
        if self.accept_threads {
            return Ok(());
        }
        for _ in 0..LOOKS {
            if !has_threads() {
                return Ok(());
            }
            report::pause();
        }
        Err(Error::new(Step::Threads, Errno::EBUSY))
    }

    /// 0: before anything is opened, which would get the number of a descriptor that is not open, and be taken for it.
    fn refuse_closed_descriptors(&self) -> Result<(), Error> {
        stdio::refuse_closed(&self.streams)?;
        self.ready_fd.map_or(Ok(()), |fd| sys::fd_flags(fd).map(drop).map_err(Error::at(Step::Notify)))
    }

    fn is_supervised(&self) -> bool {
        self.stay_if_supervised && supervisor::supervisor(self.environment_or_own()).is_some()
    }

    fn environment_or_own(&self) -> Environment {
        self.environment.unwrap_or_else(Environment::own)
    }

    /// 1: everything that can fail to open, so that errors reach the terminal and relative paths mean what they say.
    fn open_outfit(&self, after: &After<'_>, supervised: bool) -> Result<(Outfit, Awaited<'_>), Error> {
        let streams = stdio::open(&if supervised { self.streams.map(Stdio::unless_null) } else { self.streams })?;
        // Another program talks to the supervisor by itself, as it does if it is supervised.
        let is_exec = matches!(after, After::Exec { .. });
        let tell = self.tell_supervisor && !is_exec;
        let supervisor = if tell { supervisor::connect(self.environment_or_own())? } else { None };
        let readiness = if is_exec && !supervised { self.readiness } else { Readiness::Executed };
        let (awaited, promise) = readiness::open(readiness).map_err(Error::at(Step::Notify))?;
        if let (Some(credentials), Awaited::Notify(socket)) = (self.credentials, &awaited) {
            socket.expect(credentials.uid);
        }
        Ok((Outfit { streams, supervisor, promise }, awaited))
    }

    /// The leader, and the daemon that it forks: 3 to 12.
    fn lead(
        &self,
        after: After<'_>,
        outfit: Outfit,
        pid_file: Option<&mut PidFile<'_>>,
        mask: SignalSet,
        reporter: Reporter,
    ) -> Handle {
        let mut pipes = Pipes { reporter, witness: None };
        match self.become_daemon(after, outfit, pid_file, mask, &mut pipes) {
            Ok(mut handle) => {
                if !handle.ready {
                    handle.report = pipes.reporter.leave_open();
                }
                handle
            }
            Err(error) => pipes.reporter.fail(error),
        }
    }

    fn become_daemon(
        &self,
        after: After<'_>,
        outfit: Outfit,
        pid_file: Option<&mut PidFile<'_>>,
        mask: SignalSet,
        pipes: &mut Pipes,
    ) -> Result<Handle, Error> {
        let leader = sys::setsid().map_err(Error::at(Step::Setsid))?;
        if leader == 1 {
            // The first process of a new pid namespace: its end would be the daemon's (pid_namespaces(7)).
            return Err(Error::new(Step::Setsid, Errno::EINVAL));
        }
        if let After::Exec { .. } = after {
            pipes.witness = Some(self.fork_and_watch(leader, &pipes.reporter)?);
        } else {
            fork_and_leave()?;
        }
        let handle = self.settle(&after, outfit, pid_file, Some(pipes))?;
        if let After::Exec { program, argv, envp } = after {
            self.unblock_signals(mask)?;
            // SAFETY: spawn's caller has promised that the arrays are what execve wants.
            return Err(Error::new(Step::Exec, unsafe { sys::execve(program, argv, envp) }));
        }
        outlive(leader);
        self.unblock_signals(mask)?;
        self.report(after, handle, &pipes.reporter)
    }

    /// Instead of 2 to 4 and 13: a supervised process stays what it is, and becomes the daemon itself.
    fn stay(&self, after: After<'_>, outfit: Outfit, mut pid_file: Option<PidFile<'_>>) -> Result<Process, Error> {
        let signals = Signals::block()?;
        let settled = self.settle(&after, outfit, pid_file.as_mut(), None);
        #[cfg_attr(not(feature = "capi"), expect(unused_mut, reason = "ready at once in C only"))]
        let mut handle = settled.inspect_err(|_| signals.unblock())?;
        self.unblock_signals(signals.mask)?;
        match after {
            After::Return => {}
            #[cfg(feature = "capi")]
            After::ReturnReady => handle.ready()?,
            After::Exec { program, argv, envp } => {
                // SAFETY: spawn's caller has promised that the arrays are what execve wants.
                return Err(Error::new(Step::Exec, unsafe { sys::execve(program, argv, envp) }));
            }
        }
        Ok(Process::Daemon(handle.with_pid_file(pid_file)))
    }

    /// The daemon: 5 to 11.
    fn settle(
        &self,
        after: &After<'_>,
        outfit: Outfit,
        mut pid_file: Option<&mut PidFile<'_>>,
        mut pipes: Option<&mut Pipes>,
    ) -> Result<Handle, Error> {
        let Outfit { streams, supervisor, promise } = outfit;
        let is_exec = matches!(after, After::Exec { .. });
        self.reset_signals()?;
        self.change_root()?;
        self.change_directory()?;
        self.set_umask()?;
        streams.put_in_place()?;
        if let Some(promise) = &promise {
            make_room(promise.number(), pid_file.as_deref_mut(), pipes.as_deref_mut())?;
        }
        self.close_others(&supervisor, promise.as_ref(), pid_file.as_deref(), pipes.as_deref());
        if let Some(promise) = promise {
            promise.put_in_place()?;
        }
        if let Some(pid_file) = &pid_file {
            pid_file.write()?;
        }
        self.drop_privileges()?;
        if let Some(pid_file) = pid_file {
            pid_file.settle(is_exec)?;
        }
        let supervisor = supervisor.map_or(-1, Fd::leave_open);
        Ok(Handle { supervisor, ready_fd: self.ready_fd.unwrap_or(-1), ..Handle::NONE })
    }

    /// 4, when the daemon is to execute a program: the leader stays until it knows whether that was done.
    fn fork_and_watch(&self, leader: c_int, reporter: &Reporter) -> Result<Reporter, Error> {
        let child_signal = signals::keep_zombies()?;
        let (listener, witness) = report::pipe()?;
        let deaths = if matches!(self.readiness, Readiness::Executed) { None } else { Some(signals::of_children()?) };
        match fork(Step::ForkAgain)? {
            Side::Child => {
                drop((listener, deaths));
                signals::put_back(&child_signal)?;
                Ok(witness)
            }
            Side::Parent(daemon) => {
                drop(witness);
                watch(leader, daemon, &listener, reporter, deaths.as_ref())
            }
        }
    }

    /// 5
    fn reset_signals(&self) -> Result<(), Error> {
        if self.reset_signals { signals::reset() } else { Ok(()) }
    }

    /// 6: always with a change of the working directory, which would lie outside.
    fn change_root(&self) -> Result<(), Error> {
        let Some(path) = self.root else { return Ok(()) };
        fds::uninterrupted(|| sys::chroot(path)).map_err(Error::at(Step::Root))?;
        fds::uninterrupted(|| sys::chdir(c"/")).map_err(Error::at(Step::Root))
    }

    /// 6
    fn change_directory(&self) -> Result<(), Error> {
        let Some(path) = self.directory else { return Ok(()) };
        fds::uninterrupted(|| sys::chdir(path)).map_err(Error::at(Step::Directory))
    }

    /// 7
    fn set_umask(&self) -> Result<(), Error> {
        let Some(mask) = self.umask else { return Ok(()) };
        sys::umask(mask).map(drop).map_err(Error::at(Step::Umask))
    }

    /// 9
    fn close_others(
        &self,
        supervisor: &Option<Fd>,
        promise: Option<&Promise>,
        pid_file: Option<&PidFile<'_>>,
        pipes: Option<&Pipes>,
    ) {
        if !self.close_descriptors {
            return;
        }
        let [file, lock] = pid_file.map_or([-1; 2], PidFile::numbers);
        // Who is supervised has been given more: sockets, and the descriptor on which to say that it is ready.
        let supervised = pipes.is_none();
        let lowest = if supervised { supervisor::listen_fds(self.environment_or_own()).end } else { sys::STDERR + 1 };
        let own = [
            pipes.map_or(-1, |pipes| pipes.reporter.number()),
            pipes.and_then(|pipes| pipes.witness.as_ref()).map_or(-1, Reporter::number),
            supervisor.as_ref().map_or(-1, Fd::number),
            promise.map_or(-1, Promise::descriptor),
            self.ready_fd.unwrap_or(-1),
            match self.readiness {
                Readiness::Newline(number) if supervised => number,
                _ => -1,
            },
            file,
            lock,
        ];
        fds::close_except(lowest, self.keep, &own);
    }

    /// 11
    fn drop_privileges(&self) -> Result<(), Error> {
        self.credentials.map_or(Ok(()), |credentials| credentials.take())
    }

    /// 5, the rest: the mask comes last, so that nothing runs in a half-made daemon; what arrived meanwhile counts now.
    fn unblock_signals(&self, mask: SignalSet) -> Result<(), Error> {
        signals::set_mask(if self.reset_signals { 0 } else { mask })
    }

    /// 12
    fn report(&self, after: After<'_>, mut handle: Handle, reporter: &Reporter) -> Result<Handle, Error> {
        let ready = !matches!(after, After::Return);
        let pid = sys::getpid();
        if ready {
            handle.tell_supervisor()?;
            handle.ready = true;
        }
        reporter.tell(if ready { Message::Ready(pid) } else { Message::Started(pid) })?;
        Ok(handle)
    }

    /// 13: the caller exits or returns.
    fn leave(&self, outcome: Result<Outcome, Error>, signals: &Signals) -> Result<Process, Error> {
        match outcome {
            Ok(Outcome::Ready(_)) if !self.return_in_caller => sys::exit(0),
            Ok(Outcome::GaveUp(status)) if !self.return_in_caller => sys::exit(status),
            _ => {}
        }
        if !(self.hold_signals && matches!(outcome, Ok(Outcome::Ready(_)))) {
            signals.forget_the_leader();
            signals.unblock();
        }
        match outcome? {
            Outcome::Ready(daemon) => Ok(Process::Caller { daemon }),
            Outcome::GaveUp(status) => Err(Error::new(Step::Fail, Errno::new(status))),
        }
    }
}

fn has_threads() -> bool {
    match sys::unshare(sys::CLONE_THREAD) {
        Ok(()) => false,
        Err(Errno::EINVAL) => true, // unshare(2); so does a vfork child, which must not fork either
        Err(_) => fds::thread_count().is_some_and(|count| count > 1), // container filters forbid the call
    }
}

/// Which process this is after a fork.
enum Side {
    Child,
    Parent(c_int),
}

fn fork(step: Step) -> Result<Side, Error> {
    // SAFETY: until the daemon's program goes on, the child makes only async-signal-safe calls; after that, the
    // entries' contracts hold.
    match unsafe { sys::fork() }.map_err(Error::at(step))? {
        0 => Ok(Side::Child),
        child => Ok(Side::Parent(child)),
    }
}

/// 4: what stays is no session leader and can never acquire a controlling terminal.
fn fork_and_leave() -> Result<(), Error> {
    match fork(Step::ForkAgain)? {
        Side::Child => Ok(()),
        Side::Parent(_) => sys::exit(0),
    }
}

/// Moves what is ours away from the number that the program wants.
fn make_room(number: c_int, pid_file: Option<&mut PidFile<'_>>, pipes: Option<&mut Pipes>) -> Result<(), Error> {
    if let Some(pid_file) = pid_file {
        pid_file.clear(number)?;
    }
    let Some(pipes) = pipes else { return Ok(()) };
    if let Some(witness) = &mut pipes.witness {
        witness.clear(number)?;
    }
    pipes.reporter.clear(number)
}

/// The leader waits until its daemon has executed the program or died, says which, and exits.
///
/// Both close the witness pipe. But a parent may change the process group of its child only until that has executed a
/// program: then it is EACCES (setpgid(2); EPERM when the program has even made a session of its own). The group asked
/// for is the one that the daemon is in, so nothing changes. The daemon is not reaped before, so its number is its own.
fn watch(leader: c_int, daemon: c_int, listener: &Listener, reporter: &Reporter, deaths: Option<&Fd>) -> ! {
    let executed = listener.until_end(Deadline::NONE).map(|()| sys::setpgid(daemon, leader));
    let message = match (executed, deaths) {
        (Ok(Err(Errno::EACCES | Errno::EPERM)), None) => Message::Ready(daemon),
        (Ok(Err(Errno::EACCES | Errno::EPERM)), Some(deaths)) => {
            watch_on(daemon, reporter, deaths).unwrap_or_else(Message::Failed)
        }
        (Ok(unexecuted), _) => {
            if unexecuted.is_err() {
                // No answer that the kernel gives: it may live. Ignored: it is our child, so it can be killed.
                let _ = sys::kill(daemon, sys::SIGKILL);
            }
            // Ignored: it is reaped so that nothing is left, not even a zombie.
            let _ = fds::uninterrupted(|| sys::wait_and_reap(daemon));
            Message::Failed(Error::new(Step::Wait, unexecuted.err().unwrap_or(Errno::ESRCH)))
        }
        (Err(error), _) => Message::Failed(error),
    };
    if reporter.tell(message).is_err() {
        // The caller was killed. Nobody learns that there is a daemon, so there shall be none; nor this leader.
        let _ = sys::kill(-leader, sys::SIGKILL);
    }
    sys::exit(0)
}

/// The program has been executed, and the caller waits until it is ready. The leader, which is its parent, waits for its
/// death; or for the caller's, after which nobody would learn that it is ready, so it is killed.
fn watch_on(daemon: c_int, reporter: &Reporter, deaths: &Fd) -> Result<Message, Error> {
    let dead = Error::new(Step::Wait, Errno::ESRCH);
    let mut heard = reporter.tell(Message::Started(daemon)).is_ok();
    while heard {
        heard = reporter.is_heard_until(deaths).map_err(Error::at(Step::Wait))?;
        // Ignored: there is none when the caller has died. One may also tell of a stop, and of any other child's death.
        let _ = sys::take_pending_signal(signals::only(sys::SIGCHLD));
        match sys::reap(daemon).map_err(Error::at(Step::Wait))? {
            None => {}
            Some(sys::End::Exited(status)) if status != 0 => return Ok(Message::GaveUp(status)),
            Some(_) => return Err(dead),
        }
    }
    // Ignored: it is a child of ours, dead or alive.
    let _ = sys::kill(daemon, sys::SIGKILL);
    Err(dead)
}

/// The daemon waits until its leader is gone, which it nearly always is by now. Nothing tells an orphan that it has
/// become one, so it looks every millisecond.
fn outlive(leader: c_int) {
    while sys::getppid() == leader {
        report::pause();
    }
}
