//! After handover the daemon is a normal process: for its C library, for C++ and Rust, for a debugger, and for real
//! programs that know nothing of it. What the programs of `tests/handover/c` find in a daemon that was handed its
//! caller's memory is compared, line by line, with what they find in one that was forked.
//!
//! `UNTTY_HANDOVER_BUILD=DIRECTORY` only builds the programs, there; `UNTTY_HANDOVER_PROGRAMS=DIRECTORY` takes them from
//! there; `UNTTY_GLIBC=DIRECTORY` has them run with the glibc in it (`.ci/glibcs`).

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests have std")]
#![allow(missing_docs, unreachable_pub, missing_debug_implementations, reason = "tests")]

mod harness;
mod handover {
    pub mod debugger;
    pub mod preload;
    pub mod programs;
    pub mod rust;
}

use handover::programs::{dies, holds};
use handover::{debugger, preload, programs, rust};
use harness::c::{remove_workshop_at_exit, skipped};
use harness::is_root;
use libc::{SIGABRT, SIGKILL, SIGSEGV, SIGTERM};

/// Why none of this applies here.
const OBSTACLE: Option<&str> =
    if cfg!(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))) {
        Some("not applicable: handover is for x86_64, aarch64 and riscv64")
    } else if cfg!(not(target_env = "gnu")) {
        Some("not applicable: this is about glibc")
    } else {
        None
    };

fn main() {
    if programs::build_only() {
        return;
    }
    remove_workshop_at_exit();
    harness::main_unless(
        OBSTACLE,
        &[
            ("c_signals_to_itself", || holds("raise", &[])),
            ("c_raise_kills_the_daemon", || {
                for signal in [SIGTERM, SIGSEGV, SIGKILL, 64] {
                    dies("raise", &[&signal.to_string()], signal);
                }
            }),
            ("c_abort_kills_the_daemon", || dies("abort", &[], SIGABRT)),
            ("c_threads", || holds("threads", &[])),
            ("c_mutexes", || holds("mutexes", &[])),
            ("c_robust_mutexes", || holds("robust", &[])),
            ("c_robust_mutexes_of_a_killed_daemon", || dies("robust", &["9"], SIGKILL)),
            ("c_scheduling", || holds("scheduling", &[])),
            ("c_setuid", setuid),
            ("c_processor_and_rseq", || holds("processor", &[])),
            ("c_children", || holds("children", &[])),
            ("c_heap", || holds("heap", &[])),
            ("c_thread_local_variables", || holds("variables", &["plugin.so"])),
            ("c_stack", || holds("stack", &[])),
            ("c_alternate_signal_stack", || holds("alternate", &[])),
            ("c_timers", || holds("timers", &[])),
            ("c_streams_and_exit", || holds("streams", &[])),
            ("c_identity", || holds("identity", &[])),
            ("c_plus_plus_exceptions", || holds("exceptions", &[])),
            ("c_plus_plus_uncaught_exception", || dies("exceptions", &["uncaught"], SIGABRT)),
            ("rust_panics", rust::panics),
            ("rust_uncaught_panic", rust::uncaught_panic),
            ("rust_stack_overflow_is_reported", rust::stack_overflow_is_reported),
            ("a_debugger_attaches", debugger::attaches),
            ("the_kernel_dumps_its_core", debugger::the_kernel_dumps_its_core),
            ("preloaded_python", preload::python),
            ("preloaded_programs", preload::programs),
        ],
        &[("panics", rust::panics_in_a_daemon), ("uncaught", rust::uncaught_in_a_daemon), ("overflow", rust::overflow)],
    );
}

fn setuid() {
    if !is_root() {
        return skipped("c_setuid", "only root may become somebody else");
    }
    holds("setuid", &[]);
}
