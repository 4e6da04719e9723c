//! `daemon(3)`, with a second fork and the truth: rows 0 to 8 and 12, 13 of the table in README.md, and nothing else.
//!
//! A sequence of its own, because its errors are an errno and no step, nothing but this library's code runs until the
//! daemon is ready, and who links no more than this gets two kilobytes.

use crate::error::Errno;
use crate::fds::{Fd, uninterrupted};
use crate::signals::{self, Signals};
use crate::sys::{self, SignalSet};
use crate::{forks, report, stdio};
use core::ffi::c_int;

/// Turns the process into a daemon as `daemon(3)` does. Returns in the daemon, which is ready then; on failure, in the
/// caller.
pub(crate) fn detach(keep_directory: bool, keep_streams: bool) -> Result<(), Errno> {
    forks::refuse_process_1()?;
    let null = if keep_streams { None } else { Some(stdio::open_null()?) };
    let signals = Signals::block()?;
    fork_off(keep_directory, null, signals.mask).inspect_err(|_| {
        signals.forget_the_leader();
        signals.unblock();
    })
}

fn fork_off(keep_directory: bool, null: Option<Fd>, mask: SignalSet) -> Result<(), Errno> {
    let (read_end, write_end) = report::ends()?;
    let leader = forks::fork()?;
    if leader != 0 {
        drop(write_end);
        wait(leader, &read_end)?;
        sys::exit(0);
    }
    drop(read_end);
    become_daemon(keep_directory, null, mask, &write_end).map_err(|errno| {
        // Ignored: if nobody listens any more, nobody is left to be told.
        let _ = tell(&write_end, errno.number());
        sys::exit(1)
    })
}

/// The leader, and the daemon that it forks.
fn become_daemon(keep_directory: bool, null: Option<Fd>, mask: SignalSet, caller: &Fd) -> Result<(), Errno> {
    let leader = forks::lead_a_session()?;
    forks::fork_and_leave()?;
    if !keep_directory {
        uninterrupted(|| sys::chdir(c"/"))?;
    }
    if let Some(null) = null {
        for stream in sys::STDIN..sys::STDERR + 1 {
            uninterrupted(|| sys::dup3(null.number(), stream, 0))?;
        }
    }
    forks::outlive(leader);
    signals::unblock_and(mask, |errno| errno, || tell(caller, 0))
}

/// Tells the caller of an error, or with 0 that the daemon is ready. SIGPIPE is blocked.
fn tell(caller: &Fd, errno: c_int) -> Result<(), Errno> {
    report::write_all(caller.number(), &errno.to_ne_bytes())
}

/// The caller waits for that word, then until the leader is gone and, unless it is ready, the daemon too.
fn wait(leader: c_int, daemon: &Fd) -> Result<(), Errno> {
    let mut word = [0; size_of::<c_int>()];
    let told = match report::read_whole(daemon.number(), &mut word) {
        Ok(4) if word == [0; 4] => Ok(()),
        Ok(4) => Err(Errno::new(c_int::from_ne_bytes(word))),
        Ok(_) => Err(Errno::ESRCH),
        Err(errno) => Err(errno),
    };
    if told.is_err() {
        if report::is_ours(leader) {
            // Ignored: it goes by itself, unless it was stopped.
            let _ = sys::kill(leader, sys::SIGKILL);
        }
        report::kill_group(leader);
    }
    // Ignored: it is reaped already where SIGCHLD is ignored or handled.
    let _ = uninterrupted(|| sys::wait_and_reap(leader));
    if told.is_err() {
        report::outlive(leader, || true);
    }
    told
}
