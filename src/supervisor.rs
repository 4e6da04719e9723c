//! The supervisor: systemd, s6 or runit. Whether one runs this process, and how to talk to it.

use crate::deadline::Deadline;
use crate::environment::Environment;
use crate::error::{Errno, Error, Step};
use crate::fds::{Fd, uninterrupted};
use crate::sys::direct::{self as sys, Piece, PollFd, SignalSet, UnixAddress};
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
    let parent = parent();
    let systemd = match environment.number(b"SYSTEMD_EXEC_PID=") {
        Some(pid) => pid == own_pid(),
        None => parent.bytes() == b"systemd\n" && environment.value(b"INVOCATION_ID=").is_some(),
    };
    match parent.bytes() {
        _ if systemd => Some(Supervisor::Systemd),
        b"s6-supervise\n" => Some(Supervisor::S6),
        b"runsv\n" => Some(Supervisor::Runit),
        _ => None,
    }
}

fn own_pid() -> u64 {
    sys::getpid().unsigned_abs().into()
}

/// The name of the parent's program, and a newline: `proc_pid_comm(5)`. Empty when it cannot be read.
#[inline(never)] // not on the stack of what follows
fn parent() -> Text<32> {
    let mut text = Text::new();
    text.add(b"/proc/").add_number(sys::getppid().unsigned_abs().into()).add(b"/comm");
    let file = text.as_c_str().and_then(|path| Fd::open(path, sys::O_RDONLY, 0).ok());
    let mut comm = [0; 16];
    let length = file.and_then(|file| uninterrupted(|| sys::read(file.number(), &mut comm)).ok());
    text.cut(0);
    text.add(comm.get(..length.unwrap_or(0)).unwrap_or_default());
    text
}

/// `listen_fds()`—the descriptors of the sockets that the supervisor has opened for this process (socket activation):
/// from 3 on, as many as `LISTEN_FDS` says, if `LISTEN_PID` is this process's id. Empty otherwise.
///
/// # References
/// `sd_listen_fds(3)`.
#[must_use]
pub fn listen_fds(environment: Environment) -> Range<i32> {
    let for_us = environment.number(b"LISTEN_PID=") == Some(own_pid());
    let count = environment.number(b"LISTEN_FDS=").filter(|_| for_us).and_then(|count| c_int::try_from(count).ok());
    FIRST_LISTENED..count.and_then(|count| FIRST_LISTENED.checked_add(count)).unwrap_or(FIRST_LISTENED)
}

/// `SD_LISTEN_FDS_START`
pub(crate) const FIRST_LISTENED: c_int = 3;

/// The socket to the supervisor, if the environment names one: opened in the caller, because the daemon may have
/// another root directory and other rights. The kernel says of every message who has sent it, so the supervisor sees
/// the daemon.
pub(crate) fn connect(environment: Environment) -> Result<Option<Fd>, Error> {
    let Some(name) = environment.value(b"NOTIFY_SOCKET=").filter(|name| !name.is_empty()) else { return Ok(None) };
    connect_to(name.to_bytes()).map(Some).map_err(Error::at(Step::Notify))
}

#[inline(never)] // not on the stack of what follows
fn connect_to(name: &[u8]) -> Result<Fd, Errno> {
    let (address, length) = address(name)?;
    let socket = Fd::above_stdio(sys::datagram_socket()?)?;
    uninterrupted(|| sys::connect(socket.number(), &address, length))?;
    Ok(socket)
}

/// The address that a name means: a path, or with `@` a name in the abstract namespace.
fn address(name: &[u8]) -> Result<(UnixAddress, u32), Errno> {
    let mut address = UnixAddress { family: sys::AF_UNIX, path: [0; 108] };
    // An abstract name has a NUL in the place of the @; a path has one behind it.
    let (is_path, length) = match name {
        [b'@', _, ..] => (false, name.len()),
        [b'/', ..] => (true, name.len() + 1),
        _ => return Err(Errno::EAFNOSUPPORT), // "vsock:", of a virtual machine's host
    };
    let places = address.path.get_mut(..length).ok_or(Errno::ENAMETOOLONG)?;
    places.iter_mut().zip(name).for_each(|(place, byte)| *place = *byte);
    if let (false, [first, ..]) = (is_path, places) {
        *first = 0;
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most 110")]
    Ok((address, (size_of::<u16>() + length) as u32))
}

/// Sends one message of the protocol of `sd_notify(3)`.
///
/// With `RELOADING=1` goes the time, which the protocol asks for.
pub(crate) fn notify(socket: c_int, state: &[u8]) -> Result<(), Error> {
    let mut time = Text::<40>::new();
    if has_line(state, b"RELOADING=1\n") && !has_line(state, b"MONOTONIC_USEC=") {
        time.add(b"\n").add(b"MONOTONIC_USEC=").add_number(sys::clock_microseconds().map_err(Error::at(Step::Notify))?);
    }
    send(socket, &[Piece::of(state), Piece::of(time.bytes())], Deadline::NONE, None)
}

/// Whether a line of the message begins so; every line ends with a newline.
fn has_line(message: &[u8], start: &[u8]) -> bool {
    (0..message.len()).any(|at| {
        let begins = at == 0 || message.get(at - 1) == Some(&b'\n');
        let line = message.get(at..).unwrap_or_default().iter().chain(b"\n");
        begins && line.take(start.len()).eq(start)
    })
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
    state.add(b"READY=1").add(b"\nMAINPID=").add_number(pid.unsigned_abs().into());
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
