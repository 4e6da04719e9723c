//! The pipe on which the caller learns the truth.
//!
//! The daemon (and, until it is gone, the leader) holds the end to write, the caller the end to read. Every message is
//! shorter than PIPE_BUF, so it arrives whole or not at all. The end of the pipe without a message means that everyone
//! who could have written one is dead.

use crate::deadline::{self, Deadline};
use crate::error::{Errno, Error, Step};
use crate::fds::{Fd, uninterrupted};
use crate::readiness::{Awaited, Heard};
use crate::signals;
use crate::supervisor;
use crate::sys::{self, PollFd, SignalSet};
use core::ffi::c_int;
use core::time::Duration;

/// What is told on the pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// The sequence is done; the daemon's program goes on and will say more. The daemon's pid.
    Started(c_int),
    /// The daemon is about to execute its program. Its pid.
    Executes(c_int),
    /// The daemon is ready. Its pid.
    Ready(c_int),
    /// A step failed; whoever says so is about to exit.
    Failed(Error),
    /// The daemon's program gave up, with this exit status.
    GaveUp(c_int),
}

/// A message on the pipe: its kind and two numbers.
type Words = [[u8; 4]; 3];

impl Message {
    fn encode(self) -> Words {
        match self {
            Self::Started(pid) => [1, pid, 0],
            Self::Ready(pid) => [2, pid, 0],
            Self::Failed(error) => [3, error.step().number(), error.errno().number()],
            Self::GaveUp(status) => [4, status, 0],
            Self::Executes(pid) => [5, pid, 0],
        }
        .map(i32::to_ne_bytes)
    }

    fn decode(words: Words) -> Option<Self> {
        match words.map(i32::from_ne_bytes) {
            [1, pid, _] => Some(Self::Started(pid)),
            [2, pid, _] => Some(Self::Ready(pid)),
            [3, step, errno] => Some(Self::Failed(Error::new(Step::from_number(step)?, Errno::new(errno)))),
            [4, status, _] => Some(Self::GaveUp(status)),
            [5, pid, _] => Some(Self::Executes(pid)),
            _ => None,
        }
    }
}

/// Makes the pipe. Both ends are close-on-exec and above 2.
pub(crate) fn pipe() -> Result<(Listener, Reporter), Error> {
    let (read_end, write_end) = sys::pipe().map_err(Error::at(Step::Pipe))?;
    let listener = Fd::above_stdio(read_end);
    let reporter = Fd::above_stdio(write_end);
    Ok((Listener(listener.map_err(Error::at(Step::Pipe))?), Reporter(reporter.map_err(Error::at(Step::Pipe))?)))
}

/// The end of those who report: the leader and the daemon.
pub(crate) struct Reporter(Fd);

impl Reporter {
    /// Takes back what [`Reporter::leave_open`] gave away.
    pub(crate) fn take(fd: c_int) -> Self {
        Self(Fd::take(fd))
    }

    /// The descriptor, and with it the duty to report.
    pub(crate) fn leave_open(self) -> c_int {
        self.0.leave_open()
    }

    pub(crate) fn number(&self) -> c_int {
        self.0.number()
    }

    /// Tells it. EPIPE when the caller is gone; SIGPIPE is never raised.
    pub(crate) fn tell(&self, message: Message) -> Result<(), Error> {
        write_whole(self.0.number(), message.encode().as_flattened()).map_err(Error::at(Step::Ready))
    }

    /// The same, while all signals are blocked: after an EPIPE, SIGPIPE is pending, and whoever has met that goes.
    pub(crate) fn tell_blocked(&self, message: Message) -> Result<(), Error> {
        write_all(self.0.number(), message.encode().as_flattened()).map_err(Error::at(Step::Ready))
    }

    /// Waits until nobody listens any more; not longer than the grace, because a child that another thread of the
    /// caller has forked meanwhile may live on and hold the pipe.
    pub(crate) fn until_nobody_listens(&self) {
        let mut fds = [PollFd { fd: self.0.number(), events: 0, revents: 0 }];
        // Ignored: at the end of the grace there is nothing to wait for.
        let _ = Deadline::after(Some(GRACE)).and_then(|deadline| deadline.wait(&mut fds, None));
    }

