//! A daemon without std, without an allocator and without Rust's start: `no_std` and `no_main`.
//!
//! ```text
//! cargo run --manifest-path examples/bare/Cargo.toml
//! ```
//!
//! It works with both backends. A program that is to do without a C library too uses the raw one, and has its own
//! `_start` in place of `main` and of the three C functions below, as `tests/consumers/no_libc` and the command do.

#![no_std]
#![no_main]

use core::ffi::{c_char, c_int, c_void};
use core::fmt::{self, Write};
use untty::{Daemon, Process, Stdio};

// Nothing else asks for the C library here, and its start files call main.
#[link(name = "c")]
unsafe extern "C" {
    safe fn getpid() -> c_int;
    safe fn getsid(pid: c_int) -> c_int;
    fn write(fd: c_int, bytes: *const c_void, count: usize) -> isize;
}

/// A descriptor to print to.
struct Output(c_int);

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // SAFETY: so many bytes can be read there.
        let written = unsafe { write(self.0, text.as_ptr().cast(), text.len()) };
        if usize::try_from(written) == Ok(text.len()) { Ok(()) } else { Err(fmt::Error) }
    }
}

#[unsafe(no_mangle)]
extern "C" fn main(_: c_int, _: *const *const c_char) -> c_int {
    // Standard output is inherited to say hello; a real one would not keep the terminal.
    // SAFETY: this program has no threads, and no descriptor that it would use afterwards.
    match unsafe { Daemon::new().stdout(Stdio::Inherit).detach() } {
        Ok(Process::Daemon(mut handle)) => {
            if writeln!(Output(1), "daemon {} in session {}", getpid(), getsid(0)).is_err() {
                handle.fail(1); // the caller's status says so too
            }
            c_int::from(handle.ready().is_err())
        }
        Ok(Process::Caller { .. }) => 0, // only with return_in_caller()
        Err(error) => {
            // Ignored: there is nowhere else to complain.
            let _ = writeln!(Output(2), "bare: {error}");
            1
        }
    }
}

/// Nothing unwinds here, but the precompiled core, if little of it is optimised away, asks for who would handle it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
