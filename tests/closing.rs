//! Closing every other descriptor: each rung of the ladder, reached for certain, on whatever is open.
//!
//! A test starts a *closer*, a helper that arranges the [`World`] which the ladder will find (`/proc` in a mount
//! namespace of its own), and hands it [`Case`]s. For each of them the closer forks a child. The child opens what the
//! case says, notes all that is open, puts on seccomp filters, closes, notes what is open now, and compares. It answers
//! through shared memory, since no descriptor is sure to be left.
//!
//! Which rung did the work is proved by *forbidding* the calls of the others: a child that makes one is killed. Where
//! the number of calls matters, the closer counts them with ptrace.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests have std")]

mod harness;

use harness::{Call, End, Meeting, Scratch, Warden, helper};
use libc::{EFAULT, EINTR, EINVAL, ENFILE, ENOENT, ENOMEM, ENOSYS, EPERM, c_int};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fmt::{self, Display};
use std::io::{BufRead, BufReader, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::{env, fs, process, ptr, slice, thread};
use untty::{Daemon, Process};

fn main() {
    harness::main(
        &[
            ("close_range_alone_does_it_where_it_works", close_range_alone_does_it_where_it_works),
            ("proc_does_it_where_close_range_fails", proc_does_it_where_close_range_fails),
            ("the_table_is_walked_where_there_is_no_proc", the_table_is_walked_where_there_is_no_proc),
            ("the_limits_do_it_where_the_table_cannot_be_asked", the_limits_do_it_where_the_table_cannot_be_asked),
            ("no_rung_needs_a_free_descriptor", no_rung_needs_a_free_descriptor),
            ("a_table_full_of_kept_descriptors_is_no_hindrance", a_table_full_of_kept_descriptors_is_no_hindrance),
            ("limits_lowered_below_open_descriptors_hide_none", limits_lowered_below_open_descriptors_hide_none),
            ("fifteen_thousand_descriptors_are_closed_on_every_rung", fifteen_thousand_are_closed_on_every_rung),
            ("a_fake_proc_is_noticed", a_fake_proc_is_noticed),
            ("a_fake_proc_that_lists_every_number_is_noticed", a_fake_proc_that_lists_every_number_is_noticed),
            ("a_thread_with_a_table_of_its_own_closes_its_own", a_thread_with_a_table_of_its_own_closes_its_own),
            ("a_thread_that_outlives_the_first_one_closes_all", a_thread_that_outlives_the_first_one_closes_all),
            ("any_list_of_descriptors_to_keep_will_do", any_list_of_descriptors_to_keep_will_do),
            ("a_million_numbers_to_keep_are_no_burden", a_million_numbers_to_keep_are_no_burden),
            ("a_million_numbers_far_apart_are_no_burden", a_million_numbers_far_apart_are_no_burden),
            ("any_lowest_descriptor_will_do", any_lowest_descriptor_will_do),
            ("every_kind_of_descriptor_is_closed_on_every_rung", every_kind_of_descriptor_is_closed_on_every_rung),
            ("kept_descriptors_lead_to_the_same_open_file", kept_descriptors_lead_to_the_same_open_file),
            ("close_is_never_repeated", close_is_never_repeated),
            ("a_large_limit_costs_nothing_with_a_small_table", a_large_limit_costs_nothing_with_a_small_table),
            ("a_system_out_of_files_costs_no_walk_to_the_limit", a_system_out_of_files_costs_no_walk_to_the_limit),
            ("close_range_leaves_exactly_what_the_model_says", || model(&ranges())),
            ("proc_leaves_exactly_what_the_model_says", || model(&listed())),
            ("the_table_leaves_exactly_what_the_model_says", || model(&table())),
            ("the_limits_leave_exactly_what_the_model_says", || model(&limits())),
            ("long_lists_leave_exactly_what_the_model_says", model_of_long_lists),
            ("a_daemon_has_only_what_it_keeps_on_every_rung", a_daemon_has_only_what_it_keeps_on_every_rung),
            ("a_daemon_has_only_what_it_keeps_under_lowered_limits", a_daemon_under_lowered_limits),
            ("a_spawned_program_has_only_what_it_keeps_on_every_rung", a_spawned_program_has_only_what_it_keeps),
        ],
        &[
            ("closer", closer),
            ("write_through", write_through),
            ("thread", thread_with_its_own_table),
            ("detach", detach),
            ("spawn", spawn),
            ("tell_open", tell_open),
        ],
    );
}

// The rungs, each reached for certain.

/// The first rung, and none of the others' calls.
fn ranges() -> World {
    World::new().forbid(&["openat", "getdents64", "close", "limits", "pselect6", "poll", "mmap", "mprotect"])
}

/// The second rung, and nothing of the others'.
fn listed() -> World {
    World::new().fail("close_range", ENOSYS).forbid(&["pselect6", "poll", "mmap", "mprotect"])
}

/// The third rung, as long as the kernel tells the size of the table.
fn table() -> World {
    World::new().fail("close_range", ENOSYS).proc("none-or-filter").forbid(&["getdents64", "limits"])
}

/// The last resort.
fn limits() -> World {
    World::new().fail("close_range", ENOSYS).proc("none-or-filter").fail("pselect6", ENOSYS).forbid(&["getdents64"])
}

fn every_rung() -> [World; 4] {
    [ranges(), listed(), table(), limits()]
}

/// The same. So that close_range need not go round half a million numbers that nobody can have, a long list makes it
/// ask for the size of the table.
fn every_rung_for_long_lists() -> [World; 4] {
    let [ranges, listed, table, limits] = every_rung();
    let size = |world: World| world.allow("pselect6").allow("mmap").allow("mprotect");
    [size(ranges), size(listed), table, limits]
}

/// Some of everything: low and high, next to each other and far apart, some of them kept.
fn example() -> Case {
    Case::open([3, 4, 5, 9, 63, 64, 65, 127, 128, 200, 1000, 1001, 3999]).keep([1000, 4, 64, 65]).from(3)
}

fn close_range_alone_does_it_where_it_works() {
    let mut closer = Closer::start(&ranges());
    closer.check(&example());
    let calls = closer.check(&example().counted());
    assert_eq!(calls, BTreeMap::from([("close_range".to_owned(), 4)]), "3 gaps and the end");
}

fn proc_does_it_where_close_range_fails() {
    for errno in [ENOSYS, EPERM, EINVAL] {
        let world = World::new().fail("close_range", errno).forbid(&["limits", "pselect6", "poll", "mmap", "mprotect"]);
        let mut closer = Closer::start(&world);
        closer.check(&example());
        let calls = closer.check(&example().counted());
        assert!(calls["close_range"] >= 1 && calls["openat"] >= 1 && calls["getdents64"] >= 2, "{calls:?}");
        assert_eq!(calls["close"], 9 + 1, "those that are not kept, and the directory");
    }
}

fn the_table_is_walked_where_there_is_no_proc() {
    for errno in [ENOSYS, EPERM, EINVAL] {
        let world = World::new().fail("close_range", errno).proc("none").forbid(&["getdents64", "limits"]);
        let Some(mut closer) = Closer::start_or_skip(&world) else { return };
        closer.check(&example());
        let calls = closer.check(&example().counted());
        // 64, 128, … 4096 descriptors.
        assert_eq!((calls["openat"], calls["pselect6"], calls["mmap"]), (1, 7, 1), "{calls:?}");
    }
}

fn the_limits_do_it_where_the_table_cannot_be_asked() {
    // A kernel that does not clamp would say EFAULT for any bitmap.
    let world = World::new().fail("close_range", ENOSYS).fail("openat", ENOENT).fail("pselect6", EFAULT);
    Closer::start(&world).check(&example());
    for (call, errno) in [("pselect6", ENOSYS), ("pselect6", EPERM), ("mprotect", EPERM), ("mmap", ENOMEM)] {
        let world = World::new().fail("close_range", ENOSYS).proc("none").fail(call, errno).forbid(&["getdents64"]);
        let Some(mut closer) = Closer::start_or_skip(&world) else { return };
        closer.check(&example());
        let calls = closer.check(&example().counted());
        assert_eq!((calls.get(call), calls.get("limits")), (Some(&1), Some(&1)), "{call}: {calls:?}");
    }
}

// Where there is no room.

fn no_rung_needs_a_free_descriptor() {
    for world in every_rung() {
        let mut closer = Closer::start(&world.allow("limits"));
        let full = Case::open(0..100).limit(100, 100);
        closer.check(&full.clone().from(3));
        closer.check(&full.clone().from(0));
        closer.check(&full.clone().keep([3, 5, 50, 51, 98, 99]).from(3));
        closer.check(&full.clone().keep((0..99).rev()).from(3)); // one that can make room, the last one
        closer.check(&full.clone().keep((0..100).filter(|fd| *fd != 3)).from(3)); // or the first one
        closer.check(&full.from(99));
        let full_of_all_kinds = Case::open_kinds((0..100).map(|fd| (fd, KINDS[fd as usize % KINDS.len()]))).from(3);
        closer.check(&full_of_all_kinds.limit(100, 100));
    }
}

fn a_table_full_of_kept_descriptors_is_no_hindrance() {
    // On the second rung nothing can make room, so the third does it.
    let without_room = World::new().fail("close_range", ENOSYS);
    for world in [ranges(), without_room.clone(), table().allow("limits")] {
        let mut closer = Closer::start(&world);
        let full = Case::open((0..100).chain([100, 163, 164, 2000])).limit(100, 100);
        closer.check(&full.clone().keep(0..100).from(3));
        closer.check(&full.clone().keep((3..100).chain([163])).from(3));
        closer.check(&full.clone().from(100));
        closer.check(&full.clone().from(101));
        closer.check(&full.keep(0..2001).from(0));
    }
    let calls = Closer::start(&without_room).check(&Case::open(0..100).keep(0..100).limit(100, 100).from(3).counted());
    assert!(calls.contains_key("pselect6") && !calls.contains_key("getdents64"), "{calls:?}");
}

fn limits_lowered_below_open_descriptors_hide_none() {
    let proc_if_there_is_room = World::new().fail("close_range", ENOSYS);
    for world in [ranges(), proc_if_there_is_room, table().allow("limits")] {
        let mut closer = Closer::start(&world);
        let high = closer.many();
        for (soft, hard) in [(0, 0), (3, 3), (4, 4), (0, MOST), (63, 63), (64, 64), (65, 100), (1000, 1000)] {
            let case = Case::open([3, 5, 62, 63, 64, 65, 100, 999, 1000, high - 1, high]);
            let case = case.limit(soft, hard.min(closer.most));
            closer.check(&case.clone().from(3));
            closer.check(&case.clone().keep([high - 1, 62, 64, 1000]).from(3));
            closer.check(&case.clone().from(1001));
            closer.check(&case.from(0));
        }
    }
    // /proc itself does it where a number below the limit is free.
    let mut closer = Closer::start(&listed());
    let high = closer.many();
    closer.check(&Case::open([3, 4, 5, 100, high]).keep([4]).limit(100, 100).from(3));
    closer.check(&Case::open([4, 100, high]).limit(4, 4).from(0));
    // The last resort knows the hard limit at least.
    let mut closer = Closer::start(&limits());
    for soft in [0, 3, 64, 100] {
        closer.check(&Case::open([3, 5, 99, 100, 101, high]).keep([99, 101]).limit(soft, closer.most).from(3));
    }
}

fn fifteen_thousand_are_closed_on_every_rung() {
    for world in every_rung() {
        let mut closer = Closer::start(&world);
        let high = closer.many();
        closer.check(&Case::open(3..high).from(3));
        closer.check(&Case::open(3..high).keep((3..high).step_by(1000).chain([high - 1])).from(3));
        closer.check(&Case::open(3..high).keep((3..high).rev().filter(|fd| fd % 2 == 0)).from(7000));
    }
}

fn a_system_out_of_files_costs_no_walk_to_the_limit() {
    let mut closer = Closer::start(&World::new().fail("close_range", ENOSYS).fail("openat", ENFILE));
    closer.check(&example());
    let calls = closer.check(&Case::open([0, 1, 2]).from(3).counted());
    let total: u32 = calls.values().sum();
    assert!(total < 200, "nothing is to be closed, the limit is {}: {calls:?}", closer.most);
}

// What /proc may be.

fn a_fake_proc_is_noticed() {
    for fake in ["empty", "misleading", "file", "loop"] {
        let world = World::new().fail("close_range", ENOSYS).proc(fake).forbid(&["limits"]);
        let Some(mut closer) = Closer::start_or_skip(&world) else { return };
        closer.check(&example());
        // "misleading" lists 5, 77 and some that are no numbers.
        closer.check(&Case::open([5, 6, 76, 77, 78, 3000]).keep([6, 77]).from(3));
        let calls = closer.check(&Case::open([5, 77, 90]).from(3).counted());
        assert!(calls.contains_key("pselect6"), "{fake}: {calls:?}");
    }
}

/// As a copy of a `/proc` does by chance.
fn a_fake_proc_that_lists_every_number_is_noticed() {
    let world = World::new().fail("close_range", ENOSYS).proc("every-number");
    let Some(mut closer) = Closer::start_or_skip(&world) else { return };
    closer.check(&Case::open([5, 6, 77, 255, 256, 3000]).keep([6, 77]).from(3)); // 0 to 255 are listed
}

/// `/proc/self` is the process and the table of its first thread.
fn a_thread_with_a_table_of_its_own_closes_its_own() {
    for world in every_rung() {
        let (status, open, errors) = harness::run(helper("thread").arg("unshare").args(&world.without_namespace().0));
        assert_eq!((status.code(), open.trim_end()), (Some(0), "[0, 1, 2, 505]"), "{world:?}: {errors}");
    }
}

fn a_thread_that_outlives_the_first_one_closes_all() {
    for world in [World::new(), World::new().fail("close_range", ENOSYS), table(), limits()] {
        let (status, open, errors) = harness::run(helper("thread").arg("alone").args(&world.without_namespace().0));
        assert_eq!((status.code(), open.trim_end()), (Some(0), "[0, 1, 2, 505]"), "{world:?}: {errors}");
    }
}

// What is to be kept.

fn any_list_of_descriptors_to_keep_will_do() {
    let open: Vec<i32> = (3..300).chain([4095, 4096, 4097, 4098, 4099, 4100, 9000]).collect();
    let case = Case::open(open.iter().copied()).from(3);
    for world in every_rung() {
        let mut closer = Closer::start(&world);
        let high = closer.many();
        let case = case.clone().and_open(high);
        closer.check(&case);
        closer.check(&case.clone().keep(open.iter().copied()));
        closer.check(&case.clone().keep(open.iter().copied().rev().chain([high])));
        closer.check(&case.clone().keep([9000, 5, 5, 4, 5, 9000, 4098, 200, 4, 9000]));
        closer.check(&case.clone().keep([-1, i32::MIN, 17, i32::MAX, -100, i32::MAX, i32::MAX - 1, 0, 12_345]));
        closer.check(&case.clone().keep([i32::MAX]));
        closer.check(&case.clone().keep([-1]));
        closer.check(&case.clone().keep([0, 1, 2]));
        closer.check(&case.clone().keep([3, 4099, high])); // first and last of a window
        closer.check(&case.clone().keep([4098, 4099, 4100])); // around its edge
        closer.check(&case.clone().keep([i32::MAX, high, 299, 2]));
    }
}

/// No assertion about time, but every child has a limit on its processor time.
fn a_million_numbers_to_keep_are_no_burden() {
    const MILLION: i32 = 1_000_000;
    for world in every_rung_for_long_lists() {
        let mut closer = Closer::start(&world);
        let high = closer.many();
        let case = Case::open((3..200).chain([4095, 4096, 5000, high])).from(3);
        closer.check(&case.clone().keep((0..MILLION).map(|_| 5000)));
        closer.check(&case.clone().keep((0..MILLION).map(|n| -n).chain([100])));
        closer.check(&case.clone().keep((0..MILLION).rev()));
        closer.check(&case.clone().keep((0..MILLION).map(|n| i32::MAX - n)));
    }
}

/// As above.
fn a_million_numbers_far_apart_are_no_burden() {
    for world in every_rung_for_long_lists() {
        Closer::start(&world).check(&Case::open((3..200).chain([2147, 4294])).keep((0..1_000_000).map(|n| n * 2147)));
    }
}

fn any_lowest_descriptor_will_do() {
    for world in every_rung() {
        let mut closer = Closer::start(&world);
        let high = closer.many();
        let most = closer.most as i32;
        let case = Case::open([3, 5, 63, 64, 65, 500, high]);
        for lowest in [i32::MIN, -1, 0, 1, 3, 4, 63, 64, 65, 499, 500, 501, high, high + 1, most, most + 1, i32::MAX] {
            closer.check(&case.clone().from(lowest));
            closer.check(&case.clone().keep([64, 2, 5, high, 0]).from(lowest));
        }
    }
}

fn every_kind_of_descriptor_is_closed_on_every_rung() {
    for world in every_rung() {
        let mut closer = Closer::start(&world);
        for kind in KINDS {
            closer.check(&Case::open_kinds((3..100).map(|fd| (fd, kind))).from(3));
            closer.check(&Case::open_kinds((3..100).map(|fd| (fd, kind))).keep([3, 50, 99]).from(3));
        }
    }
}

fn kept_descriptors_lead_to_the_same_open_file() {
    for world in every_rung() {
        let (status, said, errors) = harness::run(helper("write_through").args(&world.without_namespace().0));
        assert_eq!((status.code(), said.trim_end()), (Some(0), "through at 12"), "{world:?}: {errors}");
    }
}

/// One process writes through a kept pipe and a kept file, another one, which had them from the start, looks.
fn write_through(arguments: &[String]) {
    let world = World::from(arguments);
    let mut ends = [0; 2];
    // SAFETY: two ints can be written there.
    assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), 0) }, 0);
    let [reader, writer] = ends;
    let file = make('m');
    assert_eq!(lseek(file, 5, libc::SEEK_SET), 5);
    assert_eq!((dup3(writer, 700, libc::O_CLOEXEC), dup3(file, 800, 0)), (700, 800));
    // SAFETY: a helper has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        world.filter();
        // SAFETY: nothing that gets closed is used.
        unsafe { untty::close_except(3, &[800, 700]) };
        let same = write(700, b"through") == 7 && write(800, b"through") == 7 && write(writer, b"!") < 0;
        exit(i32::from(!same || [fcntl(700, libc::F_GETFD), fcntl(800, libc::F_GETFD)] != [libc::FD_CLOEXEC, 0]));
    }
    assert_eq!(waitpid(Pid::from_raw(child), None), Ok(WaitStatus::Exited(Pid::from_raw(child), 0)));
    let mut text = [0; 7];
    // SAFETY: so many bytes can be written there.
    assert_eq!(unsafe { libc::read(reader, text.as_mut_ptr().cast(), text.len()) }, 7);
    println!("{} at {}", String::from_utf8_lossy(&text), lseek(file, 0, libc::SEEK_CUR));
}