    /// Waits until nobody listens any more, or there is something to read from that descriptor; whether somebody
    /// listens.
    pub(crate) fn is_heard_until(&self, other: &Fd) -> Result<bool, Errno> {
        let mut fds = [PollFd { fd: self.0.number(), events: 0, revents: 0 }, wanted(other.number())];
        uninterrupted(|| sys::ppoll(&mut fds, None, None))?;
        let [pipe, _] = fds;
        Ok(pipe.revents & sys::POLLERR == 0)
    }

    /// Moves its descriptor away from a number that is needed for something else.
    pub(crate) fn clear(&mut self, number: c_int) -> Result<(), Error> {
        self.0.clear(number).map_err(Error::at(Step::Pipe))
    }

    /// Tells that a step failed, and ends this process.
    pub(crate) fn fail(self, error: Error) -> ! {
        // Ignored: if nobody listens any more, nobody is left to be told.
        let _ = self.tell(Message::Failed(error));
        sys::exit(1)
    }
}

/// Writes all of it; never raises SIGPIPE.
pub(crate) fn write_whole(fd: c_int, bytes: &[u8]) -> Result<(), Errno> {
    signals::without(sys::SIGPIPE, Errno::EPIPE, || write_all(fd, bytes))
}

fn write_all(fd: c_int, bytes: &[u8]) -> Result<(), Errno> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = uninterrupted(|| sys::write(fd, rest))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// The end of the one who waits: the caller; and the leader while it watches the daemon's exec.
pub(crate) struct Listener(Fd);

/// How a start ended well enough to end the wait.
pub(crate) enum Outcome {
    /// The daemon runs. Its pid.
    Ready(c_int),
    /// There is none, because its program said so, with this exit status.
    GaveUp(c_int),
    /// It was to be ended, and could not be killed: it has other rights.
    Lives,
}

/// What the caller does while it waits.
pub(crate) struct Wait<'a> {
    /// The leader's pid, which is also the daemon's session and process group.
    pub(crate) leader: c_int,
    /// When it becomes too late.
    pub(crate) deadline: Deadline,
    /// The signal mask that the caller had.
    pub(crate) mask: SignalSet,
    /// Whether the leader stays until the daemon has executed its program, or until that is ready.
    pub(crate) leader_stays: bool,
    /// What the daemon's program may say.
    pub(crate) awaited: Awaited<'a>,
    /// Who has to be told of it: by the process that it has started, which is the one that it listens to.
    pub(crate) supervisor: Option<Fd>,
}

/// What is known, and watched besides the pipe.
#[derive(Default)]
struct Watched<'a> {
    deadline: Deadline,
    /// The signal mask while it waits.
    mask: Option<SignalSet>,
    /// The daemon's pid.
    daemon: Option<c_int>,
    /// The daemon, to be ended wherever it goes; and it must live, since its children may hold the pipe.
    process: Option<Fd>,
    /// Whether the leader tells of its death.
    leader_tells: bool,
    /// The daemon's program, which may say something.
    program: Option<&'a Awaited<'a>>,
    /// Whether it will never say anything.
    silent: bool,
}

impl Watched<'_> {
    /// Knows the daemon while it is still where it can be found; false when it is gone.
    ///
    /// Without a pidfd (before Linux 5.3), the end of the pipe has to tell of its death.
    fn know(&mut self, daemon: c_int) -> bool {
        let opened = sys::pidfd_open(daemon);
        self.daemon = Some(daemon);
        self.process = opened.and_then(Fd::above_stdio).ok();
        opened != Err(Errno::ESRCH)
    }

    /// Of a program that has ended, hears what it had said before, but nobody who goes on and on; and tells the outcome:
    /// with status 0 it may have been ready, and have done what it had to.
    fn last_words(&self, wait: &Wait<'_>, end: Result<c_int, Error>) -> Result<Outcome, Error> {
        const MOST: usize = 64;
        let mut was_ready = false;
        for _ in 0..MOST {
            let mut program = [wanted(self.program.map_or(-1, Awaited::descriptor))];
            if Deadline::NOW.wait(&mut program, None).is_err() {
                break;
            }
            match wait.awaited.hear(wait.leader, self.daemon.unwrap_or(0)) {
                Ok(Heard::Silence) | Err(_) => break,
                heard => was_ready |= matches!(heard, Ok(Heard::Ready)),
            }
        }
        match end? {
            0 if was_ready => self.daemon.map(Outcome::Ready).ok_or(DEAD),
            0 => Err(DEAD),
            status => Ok(Outcome::GaveUp(status)),
        }
    }
}

