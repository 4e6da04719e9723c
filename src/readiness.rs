//! When another program that became the daemon is ready: what it may say, and how the caller hears it.

use crate::error::{Errno, Error, Step};
use crate::fds::{Fd, uninterrupted};
use crate::sys::direct::{self as sys, Sender, SenderMessage, UnixAddress};
use crate::text::{self, Text};
use core::cell::Cell;
use core::ffi::c_int;

/// When a program that was started with [`Daemon::spawn`](crate::Daemon::spawn) is ready.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Readiness<'a> {
    /// When it has been executed.
    Executed,
    /// When it writes a newline to its descriptor of this number, at least 3, as `s6-supervise` has it.
    Newline(i32),
    /// When it says `READY=1` on that socket, as systemd has it.
    Notify(&'a NotifySocket),
}

/// What the caller waits for besides the report pipe.
#[derive(Debug)]
pub(crate) enum Awaited<'a> {
    Execution,
    Newline(Fd),
    Notify(&'a NotifySocket),
}

/// The end of a pipe that the program gets, and the number it gets it as.
#[derive(Debug)]
pub(crate) struct Promise {
    writer: Fd,
    number: c_int,
}

/// What was heard.
pub(crate) enum Heard {
    Nothing,
    Ready,
    /// It needs so many more microseconds.
    MoreTime(u64),
    /// It will never say anything.
    Silence,
    /// Whoever has said something waits until that is heard, and says no more.
    Barrier,
}

/// Opens what has to be opened before the first fork.
pub(crate) fn open(readiness: Readiness<'_>) -> Result<(Awaited<'_>, Option<Promise>), Errno> {
    match readiness {
        Readiness::Executed => Ok((Awaited::Execution, None)),
        Readiness::Notify(socket) => {
            socket.forget();
            Ok((Awaited::Notify(socket), None))
        }
        Readiness::Newline(number) => {
            let (reader, writer) = sys::pipe()?;
            let (reader, writer) = (Fd::above_stdio(reader), Fd::above_stdio(writer));
            Ok((Awaited::Newline(reader?), Some(Promise { writer: writer?, number })))
        }
    }
}

impl Promise {
    pub(crate) fn descriptor(&self) -> c_int {
        self.writer.number()
    }

    pub(crate) fn number(&self) -> c_int {
        self.number
    }

    /// Gives the descriptor its number, and leaves it to the program.
    pub(crate) fn put_in_place(mut self) -> Result<(), Error> {
        let placed = self
            .writer
            .clear(self.number)
            .and_then(|()| uninterrupted(|| sys::dup3(self.writer.number(), self.number, 0)));
        placed.map(drop).map_err(Error::at(Step::Notify))
    }
}

impl Awaited<'_> {
    /// The descriptor to wait on.
    pub(crate) fn descriptor(&self) -> c_int {
        match self {
            Self::Execution => -1,
            Self::Newline(reader) => reader.number(),
            Self::Notify(socket) => socket.socket.number(),
        }
    }

    /// Hears one message from that daemon, or from a program in its session or in the one that it was started in.
    pub(crate) fn hear(&self, session: c_int, daemon: c_int) -> Result<Heard, Error> {
        match self {
            Self::Execution => Ok(Heard::Nothing),
            Self::Newline(reader) => hear_newline(reader),
            Self::Notify(socket) => socket.hear(session, daemon),
        }
        .map_err(Error::at(Step::Notify))
    }

    /// Whether a program that has said that it is ready may want to say more.
    pub(crate) fn goes_on(&self) -> bool {
        matches!(self, Self::Notify(_))
    }

    /// What the program has said of why it failed.
    pub(crate) fn errno(&self) -> Option<Errno> {
        match self {
            Self::Notify(socket) => socket.errno.get(),
            _ => None,
        }
    }
}

fn hear_newline(reader: &Fd) -> Result<Heard, Errno> {
    let mut bytes = [0; 64];
    let length = uninterrupted(|| sys::read(reader.number(), &mut bytes))?;
    let heard = bytes.get(..length).unwrap_or_default();
    Ok(match heard {
        [] => Heard::Silence,
        _ if heard.contains(&b'\n') => Heard::Ready,
        _ => Heard::Nothing,
    })
}

/// A socket on which a program says how it is, by the protocol of `sd_notify(3)`. Its [name](Self::name) is to be in
/// the program's environment as `NOTIFY_SOCKET`.
///
/// `READY=1`, `STATUS=`, `ERRNO=` and `EXTEND_TIMEOUT_USEC=` are understood, the rest is passed over. A message counts
/// when its sender, as the kernel tells it, is in the session of the daemon; or is gone already, and was of root, of
/// the caller's user or of the daemon's.
///
/// The name is in the abstract namespace (`unix(7)`): there is no file to be removed, a root directory does not hide
/// it, but another network namespace does.
#[derive(Debug)]
pub struct NotifySocket {
    socket: Fd,
    name: Text<NAME>,
    status: Cell<Text<STATUS>>,
    errno: Cell<Option<Errno>>,
    user: Cell<u32>,
}

