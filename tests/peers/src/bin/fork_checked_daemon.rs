//! The crate `fork` at its most truthful: `checked_daemon()`, with the options and the deadline of its documentation.

use fork::{CheckedDaemon, DaemonError, DaemonOptions, checked_daemon};
use std::error::Error;
use std::process::ExitCode;

fn start() -> Result<CheckedDaemon, Box<dyn Error>> {
    let mut options = DaemonOptions::new();
    options.current_directory("/")?.redirect_standard_io_to_null()?;
    Ok(checked_daemon(options, peers::DEADLINE)?)
}

fn step_and_errno(error: &(dyn Error + 'static)) -> (i32, i32) {
    if let Some(DaemonError::OperatingSystem { stage, error, .. }) = error.downcast_ref() {
        return (*stage as i32, error.raw_os_error().unwrap_or(0));
    }
    let error: Option<&std::io::Error> = error.downcast_ref();
    (0, error.and_then(std::io::Error::raw_os_error).unwrap_or(0))
}

fn main() -> ExitCode {
    peers::begin();
    match start() {
        Ok(CheckedDaemon::Daemon(notifier)) => {
            if notifier.notify_ready().is_err() {
                return ExitCode::FAILURE;
            }
            peers::daemon_runs()
        }
        Ok(CheckedDaemon::Parent(process)) => {
            peers::returned(process.process().get());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let (step, errno) = step_and_errno(error.as_ref());
            peers::failed(step, errno);
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
