//! The crate `untty`, with its defaults and a deadline.

use std::process::ExitCode;
use untty::{Daemon, Process};

fn main() -> ExitCode {
    let daemon = Daemon::new().deadline(peers::DEADLINE);
    peers::begin();
    // SAFETY: there is one thread, and no descriptor that would be used afterwards.
    match unsafe { daemon.detach() } {
        Ok(Process::Daemon(mut handle)) => {
            if handle.ready().is_err() {
                return ExitCode::FAILURE;
            }
            peers::daemon_runs()
        }
        Ok(Process::Caller { .. }) => unreachable!("the caller exits"),
        Err(error) => {
            peers::failed(error.step() as i32, error.errno().number());
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
