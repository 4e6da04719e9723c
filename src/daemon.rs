//! Options, and the sequence: one short function a step, in the order they run.

use crate::error::{Errno, Error, Step};
use crate::fds;
use crate::report::{self, Deadline, Listener, Message, Outcome, Reporter, Wait};
use crate::signals::{self, Signals};
use crate::stdio::{self, Stdio, Streams};
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

/// What the daemon holds until it is ready: the way to the waiting caller.
///
/// Dropping it says nothing: the caller waits on, until the daemon ends or the deadline comes. The descriptor is
/// close-on-exec.
#[derive(Debug)]
#[must_use = "the caller waits until ready() or fail()"]
pub struct Handle {
    report: i32,
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
        }
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
    /// is killed before the leader could tell it, the daemon is killed too.
    pub unsafe fn spawn(&self, program: &CStr, argv: StringArray, envp: StringArray) -> Result<i32, Error> {
        match self.return_in_caller().accept_threads().start(After::Exec { program, argv, envp })? {
            Process::Caller { daemon } => Ok(daemon),
            Process::Daemon(_) => sys::exit(1), // the daemon has executed the program or exited
        }
    }
}

impl Handle {
    /// `ready()`—the daemon is ready: the caller exits 0 or returns.
    ///
    /// # Errors
    /// ([`Step::Ready`], EPIPE): the caller is gone, killed while it waited. Nobody was told that the daemon runs;
    /// whether it should is its program's decision. SIGPIPE is not raised.
    pub fn ready(self) -> Result<(), Error> {
        Reporter::take(self.report).tell(Message::Ready(sys::getpid()))
    }

    /// `fail(status)`—there will be no daemon: ends this process with `_exit(2)`, and the caller with that status.
    ///
    /// The status is cut to 8 bits as always, and one that would then be 0, and claim success, becomes 1.
    pub fn fail(self, status: i32) -> ! {
        let status = if status & 0xff == 0 { 1 } else { status & 0xff };
        // It stays open until the exit: its end tells that this process is gone.
        let reporter = Reporter::take(self.report);
        // Ignored: a caller that is gone needs no status.
        let _ = reporter.tell(Message::GaveUp(status));
        sys::exit(status)
    }

    /// The report pipe's descriptor, for who must close descriptors by himself and has to spare it.
    #[must_use]
    pub const fn descriptor(&self) -> i32 {
        self.report
    }

