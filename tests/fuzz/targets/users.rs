//! The raw command's user database.

#![no_main]

#[allow(dead_code, reason = "the command needs more of it")]
#[path = "../../../src/bin/untty/buffer.rs"]
mod buffer;
#[allow(dead_code, reason = "the command needs more of it")]
#[path = "../../../src/bin/untty/user.rs"]
mod user;
#[path = "../users.rs"]
mod users;

use std::{env, fs, process};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    thread_local! {
        static DATABASE: users::Database = mount();
    }
    DATABASE.with(|database| users::fuzz(database, input));
});

fn mount() -> users::Database {
    let directory = env::temp_dir().join(format!("untty-fuzz-users-{}", process::id()));
    fs::create_dir(&directory).unwrap();
    users::Database::mount(&directory).unwrap()
}
