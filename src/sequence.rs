//! The sequence: one short function a step, in the order they run. Numbers are the rows of the table in README.md.

use crate::deadline::{self, Deadline};
use crate::environment::Environment;
use crate::error::{Errno, Error, Step};
use crate::fds::{self, Fd};
use crate::handle::{Handle, Process};
use crate::options::Daemon;
use crate::pid_file::{self, PidFile};
use crate::readiness::{self, Awaited, Promise, Readiness};
use crate::report::{self, Listener, Message, Outcome, Reporter, Wait};
use crate::signals::{self, Signals};
use crate::stdio::{self, Stdio, Streams};
use crate::supervisor;
use crate::sys::{self, SignalSet};
use core::ffi::c_int;

/// What follows in the daemon when the sequence is done.
#[derive(Clone, Copy)]
pub(crate) enum After<'a> {
    /// Its program goes on, and will say when it is ready.
    Return,
    /// Its program goes on, and the daemon is ready already.
    #[cfg(feature = "capi")]
    ReturnReady,
    /// It becomes another program, by this function, which returns only the errno of its failure.
    Exec(&'a dyn Fn() -> Errno),
}

/// What the caller opens for the daemon.
struct Outfit {
    streams: Streams,
    ties: Ties,
}

/// What the daemon keeps open.
struct Ties {
    /// To the supervisor.
    supervisor: Option<Fd>,
    /// For the program, to say that it is ready.
    promise: Option<Promise>,
    /// The lowest descriptor to close, and one more to spare: a supervised process has been given sockets, and the
    /// descriptor on which its program says that it is ready.
    lowest: c_int,
    spared: c_int,
}

/// How a start went on.
enum Started {
    /// This process is the daemon.
    Here(Handle),
    /// This process is the caller, and knows the outcome.
    There(Result<Outcome, Error>, Signals),
}

/// The pipes that the daemon holds: to the caller, and to the leader that waits for an exec.
struct Pipes {
    reporter: Reporter,
    witness: Option<Reporter>,
}

