//! A start with handover that fails leaves its caller as it was, whatever fails: its registers and locals, its memory,
//! what the kernel keeps for it, and what it has locked; and the next start hands its memory over. The caller that looks
//! is a C program (tests/c/handover_failures.c). Once the daemon has gone on, on the caller's stack, the caller learns of a
//! failure in another way, which is tests/c/handover_late.c.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests have std")]
#![allow(missing_docs, unreachable_pub, missing_debug_implementations, dead_code, reason = "tests")]

mod harness;

/// The injector of faults (see tests/faults.rs). Its registers are known.
#[cfg(target_arch = "x86_64")]
mod faults {
    pub mod calls;
    pub mod inject;
    pub mod look;
}

use harness::c::{Flavour, finish, flavours, remove_workshop_at_exit, with};
use harness::start::{named, short};
use harness::{End, Scratch, helper, is_root, succeed};
use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use untty::Daemon;

fn main() {
    remove_workshop_at_exit();
    harness::main(
        named![
            steps_that_fail_for_real,
            steps_that_a_filter_lets_fail,
            memory_is_what_it_was,
            any_call_that_fails,
            any_call_of_a_caller_whose_start_fails,
            a_leader_or_a_daemon_that_is_killed_at_any_call,
            a_daemon_that_ends_before_it_is_ready,
            a_pid_file_that_was_made_for_it_goes_with_it,
            a_daemon_that_is_killed_before_it_is_ready,
            a_daemon_that_gives_up,
            a_daemon_that_is_not_ready_in_time,
            a_daemon_that_cannot_say_that_it_is_ready_has_not_gone_on,
            a_daemon_whose_handlers_may_run_has_gone_on,
            no_handler_runs_before_an_exec,
        ],
        #[cfg(target_arch = "x86_64")]
        &[("injected", injected::helper), ("spawner", spawner)],
        #[cfg(not(target_arch = "x86_64"))]
        &[("spawner", spawner)],
    );
}

/// The libraries of the backend that these tests are built for; the gate builds them for both.
fn here() -> impl Iterator<Item = Flavour> {
    flavours().filter(|flavour| flavour.is_raw() != cfg!(feature = "libc"))
}

const COMPILER: [&str; 8] =
    ["gcc", "-std=gnu99", "-Wall", "-Wextra", "-Werror", "-O1", "-Wl,-z,now", "-fno-omit-frame-pointer"];

fn caller(flavour: Flavour) -> Command {
    flavour.compiled("handover_failures", &COMPILER, "c/handover_failures.c")
}

/// A directory of a caller's own, with the pid file of a daemon that is dead.
fn directory() -> Scratch {
    let scratch = Scratch::new();
    fs::write(scratch.file("pid"), "99999999\n").unwrap();
    fs::set_permissions(scratch.file("pid"), fs::Permissions::from_mode(0o604)).unwrap();
    scratch
}

/// What a caller has said.
struct Said {
    /// The first start's step and errno.
    first: (i32, i32),
    /// What is not as it was.
    wrong: Vec<String>,
    /// Which pages are not what they were.
    memory: Vec<String>,
    rest: Vec<String>,
}

impl Said {
    fn of(lines: &[String]) -> Self {
        let mut said = Self { first: (0, 0), wrong: vec![], memory: vec![], rest: vec![] };
        for line in lines {
            match line.split_once(": ") {
                Some(("wrong", what)) => said.wrong.push(what.to_owned()),
                Some(("memory", what)) => said.memory.push(what.to_owned()),
                Some(("first", failure)) if failure.starts_with("step") => {
                    let numbers: Vec<i32> = failure.split(' ').filter_map(|word| word.parse().ok()).collect();
                    said.first = (numbers[0], numbers[1]);
                }
                _ if line.starts_with("errno ") => {}
                _ => said.rest.push(line.clone()),
            }
        }
        said
    }
}

/// A start that fails so: nothing is another, and the next one succeeds, by handover.
fn assert_fails(flavour: Flavour, words: &[&str], first: (i32, i32)) {
    let scratch = directory();
    let command = with(caller(flavour), &[&[&*scratch.file("")], words].concat());
    let (end, output, orphans) = finish(&command);
    let said = Said::of(&output);
    assert_eq!(said.first, first, "{command:?}: {end:?} {orphans:?} {output:?}");
    assert_eq!(said.wrong, [""; 0], "{command:?}");
    assert_eq!(said.rest, ["second: way 1"], "{command:?}");
    assert_eq!((end, orphans.last().unwrap().1), (End::Exited(0), End::Exited(0)), "{command:?}");
}

