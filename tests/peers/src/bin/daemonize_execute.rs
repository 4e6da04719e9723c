//! The crate `daemonize` at its most truthful: `execute()`, whose caller learns the first child's status. (It is a wait
//! status, which `start()` hands to `exit`.)

use daemonize::{Daemonize, Outcome};
use std::process::ExitCode;

fn main() -> ExitCode {
    peers::begin();
    match Daemonize::new().execute() {
        Outcome::Child(Ok(_)) => peers::daemon_runs(),
        Outcome::Child(Err(error)) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        Outcome::Parent(Ok(parent)) if parent.first_child_exit_code == 0 => {
            peers::returned(0);
            ExitCode::SUCCESS
        }
        Outcome::Parent(Ok(parent)) => {
            eprintln!("the first child's wait status is {}", parent.first_child_exit_code);
            peers::failed(0, 0);
            ExitCode::FAILURE
        }
        Outcome::Parent(Err(error)) => {
            eprintln!("{error}");
            peers::failed(0, 0);
            ExitCode::FAILURE
        }
    }
}
