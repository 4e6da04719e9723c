//! Handover where it can be, and forks where something stands against it: each obstacle is a real one, and the daemon is
//! whole all the same. The programs are C ones (tests/c/handover_ways.c), with every library.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests have std")]

mod harness;

use harness::c::{Flavour, build_once, finish, flavours, prefix, remove_workshop_at_exit, skipped, workshop};
use harness::start::{self, Start, named};
use harness::{End, ROOT, Scratch, succeed};
use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule};
use std::fs;
use std::path::Path;
use std::process::Command;

// include/untty.h
const FORKS: i32 = 0;
const HANDOVER: i32 = 1;
const RETURNS: i32 = 3;
const VALGRIND: i32 = 4;
const SHADOW_STACK: i32 = 5;
const SHARED: i32 = 6;
const THREAD_ID: i32 = 7;
const ROBUST_MUTEX: i32 = 8;
const RSEQ: i32 = 9;
const CLONE: i32 = 10;

fn main() {
    remove_workshop_at_exit();
    harness::main(
        named![
            where_nothing_stands_against_it_memory_is_handed_over,
            who_does_not_ask_for_it_gets_forks,
            more_threads,
            memory_shared_with_another_process,
            a_caller_that_returns,
            a_robust_mutex_that_is_held,
            restartable_sequences_of_somebody_else,
            a_shadow_stack,
            filters,
            a_c_library_whose_thread_id_is_not_found,
            valgrind,
            a_second_detach_while_the_first_caller_waits,
            a_second_detach_when_the_first_caller_is_gone,
            the_way_in_rust,
        ],
        &[("caller", start::caller)],
    );
}

/// The libraries of the backend that these tests are built for; the gate builds them for both.
fn here() -> impl Iterator<Item = Flavour> {
    flavours().filter(|flavour| flavour.is_raw() != cfg!(feature = "libc"))
}

/// Runs the program, which must start a daemon that is whole, in that way.
fn assert_way(command: &Command, way: i32) {
    assert_says(command, &[&format!("way {way}, whole")]);
}

/// Runs the program: the caller exits 0, the daemon too, and nothing else is said.
fn assert_says(command: &Command, said: &[&str]) {
    let (end, output, orphans) = finish(command);
    assert_eq!(output, said, "{command:?}: {end:?}, {orphans:?}");
    assert_eq!(end, End::Exited(0), "{command:?}");
    assert_eq!(orphans.last().map(|orphan| orphan.1), Some(End::Exited(0)), "{command:?}");
}

fn program(flavour: Flavour, arguments: &[&str]) -> Command {
    harness::c::with(flavour.program("handover_ways"), arguments)
}

fn in_every_flavour(obstacle: &str, way: i32) {
    for flavour in here() {
        assert_way(&program(flavour, &[obstacle]), way);
    }
}

fn where_nothing_stands_against_it_memory_is_handed_over() {
    in_every_flavour("nothing", HANDOVER);
}

fn who_does_not_ask_for_it_gets_forks() {
    in_every_flavour("not asked for", FORKS);
}

fn more_threads() {
    in_every_flavour("a thread", SHARED);
}

fn memory_shared_with_another_process() {
    let whole = format!("way {SHARED}, whole");
    for flavour in here() {
        let (end, mut output, orphans) = finish(&program(flavour, &["a child with the same memory"]));
        output.sort();
        assert_eq!(output, ["it shares the memory", &whole]);
        assert_eq!(end, End::Exited(0));
        assert_eq!(orphans.iter().filter(|orphan| orphan.1 == End::Exited(0)).count(), 1, "{orphans:?}");
    }
    in_every_flavour("a parent with the same memory", SHARED);
    in_every_flavour("a parent that has vforked", SHARED);
}

fn a_caller_that_returns() {
    for flavour in here() {
        let (end, mut output, orphans) = finish(&program(flavour, &["return in caller"]));
        output.sort();
        assert_eq!(output, ["the caller returns", &format!("way {RETURNS}, whole")]);
        assert_eq!((end, orphans.last().map(|orphan| orphan.1)), (End::Exited(0), Some(End::Exited(0))));
    }
}

fn a_robust_mutex_that_is_held() {
    in_every_flavour("robust mutex", ROBUST_MUTEX);
}