// include/untty.h
const OPTIONS: i32 = 1;
const STDIN: i32 = 3;
const STDOUT: i32 = 4;
const STDERR: i32 = 5;
const PIPE: i32 = 6;
const DIRECTORY: i32 = 11;
const UMASK: i32 = 12;
const WAIT: i32 = 15;
const ROOT: i32 = 18;
const PID_FILE: i32 = 19;
const GROUPS: i32 = 20;

fn steps_that_fail_for_real() {
    let scratch = Scratch::new();
    let [plain, link] = ["plain", "link"].map(|name| scratch.file(name));
    fs::write(&plain, "no pid").unwrap();
    std::os::unix::fs::symlink(&plain, &link).unwrap();
    for flavour in here() {
        for (words, step, errno) in [
            (["umask", "7777"], OPTIONS, libc::EINVAL),
            (["output", &scratch.file("")], STDOUT, libc::EISDIR),
            (["descriptors", "6"], STDIN, libc::EMFILE),
            (["descriptors", "8"], PIPE, libc::EMFILE),
            (["pid_file", &link], PID_FILE, libc::ELOOP),
            (["pid_file", &plain], PID_FILE, libc::EINVAL),
            (["directory", "/nowhere"], DIRECTORY, libc::ENOENT),
            (["directory", &plain], DIRECTORY, libc::ENOTDIR),
            (["root", &plain], ROOT, libc::ENOTDIR),
            (["groups", "70000"], GROUPS, if is_root() { libc::EINVAL } else { libc::EPERM }),
        ] {
            assert_fails(flavour, &words, (step, errno));
        }
        let pid_file = ["pid_file", "pid", "directory", "/nowhere"];
        assert_fails(flavour, &pid_file, (DIRECTORY, libc::ENOENT));
    }
}

/// Calls with one argument of a certain value, so that the second start, without that, succeeds.
fn steps_that_a_filter_lets_fail() {
    for (call, argument, words, first) in [
        (libc::SYS_umask, (0, 0o21), ["umask", "21"], (UMASK, libc::EIO)),
        (libc::SYS_dup3, (1, 2), ["error", "null"], (STDERR, libc::EIO)),
    ] {
        let scratch = Scratch::new();
        fs::write(scratch.file("filter"), filter(call, argument)).unwrap();
        for flavour in here() {
            assert_fails(flavour, &[&["filter", &scratch.file("filter")][..], &words].concat(), first);
        }
    }
}

/// A filter that lets that call, with that argument, fail with EIO; as the kernel reads it: linux/filter.h.
fn filter(call: libc::c_long, (number, value): (u8, u64)) -> Vec<u8> {
    let condition = SeccompCondition::new(number, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value).unwrap();
    let rules = [(call, vec![SeccompRule::new(vec![condition]).unwrap()])].into_iter().collect();
    let machine = std::env::consts::ARCH.try_into().unwrap();
    let action = SeccompAction::Errno(libc::EIO.unsigned_abs());
    let filter: seccompiler::BpfProgram =
        SeccompFilter::new(rules, SeccompAction::Allow, action, machine).unwrap().try_into().unwrap();
    let bytes = |line: &seccompiler::sock_filter| {
        [&line.code.to_ne_bytes()[..], &[line.jt, line.jf], &line.k.to_ne_bytes()].concat()
    };
    filter.iter().flat_map(bytes).collect()
}

/// Of all writable memory, a failed start has changed no more than one that forks does: the library's own stacks, where
/// the caller and the leader wait aside.
fn memory_is_what_it_was() {
    for flavour in here().filter(|flavour| flavour.shared) {
        for words in [["directory", "/nowhere"], ["pid_file", "pid"], ["output", "/nowhere/log"]] {
            let words = if words[0] == "pid_file" { vec!["pid_file", "pid", "umask", "21"] } else { words.to_vec() };
            let pages = |more: &[&str]| {
                let scratch = directory();
                fs::write(scratch.file("filter"), filter(libc::SYS_umask, (0, 0o21))).unwrap();
                let [filter, here] = ["filter", ""].map(|name| scratch.file(name));
                let words = [&[&*here, "filter", &filter], &words[..], more].concat();
                let (_, output, _) = finish(&with(caller(flavour), &words));
                let said = Said::of(&output);
                assert_ne!(said.first, (0, 0), "{words:?}: {output:?}");
                said.memory
            };
            assert_eq!(pages(&["by", "forks"]), [""; 0], "{flavour:?}: forks change nothing");
            let mut changed = pages(&[]);
            changed.retain(|page| !page.starts_with("libuntty.so"));
            assert_eq!(changed, [""; 0], "{flavour:?}: {words:?}");
        }
    }
}

