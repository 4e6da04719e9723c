//! What the user is told: every failure is one line, `untty: STEP: what: ERRNO`, in one write, and the end.

use crate::buffer::{Buffer, MOST};
use core::ffi::c_int;
use untty::{Errno, sys, uninterrupted};

/// Exit status: this command failed.
pub(crate) const UNTTY_FAILED: c_int = 125;
/// Exit status: the program was found but cannot be executed.
pub(crate) const CANNOT_EXECUTE: c_int = 126;
/// Exit status: there is no such program.
pub(crate) const NOT_FOUND: c_int = 127;

/// Room for the end of a line, whatever comes before it.
const END: usize = 64;

/// Fails with `STEP: what`; a `%` stands for what the user gave.
pub(crate) fn fail(what: &str, given: &[u8], errno: Errno) -> ! {
    complain("", what, given, errno);
    crate::exit(UNTTY_FAILED)
}

/// Fails because of what the user said.
pub(crate) fn misuse(what: &str, given: &[u8]) -> ! {
    const INVALID: Errno = Errno::new(22);
    complain("options: ", what, given, INVALID);
    crate::exit(UNTTY_FAILED)
}

fn complain(step: &str, what: &str, given: &[u8], errno: Errno) {
    let mut line = Buffer::new();
    line.add(b"untty: ").add(step.as_bytes());
    for byte in what.bytes() {
        match byte {
            b'%' => line.add(given),
            byte => line.add(&[byte]),
        };
    }
    tell(&mut line, b": ", errno.name(), errno.number());
}

/// Ends a line with a name or a number and what is before it, and writes it.
pub(crate) fn tell(line: &mut Buffer, before: &[u8], name: Option<&str>, number: c_int) {
    line.cut(MOST - END);
    line.add(before);
    match name {
        Some(name) => line.add(name.as_bytes()),
        None => line.add_number(number.unsigned_abs()),
    };
    write_line(line);
}

/// Control characters become `?`, so that a strange name cannot make it two lines.
fn write_line(line: &mut Buffer) {
    let control = line.bytes_mut().iter_mut().filter(|byte| byte.is_ascii_control());
    control.for_each(|byte| *byte = b'?');
    line.add(b"\n");
    // Where nothing can be written, the exit status still has to tell. Ignored: there is nowhere else to complain.
    let _ = sys::rt_sigprocmask(sys::SIG_BLOCK, only(sys::SIGPIPE) | only(sys::SIGXFSZ));
    let _ = write_all(sys::STDERR, line.bytes());
}

const fn only(signal: c_int) -> sys::SignalSet {
    1 << (signal - 1)
}

/// The daemon runs, so whatever happens here, the status is 0 (SIGPIPE is blocked, as all signals are by now); but its
/// process id must not be lost.
pub(crate) fn print_pid(pid: c_int) {
    let mut line = Buffer::new();
    let digits = line.add_number(pid.unsigned_abs()).bytes().len();
    if let Err(errno) = write_all(sys::STDOUT, line.add(b"\n").bytes()) {
        line.cut(digits);
        complain("", "print: the daemon runs, but its process id cannot be printed: %", line.bytes(), errno);
    }
}

/// Prints a text, and succeeds.
pub(crate) fn print(text: &str) -> ! {
    match write_all(sys::STDOUT, text.as_bytes()) {
        Ok(()) => crate::exit(0),
        Err(errno) => fail("print: cannot write to standard output", b"", errno),
    }
}

fn write_all(fd: c_int, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let count = uninterrupted(|| sys::write(fd, bytes))?;
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
}