// What it costs.

fn close_is_never_repeated() {
    for errno in [EINTR, libc::EIO] {
        let mut closer = Closer::start(&listed().fail("close", errno));
        let (calls, _) = closer.answer(&Case::open(3..103).keep([50]).from(3).counted());
        assert_eq!(calls["close"], 99 + 1, "those that are not kept, and the directory: {calls:?}");
    }
}

fn a_large_limit_costs_nothing_with_a_small_table() {
    let mut closer = Closer::start(&table());
    let calls = closer.check(&Case::open([3, 4, 5, 200, 255]).keep([5]).from(3).counted());
    let total: u32 = calls.values().sum();
    assert_eq!(calls["pselect6"], 3, "64, 128, 256: {calls:?}");
    assert!(total <= 256 + 20, "the table has 256 places, the limit is {}: {calls:?}", closer.most);
}

// Any case at all, against a model.

/// Lists short enough that no rung needs a call of another one.
fn model(world: &World) {
    against_the_model(world, 6);
}

/// Lists from everywhere.
fn model_of_long_lists() {
    every_rung_for_long_lists().iter().for_each(|world| against_the_model(world, 200));
}

/// `UNTTY_CASES` says how many; up to so many of the numbers to keep are any numbers at all.
fn against_the_model(world: &World, anywhere: usize) {
    let cases = env::var("UNTTY_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(150);
    let closer = RefCell::new(Closer::start(world));
    let most = closer.borrow().many();
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&any_case(most, anywhere), |case| {
        let (_, wrong) = closer.borrow_mut().answer(&case);
        if wrong.is_empty() { Ok(()) } else { Err(TestCaseError::fail(wrong)) }
    });
    outcome.unwrap_or_else(|error| panic!("{world:?}: {error}"));
}

