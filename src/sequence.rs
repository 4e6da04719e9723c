//! The sequence: one short function a step, in the order they run. Numbers are the rows of the table in README.md.

use crate::after::After;
use crate::deadline::{self, Deadline};
use crate::environment::Environment;
use crate::error::{Errno, Error, Step};
use crate::fds::{self, Fd};
use crate::forks;
use crate::handle::{Handle, Process};
use crate::handover::{self, Aside, Obstacle, Parting, Way};
use crate::options::Daemon;
use crate::pid_file::{self, PidFile};
use crate::readiness::{self, Awaited, Promise, Readiness};
use crate::report::{self, DEAD, Listener, Message, Outcome, Reporter};
use crate::signals::{self, Signals};
use crate::stdio::{self, Stdio, Streams};
use crate::supervisor;
use crate::sys::{self, SignalSet, direct};
use crate::wait::Wait;
use crate::watch;
use core::ffi::c_int;
use core::marker::PhantomData;
use core::mem;

/// A start: how, and what the caller opens for the daemon.
struct Start<'a, A> {
    daemon: &'a Daemon<'a>,
    after: &'a A,
    pid_file: Option<PidFile<'a>>,
    deadline: Deadline,
    /// `None` when it is the daemon's.
    streams: Option<Streams>,
    /// To the supervisor.
    supervisor: Option<Fd>,
    /// What the caller listens to besides the report pipe, and what the program is given for it.
    awaited: Awaited<'a>,
    promise: Option<Promise>,
    /// The lowest descriptor to close, and one more to spare: a supervised process has been given sockets, and the
    /// descriptor on which its program says that it is ready.
    lowest: c_int,
    spared: c_int,
    /// The daemon's pipe to the leader that waits for an exec, and what that waits for besides.
    witness: Option<Reporter>,
    watching: Option<Fd>,
    leader: c_int,
    /// Whether the daemon has said that it is ready.
    is_ready: bool,
    way: Way,
    /// The caller's signal mask.
    mask: SignalSet,
    /// The report pipe: the caller's end; the leader's and the daemon's.
    listener: Option<Listener>,
    reporter: Option<Reporter>,
    /// What the caller knows in the end.
    outcome: Result<Outcome, Error>,
}

/// How a start went on.
enum Started {
    /// This process is the daemon.
    Here(Handle),
    /// This process is the caller, and knows the outcome.
    There(Result<Outcome, Error>, Signals),
}

