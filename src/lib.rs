//! `untty` turns the calling process into a daemon: it leaves the terminal for good, and **the caller always learns
//! the truth**. Either one daemon runs, in the whole state that was asked for, or the original process has the failing
//! step and its errno, is as it was, and nothing is left behind.
//!
//! ```no_run
//! use untty::{Daemon, Process};
//!
//! fn main() -> Result<(), untty::Error> {
//!     // SAFETY: this program has no threads, and no descriptor that it would use afterwards.
//!     match unsafe { Daemon::new().directory(c"/").detach() }? {
//!         Process::Daemon(mut handle) => handle.ready()?, // after the sockets are bound
//!         Process::Caller { .. } => {}                // only with return_in_caller()
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Three processes
//! - the **caller** is the process that called. It waits until the daemon is ready, then exits 0 (or returns);
//! - the **leader** is the intermediate session leader. It is gone when the caller knows that the daemon is ready;
//! - the **daemon** is the one that stays. It is no session leader, so it can never acquire a controlling terminal.
//!
//! # The rooms
//! | room | what is in it |
//! |---|---|
//! | `daemon`, `options` | the two ways in, and the options |
//! | `sequence` | the sequence: one short function a step, in the order they run |
//! | `after` | what follows it: the process's own program, or another one |
//! | `forks` | the two forks, which are the same for every start |
//! | `handover` | the other way: the daemon takes the caller's memory over; why it may, is told in [`handover_rationale`] |
//! | `classic` | the shortest start: `daemon(3)`'s (feature `capi`) |
//! | `handle` | which process this is, and what the daemon holds: the way to its caller and its supervisor |
//! | `report` | the pipe between daemon and caller |
//! | `wait` | waiting for a program to get ready, until a deadline |
//! | `watch` | the leader that watches its daemon execute a program |
//! | `stdio` | standard input, output and error |
//! | `signals` | blocking them, resetting them |
//! | `pid_file` | the pid file: opened and locked, written, put back, read, removed |
//! | `credentials` | giving up privileges, and the proof |
//! | `supervisor` | whether systemd, s6 or runit runs this process, and talking to it |
//! | `readiness` | hearing when another program that became the daemon is ready |
//! | `environment`, `text` | variables; short texts and numbers |
//! | `fds` | owning a descriptor, and the ladder that closes all others |
//! | `deadline` | how long to wait |
//! | `error` | [`Error`], [`Step`], [`Errno`] |
//! | `sys` | the seam: the system calls, with two backends |
//! | `capi` | the C interface (feature `capi`) |
//!
//! # Features
//! - `libc` (default): calls go through the C library, and its `fork` runs atfork handlers.
//! - `raw`: raw system calls, for programs without a C library, on x86_64, aarch64 and riscv64.
//! - `capi`: the `extern "C"` functions of `untty.h`.
//!
//! With both backends on, `libc` is used. There is no allocation, no signal handler, no output, and no global state but
//! the small stacks on which processes wait during a [handover](Daemon::handover), one start at a time.
//!
//! # Raw forks in a program with a C library
//! Where a program has a C library, use the backend `libc`. With `raw` that library is not told of the forks.
//!
//! **glibc** is told afterwards. Each child writes its thread's id where glibc keeps its own copy of it, registers what
//! the kernel has to write to at the thread's end, and an empty list of robust mutexes; a reset of signals spares the
//! handlers of glibc's own two (32 and 33). So `raise`, `abort`, `pthread_kill`, `pthread_cancel`, `pthread_join` of the
//! first thread, `pthread_setschedparam` and its like, `setuid` in all threads, and mutexes of every kind, shared ones
//! too, are as after glibc's own fork (tried with 2.31, 2.36, 2.41 and 2.43, shared; 2.36 static). What stays wrong:
//! - handlers of `pthread_atfork` do not run;
//! - where threads were accepted, glibc takes those for alive that the daemon does not have: `setuid` may wait for ever
//!   for one of them, and timers that start threads (`SIGEV_THREAD`) are refused if there was one before the detach;
//! - a constructor of a library that `dlopen` is just loading must not detach: the loader's lock is the caller's, and the
//!   daemon's next `dlopen` or `dlsym` waits for ever (so after handover, too);
//! - where glibc's copy of the id is not found, all of it is wrong, as with musl, and nothing tells: glibc before 2.25, and
//!   where neither `prctl(PR_GET_TID_ADDRESS)` nor `get_robust_list` answers (filters; kernels without
//!   `CONFIG_CHECKPOINT_RESTORE` lack the first). Where only the first does not, the first thread cannot be joined (before
//!   2.43); where only the second does not, robust mutexes stay taken (with 2.43, all of it is wrong).
//!
//! **musl** keeps its copy where nothing points to, so it takes the daemon's first thread for the caller's. `getpid`,
//! `kill`, `malloc`, stdio (whose buffers are copied, as by any fork), new threads and their mutexes, and whatever the
//! daemon forks with musl's own `fork` or executes, are as ever. But (1.2.3; 1.2.5 is the same)
//! - handlers of `pthread_atfork` do not run;
//! - `gettid` is wrong, and what `raise`, `abort`, `pthread_kill` and `pthread_cancel` send to the first thread hits the
//!   **caller**, or whatever has its number by then;
//! - `pthread_setschedparam` and `pthread_setaffinity_np`, called by the first thread for itself, change the **caller**,
//!   and claim success; its clock and its name are not found;
//! - `setuid` and its like, called by another thread, hang and kill the caller; called by the first thread, they **leave
//!   the others as they were and claim success**;
//! - an error-checking or recursive mutex in shared memory that the daemon has, the caller has too;
//! - a mutex with priority inheritance that the first thread has is never handed over to another one, which waits for
//!   ever;
//! - the death of a daemon that holds a robust mutex is not noticed, and whoever joins its first thread waits for ever
//!   (with 1.2.3 so after musl's own fork, too; not with 1.2.5);
//! - the handlers of the signals that musl keeps for itself (32 to 34) are reset, unless signals are kept. So a program
//!   that has cancelled a thread before the detach, and cancels another one afterwards, is killed.
//!
//! So where it has to be `raw` with musl, give privileges up by the detach itself, and execute a program; or have no
//! threads, and call nothing that is about the calling thread: `gettid`, `raise`, `abort`, `pthread_setschedparam` and
//! its like.