fn any_case(most: i32, anywhere: usize) -> impl Strategy<Value = Case> {
    let opened = (0..KINDS.len(), any::<bool>()).prop_map(|(kind, close_on_exec)| (KINDS[kind], close_on_exec));
    let low = 0..most.min(2000);
    let open = prop::collection::btree_map(prop_oneof![9 => low.clone(), 1 => 0..most], opened, 0..60);
    let picked = any::<prop::sample::Index>().prop_map(Ok);
    let other = prop_oneof![4 => -3..most.min(2100), 1 => Just(i32::MAX), 1 => Just(i32::MIN)];
    let keep = prop::collection::vec(prop_oneof![picked, other.prop_map(Err)], 0..50);
    let anywhere = prop::collection::vec(any::<i32>(), 0..anywhere);
    let lowest = prop_oneof![4 => 0..50_i32, 4 => low, 1 => 0..most, 1 => any::<i32>()];
    (open, keep, anywhere, any::<bool>(), lowest).prop_map(|(open, keep, anywhere, first, lowest)| {
        let numbers: Vec<i32> = open.keys().copied().collect();
        let number = |pick: prop::sample::Index| numbers.get(pick.index(numbers.len().max(1))).copied().unwrap_or(-1);
        let keep: Vec<i32> = keep.into_iter().map(|kept| kept.map_or_else(|other| other, number)).collect();
        let keep = if first { [anywhere, keep] } else { [keep, anywhere] }.concat();
        Case { open, keep, lowest, ..Case::default() }
    })
}

