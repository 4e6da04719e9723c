//! A service as daemon(7) wants it, of the old style and the new: `service PID-FILE LOG`.
//!
//! Started from a shell it becomes a daemon; started by systemd, s6 or runit it stays in the foreground. Either way it
//! has its pid file and its log, says when it is ready, opens its log anew on SIGHUP, and ends orderly on SIGTERM.
//! For s6, `READY_FD` is the number in the service directory's `notification-fd`.

#![allow(clippy::std_instead_of_core, reason = "a program with std")]

use nix::sys::signal::{SigSet, Signal};
use std::env;
use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStringExt;
use std::process::{self, ExitCode};
use untty::{Daemon, Error, Handle, Process, Stdio};

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1).map(|argument| CString::new(argument.into_vec()));
    let (Some(Ok(pid_file)), Some(Ok(log)), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        eprintln!("usage: service PID-FILE LOG");
        return ExitCode::from(2);
    };
    let mut daemon =
        Daemon::new().stay_if_supervised().pid_file(&pid_file).stdout(Stdio::File(&log)).stderr(Stdio::Stdout);
    if let Some(fd) = env::var("READY_FD").ok().and_then(|number| number.parse().ok()) {
        daemon = daemon.ready_fd(fd);
    }
    // SAFETY: this program has no threads, and no descriptor that it would use afterwards.
    match unsafe { daemon.detach() } {
        Ok(Process::Daemon(handle)) => match serve(handle, &pid_file, &log) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(error),
        },
        Ok(Process::Caller { .. }) => ExitCode::SUCCESS, // only with return_in_caller()
        Err(error) => fail(error),
    }
}

fn fail(error: Error) -> ExitCode {
    eprintln!("service: {error}");
    ExitCode::FAILURE
}

fn serve(mut handle: Handle, pid_file: &CStr, log: &CStr) -> Result<(), Error> {
    let signals = SigSet::from_iter([Signal::SIGHUP, Signal::SIGTERM]);
    if signals.thread_block().is_err() {
        handle.fail(1);
    }
    println!("serving: process {}", process::id());
    handle.ready()?;
    handle.notify(b"STATUS=serving")?;
    while let Ok(Signal::SIGHUP) = signals.wait() {
        handle.notify(b"RELOADING=1")?;
        untty::reopen_log(1, log)?;
        untty::reopen_log(2, log)?;
        println!("reopened: process {}", process::id());
        handle.notify(b"READY=1")?;
    }
    handle.notify(b"STOPPING=1")?;
    untty::pid_file_remove(pid_file)
}
