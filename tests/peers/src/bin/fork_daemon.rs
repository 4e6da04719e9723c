//! The crate `fork`, its `daemon()`, which exits in the caller at once.

use fork::{Fork, daemon};
use std::process::ExitCode;

fn main() -> ExitCode {
    peers::begin();
    match daemon(false, false) {
        Ok(Fork::Child) => peers::daemon_runs(),
        Ok(Fork::Parent(_)) => unreachable!("daemon() exits both parent processes"),
        Err(error) => {
            eprintln!("daemon failed: {error}");
            ExitCode::FAILURE
        }
    }
}