#![no_std]

#[cfg(not(any(target_os = "linux", target_os = "android")))]
compile_error!("untty is for Linux: its promises rest on Linux's processes and descriptors");

#[cfg(not(any(feature = "libc", feature = "raw")))]
compile_error!("untty needs a backend: feature \"libc\" (the default) or feature \"raw\"");

mod after;
#[cfg(feature = "capi")]
#[allow(unreachable_pub, reason = "cbindgen takes public items only")]
#[allow(clippy::missing_safety_doc, reason = "said once for the module; the rest is written for C readers")]
#[allow(non_camel_case_types, reason = "C names")]
#[allow(dead_code, reason = "what only the header and an assertion use, Rust 1.85 finds unused")]
mod capi;
#[cfg(feature = "capi")]
mod classic;
mod credentials;
mod daemon;
mod deadline;
mod environment;
mod error;
mod fds;
mod forks;
mod handle;
mod handover;
mod options;
mod pid_file;
mod readiness;
mod report;
mod sequence;
mod signals;
mod stdio;
mod supervisor;
#[cfg(doc)]
#[doc = include_str!("handover/rationale.md")]
pub mod handover_rationale {}
/// Hidden, not public, as [`sys`] is.
#[doc(hidden)]
#[allow(unreachable_pub, reason = "for the command in this package")]
pub mod text;
mod wait;
mod watch;

/// The seam. Chosen here and nowhere else.
///
/// Every backend MUST offer the same functions with the same signatures, one system call each, named as the kernel
/// names them where that is clear, and return `Result<_, Errno>` with the kernel's errno. It MUST be async-signal-safe
/// and callable from any thread. It MUST NOT allocate, retry, interpret an errno, keep state, or know what the calls
/// are for. Nothing above it sees `-1`, and no other room makes a system call.
///
/// Hidden, not public: it is here for the command in this package, and may change in any release.
#[doc(hidden)]
#[cfg(any(feature = "libc", feature = "raw"))]
#[allow(clippy::missing_errors_doc, reason = "every call's errors are in its man page")]
pub mod sys {
    mod kernel;

    #[cfg(all(any(untty_panic_handler, cargo_c), not(feature = "libc")))]
    mod memory;

    #[cfg(feature = "libc")]
    #[path = "libc.rs"]
    mod backend;
    #[cfg(any(untty_handover, not(feature = "libc")))]
    mod raw;

    #[cfg(feature = "libc")]
    pub use backend::*;
    #[cfg(not(feature = "libc"))]
    pub use raw::*;

    /// The same calls, for the rooms into which a process may come that waits aside (see `handover`): where that can be,
    /// none of them touches a C library's state, such as `errno`, which is the daemon's then.
    pub mod direct {
        #[cfg(not(untty_handover))]
        pub use super::backend::*;
        #[cfg(untty_handover)]
        pub use super::raw::*;
    }

    #[cfg(untty_handover)]
    pub mod thread;
}

#[doc(hidden)]
pub use fds::uninterrupted;

pub use environment::Environment;
pub use error::{Errno, Error, Step};
pub use handle::{Handle, Process};
pub use handover::{Obstacle, Way};
pub use options::Daemon;
pub use pid_file::{read as pid_file_read, remove as pid_file_remove};
pub use readiness::{NotifySocket, Readiness};
pub use stdio::{Stdio, reopen_log};
pub use supervisor::{Supervisor, listen_fds, supervisor};

/// `close_from(lowest)`—closes every descriptor from `lowest` up; a negative number counts as 0.
///
/// # Safety
/// Nothing may use the closed descriptors afterwards, as for [`close_except`].
pub unsafe fn close_from(lowest: i32) {
    fds::close_except(lowest, &[], &[]);
}

/// `close_except(lowest, keep)`—closes every descriptor from `lowest` up, except those in `keep`, which stay open with
/// their flags.
///
/// `keep` may be in any order and may hold numbers that are repeated, negative or not open. It needs no free
/// descriptor, no `/proc`, no new kernel, and is right even where `RLIMIT_NOFILE` was lowered below open descriptors.
///
/// # Safety
/// The caller must ensure that no descriptor that gets closed is used afterwards. Its number is given to the next file
/// that is opened, by any thread.
///
/// # References
/// `close_range(2)`, `proc_pid_fd(5)`, `select(2)`.
pub unsafe fn close_except(lowest: i32, keep: &[i32]) {
    fds::close_except(lowest, keep, &[]);
}

/// The README's Rust code is compiled with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// For the C artifacts alone: the crate has no path that panics, and this proves it. The function does not exist, so
/// linking fails if a call to it is left.
#[cfg(all(any(untty_panic_handler, cargo_c), not(test)))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn untty_has_a_path_that_panics() -> !;
    }
    // SAFETY: never reached, because never linked.
    unsafe { untty_has_a_path_that_panics() }
}