/// The C library is told to register none itself: ld.so(8), GLIBC_TUNABLES.
fn restartable_sequences_of_somebody_else() {
    for flavour in here() {
        let mut command = program(flavour, &["rseq"]);
        command.env("GLIBC_TUNABLES", "glibc.pthread.rseq=0");
        assert_way(&command, RSEQ);
        // The control: with nobody's at all, nothing stands against it.
        let mut command = program(flavour, &["nothing"]);
        command.env("GLIBC_TUNABLES", "glibc.pthread.rseq=0");
        assert_way(&command, HANDOVER);
    }
}

/// A call, refused where one of its arguments is that; the mask says which of its bits count.
struct Refused {
    call: libc::c_long,
    argument: Option<(u8, u64, u64)>,
    errno: i32,
}

/// Runs the program under that filter in every flavour.
fn under_a_filter(refused: &Refused, way: i32) {
    let conditions: Vec<_> = refused
        .argument
        .into_iter()
        .map(|(number, mask, value)| {
            let operation = SeccompCmpOp::MaskedEq(mask);
            SeccompCondition::new(number, SeccompCmpArgLen::Qword, operation, value).unwrap()
        })
        .collect();
    let rules = if conditions.is_empty() { vec![] } else { vec![SeccompRule::new(conditions).unwrap()] };
    let machine = std::env::consts::ARCH.try_into().unwrap();
    let action = SeccompAction::Errno(refused.errno.unsigned_abs());
    let rules = [(refused.call, rules)].into_iter().collect();
    let filter: seccompiler::BpfProgram =
        SeccompFilter::new(rules, SeccompAction::Allow, action, machine).unwrap().try_into().unwrap();
    // struct sock_filter, as the kernel reads it: linux/filter.h
    let bytes = filter.iter().flat_map(|line| {
        let [code, k] = [line.code.to_ne_bytes().to_vec(), line.k.to_ne_bytes().to_vec()];
        [code, vec![line.jt, line.jf], k].concat()
    });
    let scratch = Scratch::new();
    fs::write(scratch.file("filter"), bytes.collect::<Vec<_>>()).unwrap();
    for flavour in here() {
        assert_way(&program(flavour, &["filter", &scratch.file("filter")]), way);
    }
}

const EVERY_BIT: u64 = u64::MAX;

/// Hardware with one is rare, and its use has to be compiled in: a filter has the kernel say that there is one (the call
/// succeeds, where it fails without).
#[cfg(target_arch = "x86_64")]
fn a_shadow_stack() {
    const ARCH_SHSTK_STATUS: u64 = 0x5005;
    let status = Some((0, EVERY_BIT, ARCH_SHSTK_STATUS));
    under_a_filter(&Refused { call: libc::SYS_arch_prctl, argument: status, errno: 0 }, SHADOW_STACK);
}

#[cfg(not(target_arch = "x86_64"))]
fn a_shadow_stack() {
    skipped("a_shadow_stack", "the question is another on this architecture");
}

fn filters() {
    const PR_GET_TID_ADDRESS: u64 = 40;
    let memory = u64::from(libc::CLONE_VM.unsigned_abs());
    let clone = Some((0, memory, memory));
    let address = Some((0, EVERY_BIT, PR_GET_TID_ADDRESS));
    for (call, argument, way) in [
        (libc::SYS_clone, clone, CLONE),
        (libc::SYS_unshare, None, SHARED),
        (libc::SYS_prctl, address, THREAD_ID),
        (libc::SYS_get_robust_list, None, ROBUST_MUTEX),
        (libc::SYS_set_robust_list, None, CLONE),
        (libc::SYS_rseq, None, RSEQ),
    ] {
        for errno in [libc::EPERM, libc::ENOSYS] {
            under_a_filter(&Refused { call, argument, errno }, way);
        }
    }
    // What a kernel without shadow stacks says, and a filter that knows none of that call; and one that does not tell.
    #[cfg(target_arch = "x86_64")]
    for (errno, way) in [(libc::ENOSYS, HANDOVER), (libc::EINVAL, HANDOVER), (libc::EPERM, SHADOW_STACK)] {
        under_a_filter(&Refused { call: libc::SYS_arch_prctl, argument: None, errno }, way);
    }
}