// Inside the sequence.

/// As the rungs above, but the sequence around the ladder has calls of its own to make.
fn every_rung_for_a_daemon() -> [World; 4] {
    let without_ranges = World::new().fail("close_range", EPERM);
    [
        World::new().forbid(&["getdents64", "pselect6"]),
        without_ranges.clone().forbid(&["pselect6"]),
        without_ranges.clone().proc("none").forbid(&["getdents64"]),
        without_ranges.proc("none").fail("pselect6", EPERM).forbid(&["getdents64"]),
    ]
}

/// What the helpers `detach` and `spawn` have open above 2: the number, and whether it is close-on-exec.
const OPEN: [(i32, bool); 8] =
    [(3, false), (7, true), (8, false), (64, false), (100, true), (700, false), (701, true), (3000, false)];
/// What they keep.
const KEEP: [i32; 9] = [700, 7, 5000, -1, i32::MAX, 7, 64, 4096, 700];

fn a_daemon_has_only_what_it_keeps_on_every_rung() {
    for world in every_rung_for_a_daemon() {
        only_what_it_keeps("detach", &world, "no", "0:0 1:0 2:0 7:1 64:0 700:0");
    }
}

fn a_daemon_under_lowered_limits() {
    // The last resort cannot know.
    for world in &every_rung_for_a_daemon()[..3] {
        only_what_it_keeps("detach", world, "16", "0:0 1:0 2:0 7:1 64:0 700:0");
    }
}

fn a_spawned_program_has_only_what_it_keeps() {
    for world in every_rung_for_a_daemon() {
        only_what_it_keeps("spawn", &world, "no", "0:0 1:0 2:0 64:0 700:0");
    }
}

fn only_what_it_keeps(how: &str, world: &World, limit: &str, expected: &str) {
    let scratch = Scratch::new();
    let meeting = Meeting::new(&scratch);
    let mut warden = Warden::start(helper(how).args([meeting.path(), limit]).args(&world.0));
    match warden.caller() {
        End::Exited(0) => {}
        End::Exited(SKIPPED) => return eprintln!("SKIPPED {how} with {world:?}: {:?}", warden.all_output()),
        end => panic!("{world:?}: {end:?}: {:?}", warden.output()),
    }
    let mut daemon = meeting.daemon();
    assert_eq!(daemon.line().as_deref(), Some(expected), "{how} with {world:?}, limit {limit}");
    drop(daemon);
    let ends = warden.rest();
    assert!(matches!(ends[..], [(_, End::Exited(0))]), "{ends:?}");
}

/// The exit status of a helper that cannot have its world.
const SKIPPED: i32 = 77;

/// Arranges the world of `detach` and `spawn`, opens, puts on the filters.
fn prepare(limit: &str, world: &[String]) {
    close_inherited();
    let mut world = World::from(world);
    if let Err(reason) = world.arrange() {
        println!("{reason}");
        process::exit(SKIPPED);
    }
    raise_limit(u64::MAX);
    for (fd, close_on_exec) in OPEN {
        open('m', fd, close_on_exec);
    }
    if let Ok(limit) = limit.parse() {
        set_limits(limit, limit);
    }
    world.filter();
}

fn detach(arguments: &[String]) {
    prepare(&arguments[1], &arguments[2..]);
    // SAFETY: a helper has one thread, and uses no descriptor that gets closed.
    match unsafe { Daemon::new().keep(&KEEP).detach() } {
        Ok(Process::Daemon(mut handle)) => {
            let open = open_with_flags(handle.descriptors()[0]);
            handle.ready().unwrap();
            let mut call = Call::to(&arguments[0]);
            call.say(&open);
            call.wait_for_the_end();
        }
        other => panic!("{other:?}"),
    }
}

fn spawn(arguments: &[String]) {
    let program = CString::new(env::current_exe().unwrap().to_str().unwrap()).unwrap();
    let path = CString::new(arguments[0].as_str()).unwrap();
    prepare(&arguments[1], &arguments[2..]);
    let argv = [program.as_ptr(), c"helper".as_ptr(), c"tell_open".as_ptr(), path.as_ptr(), ptr::null()];
    // SAFETY: both arrays end with NULL and hold valid strings.
    unsafe { Daemon::new().keep(&KEEP).spawn(&program, argv.as_ptr(), [ptr::null()].as_ptr()) }.unwrap();
}

