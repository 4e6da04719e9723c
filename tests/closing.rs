//! To be written.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod harness;

fn main() {
    harness::main(&[], &[]);
}