// Whatever fails: one call of one process, once.

#[cfg(target_arch = "x86_64")]
mod injected {
    use super::*;
    use crate::faults::calls;
    use crate::faults::inject::{self, Begin, Fault, Made, Outcome, Program, Record, Role, What};
    use crate::harness::helper as start_helper;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// The pid file's owner, mode, inode and content.
    fn look_at(path: &str) -> String {
        let stat = fs::metadata(path).unwrap();
        format!("{:o} {} {} {:?}", stat.mode(), stat.ino(), stat.nlink(), fs::read_to_string(path).unwrap())
    }

    /// Runs the caller, with those words and that fault.
    fn run(words: &[String], fault: Option<&Fault>) -> (Record, Vec<String>) {
        let scratch = directory();
        let here = [&words[..1], &[scratch.file("")], &words[1..]].concat();
        let program = Program {
            words: &here,
            environment: &[],
            directory: "/tmp",
            begin: Begin::Marker,
            forbidden: &[],
            prepare: &|| (),
        };
        let record = inject::run(&program, fault, false, &mut || ());
        let lines = record.said.lines().map(str::to_owned).collect();
        (record, lines)
    }

    /// What is not as it must be after that fault.
    fn judge(fault: &Fault, record: &Record, output: &[String]) -> Result<&'static str, String> {
        let said = Said::of(output);
        if !record.fired {
            return Ok("unmet");
        }
        let story = || format!("{:?} {output:?} {:?}", record.outcome, record.present);
        if record.outcome != Outcome::Ended(End::Exited(0)) {
            // The daemon's program went on, so the caller is told in the other way.
            let late =
                output.iter().find_map(|line| line.strip_prefix("too late: ")).and_then(|line| line.split_once(' '));
            let told = late
                .is_some_and(|(step, errno)| is_told(fault, (step.parse().unwrap_or(0), errno.parse().unwrap_or(0))));
            let is_late = told && record.present.is_empty() && record.outcome == Outcome::Ended(End::Exited(1));
            return if is_late { Ok("late") } else { Err(story()) };
        }
        if !said.wrong.is_empty() {
            return Err(format!("{:?}", said.wrong));
        }
        if record.present.len() > 1 {
            return Err(format!("more than the daemon is there: {}", story()));
        }
        if said.first == (0, 0) {
            // A fault that does no harm; or that has fallen back; or that came when the daemon was complete.
            let harmless = output.len() == 1 && output[0].starts_with("first: way ");
            let is_writing = calls::name(fault.call) == "write";
            let afterwards = output.is_empty() && (is_writing || fault.what == What::Signal(libc::SIGKILL));
            return if harmless || afterwards { Ok("harmless") } else { Err(story()) };
        }
        if said.rest != ["second: way 1"] {
            return Err(format!("the second start: {}", story()));
        }
        // Of that, the start would have failed anyway.
        if is_told(fault, said.first) || said.first == (DIRECTORY, libc::ENOENT) {
            Ok("failure")
        } else {
            Err(format!("it tells {:?}", said.first))
        }
    }

    /// Whether that is the truth of the fault.
    fn is_told(fault: &Fault, told: (i32, i32)) -> bool {
        match fault.what {
            What::Errno(errno) if told.1 == errno => true,
            // What it had to tell is lost, and only its end is seen.
            What::Errno(_) if calls::name(fault.call) != "write" => false,
            _ => told == (WAIT, libc::ESRCH),
        }
    }

    /// The helper, given the program and its words: `calls` or a fault is a line.
    pub(super) fn helper(words: &[String]) {
        inject::prepare();
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if line == "calls" {
                let (record, output) = run(words, None);
                let is_right = output == ["first: way 1"] || output.ends_with(&["second: way 1".to_owned()]);
                assert!(is_right, "{output:?} {:?} {}", record.outcome, record.errors);
                let faults = places(&record.made);
                println!("{}", faults.len());
                faults.iter().for_each(|(role, index, made)| println!("{role} {index} {}", calls::name(made.number)));
                continue;
            }
            let fault = Fault::parse(&line).expect("a fault");
            let (record, output) = run(words, Some(&fault));
            let judged = judge(&fault, &record, &output).map_or_else(|why| format!("broken: {why}"), str::to_owned);
            println!("{}", judged.replace('\n', " "));
        }
    }

    fn places(made: &BTreeMap<Role, Vec<Made>>) -> Vec<(Role, usize, Made)> {
        let all =
            made.iter().flat_map(|(role, made)| made.iter().enumerate().map(|(index, it)| (role.clone(), index, *it)));
        all.collect()
    }

    /// Every place of a start, as `ROLE INDEX CALL`.
    fn all_places(worker: &mut Worker) -> Vec<String> {
        let count: usize = worker.ask("calls").parse().expect("a number");
        (0..count).map(|_| worker.line()).collect()
    }

    struct Worker {
        process: std::process::Child,
        answers: std::io::BufReader<std::process::ChildStdout>,
    }

    impl Worker {
        fn start(flavour: Flavour, words: &[&str]) -> Self {
            use std::process::Stdio;
            let mut process = start_helper("injected")
                .arg(caller(flavour).get_program())
                .args(words)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("a worker can be started");
            let answers = std::io::BufReader::new(process.stdout.take().expect("a pipe"));
            Self { process, answers }
        }

        fn ask(&mut self, line: &str) -> String {
            use std::io::Write;
            writeln!(self.process.stdin.as_mut().expect("a pipe"), "{line}").expect("the worker listens");
            self.line()
        }

        fn line(&mut self) -> String {
            use std::io::BufRead;
            let mut answer = String::new();
            self.answers.read_line(&mut answer).expect("the worker answers");
            assert!(!answer.is_empty(), "the worker is gone");
            answer.trim_end().to_owned()
        }
    }

    impl Drop for Worker {
        fn drop(&mut self) {
            drop(self.process.stdin.take());
            let _ = self.process.wait();
        }
    }

    /// Of calls that one process makes again and again, as for every signal, the first two and the last: it is one step.
    /// `UNTTY_FAULTS=all`: every one.
    fn without_repetitions(places: Vec<String>) -> Vec<String> {
        if std::env::var("UNTTY_FAULTS").is_ok_and(|which| which == "all") {
            return places;
        }
        let kind = |place: &String| {
            let words: Vec<&str> = place.split(' ').collect();
            (words[0].to_owned(), words[2].to_owned())
        };
        let mut of_a_kind: BTreeMap<_, Vec<String>> = BTreeMap::new();
        places.into_iter().for_each(|place| of_a_kind.entry(kind(&place)).or_default().push(place));
        let few = of_a_kind.into_values().flat_map(|places| {
            let last = places.len() - 1;
            places
                .into_iter()
                .enumerate()
                .filter(move |(index, _)| *index < 2 || *index == last)
                .map(|(_, place)| place)
        });
        few.collect()
    }

    /// Has that go wrong at every place of those, and says how often there was which outcome.
    pub(super) fn everywhere(
        flavour: Flavour,
        words: &[&str],
        what: &str,
        is_one: impl Fn(&str) -> bool,
    ) -> BTreeMap<String, usize> {
        let places = all_places(&mut Worker::start(flavour, words)).into_iter().filter(|place| is_one(place)).collect();
        let places = without_repetitions(places);
        let workers = 2 * std::thread::available_parallelism().map_or(1, usize::from);
        let (next, said) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    let mut worker = Worker::start(flavour, words);
                    while let Some(place) = places.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let fault = format!("{place} {what}");
                        let answer = worker.ask(&fault);
                        said.lock().expect("nobody panics").push((fault, answer));
                    }
                });
            }
        });
        let said = said.into_inner().expect("nobody panics");
        let broken: Vec<_> = said.iter().filter(|(_, answer)| answer.starts_with("broken")).collect();
        assert!(broken.is_empty(), "{flavour:?}: {broken:#?}");
        let mut counts = BTreeMap::new();
        said.into_iter().for_each(|(_, answer)| *counts.entry(answer).or_default() += 1);
        counts
    }
}