fn tell_open(arguments: &[String]) {
    let open = open_with_flags(-1);
    let mut call = Call::to(&arguments[0]);
    call.say(&open);
    call.wait_for_the_end();
}

/// What is open, each with its FD_CLOEXEC, but for one.
fn open_with_flags(except: i32) -> String {
    let open = (0..65_536).filter(|fd| *fd != except && fcntl(*fd, libc::F_GETFD) >= 0);
    open.map(|fd| format!("{fd}:{}", fcntl(fd, libc::F_GETFD))).collect::<Vec<_>>().join(" ")
}

// Threads.

/// A second thread closes; what it has open then is told. Where "alone", the first thread has ended; where "unshare",
/// the second one has a table of its own, and the first one has the number open that `/proc/self/fd` gets in it.
fn thread_with_its_own_table(arguments: &[String]) {
    close_inherited();
    let (alone, world) = (arguments[0] == "alone", World::from(&arguments[1..]));
    raise_limit(u64::MAX);
    open('m', 3, false);
    let second = thread::spawn(move || {
        if alone {
            // SAFETY: takes no pointers.
            let first = unsafe { libc::getpid() };
            let stat = format!("/proc/{first}/task/{first}/stat");
            while !fs::read_to_string(&stat).unwrap().contains(") Z ") {
                thread::yield_now();
            }
        } else {
            // SAFETY: takes no pointers; nothing else in this thread uses the table.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
            // SAFETY: that descriptor is this function's own.
            assert_eq!(unsafe { libc::close(3) }, 0);
        }
        (500..510).for_each(|fd| open('m', fd, false));
        world.filter();
        // SAFETY: nothing that gets closed is used.
        unsafe { untty::close_except(3, &[505]) };
        let open: Vec<i32> = (0..4096).filter(|fd| fcntl(*fd, libc::F_GETFD) >= 0).collect();
        println!("{open:?}");
        exit(0)
    });
    if alone {
        // SAFETY: ends this thread alone; nothing of it is used by the other one.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    }
    let _ = second.join(); // only when it panicked
    exit(1)
}

// What the ladder finds.

/// What the ladder finds, as words for a helper's arguments.
#[derive(Clone, Debug, Default)]
struct World(Vec<String>);

impl World {
    fn new() -> Self {
        Self::default()
    }

    fn from(words: &[String]) -> Self {
        Self(words.to_vec())
    }

    fn with(mut self, word: String) -> Self {
        self.0.push(word);
        self
    }

    /// That call fails with that errno.
    fn fail(self, call: &str, errno: c_int) -> Self {
        self.with(format!("fail:{call}:{errno}"))
    }

    /// Whoever makes one of these calls is killed.
    fn forbid(self, calls: &[&str]) -> Self {
        calls.iter().fold(self, |world, call| world.with(format!("forbid:{call}")))
    }

    /// Takes back a [`World::forbid`].
    fn allow(mut self, call: &str) -> Self {
        self.0.retain(|word| *word != format!("forbid:{call}"));
        self
    }

    /// `none`: there is no `/proc`. `none-or-filter`: the same, or else nothing can be opened. Or a fake one:
    /// `empty`, `misleading`, `every-number`, `file`, `loop`.
    fn proc(self, what: &str) -> Self {
        self.with(format!("proc:{what}"))
    }

    /// The same by filters alone.
    fn without_namespace(&self) -> Self {
        let words = self.0.iter().filter(|word| !word.starts_with("proc:")).cloned().collect();
        if self.word("proc").is_some() { Self(words).fail("openat", ENOENT) } else { Self(words) }
    }

    fn word(&self, key: &str) -> Option<&str> {
        self.0.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix(':'))
    }

    /// Makes `/proc` what it is to be, for this process and its children; or says why it cannot.
    fn arrange(&mut self) -> Result<(), String> {
        let what = self.word("proc").map(str::to_owned);
        match what.as_deref() {
            None => Ok(()),
            Some("none-or-filter") => {
                if let Err(reason) = own_namespace().and_then(|()| hide_proc()) {
                    eprintln!("NOTE: /proc stays ({reason}), but a filter lets nobody open it");
                    *self = self.without_namespace();
                }
                Ok(())
            }
            Some("none") => own_namespace().and_then(|()| hide_proc()),
            Some(fake) => own_namespace().and_then(|()| fake_proc(fake).map_err(|error| format!("fake: {error}"))),
        }
    }

    /// Puts the filters on this thread.
    fn filter(&self) {
        let mut filters = Vec::new();
        for word in &self.0 {
            let words: Vec<&str> = word.split(':').collect();
            match words.as_slice() {
                ["fail", call, errno] => filters.push(filter(call, SeccompAction::Errno(errno.parse().unwrap()))),
                ["forbid", call] => filters.push(filter(call, SeccompAction::KillProcess)),
                _ => {}
            }
        }
        filters.iter().for_each(|filter| seccompiler::apply_filter(filter).expect("a filter"));
    }
}

/// The calls that can be filtered, by the names used here. The memory calls are told apart from the allocator's by one
/// argument: a mapping of 1 MiB or more, a protection that allows nothing.
fn numbers_of(call: &str) -> (&'static [i64], Option<(u8, SeccompCmpOp, u64)>) {
    let none = None;
    match call {
        "close_range" => (&[libc::SYS_close_range], none),
        "getdents64" => (&[libc::SYS_getdents64], none),
        "close" => (&[libc::SYS_close], none),
        "mmap" => (&[libc::SYS_mmap], Some((1, SeccompCmpOp::Eq, 1 << 17))),
        "mprotect" => (&[libc::SYS_mprotect], Some((2, SeccompCmpOp::Eq, 0))),
        "munmap" => (&[libc::SYS_munmap], none),
        #[cfg(target_arch = "x86_64")]
        "openat" => (&[libc::SYS_openat, libc::SYS_open], none),
        #[cfg(target_arch = "x86_64")]
        "limits" => (&[libc::SYS_prlimit64, libc::SYS_getrlimit], none),
        #[cfg(target_arch = "x86_64")]
        "pselect6" => (&[libc::SYS_pselect6, libc::SYS_select], none),
        #[cfg(target_arch = "x86_64")]
        "poll" => (&[libc::SYS_ppoll, libc::SYS_poll], none),
        #[cfg(not(target_arch = "x86_64"))]
        "openat" => (&[libc::SYS_openat], none),
        #[cfg(not(target_arch = "x86_64"))]
        "limits" => (&[libc::SYS_prlimit64], none),
        #[cfg(not(target_arch = "x86_64"))]
        "pselect6" => (&[libc::SYS_pselect6], none),
        #[cfg(not(target_arch = "x86_64"))]
        "poll" => (&[libc::SYS_ppoll], none),
        _ => panic!("no number for {call}"),
    }
}

