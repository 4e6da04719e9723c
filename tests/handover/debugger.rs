//! gdb: attached to a daemon, and with a core that it left, sees the stack up to main, and the variables on it.

use super::super::harness::c::{finish, first_line, skipped, terminate};
use super::super::harness::{End, Scratch, Warden, is_root};
use super::programs::{Link, WAYS, has, program, said_by};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FRAMES: [&str; 4] = ["inner", "middle", "outer", "main"];

fn gdb(arguments: &[&str], commands: &[&str]) -> String {
    let mut gdb = Command::new("gdb");
    gdb.args(["-nx", "-batch", "-iex", "set debuginfod enabled off"]).args(arguments);
    gdb.args(commands.iter().flat_map(|command| ["-ex", command]));
    said_by(&mut gdb)
}

const LOOK: [&str; 5] = ["backtrace", "frame function middle", "print from_before", "info threads", "print $_thread"];

/// Whether the frames are there, one above the other, and what was on the stack before.
fn assert_sees_the_stack(told: &str) {
    let frames: Vec<&str> = told.lines().filter(|line| line.starts_with('#')).collect();
    let at = |name: &str| frames.iter().position(|frame| frame.contains(&format!(" {name} (")));
    let places = FRAMES.map(at);
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}: {told}");
    assert!(told.lines().any(|line| line == "$1 = 1234"), "{told}");
    assert!(told.lines().any(|line| line == "$2 = 1"), "it knows its thread: {told}");
}

pub fn attaches() {
    if !has("a_debugger_attaches", "gdb") {
        return;
    }
    for (how, way) in WAYS {
        let scratch = Scratch::new();
        let core = scratch.file("gcore");
        let mut command = program("waits", Link::Archive);
        command.args([how, "wait"]).arg(scratch.path());
        let mut warden = Warden::start(&command);
        assert_eq!(first_line(&mut warden), way);
        let said = loop {
            if let [_, said, ..] = warden.output().as_slice() {
                break said.clone();
            }
            std::thread::yield_now();
        };
        let daemon = said.strip_prefix("daemon ").expect("it says who it is");
        let keep = format!("generate-core-file {core}");
        let told = gdb(&["-p", daemon], &[&LOOK[..], &[&keep, "detach"]].concat());
        if told.contains("Operation not permitted") && !is_root() {
            return skipped("a_debugger_attaches", "this user may not trace another process");
        }
        assert_sees_the_stack(&told);
        let program = command.get_program().to_str().expect("text");
        assert_sees_the_stack(&gdb(&[program, &core], &LOOK));
        // It runs on, and dies as anybody does.
        terminate(daemon.parse().expect("a pid"));
        let caller = if how == "waiting" { End::Exited(1) } else { End::Exited(0) };
        assert_eq!(warden.caller(), caller, "{how}");
        assert!(warden.rest().iter().all(|orphan| orphan.1 == End::Killed(libc::SIGTERM)), "{how}");
    }
}

pub fn the_kernel_dumps_its_core() {
    const TEST: &str = "the_kernel_dumps_its_core";
    if !has(TEST, "gdb") {
        return;
    }
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap_or_default();
    if pattern.trim().is_empty() || pattern.contains(['|', '/', '@']) {
        return skipped(TEST, &format!("core_pattern, the whole machine's, leads elsewhere: {}", pattern.trim()));
    }
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_CORE).expect("a limit");
    if limit.1 == 0 {
        return skipped(TEST, "the hard limit of cores is 0");
    }
    for (how, _) in WAYS {
        let scratch = Scratch::new();
        let mut command = program("waits", Link::Archive);
        command.args([how, "abort"]).arg(scratch.path());
        let (caller, said, orphans) = finish(&command);
        assert!(orphans.iter().any(|orphan| orphan.1 == End::Killed(libc::SIGABRT)), "{how}: {orphans:?}, {said:?}");
        let expected = if how == "waiting" { told_too_late() } else { End::Exited(0) };
        assert_eq!(caller, expected, "{how}: {said:?}");
        let core = only_file(scratch.path());
        let program = command.get_program().to_str().expect("text");
        assert_sees_the_stack(&gdb(&[program, core.to_str().expect("text")], &LOOK));
    }
}

/// Before Linux 5.16, who dumps a core has all processes killed that share its memory: a caller that waits, too.
fn told_too_late() -> End {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc");
    let mut numbers = release.split(['.', '-', '\n']).map(|number| number.parse::<u32>().unwrap_or(0));
    let release = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if release < (5, 16) { End::Killed(libc::SIGKILL) } else { End::Exited(1) }
}

fn only_file(directory: &Path) -> PathBuf {
    let files: Vec<PathBuf> = fs::read_dir(directory).expect("a directory").map(|file| file.unwrap().path()).collect();
    let [file] = files.as_slice() else { panic!("one core: {files:?}") };
    file.clone()
}
