//! The daemon's standard input, output and error: opened in the caller, put in place in the daemon.

use crate::error::{Errno, Error, Step};
use crate::fds::{Fd, uninterrupted};
use crate::sys;
use core::ffi::{CStr, c_int};

/// Where one of the daemon's standard streams goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stdio<'a> {
    /// `/dev/null`, checked to be the real device (else ENODEV). The default.
    Null,
    /// As it is in the caller, also when it is closed there.
    Inherit,
    /// This descriptor of the caller's; it need not be kept for that.
    Fd(i32),
    /// A file. Standard input reads it. Standard output and error append to it: it is opened
    /// `O_APPEND|O_CLOEXEC|O_NOCTTY|O_NOFOLLOW`, created with mode 0640 (less the caller's umask) if it is missing,
    /// and a FIFO that nobody reads is an error (ENXIO).
    ///
    /// It is opened in the caller, before the first fork: a relative path means what it says, and a wrong one is
    /// reported on the terminal.
    File(&'a CStr),
    /// `/dev/console`, opened without becoming a controlling terminal.
    Console,
    /// For standard error only: wherever standard output goes.
    Stdout,
}

impl Stdio<'_> {
    /// Instead of `/dev/null`, as it is.
    pub(crate) fn unless_null(self) -> Self {
        if self == Self::Null { Self::Inherit } else { self }
    }
}

/// The streams in the order of their descriptors, with the step that each one's errors are reported as.
const STREAMS: [(c_int, Step); 3] =
    [(sys::STDIN, Step::Stdin), (sys::STDOUT, Step::Stdout), (sys::STDERR, Step::Stderr)];

/// The daemon's streams, ready to be put in place. Dropped, it closes what it opened.
pub(crate) struct Streams {
    sources: [Source; 3],
    /// Opened once for all the streams that want it.
    null: Option<Fd>,
}

enum Source {
    Inherit,
    Null,
    Own(Fd),
    Foreign(c_int),
}

/// Refuses descriptors that are not open.
pub(crate) fn refuse_closed(streams: &[Stdio<'_>; 3]) -> Result<(), Error> {
    for ((_, step), stdio) in STREAMS.into_iter().zip(streams) {
        if let Stdio::Fd(fd) = stdio {
            sys::fd_flags(*fd).map_err(Error::at(step))?;
        }
    }
    Ok(())
}

/// Opens everything that can fail to open.
#[inline(never)] // not on the stack of what follows
pub(crate) fn open(streams: &[Stdio<'_>; 3]) -> Result<Streams, Error> {
    let mut opened = Streams { sources: [const { Source::Inherit }; 3], null: None };
    for ((stream, step), (stdio, source)) in STREAMS.into_iter().zip(streams.iter().zip(&mut opened.sources)) {
        *source = open_one(stream, *stdio, &mut opened.null).map_err(Error::at(step))?;
    }
    Ok(opened)
}

fn open_one(stream: c_int, stdio: Stdio<'_>, null: &mut Option<Fd>) -> Result<Source, Errno> {
    match stdio {
        Stdio::Inherit => Ok(Source::Inherit),
        Stdio::Null => {
            if null.is_none() {
                *null = Some(open_null()?);
            }
            Ok(Source::Null)
        }
        // 0 to 2 are about to be replaced themselves, so that two of them can change places.
        Stdio::Fd(fd) if fd <= sys::STDERR => Fd::duplicate(fd).map(Source::Own),
        Stdio::Fd(fd) => Ok(Source::Foreign(fd)),
        Stdio::File(path) if stream == sys::STDIN => Fd::open(path, sys::O_RDONLY | sys::O_NOCTTY, 0).map(Source::Own),
        Stdio::File(path) => open_log(path).map(Source::Own),
        Stdio::Console => open_at_once(c"/dev/console", sys::O_RDWR, 0, 0).map(Source::Own),
        // Standard output is in place before standard error.
        Stdio::Stdout if stream == sys::STDERR => Ok(Source::Foreign(sys::STDOUT)),
        Stdio::Stdout => Err(Errno::EINVAL),
    }
}

fn open_log(path: &CStr) -> Result<Fd, Errno> {
    open_at_once(path, sys::O_WRONLY | sys::O_CREAT | sys::O_NOFOLLOW, sys::O_APPEND, 0o640)
}

/// `reopen_log(fd, path)`—opens a log by its path once more, and puts it in the place of a descriptor: for
/// `logrotate(8)`, which has given the old file another name.
///
/// The file is opened as [`Stdio::File`] says. The descriptor is never closed meanwhile, so whoever writes to it writes
/// to the old file or to the new one; its close-on-exec flag stays. Where several descriptors lead to the log (standard
/// output and error), each is reopened by itself.
///
/// It is async-signal-safe, so a handler of SIGHUP may call it; with feature `libc` it may change `errno`.
///
/// # Errors
/// ([`Step::Log`], errno) of `open(2)`, EBADF when `fd` is not open; the descriptor is then as it was.
///
/// # Notes
/// The path is looked up by this process, with its rights and in its root directory.
///
/// # References
/// `dup2(2)`, `signal-safety(7)`.
pub fn reopen_log(fd: i32, path: &CStr) -> Result<(), Error> {
    replace(fd, path).map_err(Error::at(Step::Log))
}

fn replace(fd: c_int, path: &CStr) -> Result<(), Errno> {
    let close_on_exec = sys::fd_flags(fd)? & sys::FD_CLOEXEC != 0;
    let log = open_log(path)?;
    uninterrupted(|| sys::dup3(log.number(), fd, if close_on_exec { sys::O_CLOEXEC } else { 0 })).map(drop)
}

/// `/dev/null`, and nothing else of that name.
pub(crate) fn open_null() -> Result<Fd, Errno> {
    const DEVICE: u64 = 0x103; // major 1, minor 3: admin-guide/devices.txt
    let null = Fd::open(c"/dev/null", sys::O_RDWR | sys::O_NOCTTY, 0)?;
    let stat = uninterrupted(|| sys::fstat(null.number()))?;
    let real = stat.mode & sys::S_IFMT == sys::S_IFCHR && stat.device == DEVICE;
    if real { Ok(null) } else { Err(Errno::ENODEV) }
}

/// Opens without waiting (for a FIFO's reader, for a serial line's carrier); later writes wait as usual.
fn open_at_once(path: &CStr, flags: c_int, status: c_int, mode: u32) -> Result<Fd, Errno> {
    let fd = Fd::open(path, flags | status | sys::O_NOCTTY | sys::O_NONBLOCK, mode)?;
    sys::set_status_flags(fd.number(), status)?;
    Ok(fd)
}

fn put(from: c_int, stream: c_int, step: Step) -> Result<(), Error> {
    // The two are never the same (EINVAL for dup3): ours are above 2, and so is every other but stderr's 1.
    uninterrupted(|| sys::dup3(from, stream, 0)).map(drop).map_err(Error::at(step))
}

impl Streams {
    /// Makes them 0, 1 and 2, and closes what was opened for them.
    pub(crate) fn put_in_place(self) -> Result<(), Error> {
        for ((stream, step), source) in STREAMS.into_iter().zip(&self.sources) {
            let from = match source {
                Source::Inherit => continue,
                Source::Null => self.null.as_ref().map_or(-1, Fd::number),
                Source::Own(fd) => fd.number(),
                Source::Foreign(fd) => *fd,
            };
            put(from, stream, step)?;
        }
        Ok(())
    }
}