const CALLS: [&str; 10] =
    ["close_range", "openat", "getdents64", "close", "limits", "pselect6", "poll", "mmap", "mprotect", "munmap"];

fn filter(call: &str, action: SeccompAction) -> BpfProgram {
    let (numbers, condition) = numbers_of(call);
    let rule = || {
        let condition = condition.clone().map(|(argument, operator, value)| {
            SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value).expect("a condition")
        });
        condition.map(|condition| SeccompRule::new(vec![condition]).expect("a rule")).into_iter().collect::<Vec<_>>()
    };
    let rules = numbers.iter().map(|number| (*number, rule())).collect();
    let architecture = env::consts::ARCH.try_into().expect("an architecture that seccompiler knows");
    let filter = seccompiler::SeccompFilter::new(rules, SeccompAction::Allow, action, architecture);
    filter.expect("a filter").try_into().expect("a program")
}

/// A mount namespace of its own, in a user namespace of its own where that is needed.
fn own_namespace() -> Result<(), String> {
    use nix::sched::{CloneFlags, unshare};
    let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    if user.is_root() {
        unshare(CloneFlags::CLONE_NEWNS).map_err(|error| format!("no mount namespace: {error}"))?;
    } else {
        let flags = CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS;
        unshare(flags).map_err(|error| format!("no user namespace: {error}"))?;
        let map = |file, text: String| fs::write(file, text).map_err(|error| format!("{file}: {error}"));
        map("/proc/self/setgroups", "deny".to_owned())?;
        map("/proc/self/uid_map", format!("0 {user} 1"))?;
        map("/proc/self/gid_map", format!("0 {group} 1"))?;
    }
    mount(None, "/", libc::MS_REC | libc::MS_PRIVATE)
}

fn mount(kind: Option<&str>, target: &str, flags: libc::c_ulong) -> Result<(), String> {
    let flags = nix::mount::MsFlags::from_bits_retain(flags);
    nix::mount::mount(Some("none"), target, kind, flags, None::<&str>).map_err(|error| format!("mount: {error}"))
}

/// Unmounts `/proc`, or, where it is locked (user namespaces), covers it.
fn hide_proc() -> Result<(), String> {
    if nix::mount::umount2("/proc", nix::mount::MntFlags::MNT_DETACH).is_err() || Path::new("/proc/self").exists() {
        mount(Some("tmpfs"), "/proc", 0)?;
    }
    if Path::new("/proc/self").exists() { Err("it is still there".to_owned()) } else { Ok(()) }
}

fn fake_proc(what: &str) -> std::io::Result<()> {
    mount(Some("tmpfs"), "/proc", 0).map_err(std::io::Error::other)?;
    fs::create_dir("/proc/self")?;
    std::os::unix::fs::symlink("self", "/proc/thread-self")?;
    let directory = Path::new("/proc/self/fd");
    let names: Vec<String> = match what {
        "file" => return fs::write(directory, ""),
        "loop" => return std::os::unix::fs::symlink("fd", directory),
        "misleading" => {
            ["5", "77", "fd", "-3", "6x", "+6", "4294967302", "99999999999999999999"].map(Into::into).into()
        }
        "every-number" => (0..256).map(|number| number.to_string()).collect(),
        _ => Vec::new(),
    };
    fs::create_dir(directory)?;
    names.iter().try_for_each(|name| fs::write(directory.join(name), ""))
}

// A case.

/// Every kind of descriptor: a file of its own in memory, /dev/null, both ends of a pipe, a socket, an eventfd, an
/// epoll, a path, a directory.
const KINDS: [char; 9] = ['m', 'n', 'r', 'w', 's', 'e', 'l', 'p', 'd'];

/// What is open, what is to be kept, where closing starts.
#[derive(Clone, Default)]
struct Case {
    /// Number, kind, FD_CLOEXEC.
    open: BTreeMap<i32, (char, bool)>,
    keep: Vec<i32>,
    lowest: i32,
    /// Soft and hard, set when all is open.
    limit: Option<(u64, u64)>,
    /// Count the system calls.
    counted: bool,
}

impl Case {
    /// Files in memory, which can be told apart. The odd ones are close-on-exec.
    fn open(fds: impl IntoIterator<Item = i32>) -> Self {
        Self::open_kinds(fds.into_iter().map(|fd| (fd, 'm')))
    }

    fn open_kinds(fds: impl IntoIterator<Item = (i32, char)>) -> Self {
        Self { open: fds.into_iter().map(|(fd, kind)| (fd, (kind, fd % 2 != 0))).collect(), ..Self::default() }
    }

    fn and_open(mut self, fd: i32) -> Self {
        self.open.insert(fd, ('m', true));
        self
    }

    fn keep(mut self, fds: impl IntoIterator<Item = i32>) -> Self {
        self.keep = fds.into_iter().collect();
        self
    }

    fn from(mut self, lowest: i32) -> Self {
        self.lowest = lowest;
        self
    }

    fn limit(mut self, soft: u64, hard: u64) -> Self {
        self.limit = Some((soft, hard));
        self
    }

    fn counted(mut self) -> Self {
        self.counted = true;
        self
    }

    /// What `Display` has written.
    fn parse(line: &str) -> Self {
        let parts: Vec<&str> = line.trim_end().split(';').collect();
        let limit = parts[1].split_once(':').map(|(soft, hard)| (soft.parse().unwrap(), hard.parse().unwrap()));
        let open = parts[3].split_terminator(',').map(|word| {
            let (fd, rest) = word.split_once(':').unwrap();
            (fd.parse().unwrap(), (rest.chars().next().unwrap(), rest.ends_with('x')))
        });
        Self {
            open: open.collect(),
            keep: parts[4].split_terminator(',').map(|word| word.parse().unwrap()).collect(),
            lowest: parts[0].parse().unwrap(),
            limit,
            counted: parts[2] == "counted",
        }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(self, to)
    }
}

impl Display for Case {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{};", self.lowest)?;
        self.limit.map_or(Ok(()), |(soft, hard)| write!(to, "{soft}:{hard}"))?;
        write!(to, ";{};", if self.counted { "counted" } else { "" })?;
        for (fd, (kind, close_on_exec)) in &self.open {
            write!(to, "{fd}:{kind}{},", if *close_on_exec { "x" } else { "" })?;
        }
        write!(to, ";")?;
        self.keep.iter().try_for_each(|fd| write!(to, "{fd},"))
    }
}