/// The daemon died before it was ready.
const DEAD: Error = Error::new(Step::Wait, Errno::ESRCH);

/// What happens while the caller waits.
enum Event {
    Said(Message),
    /// The pipe's end.
    End,
    /// There is something to hear from the program.
    Program,
    /// The process is dead.
    Death,
}

impl Listener {
    /// Waits for the outcome; afterwards the leader is gone and, unless it is ready, the daemon too.
    ///
    /// Until the sequence is done, signals stay blocked: it is short, and a ^C in it must not leave a daemon that
    /// nobody was told of. While the daemon's program gets ready, which may take long, signals mean what they mean to
    /// the caller.
    pub(crate) fn wait(self, wait: &Wait<'_>) -> Result<Outcome, Error> {
        let mut watched = Watched { deadline: wait.deadline, leader_tells: wait.leader_stays, ..Watched::default() };
        let outcome = self.outcome(wait, &mut watched);
        // Who reports a failure exits by itself, and a leader that stays reaps the daemon before.
        let goes = match &outcome {
            Ok(Outcome::Ready(_)) => false,
            Ok(Outcome::GaveUp(_) | Outcome::Lives) => true,
            Err(error) => error.step() != Step::Wait,
        };
        let outcome = outcome.and_then(|outcome| pass_on(outcome, wait, &watched));
        if let Ok(Outcome::Ready(_)) = outcome {
            end_leader(wait.leader, watched.program.is_none());
            return outcome;
        }
        let ended = self.end_the_start(wait.leader, &watched, goes);
        match (outcome, wait.awaited.errno()) {
            _ if ended.is_err_and(|errno| errno != Errno::ESRCH) => Ok(Outcome::Lives),
            // It ended by itself, and had said why.
            (Err(DEAD) | Ok(Outcome::GaveUp(_)), Some(errno)) => Err(Error::new(Step::Notify, errno)),
            (outcome, _) => outcome,
        }
    }

