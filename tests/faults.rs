//! The promise under every fault (see tests/faults/): a start is recorded, and then started anew as often as something
//! can go wrong in it: every call of every process fails with every errno it can give, every process is killed, stopped
//! and signalled at every call.
//!
//! `cargo test` takes a sample. `UNTTY_FAULTS=all` is the whole sweep, `UNTTY_FAULTS=N` a sample of N; `UNTTY_SEED` has
//! another sample taken. `UNTTY_FAULT='PLAN | ROLE INDEX CALL WHAT EXTENT'`, as a finding is printed, replays one fault
//! and tells the whole story.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests have std")]
#![allow(missing_docs, unreachable_pub, missing_debug_implementations, reason = "tests")]

mod harness;

/// Its registers are known.
#[cfg(target_arch = "x86_64")]
mod faults {
    pub mod calls;
    pub mod entry;
    pub mod findings;
    pub mod inject;
    pub mod look;
    pub mod peers;
    pub mod plans;
    pub mod promise;
    pub mod report;
    pub mod sweep;
    pub mod worker;
}

#[cfg(target_arch = "x86_64")]
fn main() {
    faults::sweep::main();
}

#[cfg(not(target_arch = "x86_64"))]
fn main() {
    eprintln!("SKIPPED: the injector of faults knows the registers of x86_64 only");
}