impl Daemon<'_> {
    /// The caller: 0 to 2, then 13.
    pub(crate) fn start<A: After>(&self, after: &A) -> Result<Process, Error> {
        let supervised = self.is_supervised();
        self.refuse_bad_options()?;
        if !self.return_in_caller && !supervised {
            forks::refuse_process_1().map_err(Error::at(Step::Setsid))?;
        }
        // What a thread gives up of its privileges, the others keep.
        if !self.accept_threads || supervised && self.credentials.is_some() {
            refuse_threads()?;
        }
        self.refuse_closed_descriptors()?;
        let mut start = Start::new(self, after);
        let started = start.go(supervised);
        let pid_file = start.pid_file.take();
        if let Ok(Started::Here(mut handle)) = started {
            handle.pid_file = pid_file.map_or(-1, PidFile::leave_open);
            return Ok(Process::Daemon(handle));
        }
        // This is the caller: in a forked process, an error is its end.
        if let Some(pid_file) = pid_file {
            let is_ready = matches!(started, Ok(Started::There(Ok(Outcome::Ready(_)), _)));
            let may_live = matches!(started, Ok(Started::There(Ok(Outcome::Lives), _)));
            pid_file.end(is_ready, may_live);
        }
        match started? {
            Started::There(outcome, signals) => self.leave(outcome, &signals),
            Started::Here(handle) => Ok(Process::Daemon(handle)),
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

    /// 0: before anything is opened, which would get the number of a descriptor that is not open, and be taken for it.
    fn refuse_closed_descriptors(&self) -> Result<(), Error> {
        stdio::refuse_closed(&self.streams)?;
        self.ready_fd.map_or(Ok(()), |fd| sys::fd_flags(fd).map(drop).map_err(Error::at(Step::Notify)))
    }

    #[inline(never)] // not on the stack of what follows
    fn is_supervised(&self) -> bool {
        self.stay_if_supervised && supervisor::supervisor(self.environment_or_own()).is_some()
    }

    fn environment_or_own(&self) -> Environment {
        self.environment.unwrap_or_else(Environment::own)
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

impl<'a, A: After> Start<'a, A> {
    fn new(daemon: &'a Daemon<'a>, after: &'a A) -> Self {
        Self {
            daemon,
            after,
            pid_file: None,
            deadline: Deadline::NONE,
            streams: None,
            supervisor: None,
            awaited: Awaited::Execution,
            promise: None,
            lowest: sys::STDERR + 1,
            spared: -1,
            witness: None,
            watching: None,
            leader: 0,
            is_ready: false,
            way: Way::Forks,
            mask: 0,
            listener: None,
            reporter: None,
            outcome: Err(DEAD),
        }
    }

    fn go(&mut self, supervised: bool) -> Result<Started, Error> {
        self.open_pid_file(supervised)?;
        self.open(supervised)?;
        if supervised {
            return self.stay().map(Started::Here);
        }
        self.deadline = Deadline::after(self.daemon.deadline)?;
        self.fork_off()
    }

    /// 1: first of all, so that a second start changes nothing.
    #[inline(never)] // not on the stack of what follows
    fn open_pid_file(&mut self, supervised: bool) -> Result<(), Error> {
        if let Some(path) = self.daemon.pid_file {
            self.pid_file = Some(pid_file::open(path, supervised).map_err(Error::at(Step::PidFile))?);
        }
        Ok(())
    }

    /// 1: everything that can fail to open, so that errors reach the terminal and relative paths mean what they say.
    #[inline(never)] // not on the stack of what follows
    fn open(&mut self, supervised: bool) -> Result<(), Error> {
        let daemon = self.daemon;
        let streams = if supervised { daemon.streams.map(Stdio::unless_null) } else { daemon.streams };
        self.streams = Some(stdio::open(&streams)?);
        // Another program talks to the supervisor by itself, as it does if it is supervised.
        if daemon.tell_supervisor && !A::EXECUTES {
            self.supervisor = supervisor::connect(daemon.environment_or_own())?;
        }
        if A::EXECUTES && !supervised {
            (self.awaited, self.promise) = daemon.open_readiness()?;
        }
        if supervised {
            self.lowest = supervisor::listen_fds(daemon.environment_or_own()).end;
            if let Readiness::Newline(number) = daemon.readiness {
                self.spared = number;
            }
        }
        Ok(())
    }

    /// 2: the report pipe, and the first fork.
    fn fork_off(&mut self) -> Result<Started, Error> {
        let (listener, reporter) = report::pipe()?;
        (self.listener, self.reporter) = (Some(listener), Some(reporter));
        let signals = Signals::block().map_err(Error::at(Step::Signals))?;
        self.mask = signals.mask;
        match self.part() {
            Ok(true) => Ok(Started::Here(self.give_handle())),
            Ok(false) => Ok(Started::There(mem::replace(&mut self.outcome, Err(DEAD)), signals)),
            Err(errno) => {
                signals.unblock();
                Err(Error::new(Step::Fork, errno))
            }
        }
    }

    /// 2, in the way that is asked for, or else by a fork that copies: whether this is the daemon.
    fn part(&mut self) -> Result<bool, Errno> {
        if self.daemon.handover {
            match self.hand_over() {
                Ok(is_daemon) => return Ok(is_daemon),
                Err(obstacle) => self.way = Way::ForksInstead(obstacle),
            }
        }
        // SAFETY: nothing is shared.
        unsafe { forks::part::<Off<'a, A>>(None, self) }
    }

    #[inline(never)] // not on the stack of a fork
    fn hand_over(&mut self) -> Result<bool, Obstacle> {
        if self.daemon.return_in_caller && !A::EXECUTES {
            return Err(Obstacle::Returns);
        }
        #[cfg(feature = "libc")]
        let errno = sys::errno();
        handover::prepare()?;
        // What the caller will want to know when the daemon's program has its memory.
        self.pid_file.iter_mut().for_each(PidFile::keep_path);
        handover::keep_hook(self.daemon.on_late_failure);
        self.way = Way::Handover;
        // SAFETY: `prepare` has found nobody else; the caller waits with `sys::direct` alone, and leaves this process if
        // the daemon has gone on (`leave_the_memory`).
        let parted = unsafe { forks::part::<Off<'a, A>>(Some(Aside::Caller), self) };
        if parted != Ok(true) {
            handover::take_back();
            #[cfg(feature = "libc")]
            sys::set_errno(errno); // the daemon's calls have used it
        }
        parted.map_err(|_| Obstacle::Clone)
    }

    /// Where a parent goes on.
    fn aside(&self, whose: Aside) -> Option<Aside> {
        (self.way == Way::Handover).then_some(whose)
    }

    /// 13: the caller.
    fn wait(&mut self, leader: c_int) {
        // What is the daemon's alone.
        (self.reporter, self.streams, self.promise) = (None, None, None);
        let Some(listener) = self.listener.take() else { return };
        let (awaited, supervisor) = (&self.awaited, self.supervisor.as_ref());
        let is_aside = self.way == Way::Handover;
        let wait = Wait { leader, deadline: self.deadline, mask: self.mask, is_aside, awaited, supervisor };
        self.outcome = listener.wait::<A>(&wait);
        if self.way == Way::Handover {
            self.leave_the_memory();
        }
    }

    /// 13, where the daemon has taken the memory over: returns only if this process has it again.
    fn leave_the_memory(&mut self) {
        let is_ready = matches!(self.outcome, Ok(Outcome::Ready(_)));
        if A::EXECUTES && is_ready {
            // The program has a memory of its own; a leader that could not be ended, stays aside.
            let _ = handover::is_alone();
            return;
        }
        let is_alone = !is_ready && handover::is_alone();
        if is_alone && !handover::has_gone_on() {
            return;
        }
        if let Some(pid_file) = self.pid_file.take() {
            pid_file.end(is_ready, !is_alone);
        }
        let error = match self.outcome {
            Ok(Outcome::Ready(_)) => direct::exit(0),
            Ok(Outcome::GaveUp(status)) => direct::exit(status),
            Ok(Outcome::Lives) => Error::new(Step::Wait, Errno::EPERM),
            Err(error) => error,
        };
        handover::tell_late(error, is_alone);
        direct::exit(1)
    }

    /// The leader, and the daemon that it forks: 3 to 12. An error is the end of either.
    fn lead(&mut self) {
        self.listener = None;
        if let (Err(error), Some(reporter)) = (self.become_daemon(), &self.reporter) {
            reporter.fail(error);
        }
    }

    fn become_daemon(&mut self) -> Result<(), Error> {
        self.leader = forks::lead_a_session().map_err(Error::at(Step::Setsid))?;
        if A::EXECUTES {
            self.fork_a_program()?;
            self.become_what_was_asked_for()?;
            return Err(self.execute());
        }
        self.fork_again()?;
        self.become_what_was_asked_for()?;
        forks::outlive(self.leader);
        handover::goes_on(self.has_handlers()); // which may run from here on
        signals::unblock_and(self.daemon.mask(self.mask), Error::at(Step::Signals), || self.report())
    }

    /// 4
    fn fork_again(&mut self) -> Result<(), Error> {
        // SAFETY: the leader ends there (`Again`), or watches with `sys::direct` alone until it ends.
        unsafe { forks::part::<Again<'a, A>>(self.aside(Aside::Leader), self) }.map_err(Error::at(Step::ForkAgain))?;
        if self.way == Way::Handover && !A::EXECUTES {
            handover::take_over().map_err(Error::at(Step::ForkAgain))
        } else {
            Ok(())
        }
    }

    /// 4: when the daemon is to execute a program, the leader stays until it knows whether that was done, or until the
    /// program is ready.
    fn fork_a_program(&mut self) -> Result<(), Error> {
        self.awaited = Awaited::Execution; // the caller's
        let child_signal = signals::keep_zombies()?;
        let (listener, witness) = report::pipe()?;
        // The daemon's is kept to the end of that process, whatever fails: the leader ends it when the pipe ends.
        (self.listener, self.witness) = (Some(listener), Some(witness));
        if !matches!(self.daemon.readiness, Readiness::Executed) {
            self.watching = Some(signals::of_watching()?);
        }
        self.fork_again()?;
        (self.listener, self.watching) = (None, None);
        signals::put_back(&child_signal)
    }

    /// 4: the leader, when it has forked the daemon.
    fn leave_or_watch(&mut self, daemon: c_int) {
        // What is the daemon's alone, must not be held here.
        if A::EXECUTES {
            (self.streams, self.promise, self.pid_file, self.witness) = (None, None, None, None);
            if let (Some(listener), Some(reporter)) = (&self.listener, &self.reporter) {
                watch::watch(self.leader, daemon, listener, reporter, self.watching.as_ref());
            }
        }
        direct::exit(0)
    }

    /// Instead of 2 to 4 and 13: a supervised process stays what it is, and becomes the daemon itself.
    fn stay(&mut self) -> Result<Handle, Error> {
        let signals = Signals::block().map_err(Error::at(Step::Signals))?;
        self.become_what_was_asked_for().inspect_err(|_| signals.unblock())?;
        signals::set_mask(self.daemon.mask(signals.mask)).map_err(Error::at(Step::Signals))?;
        if A::EXECUTES {
            return Err(exec(self.after));
        }
        let is_ready = self.after.is_ready();
        let mut handle = self.give_handle();
        if is_ready {
            handle.ready()?;
        }
        Ok(handle)
    }

    /// 5 to 11
    fn become_what_was_asked_for(&mut self) -> Result<(), Error> {
        let daemon = self.daemon;
        daemon.reset_signals()?;
        daemon.change_root()?;
        daemon.change_directory()?;
        daemon.set_umask()?;
        self.put_streams_in_place()?;
        self.make_room()?;
        self.close_others();
        self.keep_promise()?;
        self.write_pid_file()?;
        daemon.drop_privileges()?;
        self.settle_pid_file()
    }

    /// 8
    fn put_streams_in_place(&mut self) -> Result<(), Error> {
        self.streams.take().map_or(Ok(()), Streams::put_in_place)
    }

    /// 9: what is ours moves away from the number that the program wants.
    fn make_room(&mut self) -> Result<(), Error> {
        let Some(number) = self.promise.as_ref().map(Promise::number) else { return Ok(()) };
        self.pid_file.as_mut().map_or(Ok(()), |pid_file| pid_file.clear(number))?;
        self.witness.as_mut().map_or(Ok(()), |witness| witness.clear(number))?;
        self.reporter.as_mut().map_or(Ok(()), |reporter| reporter.clear(number))
    }

    /// 9
    fn close_others(&self) {
        if !self.daemon.close_descriptors {
            return;
        }
        let [file, lock] = self.pid_file.as_ref().map_or([-1; 2], PidFile::numbers);
        let own = [
            self.reporter.as_ref().map_or(-1, Reporter::number),
            self.witness.as_ref().map_or(-1, Reporter::number),
            self.supervisor.as_ref().map_or(-1, Fd::number),
            self.promise.as_ref().map_or(-1, Promise::descriptor),
            self.daemon.ready_fd.unwrap_or(-1),
            self.spared,
            file,
            lock,
        ];
        fds::close_except(self.lowest, self.daemon.keep, &own);
    }

    /// 9
    fn keep_promise(&mut self) -> Result<(), Error> {
        self.promise.take().map_or(Ok(()), Promise::put_in_place)
    }

    /// 10
    fn write_pid_file(&self) -> Result<(), Error> {
        self.pid_file.as_ref().map_or(Ok(()), PidFile::write)
    }

    /// 10, the rest, without privileges.
    fn settle_pid_file(&mut self) -> Result<(), Error> {
        self.pid_file.as_mut().map_or(Ok(()), |pid_file| pid_file.settle(A::EXECUTES))
    }

    /// 12, by the kernel: the exec closes the pipe.
    fn execute(&self) -> Error {
        let mask = self.daemon.mask(self.mask);
        let executes = self.tell(Message::new(Message::EXECUTES, sys::getpid()));
        let at = Error::at(Step::Signals);
        // The handlers' memory is the caller's.
        let drop_handlers = || if self.way == Way::Handover { signals::drop_handlers() } else { Ok(()) };
        let ready = executes.and_then(|()| drop_handlers().and_then(|()| signals::set_mask(mask)).map_err(at));
        let error = match ready {
            Ok(()) => exec(self.after),
            Err(error) => error,
        };
        // Ignored: whoever cannot be told then, is ended by its SIGPIPE.
        let _ = signals::set_mask(mask | signals::only(sys::SIGPIPE));
        error
    }

    /// 12
    fn report(&mut self) -> Result<(), Error> {
        let is_ready = self.after.is_ready();
        if let Some(fd) = self.daemon.ready_fd.filter(|_| is_ready) {
            report::write_newline(fd).map_err(Error::at(Step::Notify))?;
        }
        self.is_ready = is_ready;
        handover::goes_on(true);
        let kind = if is_ready { Message::READY } else { Message::STARTED };
        self.tell(Message::new(kind, sys::getpid())).inspect_err(|_| handover::goes_on(self.has_handlers()))
    }

    /// Whether the daemon may have signal handlers of its program's.
    fn has_handlers(&self) -> bool {
        !self.daemon.reset_signals
    }

    fn tell(&self, message: Message) -> Result<(), Error> {
        self.reporter.as_ref().map_or(Ok(()), |reporter| reporter.tell(message))
    }

    fn give_handle(&mut self) -> Handle {
        let supervisor = self.supervisor.take().map_or(-1, Fd::leave_open);
        let ready_fd = self.daemon.ready_fd.filter(|_| !self.is_ready).unwrap_or(-1);
        let report = self.reporter.take().filter(|_| !self.is_ready).map_or(-1, Reporter::leave_open);
        Handle { report, supervisor, ready_fd, ready: self.is_ready, way: self.way.number(), pid_file: -1 }
    }
}

/// 2: the caller and the leader.
struct Off<'a, A>(PhantomData<&'a A>);

impl<'a, A: After> Parting for Off<'a, A> {
    type State = Start<'a, A>;
    fn child(start: &mut Self::State) {
        start.lead();
    }
    fn parent(start: &mut Self::State, leader: c_int) {
        start.wait(leader);
    }
}

/// 4: the leader and the daemon, which goes on.
struct Again<'a, A>(PhantomData<&'a A>);

impl<'a, A: After> Parting for Again<'a, A> {
    type State = Start<'a, A>;
    fn child(_: &mut Self::State) {}
    fn parent(start: &mut Self::State, daemon: c_int) {
        start.leave_or_watch(daemon);
    }
}

/// The steps that are the options' alone.
impl Daemon<'_> {
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

    /// 11
    fn drop_privileges(&self) -> Result<(), Error> {
        self.credentials.map_or(Ok(()), |credentials| credentials.take())
    }

    /// 5, the rest: the mask comes last, so that nothing runs in a half-made daemon; what arrived meanwhile counts now.
    fn mask(&self, mask: SignalSet) -> SignalSet {
        if self.reset_signals { 0 } else { mask }
    }

    fn open_readiness(&self) -> Result<(Awaited<'_>, Option<Promise>), Error> {
        let opened = readiness::open(self.readiness).map_err(Error::at(Step::Notify))?;
        if let (Some(credentials), Awaited::Notify(socket)) = (self.credentials, &opened.0) {
            socket.expect(credentials.uid);
        }
        Ok(opened)
    }
}

/// 0: other threads would not exist in the daemon, and what they had locked would stay locked.
///
/// A thread that has been joined may still be about to leave, so a second look may find none.
#[inline(never)] // not on the stack of what follows
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
    match direct::unshare(sys::CLONE_THREAD) {
        Ok(()) => false,
        Err(Errno::EINVAL) => true, // unshare(2); so does a vfork child, which must not fork either
        Err(_) => fds::thread_count().is_some_and(|count| count > 1), // container filters forbid the call
    }
}

/// Executes the program: its failure.
fn exec<A: After>(after: &A) -> Error {
    // Opening it may be interrupted on a file system that lets it wait.
    let errno = loop {
        match after.execute() {
            Errno::EINTR => {}
            errno => break errno,
        }
    };
    Error::new(Step::Exec, errno)
}
