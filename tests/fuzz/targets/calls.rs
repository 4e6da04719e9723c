//! The other functions of the C interface.

#![no_main]

#[path = "../calls.rs"]
mod calls;
#[path = "../world.rs"]
mod world;
mod world_of_its_own;

libfuzzer_sys::fuzz_target!(|input: &[u8]| world_of_its_own::with(|world| calls::fuzz(world, input)));
