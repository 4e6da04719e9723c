//! The pipe on which the caller learns the truth, and the shortest way of waiting for it.
//!
//! The daemon (and, until it is gone, the leader) holds the end to write, the caller the end to read. Every message is
//! shorter than PIPE_BUF, so it arrives whole or not at all. The end of the pipe without a message means that everyone
//! who could have written one is dead.

use crate::deadline::{self, Deadline};
use crate::error::{Errno, Error, Step};
use crate::fds::{Fd, uninterrupted};
use crate::signals;
use crate::sys::direct::{self as sys, PollFd};
use core::ffi::c_int;
use core::time::Duration;

/// What is told on the pipe: its kind, and two numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message([c_int; 3]);

impl Message {
    /// The sequence is done; the daemon's program goes on and will say more. The daemon's pid.
    pub(crate) const STARTED: c_int = 1;
    /// The daemon is ready. Its pid.
    pub(crate) const READY: c_int = 2;
    /// A step failed; whoever says so is about to exit.
    const FAILED: c_int = 3;
    /// The daemon's program gave up, with this exit status.
    pub(crate) const GAVE_UP: c_int = 4;
    /// The daemon is about to execute its program. Its pid.
    pub(crate) const EXECUTES: c_int = 5;

    pub(crate) const fn new(kind: c_int, number: c_int) -> Self {
        Self([kind, number, 0])
    }

    pub(crate) const fn failed(error: Error) -> Self {
        Self([Self::FAILED, error.step().number(), error.errno().number()])
    }

    /// Its kind and its number; or the error of which it tells.
    pub(crate) fn read(self) -> Result<(c_int, c_int), Error> {
        let Self([kind, number, errno]) = self;
        if kind != Self::FAILED {
            return Ok((kind, number));
        }
        Err(Step::from_number(number).map_or(UNREADABLE, |step| Error::new(step, Errno::new(errno))))
    }
}

/// What no process of ours has written.
pub(crate) const UNREADABLE: Error = Error::new(Step::Wait, Errno::EPROTO);

/// Makes the pipe.
pub(crate) fn pipe() -> Result<(Listener, Reporter), Error> {
    let (read_end, write_end) = ends().map_err(Error::at(Step::Pipe))?;
    Ok((Listener(read_end), Reporter(write_end)))
}

