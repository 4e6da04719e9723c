//! What the Rust programs share: the words to the injector (marker.h), and the daemon's program.

use std::time::Duration;

const MARKER: libc::c_int = 0x756e_7474;
const BEGIN: libc::c_ulong = 1;
const DAEMON: libc::c_ulong = 2;
const RETURNED: libc::c_ulong = 3;
const FAILED: libc::c_ulong = 4;

/// As the documentation of fork's `checked_daemon` has it.
pub const DEADLINE: Duration = Duration::from_secs(3);

fn say(word: libc::c_ulong, a: i32, b: i32) {
    // SAFETY: the kernel knows no such option, and refuses it.
    unsafe { libc::prctl(MARKER, word, libc::c_long::from(a), libc::c_long::from(b), 0_i64) };
}

/// Faults count from here on.
pub fn begin() {
    say(BEGIN, 0, 0);
}

/// In the caller: the call succeeded.
pub fn returned(daemon: i32) {
    say(RETURNED, daemon, 0);
}

/// In the caller: the call failed.
pub fn failed(step: i32, errno: i32) {
    say(FAILED, step, errno);
}

/// The daemon's program.
pub fn daemon_runs() -> ! {
    say(DAEMON, 0, 0);
    loop {
        // SAFETY: waits for a signal; there is no precondition.
        unsafe { libc::pause() };
    }
}
