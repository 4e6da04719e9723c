//! Waiting for a daemon whose program takes its time to get ready, may go anywhere, and may have to be ended.

use crate::after::After;
use crate::deadline::Deadline;
use crate::error::{Errno, Error, Step};
use crate::fds::Fd;
use crate::readiness::{Awaited, Heard};
use crate::report::{self, DEAD, GRACE, Listener, Message, Outcome, UNREADABLE, wanted};
use crate::signals;
use crate::supervisor;
use crate::sys::direct::{self as sys, SignalSet};
use core::ffi::c_int;
use core::time::Duration;

/// What the caller does while it waits.
pub(crate) struct Wait<'a> {
    /// The leader's pid, which is also the daemon's session and process group.
    pub(crate) leader: c_int,
    /// When it becomes too late.
    pub(crate) deadline: Deadline,
    /// The signal mask that the caller had.
    pub(crate) mask: SignalSet,
    /// Whether the caller's memory is the daemon's meanwhile.
    pub(crate) is_aside: bool,
    /// What the daemon's program may say.
    pub(crate) awaited: &'a Awaited<'a>,
    /// Who has to be told of it: by the process that it has started, which is the one that it listens to.
    pub(crate) supervisor: Option<&'a Fd>,
}

impl Wait<'_> {
    /// The signal mask while the daemon's program gets ready. Aside, no handler may run: its memory is the daemon's.
    fn mask(&self) -> SignalSet {
        if self.is_aside { self.mask | signals::handled() } else { self.mask }
    }
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

/// What happens while the caller waits.
enum Event {
    /// A message: its kind and its number.
    Said(c_int, c_int),
    /// A message of this failure.
    Failed(Error),
    /// The pipe's end.
    End,
    /// There is something to hear from the program.
    Program,
    /// The process is dead.
    Death,
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

    /// Whether it is gone: where its orphans are the caller's, this reaps it. It may be in a group of its own.
    fn is_gone(&self) -> bool {
        let reaped = self.daemon.is_none_or(|pid| sys::reap(pid) != Ok(None));
        let died = |process: &Fd| sys::pidfd_send_signal(process.number(), 0) == Err(Errno::ESRCH);
        reaped && self.process.as_ref().is_none_or(died)
    }

    /// Of a program that has ended, tells the outcome: with status 0 it may have been ready, and have done what it had
    /// to.
    fn last_words<A: After>(&self, wait: &Wait<'_>, end: Result<c_int, Error>) -> Result<Outcome, Error> {
        let was_ready = A::EXECUTES && self.hear_the_rest(wait);
        match end? {
            0 if was_ready => self.daemon.map(Outcome::Ready).ok_or(DEAD),
            0 => Err(DEAD),
            status => Ok(Outcome::GaveUp(status)),
        }
    }

    /// Hears what it had said before it ended, but nobody who goes on and on: whether it was ready.
    fn hear_the_rest(&self, wait: &Wait<'_>) -> bool {
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
        was_ready
    }
}

impl Listener {
    /// Waits for the outcome; afterwards the leader is gone and, unless it is ready, the daemon too.
    ///
    /// Until the sequence is done, signals stay blocked: it is short, and a ^C in it must not leave a daemon that
    /// nobody was told of. While the daemon's program gets ready, which may take long, signals mean what they mean to
    /// the caller.
    #[inline(never)] // not on the stack of what follows
    pub(crate) fn wait<A: After>(self, wait: &Wait<'_>) -> Result<Outcome, Error> {
        let mut watched = Watched { deadline: wait.deadline, leader_tells: A::EXECUTES, ..Watched::default() };
        let outcome = self.outcome::<A>(wait, &mut watched);
        // Who reports a failure exits by itself, and a leader that stays reaps the daemon before.
        let goes = match &outcome {
            Ok(Outcome::Ready(_)) => false,
            Ok(Outcome::GaveUp(_) | Outcome::Lives) => true,
            Err(error) => error.step() != Step::Wait,
        };
        let outcome = outcome.and_then(|outcome| pass_on(outcome, wait, &watched));
        if let Ok(Outcome::Ready(_)) = outcome {
            report::end_leader(wait.leader, watched.program.is_none());
            return outcome;
        }
        let ended = self.end_the_start::<A>(wait.leader, &watched, goes);
        let told = if A::EXECUTES { wait.awaited.errno() } else { None };
        match (outcome, told) {
            _ if ended.is_err_and(|errno| errno != Errno::ESRCH) => Ok(Outcome::Lives),
            // It ended by itself, and had said why.
            (Err(DEAD) | Ok(Outcome::GaveUp(_)), Some(errno)) => Err(Error::new(Step::Notify, errno)),
            (outcome, _) => outcome,
        }
    }