impl Daemon<'_> {
    /// The caller: 0 to 2, then 13.
    pub(crate) fn start(&self, after: After<'_>) -> Result<Process, Error> {
        let supervised = self.is_supervised();
        self.refuse_bad_options()?;
        self.refuse_process_1(supervised)?;
        // What a thread gives up of its privileges, the others keep.
        if !self.accept_threads || supervised && self.credentials.is_some() {
            refuse_threads()?;
        }
        self.refuse_closed_descriptors()?;
        let mut pid_file = self.pid_file.map(|path| pid_file::open(path, supervised)).transpose()?;
        let started = if supervised { self.stay(after, &mut pid_file) } else { self.fork_off(after, &mut pid_file) };
        if let Ok(Started::Here(handle)) = started {
            return Ok(Process::Daemon(handle.with_pid_file(pid_file)));
        }
        // This is the caller: in a forked process, an error is its end.
        let is_ready = matches!(started, Ok(Started::There(Ok(Outcome::Ready(_)), _)));
        let may_live = matches!(started, Ok(Started::There(Ok(Outcome::Lives), _)));
        if let Some(pid_file) = pid_file {
            pid_file.end(is_ready, may_live);
        }
        match started? {
            Started::There(outcome, signals) => self.leave(outcome, &signals),
            Started::Here(handle) => Ok(Process::Daemon(handle)),
        }
    }

    fn fork_off(&self, after: After<'_>, pid_file: &mut Option<PidFile<'_>>) -> Result<Started, Error> {
        let (outfit, awaited) = self.open_outfit(&after, false)?;
        let deadline = Deadline::after(self.deadline)?;
        let (listener, reporter) = report::pipe()?;
        let signals = Signals::block()?;
        match fork(Step::Fork).inspect_err(|_| signals.unblock())? {
            Side::Child => {
                drop((listener, awaited));
                Ok(Started::Here(self.lead(after, outfit, pid_file, signals.mask, reporter)))
            }
            Side::Parent(leader) => {
                let Outfit { streams, ties: Ties { supervisor, promise, .. } } = outfit;
                drop((reporter, streams, promise));
                let leader_stays = matches!(after, After::Exec(_));
                let mask = signals.mask;
                let outcome = listener.wait(&Wait { leader, deadline, mask, leader_stays, awaited, supervisor });
                Ok(Started::There(outcome, signals))
            }
        }
    }

    /// 0: options that no kernel call would refuse.
    fn refuse_bad_options(&self) -> Result<(), Error> {
        let umask = self.umask.is_none_or(|mask| mask <= 0o777);
        let ids = self.credentials.is_none_or(|credentials| credentials.are_ids());
        // Standard streams have another purpose.
        let numbers = self.ready_fd.is_none_or(|fd| fd > sys::STDERR)
            && !matches!(self.readiness, Readiness::Newline(..=sys::STDERR));
        if umask && ids && numbers { Ok(()) } else { Err(Error::new(Step::Options, Errno::EINVAL)) }
    }

    /// 0: the end of process 1 of a pid namespace is the end of all others in it (pid_namespaces(7)), so it must not
    /// exit.
    fn refuse_process_1(&self, supervised: bool) -> Result<(), Error> {
        let exits = !self.return_in_caller && !supervised;
        if exits && sys::getpid() == 1 { Err(Error::new(Step::Setsid, Errno::EINVAL)) } else { Ok(()) }
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
        let is_exec = matches!(after, After::Exec(_));
        let tell = self.tell_supervisor && !is_exec;
        let supervisor = if tell { supervisor::connect(self.environment_or_own())? } else { None };
        let readiness = if is_exec && !supervised { self.readiness } else { Readiness::Executed };
        let (awaited, promise) = readiness::open(readiness).map_err(Error::at(Step::Notify))?;
        if let (Some(credentials), Awaited::Notify(socket)) = (self.credentials, &awaited) {
            socket.expect(credentials.uid);
        }
        let (lowest, spared) = match self.readiness {
            Readiness::Newline(number) if supervised => (self.listened_end(), number),
            _ if supervised => (self.listened_end(), -1),
            _ => (sys::STDERR + 1, -1),
        };
        Ok((Outfit { streams, ties: Ties { supervisor, promise, lowest, spared } }, awaited))
    }

    fn listened_end(&self) -> c_int {
        supervisor::listen_fds(self.environment_or_own()).end
    }

    /// The leader, and the daemon that it forks: 3 to 12.
    fn lead(
        &self,
        after: After<'_>,
        outfit: Outfit,
        pid_file: &mut Option<PidFile<'_>>,
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
        mut outfit: Outfit,
        pid_file: &mut Option<PidFile<'_>>,
        mask: SignalSet,
        pipes: &mut Pipes,
    ) -> Result<Handle, Error> {
        let leader = sys::setsid().map_err(Error::at(Step::Setsid))?;
        if leader == 1 || sys::getppid() == 0 {
            // In another pid namespace than the caller: the end of its first process would be the daemon's, and its
            // numbers mean other processes to the caller (pid_namespaces(7)).
            return Err(Error::new(Step::Setsid, Errno::EINVAL));
        }
        if let After::Exec(_) = after {
            outfit = self.fork_and_watch(leader, outfit, pid_file, pipes)?;
        } else {
            fork_and_leave()?;
        }
        let handle = self.settle(&after, outfit, pid_file, Some(pipes))?;
        if let After::Exec(execute) = after {
            pipes.reporter.tell_blocked(Message::Executes(sys::getpid()))?;
            self.unblock_signals(mask)?;
            return Err(exec(execute));
        }
        outlive(leader);
        self.unblock_signals(mask)?;
        self.report(after, handle, &pipes.reporter)
    }

    /// Instead of 2 to 4 and 13: a supervised process stays what it is, and becomes the daemon itself.
    fn stay(&self, after: After<'_>, pid_file: &mut Option<PidFile<'_>>) -> Result<Started, Error> {
        let (outfit, _) = self.open_outfit(&after, true)?;
        let signals = Signals::block()?;
        let settled = self.settle(&after, outfit, pid_file, None);
        #[cfg_attr(not(feature = "capi"), expect(unused_mut, reason = "ready at once in C only"))]
        let mut handle = settled.inspect_err(|_| signals.unblock())?;
        self.unblock_signals(signals.mask)?;
        match after {
            After::Return => {}
            #[cfg(feature = "capi")]
            After::ReturnReady => handle.ready()?,
            After::Exec(execute) => return Err(exec(execute)),
        }
        Ok(Started::Here(handle))
    }

    /// The daemon: 5 to 11.
    fn settle(
        &self,
        after: &After<'_>,
        outfit: Outfit,
        pid_file: &mut Option<PidFile<'_>>,
        mut pipes: Option<&mut Pipes>,
    ) -> Result<Handle, Error> {
        let Outfit { streams, ties } = outfit;
        self.reset_signals()?;
        self.change_root()?;
        self.change_directory()?;
        self.set_umask()?;
        streams.put_in_place()?;
        if let Some(promise) = &ties.promise {
            make_room(promise.number(), pid_file.as_mut(), pipes.as_deref_mut())?;
        }
        self.close_others(&ties, pid_file.as_ref(), pipes.as_deref());
        if let Some(promise) = ties.promise {
            promise.put_in_place()?;
        }
        if let Some(pid_file) = pid_file {
            pid_file.write()?;
        }
        self.drop_privileges()?;
        if let Some(pid_file) = pid_file {
            pid_file.settle(matches!(after, After::Exec(_)))?;
        }
        let supervisor = ties.supervisor.map_or(-1, Fd::leave_open);
        Ok(Handle { supervisor, ready_fd: self.ready_fd.unwrap_or(-1), ..Handle::NONE })
    }

    /// 4, when the daemon is to execute a program: the leader stays until it knows whether that was done, or until the
    /// program is ready.
    fn fork_and_watch(
        &self,
        leader: c_int,
        outfit: Outfit,
        pid_file: &mut Option<PidFile<'_>>,
        pipes: &mut Pipes,
    ) -> Result<Outfit, Error> {
        let child_signal = signals::keep_zombies()?;
        let (listener, witness) = report::pipe()?;
        let watching = if matches!(self.readiness, Readiness::Executed) { None } else { Some(signals::of_watching()?) };
        match fork(Step::ForkAgain)? {
            Side::Child => {
                drop((listener, watching));
                // Kept to the end of this process, whatever fails: the leader ends it when the pipe ends.
                pipes.witness = Some(witness);
                signals::put_back(&child_signal)?;
                Ok(outfit)
            }
            Side::Parent(daemon) => {
                // What is the daemon's alone, must not be held here.
                drop((witness, outfit, pid_file.take()));
                watch(leader, daemon, &listener, &pipes.reporter, watching.as_ref())
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
    fn close_others(&self, ties: &Ties, pid_file: Option<&PidFile<'_>>, pipes: Option<&Pipes>) {
        if !self.close_descriptors {
            return;
        }
        let [file, lock] = pid_file.map_or([-1; 2], PidFile::numbers);
        let own = [
            pipes.map_or(-1, |pipes| pipes.reporter.number()),
            pipes.and_then(|pipes| pipes.witness.as_ref()).map_or(-1, Reporter::number),
            ties.supervisor.as_ref().map_or(-1, Fd::number),
            ties.promise.as_ref().map_or(-1, Promise::descriptor),
            self.ready_fd.unwrap_or(-1),
            ties.spared,
            file,
            lock,
        ];
        fds::close_except(ties.lowest, self.keep, &own);
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
            handle.write_newline()?;
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
            Outcome::Lives => Err(Error::new(Step::Wait, Errno::EPERM)),
        }
    }
}

/// 0: other threads would not exist in the daemon, and what they had locked would stay locked.
///
/// A thread that has been joined may still be about to leave, so a second look may find none.
fn refuse_threads() -> Result<(), Error> {
    const LOOKS: u32 = 10;
    for _ in 0..LOOKS {
        if !has_threads() {
            return Ok(());
        }
        deadline::pause();
    }
    Err(Error::new(Step::Threads, Errno::EBUSY))
}

fn has_threads() -> bool {
    match sys::unshare(sys::CLONE_THREAD) {
        Ok(()) => false,
        Err(Errno::EINVAL) => true, // unshare(2); so does a vfork child, which must not fork either
        Err(_) => fds::thread_count().is_some_and(|count| count > 1), // container filters forbid the call
    }
}

/// Executes the program: its failure.
fn exec(execute: &dyn Fn() -> Errno) -> Error {
    // Opening it may be interrupted on a file system that lets it wait.
    let errno = loop {
        match execute() {
            Errno::EINTR => {}
            errno => break errno,
        }
    };
    Error::new(Step::Exec, errno)
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
fn watch(leader: c_int, daemon: c_int, listener: &Listener, reporter: &Reporter, watching: Option<&Fd>) -> ! {
    let executed = listener.until_end(Deadline::NONE).and_then(|()| has_executed(leader, daemon));
    let message = match (executed, watching) {
        (Ok(()), None) => Ok(Message::Ready(daemon)),
        (Ok(()), Some(watching)) => watch_on(daemon, reporter, watching),
        (Err(error), _) => {
            end(daemon); // dead, or, with no answer that the kernel gives, perhaps alive
            Err(error)
        }
    };
    let message = message.unwrap_or_else(Message::Failed);
    if let Err(error) = reporter.tell(message) {
        // The caller was killed. Nobody learns that there is a daemon, so there shall be none; nor this leader.
        if sys::is_child(daemon).is_ok() {
            end(daemon);
        }
        // Ignored, and so are those of the last words: there is nobody.
        let _ = reporter.tell(Message::Failed(error));
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
        Some(sys::End::Exited(status)) => return Ok(Message::GaveUp(status)),
        Some(sys::End::Killed) => {}
        None => end(daemon),
    }
    Err(Error::new(Step::Wait, Errno::ESRCH))
}

/// How it has ended; `None` when it shall be ended.
fn until_it_ends(daemon: c_int, reporter: &Reporter, watching: &Fd) -> Result<Option<sys::End>, Error> {
    reporter.tell(Message::Started(daemon))?;
    let at = Error::at(Step::Wait);
    loop {
        let heard = reporter.is_heard_until(watching).map_err(at)?;
        // Others may send that signal, too.
        let sender = sys::take_pending_signal(signals::only(signals::GIVE_UP));
        // Ignored: there is none, when it was something else. It may also tell of a stop, or of another child.
        let _ = sys::take_pending_signal(signals::only(sys::SIGCHLD));
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
        Ok(()) => fds::uninterrupted(|| sys::wait_and_reap(child)).map(Some),
        Err(_) => sys::reap(child), // if it is dead
    };
}

/// The daemon waits until its leader is gone, which it nearly always is by now. Nothing tells an orphan that it has
/// become one, so it looks every millisecond.
fn outlive(leader: c_int) {
    while sys::getppid() == leader {
        deadline::pause();
    }
}