    fn outcome<'a>(&self, wait: &'a Wait<'_>, watched: &mut Watched<'a>) -> Result<Outcome, Error> {
        let mut gone = false;
        loop {
            let event = self.next(watched);
            // Of a daemon that is gone, only what it had said before counts; nobody waits for more.
            match if gone { event.map_err(|_| DEAD) } else { event }? {
                Event::Said(Message::Executes(pid)) => {
                    watched.know(pid);
                }
                Event::Said(Message::Started(pid)) => {
                    watched.mask = Some(wait.mask);
                    if wait.leader_stays {
                        watched.program = Some(&wait.awaited); // and the leader tells of its death, and how it was
                    } else if !watched.know(pid) {
                        gone = true;
                        watched.deadline = Deadline::NOW;
                    }
                }
                Event::Said(Message::Ready(pid)) => {
                    if wait.supervisor.is_some() && watched.daemon.is_none() {
                        watched.know(pid); // it may have to be ended yet
                    }
                    return Ok(Outcome::Ready(pid));
                }
                Event::Said(Message::GaveUp(status)) => return watched.last_words(wait, Ok(status)),
                Event::Said(Message::Failed(error)) => return watched.last_words(wait, Err(error)),
                Event::End | Event::Death => return watched.last_words(wait, Err(DEAD)),
                Event::Program => match wait.awaited.hear(wait.leader, watched.daemon.unwrap_or(0))? {
                    Heard::Ready => return self.hear_out(wait, watched),
                    Heard::MoreTime(time) => watched.deadline.extend(time)?,
                    Heard::Silence => watched.silent = true,
                    Heard::Nothing | Heard::Barrier => {}
                },
            }
        }
    }

    /// Of a program that has said that it is ready, hears the rest: `systemd-notify` fails if nobody listens any more
    /// when it asks whether it was heard, right after it has been. If the program fails meanwhile, that is the outcome.
    fn hear_out(&self, wait: &Wait<'_>, watched: &mut Watched<'_>) -> Result<Outcome, Error> {
        const MOMENT: Duration = Duration::from_millis(50);
        watched.deadline = if wait.awaited.goes_on() { Deadline::after(Some(MOMENT))? } else { Deadline::NOW };
        loop {
            match self.next(watched) {
                Ok(Event::Program) => match wait.awaited.hear(wait.leader, watched.daemon.unwrap_or(0)) {
                    Ok(Heard::Barrier | Heard::Silence) | Err(_) => break,
                    Ok(_) => {}
                },
                // It was ready, and has done what it had to.
                Ok(Event::Said(Message::GaveUp(0))) => break,
                Ok(Event::Said(Message::GaveUp(status))) => return Ok(Outcome::GaveUp(status)),
                Ok(Event::Said(Message::Failed(error))) => return Err(error),
                Ok(_) => return Err(DEAD),
                Err(_) => break, // the time is over
            }
        }
        watched.daemon.map(Outcome::Ready).ok_or(DEAD)
    }

    /// Makes sure that nothing is left of a start that failed; the error if the daemon could not be killed.
    fn end_the_start(self, leader: c_int, watched: &Watched<'_>, goes: bool) -> Result<(), Errno> {
        let ours = is_ours(leader);
        if ours && watched.program.is_some() {
            // The leader is the daemon's parent: wherever that has gone, it can kill it. Ignored: it may be dead.
            let _ = sys::kill(leader, signals::GIVE_UP);
            let _ = sys::kill(leader, sys::SIGCONT);
        }
        if goes || watched.program.is_some() {
            // Ignored: at the end of the grace they are killed.
            let _ = self.until_end_or(GRACE);
        }
        // The leader is unreaped, so its number, which is the group's too, cannot belong to anyone else. Where it is
        // reaped already (SIGCHLD ignored), a daemon that still is in its session keeps the number taken.
        if ours {
            // First the leader, so that it cannot fork after the group was killed. Ignored: it may be dead.
            let _ = kill_child(leader);
        }
        let held = watched.daemon.filter(|pid| sys::getsid(*pid) == Ok(leader));
        if ours || watched.daemon.is_none() || held.is_some() {
            // Ignored: there may be no group any more, or none yet.
            let _ = sys::kill(-leader, sys::SIGKILL);
        }
        // It may have moved to a group or a session of its own.
        let killed = match &watched.process {
            Some(process) => sys::pidfd_send_signal(process.number(), sys::SIGKILL),
            // By its number it cannot be ended there: it may be another's by now.
            None if watched.daemon.is_some_and(|pid| sys::getsid(pid) != Err(Errno::ESRCH)) => Err(Errno::EPERM),
            None => Ok(()),
        };
        let killed = killed.or_else(|errno| held.map_or(Err(errno), |pid| sys::kill(pid, sys::SIGKILL)));
        // Ignored: at the end of the grace there is nothing more to be done.
        let _ = self.until_end_or(GRACE);
        // A leader that cannot be killed ends the daemon, and itself, when nobody listens any more.
        drop(self);
        end_leader(leader, true);
        outlive(leader, watched);
        killed
    }

    fn until_end_or(&self, grace: Duration) -> Result<(), Error> {
        self.until_end(Deadline::after(Some(grace))?)
    }

    /// Waits until nobody can write any more.
    pub(crate) fn until_end(&self, deadline: Deadline) -> Result<(), Error> {
        let watched = Watched { deadline, ..Watched::default() };
        while !matches!(self.next(&watched)?, Event::End) {}
        Ok(())
    }

    /// The next thing that happens.
    fn next(&self, watched: &Watched<'_>) -> Result<Event, Error> {
        let mut words = Words::default();
        let mut filled = 0;
        while let Some(rest) = words.as_flattened_mut().get_mut(filled..).filter(|rest| !rest.is_empty()) {
            if let Some(event) = self.until_readable(watched)? {
                return Ok(event);
            }
            match uninterrupted(|| sys::read(self.0.number(), rest)).map_err(Error::at(Step::Wait))? {
                0 => return Ok(Event::End),
                count => filled += count,
            }
        }
        Message::decode(words).map(Event::Said).ok_or(Error::new(Step::Wait, Errno::EPROTO))
    }

    /// Waits until there is something to read from the pipe; or tells what else has happened.
    fn until_readable(&self, watched: &Watched<'_>) -> Result<Option<Event>, Error> {
        if watched.deadline.is_none() && watched.mask.is_none() {
            return Ok(None); // the read waits as well
        }
        let program = watched.program.filter(|_| !watched.silent).map_or(-1, Awaited::descriptor);
        let process = watched.process.as_ref().filter(|_| !watched.leader_tells).map_or(-1, Fd::number);
        let mut fds = [self.0.number(), process, program].map(wanted);
        watched.deadline.wait(&mut fds, watched.mask)?;
        Ok(match fds.map(|fd| fd.revents) {
            // Who talks and talks is not waited for.
            [0, 0, _] if watched.deadline.is_over() => return Err(Error::new(Step::Wait, Errno::ETIMEDOUT)),
            [0, 0, _] => Some(Event::Program),
            [0, ..] => Some(Event::Death),
            _ => None,
        })
    }
}