    fn outcome<'a, A: After>(&self, wait: &'a Wait<'_>, watched: &mut Watched<'a>) -> Result<Outcome, Error> {
        let mut gone = false;
        loop {
            let event = self.event(watched);
            // Of a daemon that is gone, only what it had said before counts; nobody waits for more.
            match if gone { event.map_err(|_| DEAD) } else { event }? {
                Event::Said(Message::EXECUTES, pid) => {
                    watched.know(pid);
                }
                Event::Said(Message::STARTED, pid) => {
                    watched.mask = Some(wait.mask());
                    if A::EXECUTES {
                        watched.program = Some(wait.awaited); // and the leader tells of its death, and how it was
                    } else if !watched.know(pid) {
                        gone = true;
                        watched.deadline = Deadline::NOW;
                    }
                }
                Event::Said(Message::READY, pid) => {
                    if wait.supervisor.is_some() && watched.daemon.is_none() {
                        watched.know(pid); // it may have to be ended yet
                    }
                    return Ok(Outcome::Ready(pid));
                }
                Event::Said(Message::GAVE_UP, status) => return watched.last_words::<A>(wait, Ok(status)),
                Event::Said(..) => return Err(UNREADABLE),
                Event::Failed(error) => return watched.last_words::<A>(wait, Err(error)),
                Event::End | Event::Death => return watched.last_words::<A>(wait, Err(DEAD)),
                Event::Program if A::EXECUTES => match wait.awaited.hear(wait.leader, watched.daemon.unwrap_or(0))? {
                    Heard::Ready => return self.hear_out(wait, watched),
                    Heard::MoreTime(time) => watched.deadline.extend(time)?,
                    Heard::Silence => watched.silent = true,
                    Heard::Nothing | Heard::Barrier => {}
                },
                Event::Program => {} // there is none that would say anything
            }
        }
    }

    /// Of a program that has said that it is ready, hears the rest: `systemd-notify` fails if nobody listens any more
    /// when it asks whether it was heard, right after it has been. If the program fails meanwhile, that is the outcome.
    fn hear_out(&self, wait: &Wait<'_>, watched: &mut Watched<'_>) -> Result<Outcome, Error> {
        const MOMENT: Duration = Duration::from_millis(50);
        watched.deadline = if wait.awaited.goes_on() { Deadline::after(Some(MOMENT))? } else { Deadline::NOW };
        loop {
            match self.event(watched) {
                Ok(Event::Program) => match wait.awaited.hear(wait.leader, watched.daemon.unwrap_or(0)) {
                    Ok(Heard::Barrier | Heard::Silence) | Err(_) => break,
                    Ok(_) => {}
                },
                // It was ready, and has done what it had to.
                Ok(Event::Said(Message::GAVE_UP, 0)) => break,
                Ok(Event::Said(Message::GAVE_UP, status)) => return Ok(Outcome::GaveUp(status)),
                Ok(Event::Failed(error)) => return Err(error),
                Ok(_) => return Err(DEAD),
                Err(_) => break, // the time is over
            }
        }
        watched.daemon.map(Outcome::Ready).ok_or(DEAD)
    }

    /// Makes sure that nothing is left of a start that failed; the error if the daemon could not be killed.
    fn end_the_start<A: After>(self, leader: c_int, watched: &Watched<'_>, goes: bool) -> Result<(), Errno> {
        let program = A::EXECUTES && watched.program.is_some();
        if program && report::is_ours(leader) {
            // The leader is the daemon's parent: wherever that has gone, it can kill it. Ignored: it may be dead.
            let _ = sys::kill(leader, signals::GIVE_UP);
            let _ = sys::kill(leader, sys::SIGCONT);
        }
        if goes || program {
            // Ignored: at the end of the grace they are killed.
            let _ = self.until_end_or(GRACE);
        }
        let ours = report::kill_leader(leader);
        // Where it is reaped already (SIGCHLD ignored), a daemon that still is in its session keeps the number taken.
        let held = watched.daemon.filter(|pid| sys::getsid(*pid) == Ok(leader));
        if ours || watched.daemon.is_none() || held.is_some() {
            report::kill_group(leader);
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
        report::end_leader(leader, true);
        report::outlive(leader, || watched.is_gone());
        killed
    }

    fn until_end_or(&self, grace: Duration) -> Result<(), Error> {
        self.until_end(Deadline::after(Some(grace))?)
    }

    /// Waits until nobody can write any more.
    pub(crate) fn until_end(&self, deadline: Deadline) -> Result<(), Error> {
        let watched = Watched { deadline, ..Watched::default() };
        while !matches!(self.event(&watched)?, Event::End) {}
        Ok(())
    }

    /// The next thing that happens.
    fn event(&self, watched: &Watched<'_>) -> Result<Event, Error> {
        if let Some(event) = self.until_readable(watched)? {
            return Ok(event);
        }
        Ok(match self.read()?.map(Message::read) {
            None => Event::End,
            Some(Ok((kind, number))) => Event::Said(kind, number),
            Some(Err(error)) => Event::Failed(error),
        })
    }

    /// Waits until there is something to read from the pipe; or tells what else has happened.
    fn until_readable(&self, watched: &Watched<'_>) -> Result<Option<Event>, Error> {
        if watched.deadline.is_none() && watched.mask.is_none() {
            return Ok(None); // the read waits as well
        }
        let program = watched.program.filter(|_| !watched.silent).map_or(-1, Awaited::descriptor);
        let process = watched.process.as_ref().filter(|_| !watched.leader_tells).map_or(-1, Fd::number);
        let mut fds = [self.number(), process, program].map(wanted);
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
    if let (Outcome::Ready(daemon), Some(socket)) = (&outcome, wait.supervisor) {
        supervisor::notify_ready(socket.number(), *daemon, watched.deadline, Some(wait.mask()))?;
    }
    Ok(outcome)
}
