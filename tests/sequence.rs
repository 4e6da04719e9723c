//! The sequence, seen from outside: what the daemon is, what the caller learns, what is left.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod harness;

use harness::{Call, End, Meeting, Scratch, Warden, helper, state};
use std::ffi::CString;
use untty::{Daemon, Process};

fn main() {
    harness::main(
        &[("daemon_has_the_whole_default_state", daemon_has_the_whole_default_state)],
        &[("detach_and_call", detach_and_call)],
    );
}

/// Detaches with the defaults, says ready, calls with its state.
fn detach_and_call(arguments: &[String]) {
    let path = CString::new(arguments[0].as_str()).unwrap();
    let _ = path;
    // SAFETY: a helper has one thread, and uses no descriptor that gets closed.
    match unsafe { Daemon::new().detach() } {
        Ok(Process::Daemon(handle)) => {
            let state = state();
            handle.ready().unwrap();
            let mut call = Call::to(&arguments[0]);
            call.tell_state(&state);
            call.wait_for_the_end();
        }
        other => panic!("{other:?}"),
    }
}

fn daemon_has_the_whole_default_state() {
    let scratch = Scratch::new();
    let meeting = Meeting::new(&scratch);
    let mut warden = Warden::start(helper("detach_and_call").arg(meeting.path()));
    assert_eq!(warden.caller(), End::Exited(0));
    let mut daemon = meeting.daemon();
    let state = daemon.state();
    assert_eq!(state["parent"], warden.pid().to_string());
    assert_ne!(state["session"], state["pid"]);
    assert_ne!(state["group"], state["pid"]);
    assert_eq!(state["session"], state["group"]);
    assert_eq!(state["terminal"], "0");
    assert_eq!(state["directory"], "/");
    assert_eq!(state["umask"], "0027");
    assert_eq!(state["blocked"], "0000000000000000");
    assert_eq!(state["ignored"], "0000000000000000");
    drop(daemon);
    let ends = warden.rest();
    assert_eq!(ends, [(state["pid"].parse().unwrap(), End::Exited(0))]);
}