// The closer, as a test sees it.

type Counts = BTreeMap<String, u32>;

/// How many descriptors a closer can have, if the hard limit allows.
const MOST: u64 = 20_000;

struct Closer {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    world: World,
    /// How many descriptors there can be.
    most: u64,
}

impl Closer {
    fn start(world: &World) -> Self {
        Self::try_start(world).unwrap_or_else(|reason| panic!("{world:?}: {reason}"))
    }

    fn start_or_skip(world: &World) -> Option<Self> {
        Self::try_start(world).inspect_err(|reason| eprintln!("SKIPPED {world:?}: {reason}")).ok()
    }

    fn try_start(world: &World) -> Result<Self, String> {
        let command = &mut helper("closer");
        let mut process = command.args(&world.0).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (process.stdin.take(), BufReader::new(process.stdout.take().unwrap()));
        let mut closer = Self { process, input, output, world: world.clone(), most: 0 };
        let line = closer.line();
        closer.most = line.strip_prefix("ready ").ok_or(line.clone())?.parse().unwrap();
        if closer.most < MOST {
            eprintln!("NOTE: the hard limit of {} leaves out the descriptors from there to {MOST}", closer.most);
        }
        Ok(closer)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// A number close to the highest, or 15,000.
    fn many(&self) -> i32 {
        (self.most - 100).min(15_000) as i32
    }

    /// The calls, when they are to be counted, and what is wrong afterwards.
    fn answer(&mut self, case: &Case) -> (Counts, String) {
        let mut case = case.clone();
        case.open.retain(|fd, _| *fd < self.most as i32 - 10); // one at a time is opened elsewhere first
        let line = format!("{case}\n");
        self.input.as_ref().unwrap().write_all(line.as_bytes()).expect("the closer listens");
        let line = self.line();
        let (counts, wrong) = line.split_once('|').unwrap_or(("", "the closer has died"));
        let counts = counts.split_whitespace().filter_map(|count| count.split_once('='));
        (counts.map(|(call, count)| (call.to_owned(), count.parse().unwrap())).collect(), wrong.to_owned())
    }

    /// Exactly what is to stay open has stayed open, with its flags.
    fn check(&mut self, case: &Case) -> Counts {
        let (counts, wrong) = self.answer(case);
        let shown = || {
            let text = case.to_string();
            if text.len() < 2000 { text } else { format!("{} … {}", &text[..1000], &text[text.len() - 1000..]) }
        };
        assert!(wrong.is_empty(), "{wrong}\nin the world {:?}\ncase {}\n{counts:?}", self.world, shown());
        counts
    }
}

impl Drop for Closer {
    fn drop(&mut self) {
        drop(self.input.take()); // the sign to go
        let mut rest = Vec::new();
        let _ = self.output.read_to_end(&mut rest);
        let _ = self.process.wait();
    }
}

// The closer, from inside.

fn closer(arguments: &[String]) {
    close_inherited();
    let mut world = World::from(arguments);
    let most = raise_limit(MOST);
    match world.arrange() {
        Ok(()) => println!("ready {most}"),
        Err(reason) => return println!("{reason}"),
    }
    for line in std::io::stdin().lock().lines() {
        let (counts, wrong) = judge(&Case::parse(&line.unwrap()), &world, most as i32);
        let counts: Vec<String> = counts.into_iter().map(|(call, count)| format!("{call}={count}")).collect();
        println!("{}|{wrong}", counts.join(" "));
    }
}

/// Memory shared with a child.
struct Shared(*mut u8);

impl Shared {
    const SIZE: usize = 1 << 16;

    fn new() -> Self {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address that the kernel chooses.
        let memory = unsafe { libc::mmap(ptr::null_mut(), Self::SIZE, protection, flags, -1, 0) };
        assert_ne!(memory, libc::MAP_FAILED);
        Self(memory.cast())
    }

    fn put(&self, text: &str) {
        let text = &text.as_bytes()[..text.len().min(Self::SIZE)];
        // SAFETY: so many bytes can be written there, and nobody reads them yet.
        unsafe { ptr::copy_nonoverlapping(text.as_ptr(), self.0, text.len()) };
    }

    fn text(&self) -> String {
        // SAFETY: the memory is there until this value is gone, and the child that wrote it has ended.
        let bytes = unsafe { slice::from_raw_parts(self.0, Self::SIZE) };
        String::from_utf8_lossy(bytes.split(|byte| *byte == 0).next().unwrap()).into_owned()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own.
        unsafe { libc::munmap(self.0.cast(), Self::SIZE) };
    }
}

/// Runs one case in a child.
fn judge(case: &Case, world: &World, most: i32) -> (Counts, String) {
    let shared = Shared::new();
    // SAFETY: a helper has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let done = catch_unwind(AssertUnwindSafe(|| shared.put(&close_and_compare(case, world, most))));
        exit(i32::from(done.is_err()));
    }
    let child = Pid::from_raw(child);
    let (status, counts) = if case.counted { count(child) } else { (waitpid(child, None).unwrap(), Counts::new()) };
    match status {
        WaitStatus::Exited(_, 0) => (counts, shared.text()),
        // SIGSYS: a forbidden call. SIGKILL, SIGXCPU, SIGALRM: it took far too long.
        other => (counts, format!("the child ended so: {other:?}")),
    }
}

/// In the child: opens, closes, and says what is wrong.
fn close_and_compare(case: &Case, world: &World, most: i32) -> String {
    for (fd, (kind, close_on_exec)) in &case.open {
        open(*kind, *fd, *close_on_exec);
    }
    let before = snapshot(most);
    let kept: BTreeSet<i32> = case.keep.iter().copied().collect();
    limit_time();
    if let Some((soft, hard)) = case.limit {
        set_limits(soft, hard);
    }
    if case.counted {
        nix::sys::ptrace::traceme().unwrap();
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP).unwrap();
    }
    world.filter();
    mark(case.counted);
    if case.keep.is_empty() {
        // SAFETY: nothing that gets closed is used.
        unsafe { untty::close_from(case.lowest) };
    } else {
        // SAFETY: nothing that gets closed is used.
        unsafe { untty::close_except(case.lowest, &case.keep) };
    }
    mark(case.counted);
    let after = snapshot(most);
    let mut wrong = String::new();
    for (fd, (before, after)) in (0..).zip(before.iter().zip(&after)) {
        let expected = before.filter(|_| fd < case.lowest || kept.contains(&fd));
        if expected != *after && wrong.len() < 500 {
            let kind = case.open.get(&fd).map_or('?', |opened| opened.0);
            wrong += &format!("{fd} ({kind}): {after:?} instead of {expected:?}; ");
        }
    }
    wrong
}