/// What never fails, or never returns: `IMPOSSIBLE` in tests/faults/calls.rs.
#[cfg(target_arch = "x86_64")]
const NEVER: [&str; 9] =
    ["exit", "exit_group", "getpid", "getppid", "gettid", "umask", "set_tid_address", "rt_sigreturn", "brk"];

#[cfg(target_arch = "x86_64")]
fn can_fail(place: &str) -> bool {
    !NEVER.iter().any(|call| place.ends_with(&format!(" {call}")))
}

/// The pid file is a dead daemon's, and has to be put back.
#[cfg(target_arch = "x86_64")]
const SUCCEEDS: [&str; 2] = ["pid_file", "pid"];
#[cfg(target_arch = "x86_64")]
const FAILS: [&str; 4] = ["pid_file", "pid", "directory", "/nowhere"];

#[cfg(target_arch = "x86_64")]
fn everywhere(words: &[&str], what: &str, at_least: usize, is_one: impl Fn(&str) -> bool) {
    for flavour in here().filter(|flavour| flavour.shared) {
        let counts = injected::everywhere(flavour, words, what, &is_one);
        println!("{flavour:?}: {counts:?}");
        assert!(counts["failure"] >= at_least, "{counts:?}");
    }
}

/// `EIO`, which no code of ours expects, so it is told or does no harm.
#[cfg(target_arch = "x86_64")]
fn any_call_that_fails() {
    everywhere(&SUCCEEDS, "EIO once", 25, can_fail);
    // And no fork instead.
    everywhere(&SUCCEEDS, "EAGAIN persistent", 1, |place| place.ends_with(" clone"));
}

