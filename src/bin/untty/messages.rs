//! What the user is told: every failure is one line, `untty: STEP: what: ERRNO`, in one write.

use core::ffi::c_int;
use untty::text::Text;
use untty::{Errno, sys, uninterrupted};

/// Exit status: this command failed.
pub(crate) const UNTTY_FAILED: c_int = 125;
/// Exit status: the program was found but cannot be executed.
pub(crate) const CANNOT_EXECUTE: c_int = 126;
/// Exit status: there is no such program.
pub(crate) const NOT_FOUND: c_int = 127;

/// A failure that the user has been told of; the exit status is left.
pub(crate) struct Told(pub(crate) c_int);

/// How the line ends.
#[derive(Clone, Copy)]
pub(crate) enum End {
    Errno(Errno),
    ExitStatus(c_int),
}

const LONGEST: usize = 5120;
type Line = Text<LONGEST>;

/// Room for the end, whatever comes before it.
const END: usize = 64;

/// Tells the user.
pub(crate) fn complain(status: c_int, step: &str, what: &[&[u8]], end: End) -> Told {
    let mut line = Line::new();
    line.add(b"untty: ").add(step.as_bytes()).add(b": ");
    what.iter().for_each(|piece| add(&mut line, piece));
    line.cut(LONGEST - END);
    line.add(b": ");
    match end {
        End::Errno(errno) => add_errno(&mut line, errno),
        End::ExitStatus(status) => {
            line.add(b"exit status ").add_number(status.unsigned_abs().into());
        }
    }
    line.add(b"\n");
    // Where nothing can be written, the exit status still has to tell. Ignored: there is nowhere else to complain.
    let _ = sys::rt_sigprocmask(sys::SIG_BLOCK, only(sys::SIGPIPE) | only(sys::SIGXFSZ));
    let _ = write_all(sys::STDERR, line.bytes());
    Told(status)
}

const fn only(signal: c_int) -> sys::SignalSet {
    1 << (signal - 1)
}

/// Control characters become `?`, so that a strange name cannot make it two lines.
fn add(line: &mut Line, piece: &[u8]) {
    piece.iter().for_each(|byte| line.put(if byte.is_ascii_control() { b'?' } else { *byte }));
}

fn add_errno(line: &mut Line, errno: Errno) {
    match errno.name() {
        Some(name) => line.add(name.as_bytes()),
        None => line.add_number(errno.number().unsigned_abs().into()),
    };
}

/// The daemon runs, so whatever happens here, the status is 0 (SIGPIPE is blocked, as all signals are by now); but its
/// process id must not be lost.
pub(crate) fn tell_pid(pid: c_int) {
    let mut line = Line::new();
    line.add_number(pid.unsigned_abs().into()).add(b"\n");
    if let Err(errno) = write_all(sys::STDOUT, line.bytes()) {
        let mut line = Line::new();
        line.add(b"untty: print: the daemon runs, but its process id cannot be printed: ");
        line.add_number(pid.unsigned_abs().into()).add(b": ");
        add_errno(&mut line, errno);
        line.add(b"\n");
        // Ignored: there is nowhere else to complain.
        let _ = write_all(sys::STDERR, line.bytes());
    }
}

pub(crate) fn print(text: &[u8]) -> Result<(), Told> {
    write_all(sys::STDOUT, text)
        .map_err(|errno| complain(UNTTY_FAILED, "print", &[b"cannot write to standard output"], End::Errno(errno)))
}

fn write_all(fd: c_int, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let count = uninterrupted(|| sys::write(fd, bytes))?;
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
}
