//! What of the caller's is the daemon's too, by handover and by forks, natively and with both backends. Each thing is
//! asked for in `tests/c/survives.c`: first in the caller, which must have it, then in the daemon.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests have std")]

mod harness;

use harness::End;
use harness::c::{Flavour, finish, flavours, remove_workshop_at_exit, skipped, with};
use std::sync::OnceLock;

fn main() {
    remove_workshop_at_exit();
    harness::main(
        &[
            // By handover, and not by forks.
            ("locked_memory_stays_locked", || only_by_handover("locked")),
            ("memory_to_come_stays_to_be_locked", || only_by_handover("locked_future")),
            ("pages_are_there_without_a_fault", || only_by_handover("pages")),
            ("memory_that_no_fork_copies_is_there", || only_by_handover("dontfork")),
            ("memory_that_a_fork_wipes_is_not_wiped", || only_by_handover("wipeonfork")),
            ("aio_contexts_work", || only_by_handover("aio")),
            ("userfaultfd_stays_registered", || only_by_handover("userfaultfd")),
            // Either way.
            ("advice_hugepage_stays", || either_way("hugepage")),
            ("advice_nohugepage_stays", || either_way("nohugepage")),
            ("advice_dontdump_stays", || either_way("dontdump")),
            ("huge_pages_stay_disabled", || either_way("thp_disable")),
            ("shared_memory_stays_attached", || either_way("shm")),
            ("membarrier_stays_registered", || either_way("membarrier")),
            ("io_uring_stays_mapped_and_works", || either_way("io_uring")),
            ("the_signal_stack_stays", || either_way("sigaltstack")),
            // Neither way.
            ("interval_timers_are_lost", || neither_way("itimers")),
            ("the_alarm_is_lost", || neither_way("alarm")),
            ("posix_timers_are_lost", || neither_way("posix_timer")),
            ("record_locks_are_lost", || neither_way("record_lock")),
            ("pending_signals_are_lost", || neither_way("pending")),
            ("children_are_lost", || neither_way("child")),
            ("the_death_signal_is_lost", || neither_way("death_signal")),
            ("the_tracer_is_lost", || neither_way("traced")),
            ("processor_time_begins_anew", || neither_way("time")),
            ("semaphores_are_undone", || neither_way("sem_undo")),
        ],
        &[],
    );
}

fn only_by_handover(thing: &str) {
    survives(thing, "kept", "lost");
}

fn either_way(thing: &str) {
    survives(thing, "kept", "kept");
}

fn neither_way(thing: &str) {
    survives(thing, "lost", "lost");
}

/// What the daemon has to say of it, after a handover and after forks.
fn survives(thing: &str, by_handover: &str, by_forks: &str) {
    for flavour in flavours().filter(|flavour| !flavour.shared) {
        ask(flavour, "forks", thing, &["way 0", by_forks]);
        match obstacle() {
            None => ask(flavour, "handover", thing, &["way 1", by_handover]),
            Some(why) => skipped(thing, why),
        }
    }
}

fn ask(flavour: Flavour, way: &str, thing: &str, says: &[&str]) {
    let (end, output, _) = finish(&with(flavour.program("survives"), &[way, thing]));
    if let Some(unable) = output.first().filter(|line| line.starts_with("unable")) {
        return skipped(thing, unable); // this user, or this kernel, cannot even begin
    }
    assert_eq!((end, output), (End::Exited(0), says.iter().copied().map(String::from).collect()), "{flavour:?} {way}");
}

/// Why nothing can be handed over here at all, asked without the library.
fn obstacle() -> Option<&'static str> {
    static OBSTACLE: OnceLock<Option<String>> = OnceLock::new();
    let ask = || {
        let flavour = flavours().next().expect("one");
        let (_, output, _) = finish(&with(flavour.program("survives"), &["can"]));
        (output != ["yes"]).then(|| output.join(" "))
    };
    OBSTACLE.get_or_init(ask).as_deref()
}
