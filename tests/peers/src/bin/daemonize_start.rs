//! The crate `daemonize`, with its defaults, as its documentation has it: `start()`, which exits in the caller. What fails
//! in the daemon is returned there.

use daemonize::Daemonize;
use std::process::ExitCode;

fn main() -> ExitCode {
    peers::begin();
    match Daemonize::new().start() {
        Ok(()) => peers::daemon_runs(),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