/// Taking back what it had let go meets a fault too.
#[cfg(target_arch = "x86_64")]
fn any_call_of_a_caller_whose_start_fails() {
    everywhere(&FAILS, "EIO once", 25, |place| place.starts_with("caller ") && can_fail(place));
}

#[cfg(target_arch = "x86_64")]
fn a_leader_or_a_daemon_that_is_killed_at_any_call() {
    everywhere(&SUCCEEDS, "SIGKILL once", 25, |place| !place.starts_with("caller "));
}

#[cfg(not(target_arch = "x86_64"))]
fn any_call_that_fails() {
    harness::c::skipped("any_call_that_fails", "the injector of faults knows the registers of x86_64 only");
}

#[cfg(not(target_arch = "x86_64"))]
fn any_call_of_a_caller_whose_start_fails() {
    harness::c::skipped("any_call_of_a_caller", "the injector of faults knows the registers of x86_64 only");
}

#[cfg(not(target_arch = "x86_64"))]
fn a_leader_or_a_daemon_that_is_killed_at_any_call() {
    harness::c::skipped("a_leader_or_a_daemon_that_is_killed", "the injector knows the registers of x86_64 only");
}

// Too late: the daemon has gone on.

fn late(flavour: Flavour, words: &[&str]) -> (Scratch, Command) {
    let scratch = directory();
    let program = flavour.compiled("handover_late", &COMPILER, "c/handover_late.c");
    let command = with(program, &[&[&*scratch.file("pid")], words].concat());
    (scratch, command)
}

/// The daemon ends so, after it has gone on: the caller is told of that failure, and exits 1.
fn assert_late(words: &[&str], daemon: End, (step, errno): (i32, i32)) {
    for flavour in here() {
        let (scratch, command) = late(flavour, words);
        let (end, output, orphans) = finish(&command);
        let told = format!("caller: step {step} errno {errno}, the daemon is gone, the pid file is as it was");
        assert_eq!(output, ["daemon: way 1", &told], "{command:?}");
        assert_eq!(end, End::Exited(1), "{command:?}");
        assert_eq!(orphans.last().map(|orphan| orphan.1), Some(daemon), "{command:?}: {orphans:?}");
        assert_eq!(fs::read_to_string(scratch.file("pid")).unwrap(), "99999999\n", "{command:?}");
        // Whoever wants to hear nothing is told nothing.
        let (_scratch, command) = late(flavour, &[words, &["untold"]].concat());
        let (end, output, _) = finish(&command);
        assert_eq!((end, output), (End::Exited(1), vec!["daemon: way 1".to_owned()]), "{command:?}");
    }
}

fn a_daemon_that_ends_before_it_is_ready() {
    assert_late(&["exit", "0"], End::Exited(0), (WAIT, libc::ESRCH));
    assert_late(&["exit", "3"], End::Exited(3), (WAIT, libc::ESRCH));
}