/// What tells one descriptor from another: its flags, the file's status flags, device and inode number.
type Identity = (c_int, c_int, u64, u64);

fn snapshot(most: i32) -> Vec<Option<Identity>> {
    let identity = |fd| {
        let flags = fcntl(fd, libc::F_GETFD);
        if flags < 0 {
            return None;
        }
        // SAFETY: all zeros are a valid struct stat.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: a struct stat can be written there.
        assert_eq!(unsafe { libc::fstat(fd, &raw mut stat) }, 0);
        Some((flags, fcntl(fd, libc::F_GETFL), stat.st_dev, stat.st_ino))
    };
    (0..most).map(identity).collect()
}

/// No case may take longer than any machine needs; a walk that does not end is killed.
fn limit_time() {
    let limit = libc::rlimit { rlim_cur: 30, rlim_max: 30 };
    // SAFETY: the limit lives through the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_CPU, &raw const limit) }, 0);
    // SAFETY: takes no pointers.
    unsafe { libc::alarm(300) };
}

/// A call that nobody else makes.
fn mark(counted: bool) {
    if counted {
        // SAFETY: takes no pointers.
        unsafe { libc::syscall(libc::SYS_getpgid, 0) };
    }
}

/// Lets the child go on to its end, and counts its calls between the two marks.
fn count(child: Pid) -> (WaitStatus, Counts) {
    use nix::sys::ptrace;
    let (mut counts, mut marks) = (Counts::new(), 0);
    loop {
        let mut deliver = None;
        match waitpid(child, None).unwrap() {
            WaitStatus::Stopped(_, nix::sys::signal::Signal::SIGSTOP) => {
                ptrace::setoptions(child, ptrace::Options::PTRACE_O_TRACESYSGOOD).unwrap();
            }
            WaitStatus::Stopped(_, signal) => deliver = Some(signal),
            WaitStatus::PtraceSyscall(_) => match call_entered(child) {
                Some(libc::SYS_getpgid) => marks += 1,
                Some(number) if marks == 1 => *counts.entry(name_of(number)).or_default() += 1,
                _ => {}
            },
            status => return (status, counts),
        }
        ptrace::syscall(child, deliver).unwrap();
    }
}

/// The number of the call that the child enters; `None` when it leaves one.
fn call_entered(child: Pid) -> Option<i64> {
    const PTRACE_GET_SYSCALL_INFO: libc::c_long = 0x420e;
    let mut information = [0_u64; 16]; // struct ptrace_syscall_info: byte 0 is 1 at the entry, word 3 is the number
    let size = size_of_val(&information);
    let to = information.as_mut_ptr();
    // SAFETY: so many bytes can be written there.
    let result = unsafe { libc::syscall(libc::SYS_ptrace, PTRACE_GET_SYSCALL_INFO, child.as_raw(), size, to) };
    assert!(result > 0, "{}", std::io::Error::last_os_error());
    (information[0].to_ne_bytes()[0] == 1).then_some(information[3] as i64)
}

fn name_of(number: i64) -> String {
    let name = CALLS.into_iter().find(|call| numbers_of(call).0.contains(&number));
    name.map_or_else(|| format!("call-{number}"), str::to_owned)
}

// System calls.

/// Makes a descriptor of that kind, with that number.
fn open(kind: char, fd: i32, close_on_exec: bool) {
    let made = make(kind);
    if made == fd {
        let flags = if close_on_exec { libc::FD_CLOEXEC } else { 0 };
        // SAFETY: takes no pointers.
        assert_eq!(unsafe { libc::fcntl(fd, libc::F_SETFD, flags) }, 0);
        return;
    }
    assert_eq!(dup3(made, fd, if close_on_exec { libc::O_CLOEXEC } else { 0 }), fd, "{}", error());
    // SAFETY: it was just made.
    assert_eq!(unsafe { libc::close(made) }, 0);
}

fn make(kind: char) -> i32 {
    let mut ends = [-1; 2];
    #[allow(clippy::multiple_unsafe_ops_per_block, reason = "one of them is made")]
    // SAFETY: the strings are valid, and two ints can be written there.
    let made = unsafe {
        match kind {
            'm' => libc::memfd_create(c"untty".as_ptr(), 0),
            'n' => libc::open(c"/dev/null".as_ptr(), libc::O_RDWR),
            'r' | 'w' => libc::pipe2(ends.as_mut_ptr(), 0),
            's' => libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0),
            'e' => libc::eventfd(0, 0),
            'l' => libc::epoll_create1(0),
            'p' => libc::open(c"/".as_ptr(), libc::O_PATH),
            _ => libc::open(c"/".as_ptr(), libc::O_RDONLY | libc::O_DIRECTORY),
        }
    };
    assert!(made >= 0, "{kind}: {}", error());
    let (made, other) = match kind {
        'r' => (ends[0], ends[1]),
        'w' => (ends[1], ends[0]),
        _ => return made,
    };
    // SAFETY: it was just made.
    assert_eq!(unsafe { libc::close(other) }, 0);
    made
}

fn error() -> std::io::Error {
    std::io::Error::last_os_error()
}

fn fcntl(fd: i32, command: c_int) -> c_int {
    // SAFETY: the commands used here take no pointers.
    unsafe { libc::fcntl(fd, command) }
}

fn dup3(from: i32, to: i32, flags: c_int) -> c_int {
    // SAFETY: takes no pointers.
    unsafe { libc::dup3(from, to, flags) }
}

fn lseek(fd: i32, offset: i64, whence: c_int) -> i64 {
    // SAFETY: takes no pointers.
    unsafe { libc::lseek(fd, offset, whence) }
}

fn write(fd: i32, text: &[u8]) -> isize {
    // SAFETY: so many bytes can be read there.
    unsafe { libc::write(fd, text.as_ptr().cast(), text.len()) }
}

fn exit(status: i32) -> ! {
    // SAFETY: takes no pointers.
    unsafe { libc::_exit(status) }
}

/// A helper begins with 0 to 2 alone, whatever the tests were started with.
fn close_inherited() {
    for fd in harness::open_fds().into_iter().filter(|fd| *fd > 2) {
        // SAFETY: a helper that has just begun uses none of them.
        unsafe { libc::close(fd) };
    }
}

/// Makes both limits that number, or the hard limit if that is lower.
fn raise_limit(most: u64) -> u64 {
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    let most = most.min(hard).min(65_536);
    set_limits(most, most);
    most
}

fn set_limits(soft: u64, hard: u64) {
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, soft, hard).unwrap();
}