const NAME: usize = 108;
/// So much of a status is kept.
const STATUS: usize = 256;
/// So long a message may be: PIPE_BUF, as with systemd.
const MESSAGE: usize = 4096;

impl NotifySocket {
    /// Makes the socket.
    ///
    /// # Errors
    /// ([`Step::Notify`], errno) of `socket(2)`, `bind(2)` or `setsockopt(2)`.
    pub fn new() -> Result<Self, Error> {
        Self::make().map_err(Error::at(Step::Notify))
    }

    fn make() -> Result<Self, Errno> {
        let socket = Fd::above_stdio(sys::datagram_socket()?)?;
        sys::pass_senders(socket.number())?;
        let mut address = UnixAddress { family: sys::AF_UNIX, path: [0; NAME] };
        // Without a name, the kernel finds one that is free.
        const FAMILY_ALONE: u32 = 2;
        sys::bind(socket.number(), &address, FAMILY_ALONE)?;
        let length = sys::getsockname(socket.number(), &mut address)?.saturating_sub(FAMILY_ALONE);
        let mut name = Text::new();
        name.add(b"@").add(address.path.get(1..length as usize).unwrap_or_default());
        let (status, errno, user) = (Cell::new(Text::new()), Cell::new(None), Cell::new(sys::NO_ID));
        Ok(Self { socket, name, status, errno, user })
    }

    /// The value for `NOTIFY_SOCKET`.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.name.bytes()
    }

    /// The last `STATUS=`, the first 256 bytes of it; empty if there was none.
    #[must_use]
    #[doc(hidden)]
    pub fn status(&self) -> Text<STATUS> {
        self.status.get()
    }

    /// Forgets what an earlier start has said.
    fn forget(&self) {
        let mut sender = SenderMessage::default();
        while uninterrupted(|| sys::receive(self.socket.number(), &mut [0], &mut sender)).is_ok() {}
        self.errno.set(None);
        self.status.set(Text::new());
    }

    /// As whom the daemon will run.
    pub(crate) fn expect(&self, user: u32) {
        self.user.set(user);
    }

    fn hear(&self, session: c_int, daemon: c_int) -> Result<Heard, Errno> {
        let mut message = [0; MESSAGE];
        let mut sender = SenderMessage::default();
        let length = match uninterrupted(|| sys::receive(self.socket.number(), &mut message, &mut sender)) {
            Err(Errno::EAGAIN) => return Ok(Heard::Nothing),
            result => result?,
        };
        let mut heard = Heard::Nothing;
        // Of a message that is too long, nothing is believed, as with systemd.
        if self.may_say(&sender.sender, session, daemon)? {
            for line in message.get(..length).unwrap_or_default().split(|byte| *byte == b'\n') {
                match self.understand(line) {
                    Heard::Nothing => {}
                    Heard::MoreTime(_) if matches!(heard, Heard::Ready) => {}
                    it => heard = it,
                }
            }
        }
        Ok(heard)
    }

    /// A helper such as `systemd-notify` may be gone when its message is read.
    fn may_say(&self, sender: &Sender, session: c_int, daemon: c_int) -> Result<bool, Errno> {
        if sender.pid <= 0 {
            return Ok(false); // a process that has no pid here; 0 would ask for our own session
        }
        match sys::getsid(sender.pid) {
            Ok(it) => Ok(it == session || sender.pid == daemon || sys::getsid(daemon) == Ok(it)),
            Err(Errno::ESRCH) => Ok(self.is_known(sender.uid)),
            Err(errno) => Err(errno),
        }
    }

    fn is_known(&self, user: u32) -> bool {
        let [_, ours, _] = sys::getresuid().unwrap_or([0; 3]);
        [0, ours, self.user.get()].contains(&user)
    }

    fn understand(&self, line: &[u8]) -> Heard {
        let value = |name: &[u8]| line.strip_prefix(name);
        match line {
            b"READY=1" => return Heard::Ready,
            b"BARRIER=1" => return Heard::Barrier,
            _ => {}
        }
        if let Some(status) = value(b"STATUS=") {
            let mut text = Text::new();
            text.add(status);
            self.status.set(text);
        }
        if let Some(errno) = value(b"ERRNO=").and_then(|value| text::number(value, 10)) {
            self.errno.set(i32::try_from(errno).ok().filter(|errno| *errno > 0).map(Errno::new));
        }
        value(b"EXTEND_TIMEOUT_USEC=").and_then(|value| text::number(value, 10)).map_or(Heard::Nothing, Heard::MoreTime)
    }
}