/// By a path that the caller knows, though the daemon has used that memory for something else.
fn a_pid_file_that_was_made_for_it_goes_with_it() {
    for flavour in here() {
        let (scratch, command) = late(flavour, &["exit", "0"]);
        fs::remove_file(scratch.file("pid")).unwrap();
        let (end, output, _) = finish(&command);
        let told = format!("caller: step {WAIT} errno {}, the daemon is gone, the pid file is as it was", libc::ESRCH);
        assert_eq!((end, output), (End::Exited(1), vec!["daemon: way 1".to_owned(), told]), "{command:?}");
        let left: Vec<_> = fs::read_dir(scratch.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, [""; 0]);
    }
}

fn a_daemon_that_is_killed_before_it_is_ready() {
    for signal in [libc::SIGKILL, libc::SIGTERM] {
        assert_late(&["die", &signal.to_string()], End::Killed(signal), (WAIT, libc::ESRCH));
    }
}

/// The caller's status is the daemon's, and there is nothing to be told.
fn a_daemon_that_gives_up() {
    for flavour in here() {
        for (status, seen) in [(7, 7), (0, 1), (300, 44)] {
            let (scratch, command) = late(flavour, &["fail", &status.to_string()]);
            let (end, output, orphans) = finish(&command);
            assert_eq!(output, ["daemon: way 1"], "{command:?}");
            assert_eq!(end, End::Exited(seen), "{command:?}");
            assert!(orphans.iter().all(|orphan| orphan.1 == End::Exited(seen) || orphan.1 == End::Exited(0)));
            assert_eq!(fs::read_to_string(scratch.file("pid")).unwrap(), "99999999\n", "{command:?}");
        }
    }
}

fn handlers(flavour: Flavour, words: &[&str]) -> (End, Vec<String>) {
    let scratch = directory();
    let program = flavour.compiled("handover_handlers", &COMPILER, "c/handover_handlers.c");
    let (end, output, _) = finish(&with(program, &[&[&*scratch.file("new")], words].concat()));
    (end, output)
}

fn a_daemon_that_cannot_say_that_it_is_ready_has_not_gone_on() {
    for flavour in here() {
        let told = format!("-1: step {WAIT} errno {}, precious", libc::ETIMEDOUT);
        assert_eq!(handlers(flavour, &[]), (End::Exited(0), vec![told]));
    }
}

/// What they do, they do to the caller's memory.
fn a_daemon_whose_handlers_may_run_has_gone_on() {
    for flavour in here() {
        assert_eq!(handlers(flavour, &["handle"]), (End::Exited(1), vec!["late".to_owned()]));
    }
}

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn handled(_: i32) {
    HANDLED.store(std::process::id(), Ordering::SeqCst);
}

/// Spawns, with signals kept; the function that is to execute the program gets a signal that the program handles, at a
/// time when none is blocked any more.
fn spawner(_: &[String]) {
    let handler = handled as extern "C" fn(i32) as libc::sighandler_t;
    // SAFETY: the handler stores a number.
    unsafe { libc::signal(libc::SIGUSR1, handler) };
    let execute = || {
        // SAFETY: takes no pointers.
        unsafe { libc::raise(libc::SIGUSR1) };
        untty::Errno::new(libc::ENOENT)
    };
    // SAFETY: that makes async-signal-safe calls, and changes no disposition.
    let outcome = unsafe { Daemon::new().keep_signals().handover().spawn_with(&execute) };
    println!("{} {}", short(outcome.unwrap_err()), HANDLED.load(Ordering::SeqCst));
    // SAFETY: takes no pointers.
    unsafe { libc::raise(libc::SIGUSR1) };
    println!("{}", HANDLED.load(Ordering::SeqCst) == std::process::id());
}

/// The handler would run in the daemon, but in the caller's memory.
fn no_handler_runs_before_an_exec() {
    assert_eq!(succeed(&mut helper("spawner")), "wait ESRCH 0\ntrue\n");
}

fn a_daemon_that_is_not_ready_in_time() {
    assert_late(&["deadline", "300"], End::Killed(libc::SIGKILL), (WAIT, libc::ETIMEDOUT));
    // Wherever it has gone.
    assert_late(&["deadline in a session of its own", "300"], End::Killed(libc::SIGKILL), (WAIT, libc::ETIMEDOUT));
}
