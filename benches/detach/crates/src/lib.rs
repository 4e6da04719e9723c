//! Other crates that make daemons, for program.c: 0 in the daemon, -1 where the call failed. As their documentation has
//! them.

use daemonize::Daemonize;
use fork::{CheckedDaemon, DaemonOptions, Fork, checked_daemon};
use std::error::Error;
use std::ffi::c_int;
use std::process;
use std::time::Duration;

/// The crate `daemonize`.
#[unsafe(no_mangle)]
pub extern "C" fn crate_daemonize() -> c_int {
    if Daemonize::new().start().is_ok() { 0 } else { -1 }
}

/// The crate `fork`, whose `daemon` exits in the caller at once.
#[unsafe(no_mangle)]
pub extern "C" fn crate_fork_daemon() -> c_int {
    match fork::daemon(false, false) {
        Ok(Fork::Child) => 0,
        _ => -1,
    }
}

/// The crate `fork` at its most truthful.
#[unsafe(no_mangle)]
pub extern "C" fn crate_fork_checked_daemon() -> c_int {
    match checked() {
        Ok(CheckedDaemon::Daemon(notifier)) => {
            if notifier.notify_ready().is_ok() { 0 } else { -1 }
        }
        Ok(CheckedDaemon::Parent(_)) => process::exit(0),
        Err(_) => -1,
    }
}

fn checked() -> Result<CheckedDaemon, Box<dyn Error>> {
    let mut options = DaemonOptions::new();
    options.current_directory("/")?.redirect_standard_io_to_null()?;
    Ok(checked_daemon(options, Duration::from_secs(20))?)
}
