//! The supervisor: systemd, s6 or runit. Whether one runs this process, and how to talk to it.

use crate::deadline::Deadline;
use crate::environment::Environment;
use crate::error::{Errno, Error, Step};
use crate::fds::{Fd, uninterrupted};
use crate::sys::{self, Piece, PollFd, SignalSet, UnixAddress};
use crate::text::Text;
use core::ffi::c_int;
use core::ops::Range;

/// Who runs this process as a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Supervisor {
    /// systemd, for the system or for a user.
    Systemd,
    /// `s6-supervise`.
    S6,
    /// `runsv`.
    Runit,
}

/// `supervisor()`—who runs this very process as a service; `None` when nobody known does.
///
/// The evidence is the supervisor's own:
/// - systemd: `SYSTEMD_EXEC_PID` is this process's id (since version 248). Where the variable is missing,
///   `INVOCATION_ID` is there and the parent is a process named `systemd`, which every service's is
///   (`systemd.exec(5)`);
/// - s6: the parent is `s6-supervise`; runit: the parent is `runsv`. Both start `./run` as their child; a run script
///   has to `exec` its program, as their manuals say, for the program to be supervised at all.
///
/// That the parent is process 1 is no evidence: every orphan's is. A parent's name is read from `/proc`; without
/// `/proc` only `SYSTEMD_EXEC_PID` counts.
#[must_use]
pub fn supervisor(environment: Environment) -> Option<Supervisor> {
    if let Some(pid) = environment.number(b"SYSTEMD_EXEC_PID") {
        if pid == own_pid() {
            return Some(Supervisor::Systemd);
        }
    } else if environment.with(b"INVOCATION_ID", |_| ()).is_some() && parent_is(b"systemd") {
        return Some(Supervisor::Systemd);
    }
    if parent_is(b"s6-supervise") {
        Some(Supervisor::S6)
    } else if parent_is(b"runsv") {
        Some(Supervisor::Runit)
    } else {
        None
    }
}

fn own_pid() -> u64 {
    sys::getpid().unsigned_abs().into()
}

/// Whether the parent's program has that name: `proc_pid_comm(5)`.
fn parent_is(name: &[u8]) -> bool {
    let mut path = Text::<32>::new();
    path.add(b"/proc/").add_number(sys::getppid().unsigned_abs().into()).add(b"/comm");
    let Some(path) = path.as_c_str() else { return false };
    let Ok(file) = Fd::open(path, sys::O_RDONLY, 0) else { return false };
    let mut comm = [0; 16];
    let length = uninterrupted(|| sys::read(file.number(), &mut comm)).unwrap_or(0);
    comm.get(..length).and_then(|comm| comm.strip_suffix(b"\n")) == Some(name)
}

/// `listen_fds()`—the descriptors of the sockets that the supervisor has opened for this process (socket activation):
/// from 3 on, as many as `LISTEN_FDS` says, if `LISTEN_PID` is this process's id. Empty otherwise.
///
/// # References
/// `sd_listen_fds(3)`.
#[must_use]
pub fn listen_fds(environment: Environment) -> Range<i32> {
    let for_us = environment.number(b"LISTEN_PID") == Some(own_pid());
    let count = environment.number(b"LISTEN_FDS").filter(|_| for_us).and_then(|count| c_int::try_from(count).ok());
    FIRST_LISTENED..count.and_then(|count| FIRST_LISTENED.checked_add(count)).unwrap_or(FIRST_LISTENED)
}

/// `SD_LISTEN_FDS_START`
pub(crate) const FIRST_LISTENED: c_int = 3;

/// The socket to the supervisor, if the environment names one: opened in the caller, because the daemon may have
/// another root directory and other rights. The kernel says of every message who has sent it, so the supervisor sees
/// the daemon.
pub(crate) fn connect(environment: Environment) -> Result<Option<Fd>, Error> {
    let address = environment.with(b"NOTIFY_SOCKET", |name| address(name.to_bytes())).transpose();
    let connected = address.and_then(|address| match address.flatten() {
        Some((address, length)) => {
            let socket = Fd::above_stdio(sys::datagram_socket()?)?;
            uninterrupted(|| sys::connect(socket.number(), &address, length))?;
            Ok(Some(socket))
        }
        None => Ok(None),
    });
    connected.map_err(Error::at(Step::Notify))
}

/// The address that a name means: a path, or with `@` a name in the abstract namespace. An empty one means none.
fn address(name: &[u8]) -> Result<Option<(UnixAddress, u32)>, Errno> {
    let mut address = UnixAddress { family: sys::AF_UNIX, path: [0; 108] };
    let (name, end) = match name {
        [] => return Ok(None),
        [b'@', name @ ..] if !name.is_empty() => (name, 0),
        [b'/', ..] => (name, 1),
        _ => return Err(Errno::EAFNOSUPPORT), // "vsock:", of a virtual machine's host
    };
    // An abstract name has a NUL before it, a path has one behind it.
    let start = 1 - end;
    let places = address.path.get_mut(start..start + name.len() + end).ok_or(Errno::ENAMETOOLONG)?;
    places.iter_mut().zip(name).for_each(|(place, byte)| *place = *byte);
    let length = size_of::<u16>() + 1 + name.len();
    Ok(Some((address, u32::try_from(length).map_err(|_| Errno::ENAMETOOLONG)?)))
}

/// Sends one message of the protocol of `sd_notify(3)`.
///
/// With `RELOADING=1` goes the time, which the protocol asks for.
pub(crate) fn notify(socket: c_int, state: &[u8]) -> Result<(), Error> {
    let mut time = Text::<40>::new();
    let mut lines = state.split(|byte| *byte == b'\n');
    let reloading = lines.clone().any(|line| line == b"RELOADING=1");
    if reloading && !lines.any(|line| line.starts_with(b"MONOTONIC_USEC=")) {
        time.add(b"\nMONOTONIC_USEC=").add_number(sys::clock_microseconds().map_err(Error::at(Step::Notify))?);
    }
    send(socket, &[Piece::of(state), Piece::of(time.bytes())], Deadline::NONE, None)
}

/// Tells the supervisor which process is the service, and that it is ready. At the deadline it is too late; until then,
/// the signal mask is that one.
pub(crate) fn notify_ready(
    socket: c_int,
    pid: c_int,
    deadline: Deadline,
    mask: Option<SignalSet>,
) -> Result<(), Error> {
    let mut state = Text::<40>::new();
    state.add(b"READY=1\nMAINPID=").add_number(pid.unsigned_abs().into());
    send(socket, &[Piece::of(state.bytes())], deadline, mask)
}

/// A datagram is sent whole or not at all, and no SIGPIPE comes of it (`unix(7)`). While the supervisor's queue is
/// full, it has to wait.
fn send(socket: c_int, pieces: &[Piece<'_>], deadline: Deadline, mask: Option<SignalSet>) -> Result<(), Error> {
    loop {
        match uninterrupted(|| sys::writev(socket, pieces)) {
            Err(Errno::EAGAIN) => {
                deadline.wait(&mut [PollFd { fd: socket, events: sys::POLLOUT, revents: 0 }], mask)?
            }
            result => return result.map(drop).map_err(Error::at(Step::Notify)),
        };
    }
}