/// Its thread id is no copy of what the kernel clears (set_tid_address(2)).
fn a_c_library_whose_thread_id_is_not_found() {
    if Command::new("musl-gcc").arg("--version").output().is_err() {
        return skipped("a_c_library_whose_thread_id_is_not_found", "there is no musl-gcc");
    }
    let mut libraries = vec![("raw", prefix("raw").join("lib/libuntty.a"))];
    match std::env::var_os("UNTTY_MUSL_LIBRARY") {
        Some(library) => libraries.push(("libc", library.into())),
        None => skipped("musl with the libc backend", "UNTTY_MUSL_LIBRARY names no library that was built for musl"),
    }
    for (backend, library) in libraries {
        for link in ["-static", "-pie"] {
            let program = workshop().join(format!("handover-musl-{backend}{link}"));
            build_once(&program, || {
                let mut compiler = Command::new("musl-gcc");
                compiler.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-pthread", "-idirafter", "/usr/include"]);
                compiler.args(["-idirafter", &include_of_this_machine(), "-I"]).arg(prefix("raw").join("include"));
                compiler.args([link, "-o"]).arg(&program);
                succeed(compiler.arg(Path::new(ROOT).join("tests/c/handover_ways.c")).arg(&library));
            });
            assert_way(&harness::c::with(Command::new(&program), &["nothing"]), THREAD_ID);
            assert_way(&harness::c::with(Command::new(&program), &["not asked for"]), FORKS);
        }
    }
}

/// The kernel's headers of this machine, which musl's compiler does not look for.
fn include_of_this_machine() -> String {
    format!("/usr/include/{}", succeed(Command::new("gcc").arg("-print-multiarch")).trim())
}

/// It knows no clone that shares memory, would say so and end the process; and it has nothing to say about ours.
fn valgrind() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return skipped("valgrind", "there is no valgrind");
    }
    for flavour in here() {
        let program = program(flavour, &["nothing"]);
        let mut command = Command::new("valgrind");
        command.args(["--quiet", "--error-exitcode=99", "--leak-check=no"]);
        command.arg(program.get_program()).args(program.get_args());
        let (end, mut output, orphans) = finish(&command);
        // Its own words about calls that it does not know (pidfd_open, before 3.20); its errors begin with "==".
        output.retain(|line| !line.starts_with("--"));
        assert_eq!(output, [format!("way {VALGRIND}, whole")], "{command:?}: {end:?}, {orphans:?}");
        assert_eq!((end, orphans.last().map(|orphan| orphan.1)), (End::Exited(0), Some(End::Exited(0))));
    }
}

/// Its memory is the first caller's too.
fn a_second_detach_while_the_first_caller_waits() {
    for flavour in here() {
        let (end, mut output, orphans) = finish(&program(flavour, &["again while the caller waits"]));
        output.sort();
        let [wait, no_such_process] = [15, libc::ESRCH];
        let late = format!("too late: {wait} {no_such_process}");
        assert_eq!(output, [late, format!("way {HANDOVER}"), format!("way {SHARED}, whole")], "{flavour:?}");
        assert_eq!(end, End::Exited(1), "its daemon, which was never ready, has exited");
        assert!(orphans.iter().all(|orphan| orphan.1 == End::Exited(0)), "{orphans:?}");
    }
}

fn a_second_detach_when_the_first_caller_is_gone() {
    for flavour in here() {
        let said = [format!("way {HANDOVER}"), format!("way {HANDOVER}, whole")];
        assert_says(&program(flavour, &["again"]), &said.each_ref().map(String::as_str));
    }
}

fn the_way_in_rust() {
    for (words, way) in [
        (&["handover"][..], "Handover"),
        (&[], "Forks"),
        (&["handover", "return"], "ForksInstead(Returns)"),
        (&["handover", "thread", "accept_threads"], "ForksInstead(Shared)"),
        (&["handover", "forbid unshare 1"], "ForksInstead(Shared)"),
    ] {
        let mut start = Start::with(words);
        let mut daemon = start.daemon();
        assert_eq!(daemon.order("way"), way, "{words:?}");
        daemon.ready();
        if words.contains(&"return") {
            drop(start.answer());
        }
        drop(daemon);
        start.rest();
    }
}
