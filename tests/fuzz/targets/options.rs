//! `untty_detach` with any options.

#![no_main]

#[path = "../options.rs"]
mod options;
#[path = "../world.rs"]
mod world;
mod world_of_its_own;

libfuzzer_sys::fuzz_target!(|input: &[u8]| world_of_its_own::with(|world| drop(options::fuzz(world, input))));