/// Its ends, to read and to write: both are close-on-exec and above 2.
pub(crate) fn ends() -> Result<(Fd, Fd), Errno> {
    let (read_end, write_end) = sys::pipe()?;
    let (read_end, write_end) = (Fd::above_stdio(read_end), Fd::above_stdio(write_end));
    Ok((read_end?, write_end?))
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

    /// Tells it, while SIGPIPE is blocked: it is pending after an EPIPE, and whoever meets that goes.
    pub(crate) fn tell(&self, message: Message) -> Result<(), Error> {
        let words = message.0.map(c_int::to_ne_bytes);
        write_all(self.0.number(), words.as_flattened()).map_err(Error::at(Step::Ready))
    }

    /// Tells it at any time. EPIPE when the caller is gone; SIGPIPE is never raised.
    pub(crate) fn tell_quietly(&self, message: Message) -> Result<(), Error> {
        signals::without(sys::SIGPIPE, Errno::EPIPE, &mut || self.tell(message).map_err(Error::errno))
            .map_err(Error::at(Step::Ready))
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
    pub(crate) fn fail(&self, error: Error) -> ! {
        // Ignored: if nobody listens any more, nobody is left to be told.
        let _ = self.tell(Message::failed(error));
        sys::exit(1)
    }
}

/// Reads until it is full, or the end has come: how much it read.
pub(crate) fn read_whole(fd: c_int, bytes: &mut [u8]) -> Result<usize, Errno> {
    let mut filled = 0;
    while filled < bytes.len() {
        match uninterrupted(|| sys::read(fd, bytes.get_mut(filled..).unwrap_or_default()))? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// Writes all of it.
pub(crate) fn write_all(fd: c_int, bytes: &[u8]) -> Result<(), Errno> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = uninterrupted(|| sys::write(fd, rest))?;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Tells a supervisor such as `s6-supervise` on its descriptor that this daemon is ready, and closes that. SIGPIPE is
/// blocked.
pub(crate) fn write_newline(fd: c_int) -> Result<(), Errno> {
    write_all(fd, b"\n")?;
    drop(Fd::take(fd));
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

/// The daemon died before it was ready.
pub(crate) const DEAD: Error = Error::new(Step::Wait, Errno::ESRCH);

impl Listener {
    pub(crate) fn number(&self) -> c_int {
        self.0.number()
    }

    /// The next message; `None` at the pipe's end.
    pub(crate) fn read(&self) -> Result<Option<Message>, Error> {
        let mut words = [[0; 4]; 3];
        match read_whole(self.0.number(), words.as_flattened_mut()).map_err(Error::at(Step::Wait))? {
            0 => Ok(None),
            12 => Ok(Some(Message(words.map(c_int::from_ne_bytes)))),
            _ => Err(UNREADABLE),
        }
    }
}

/// Kills the leader, if it is not reaped: its number, which is the group's too, cannot belong to anyone else then. First
/// of all, so that it cannot fork after the group was killed. Whether it was not.
pub(crate) fn kill_leader(leader: c_int) -> bool {
    let ours = is_ours(leader);
    if ours {
        // Ignored: it may be dead.
        let _ = kill_child(leader);
    }
    ours
}

/// Kills the group of that leader.
pub(crate) fn kill_group(leader: c_int) {
    // Ignored: there may be no group any more, or none yet.
    let _ = signal_group(leader, sys::SIGKILL);
}

#[inline(never)] // smaller
fn signal_group(leader: c_int, signal: c_int) -> Result<(), Errno> {
    sys::kill(-leader, signal)
}

/// Reaps the leader, which may still watch a daemon that is ready, or be stopped on its way out. One that cannot be
/// killed may go by itself; or it stays with the daemon, which it cannot kill either, since filters are inherited.
pub(crate) fn end_leader(leader: c_int, goes: bool) {
    for _ in 0..GRACE_MILLISECONDS {
        if !is_ours(leader) {
            return; // reaped, perhaps by a handler of the caller's
        }
        let reaped = match kill_child(leader) {
            Ok(()) => sys::wait_and_reap(leader).is_ok(),
            Err(_) if goes => sys::reap(leader).is_ok_and(|end| end.is_some()),
            Err(_) => return,
        };
        if reaped {
            return; // its number may be another child's by now
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

/// Whether that is a child of ours, alive or dead.
pub(crate) fn is_ours(child: c_int) -> bool {
    sys::is_child(child) != Err(Errno::ECHILD)
}

/// How long dying processes may take to vanish (the kernel may be writing their core, or be very busy).
pub(crate) const GRACE: Duration = Duration::from_millis(GRACE_MILLISECONDS as u64);
pub(crate) const GRACE_MILLISECONDS: u32 = 1000;

/// Waits until a process group is gone, zombies too, and whatever else: a process closes its end of the pipe a moment
/// before it is dead. Where its orphans are the caller's (a subreaper, process 1), the caller reaps them; elsewhere init
/// does.
pub(crate) fn outlive(group: c_int, others_are_gone: impl Fn() -> bool) {
    for _ in 0..GRACE_MILLISECONDS {
        // Ignored: there may be none.
        let _ = sys::reap_one_of_group(group);
        if others_are_gone() && signal_group(group, 0) == Err(Errno::ESRCH) {
            return;
        }
        deadline::pause();
    }
}

/// To wait until that descriptor can be read.
pub(crate) const fn wanted(fd: c_int) -> PollFd {
    PollFd { fd, events: sys::POLLIN, revents: 0 }
}