/// Tells the supervisor of the daemon; that, too, is part of the start, and has to be done in time.
fn pass_on(outcome: Outcome, wait: &Wait<'_>, watched: &Watched<'_>) -> Result<Outcome, Error> {
    if let (Outcome::Ready(daemon), Some(socket)) = (&outcome, &wait.supervisor) {
        supervisor::notify_ready(socket.number(), *daemon, watched.deadline, Some(wait.mask))?;
    }
    Ok(outcome)
}

/// Reaps the leader, which may still watch a daemon that is ready, or be stopped on its way out. One that cannot be
/// killed may go by itself; or it stays with the daemon, which it cannot kill either, since filters are inherited.
fn end_leader(leader: c_int, goes: bool) {
    for _ in 0..GRACE.as_millis() {
        if !is_ours(leader) {
            return; // reaped, perhaps by a handler of the caller's
        }
        let killed = kill_child(leader);
        let reaped = if killed.is_ok() { sys::wait_and_reap(leader).map(Some) } else { sys::reap(leader) };
        if matches!(reaped, Ok(Some(_))) || killed == Err(Errno::ESRCH) || killed.is_err() && !goes {
            return;
        }
        deadline::pause();
    }
}

/// Kills a child that is not reaped, in either way: a filter may forbid one of them.
fn kill_child(child: c_int) -> Result<(), Errno> {
    sys::kill(child, sys::SIGKILL).or_else(|errno| {
        let process = sys::pidfd_open(child).and_then(Fd::above_stdio).map_err(|_| errno)?;
        sys::pidfd_send_signal(process.number(), sys::SIGKILL).map_err(|_| errno)
    })
}

const fn wanted(fd: c_int) -> PollFd {
    PollFd { fd, events: sys::POLLIN, revents: 0 }
}

/// Whether that is a child of ours, alive or dead.
fn is_ours(child: c_int) -> bool {
    sys::is_child(child) != Err(Errno::ECHILD)
}

/// How long dying processes may take to vanish (the kernel may be writing their core, or be very busy).
const GRACE: Duration = Duration::from_secs(1);

/// Waits until a process group and the daemon are gone, zombies too: a process closes its end of the pipe a moment
/// before it is dead. Where its orphans are the caller's (a subreaper, process 1), the caller reaps them; elsewhere
/// init does.
fn outlive(group: c_int, watched: &Watched<'_>) {
    for _ in 0..GRACE.as_millis() {
        while sys::reap_one_of_group(group) == Ok(true) {}
        let reaped = watched.daemon.is_none_or(|pid| sys::reap(pid) != Ok(None));
        // It may be in a group of its own.
        let died = |process: &Fd| sys::pidfd_send_signal(process.number(), 0) == Err(Errno::ESRCH);
        if reaped && watched.process.as_ref().is_none_or(died) && sys::kill(-group, 0) == Err(Errno::ESRCH) {
            return;
        }
        deadline::pause();
    }
}
