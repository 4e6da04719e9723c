//! A world below the temporary directory, made at the first input, in a process that cannot fork from then on.

use crate::world::{Library, World, forbid_forks};
use std::{env, fs, process};

pub fn with(fuzz: impl FnOnce(&World)) {
    thread_local! {
        static WORLD: World = make();
    }
    WORLD.with(|world| fuzz(world));
}

fn make() -> World {
    let directory = env::temp_dir().join(format!("untty-fuzz-{}", process::id()));
    fs::create_dir(&directory).unwrap();
    let world = World::new(Library::linked(), &directory);
    forbid_forks();
    world
}