    #[cfg(feature = "capi")]
    pub(crate) const fn from_descriptor(report: i32) -> Self {
        Self { report }
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

// The sequence, in the order of the table in README.md. Numbers are the table's rows.

impl Daemon<'_> {
    /// The caller: 0 to 2, then 13.
    fn start(&self, after: After<'_>) -> Result<Process, Error> {
        self.refuse_bad_options()?;
        self.refuse_threads()?;
        let streams = stdio::open(&self.streams)?;
        let deadline = Deadline::after(self.deadline)?;
        let (listener, reporter) = report::pipe()?;
        let signals = Signals::block()?;
        match fork(Step::Fork) {
            Ok(Side::Child) => {
                drop(listener);
                Ok(self.lead(after, streams, signals.mask, reporter))
            }
            Ok(Side::Parent(leader)) => {
                drop((reporter, streams));
                let leader_stays = matches!(after, After::Exec { .. });
                let outcome = listener.wait(&Wait { leader, deadline, mask: signals.mask, leader_stays });
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
        if self.umask.is_some_and(|mask| mask > 0o777) {
            return Err(Error::new(Step::Options, Errno::EINVAL));
        }
        Ok(())
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

    /// The leader, and the daemon that it forks: 3 to 12.
    fn lead(&self, after: After<'_>, streams: Streams, mask: SignalSet, reporter: Reporter) -> Process {
        match self.become_daemon(after, streams, mask, &reporter) {
            Ok(true) => Process::Daemon(Handle { report: -1 }),
            Ok(false) => Process::Daemon(Handle { report: reporter.leave_open() }),
            Err(error) => reporter.fail(error),
        }
    }

    /// Whether the daemon is ready.
    fn become_daemon(
        &self,
        after: After<'_>,
        streams: Streams,
        mask: SignalSet,
        reporter: &Reporter,
    ) -> Result<bool, Error> {
        let leader = sys::setsid().map_err(Error::at(Step::Setsid))?;
        if leader == 1 {
            // The first process of a new pid namespace: its end would be the daemon's (pid_namespaces(7)).
            return Err(Error::new(Step::Setsid, Errno::EINVAL));
        }
        let witness = match after {
            After::Exec { .. } => Some(self.fork_and_watch(leader, reporter)?),
            _ => fork_and_leave()?,
        };
        self.reset_signals()?;
        self.change_directory()?;
        self.set_umask()?;
        streams.put_in_place()?;
        self.close_others(reporter, witness.as_ref());
        // 10 and 11 have their place here: the pid file, then the privileges.
        if let After::Exec { program, argv, envp } = after {
            self.unblock_signals(mask)?;
            // SAFETY: spawn's caller has promised that the arrays are what execve wants.
            return Err(Error::new(Step::Exec, unsafe { sys::execve(program, argv, envp) }));
        }
        outlive(leader);
        self.unblock_signals(mask)?;
        self.report(after, reporter)
    }

    /// 4, when the daemon is to execute a program: the leader stays until it knows whether that was done.
    fn fork_and_watch(&self, leader: c_int, reporter: &Reporter) -> Result<Reporter, Error> {
        let child_signal = signals::keep_zombies()?;
        let (listener, witness) = report::pipe()?;
        match fork(Step::ForkAgain)? {
            Side::Child => {
                drop(listener);
                signals::put_back(&child_signal)?;
                Ok(witness)
            }
            Side::Parent(daemon) => {
                drop(witness);
                watch(leader, daemon, &listener, reporter)
            }
        }
    }

    /// 5
    fn reset_signals(&self) -> Result<(), Error> {
        if self.reset_signals { signals::reset() } else { Ok(()) }
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
    fn close_others(&self, reporter: &Reporter, witness: Option<&Reporter>) {
        if self.close_descriptors {
            let own = [reporter.number(), witness.map_or(-1, Reporter::number)];
            fds::close_except(sys::STDERR + 1, self.keep, &own);
        }
    }

    /// 5, the rest: the mask comes last, so that nothing runs in a half-made daemon; what arrived meanwhile counts now.
    fn unblock_signals(&self, mask: SignalSet) -> Result<(), Error> {
        signals::set_mask(if self.reset_signals { 0 } else { mask })
    }

    /// 12
    fn report(&self, after: After<'_>, reporter: &Reporter) -> Result<bool, Error> {
        let ready = !matches!(after, After::Return);
        let pid = sys::getpid();
        reporter.tell(if ready { Message::Ready(pid) } else { Message::Started(pid) })?;
        Ok(ready)
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
fn fork_and_leave() -> Result<Option<Reporter>, Error> {
    match fork(Step::ForkAgain)? {
        Side::Child => Ok(None),
        Side::Parent(_) => sys::exit(0),
    }
}

/// The leader waits until its daemon has executed the program or died, says which, and exits.
///
/// Both close the witness pipe. But a parent may change the process group of its child only until that has executed a
/// program: then it is EACCES (setpgid(2); EPERM when the program has even made a session of its own). The group asked
/// for is the one that the daemon is in, so nothing changes. The daemon is not reaped before, so its number is its own.
fn watch(leader: c_int, daemon: c_int, listener: &Listener, reporter: &Reporter) -> ! {
    let executed = listener.until_end(&Deadline::NONE).map(|()| sys::setpgid(daemon, leader));
    let message = match executed {
        Ok(Err(Errno::EACCES | Errno::EPERM)) => Message::Ready(daemon),
        Ok(unexecuted) => {
            if unexecuted.is_err() {
                // No answer that the kernel gives: it may live. Ignored: it is our child, so it can be killed.
                let _ = sys::kill(daemon, sys::SIGKILL);
            }
            // Ignored: it is reaped so that nothing is left, not even a zombie.
            let _ = fds::uninterrupted(|| sys::wait_and_reap(daemon));
            Message::Failed(Error::new(Step::Wait, unexecuted.err().unwrap_or(Errno::ESRCH)))
        }
        Err(error) => Message::Failed(error),
    };
    if reporter.tell(message).is_err() {
        // The caller was killed. Nobody learns that there is a daemon, so there shall be none; nor this leader.
        let _ = sys::kill(-leader, sys::SIGKILL);
    }
    sys::exit(0)
}

/// The daemon waits until its leader is gone, which it nearly always is by now. Nothing tells an orphan that it has
/// become one, so it looks every millisecond.
fn outlive(leader: c_int) {
    while sys::getppid() == leader {
        report::pause();
    }
}
