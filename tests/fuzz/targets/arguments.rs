//! The command's arguments.

#![no_main]

#[path = "../../../src/bin/untty/arguments.rs"]
mod arguments;
#[allow(dead_code, reason = "the command needs more of it")]
#[path = "../../../src/bin/untty/buffer.rs"]
mod buffer;
#[path = "../arguments.rs"]
mod fuzz_arguments;
#[allow(dead_code, reason = "the command needs more of it")]
#[path = "../../../src/bin/untty/messages.rs"]
mod messages;

use fuzz_arguments::exit;

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz_arguments::fuzz(input));
