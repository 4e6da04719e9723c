//! The shortest daemon: detach, say ready, then do the work.
//!
//! ```text
//! cargo run --example shortest
//! ```
//!
//! When it prints nothing and its status is 0, the daemon runs; `ps -e | grep shortest` shows it, and kill ends it.

#![allow(clippy::std_instead_of_core, reason = "a program with std")]

use std::process::ExitCode;
use std::thread;
use untty::{Daemon, Process};

fn main() -> ExitCode {
    // SAFETY: this program has no threads, and no descriptor that it would use afterwards.
    match unsafe { Daemon::new().detach() } {
        Ok(Process::Daemon(mut handle)) => {
            if handle.ready().is_err() {
                return ExitCode::FAILURE; // the caller was killed while it waited: nobody expects this daemon
            }
            loop {
                thread::park();
            }
        }
        Ok(Process::Caller { .. }) => ExitCode::SUCCESS, // only with return_in_caller()
        Err(error) => {
            eprintln!("shortest: {error}");
            ExitCode::FAILURE
        }
    }
}
