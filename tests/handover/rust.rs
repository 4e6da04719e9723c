//! Rust's own: panics that unwind through frames from before, std's threads, and its handler of stack overflows.

use super::super::harness::start::forget_the_tests_parents;
use super::super::harness::{End, c, helper};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, exit};
use std::sync::{Mutex, PoisonError};
use std::{hint, thread};
use untty::{Daemon, Handle, Process, Stdio, Way};

/// Handover, or the program ends.
fn become_daemon(options: Daemon<'_>) -> Handle {
    let options = options.handover().stdout(Stdio::Inherit).stderr(Stdio::Inherit).keep_descriptors();
    // SAFETY: nothing is closed, and this helper has one thread.
    match unsafe { options.detach() } {
        Ok(Process::Daemon(mut handle)) => {
            assert_eq!(handle.way(), Way::Handover);
            handle.ready().expect("the caller waits");
            handle
        }
        other => {
            println!("{other:?}");
            exit(9)
        }
    }
}

fn finish(name: &str) -> (End, Vec<String>, End) {
    let mut command = helper(name);
    // The daemon may end before its caller.
    let (caller, output, orphans) = c::finish(command.env("RUST_BACKTRACE", "0").env("NAME", "value"));
    assert_eq!(orphans.len(), 1, "one daemon: {orphans:?}, {output:?}");
    (caller, output, orphans[0].1)
}

pub fn panics() {
    let (caller, said, daemon) = finish("panics");
    assert_eq!((caller, daemon), (End::Exited(0), End::Exited(3)), "{said:?}");
    let said: Vec<&str> = said.iter().map(String::as_str).filter(|line| !line.is_empty()).collect();
    let is_expected = said.iter().all(|line| line.starts_with("ok ") || is_of_a_panic(line));
    assert!(is_expected, "{said:?}");
    assert_eq!(said.iter().filter(|line| line.starts_with("ok ")).count(), 10, "{said:?}");
    assert!(said.iter().any(|line| line.starts_with("thread 'main' ")), "{said:?}");
}

fn is_of_a_panic(line: &str) -> bool {
    line.starts_with("thread '") || line.starts_with("a panic ") || line.starts_with("note: run with")
}

fn say(it_holds: bool, statement: &str) {
    println!("{} {statement}", if it_holds { "ok" } else { "not ok" });
}

thread_local! {
    static TEXT: RefCell<String> = const { RefCell::new(String::new()) };
}

struct Counted<'a>(&'a Mutex<u32>, u32);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += self.1;
    }
}

#[inline(never)]
fn fail(dropped: &Mutex<u32>, depth: u32) -> u32 {
    let _counted = Counted(dropped, 1);
    assert!(depth > 0, "a panic of the daemon's");
    fail(dropped, depth - 1) + hint::black_box(1)
}

#[inline(never)]
fn entered_before(dropped: &Mutex<u32>) -> Handle {
    let _counted = Counted(dropped, 100);
    let _handle = become_daemon(Daemon::new());
    let inner = catch_unwind(AssertUnwindSafe(|| fail(dropped, 3)));
    say(inner.is_err() && *dropped.lock().expect("whole") == 4, "a panic is caught where it began afterwards");
    fail(dropped, 5);
    unreachable!()
}

pub fn panics_in_a_daemon(_: &[String]) {
    forget_the_tests_parents();
    TEXT.with_borrow_mut(|text| text.push_str("from before"));
    let before = thread::current().id();
    let dropped = Mutex::new(0);
    let caught = catch_unwind(AssertUnwindSafe(|| entered_before(&dropped)));
    let message = caught.expect_err("a panic");
    say(message.downcast_ref() == Some(&"a panic of the daemon's"), "a panic is caught in a frame from before");
    say(*dropped.lock().expect("whole") == 4 + 6 + 100, "all on the way was dropped");
    say(TEXT.with_borrow(|text| text == "from before"), "thread-local variables are as they were");
    say(thread::current().id() == before && thread::current().name() == Some("main"), "this is the main thread");
    let joined = thread::spawn(|| panic!("a panic of a thread's")).join();
    say(joined.is_err(), "a thread's panic is told to who joins it");
    let poisoned = Mutex::new(5);
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let _guard = poisoned.lock();
        panic!("a panic with a lock");
    }));
    say(poisoned.is_poisoned(), "a mutex is poisoned");
    let sum: u64 = thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|index| scope.spawn(move || (0..1000).map(|_| index).sum::<u64>())).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    say(sum == 28000, "scoped threads");
    let output = Command::new("sh").args(["-c", "echo $NAME; exit 4"]).output().expect("a shell");
    say(output.stdout == b"value\n" && output.status.code() == Some(4), "a command with the environment");
    say(std::env::args().nth(2).as_deref() == Some("panics"), "the arguments");
    exit(3);
}

pub fn uncaught_panic() {
    let (caller, said, daemon) = finish("uncaught");
    assert_eq!((caller, daemon), (End::Exited(0), End::Exited(101)), "{said:?}");
    assert!(said.iter().any(|line| line.starts_with("thread 'main' ")), "{said:?}");
    assert!(said.iter().any(|line| line == "nobody catches this"), "{said:?}");
}

pub fn uncaught_in_a_daemon(_: &[String]) {
    forget_the_tests_parents();
    let _handle = become_daemon(Daemon::new());
    panic!("nobody catches this");
}

pub fn stack_overflow_is_reported() {
    let (caller, said, daemon) = finish("overflow");
    assert_eq!((caller, daemon), (End::Exited(0), End::Killed(libc::SIGABRT)), "{said:?}");
    let is_reported = |line: &String| line.contains("thread 'main'") && line.contains("has overflowed its stack");
    assert!(said.iter().any(is_reported), "{said:?}");
}

#[inline(never)]
fn for_ever(depth: u64) -> u64 {
    let page = hint::black_box([depth; 512]);
    if page[0] == u64::MAX { 0 } else { for_ever(depth + 1) + page[1] }
}

/// With its own handler of SIGSEGV, which a daemon that resets signals has not.
pub fn overflow(_: &[String]) {
    let _handle = become_daemon(Daemon::new().keep_signals());
    let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a core of that would help nobody; the limit can be read there.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const limit) };
    println!("{}", for_ever(1));
}
