//! Who the daemon is, and where its root directory is: privileges that are gone for good, names that mean what the
//! system's own tools say, and a root without /dev and /proc. In Rust and by the command.

#![allow(
    clippy::multiple_unsafe_ops_per_block,
    clippy::undocumented_unsafe_blocks,
    reason = "tests: bare system calls"
)]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests have std")]

mod harness;

use harness::start::*;
use harness::{End, Event, Scratch, Warden, helper, is_root, untty};
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, Command};
use std::time::Duration;

fn main() {
    harness::main(
        named![
            the_daemon_is_that_user_for_good,
            an_empty_list_empties_the_groups,
            a_daemon_can_have_as_many_groups_as_the_kernel_knows,
            root_can_become_root,
            ids_of_minus_one_are_refused_before_anything_happens,
            each_failing_call_is_named_and_leaves_nothing,
            calls_that_succeed_without_doing_anything_are_found_out,
            securebits_and_handed_down_capabilities_save_nothing,
            an_ordinary_user_with_two_capabilities_can_become_another,
            an_ordinary_user_is_told_the_truth,
            where_setgroups_is_denied_there_is_no_daemon,
            ids_that_a_user_namespace_does_not_know_are_refused,
            too_many_processes_of_that_user_are_an_error_of_exec,
            log_and_pid_file_are_opened_before_and_stay_roots,
            a_program_that_only_root_may_execute_is_an_error,
            the_command_knows_users_by_name_and_by_number,
            the_command_refuses_what_is_no_user,
            the_command_tells_an_ordinary_user_the_truth,
            both_backends_read_the_files_alike,
            a_users_groups_are_all_found,
            names_are_what_the_systems_own_tools_say,
            without_files_numbers_do,
            a_root_without_dev_and_proc_is_enough,
            descriptors_are_closed_in_a_root_without_proc,
            the_working_directory_is_always_inside,
            the_command_looks_for_the_program_inside,
            the_command_starts_scripts_inside,
            a_supervised_command_looks_for_the_program_inside_its_root_too,
            a_root_that_cannot_be_is_reported,
            root_and_user_go_together,
        ],
        named![caller, command, program,],
    );
}

// The helpers.

/// As the harness's `caller`, with more words.
fn caller(arguments: &[String]) {
    let mut plan = Plan::new(&arguments[0]);
    forget_the_tests_parents();
    arguments[1..].iter().for_each(|word| take(&mut plan, word));
    plan.perform();
}

/// Words, `--`, then a command line to execute: `untty …`, or one of the system's own tools.
fn command(arguments: &[String]) {
    let mut plan = Plan::new("");
    forget_the_tests_parents();
    let end = arguments.iter().position(|word| word == "--").unwrap();
    arguments[..end].iter().for_each(|word| take(&mut plan, word));
    if let Some(why) = plan.forbidden {
        println!("forbidden: {why}");
        process::exit(FORBIDDEN);
    }
    let [program, rest @ ..] = &arguments[end + 1..] else { panic!("no command") };
    let mut command = if program == "untty" { untty() } else { Command::new(program) };
    panic!("{}", command.args(rest).exec());
}

const FORBIDDEN: i32 = 77;

fn take(plan: &mut Plan, word: &str) {
    let (verb, rest) = word.split_once(' ').unwrap_or((word, ""));
    let daemon = plan.daemon;
    match verb {
        "become" => {
            let mut words = rest.split(' ');
            let mut number = || words.next().unwrap().parse().unwrap();
            let (uid, gid) = (number(), number());
            plan.daemon = daemon.user(uid, gid, groups(words.next().unwrap_or_default()).leak());
        }
        "oneself" => {
            let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
            plan.daemon = daemon.user(uid, gid, &[]);
        }
        "groups" => {
            let groups = groups(rest);
            assert_eq!(unsafe { libc::setgroups(groups.len(), groups.as_ptr()) }, 0);
        }
        "secure" => assert_eq!(unsafe { libc::prctl(libc::PR_SET_SECUREBITS, octal(rest)) }, 0),
        "capable" => become_capable(rest.parse().unwrap()),
        "inheritable" => raise_inheritable(),
        "own_processes" => set_limit(libc::RLIMIT_NPROC, rest.parse().unwrap()),
        "deny_groups" => plan.or_forbidden(deny_groups()),
        "map" => plan.or_forbidden(map_ids(rest.parse().unwrap())),
        "etc" => plan.or_forbidden(unshare(libc::CLONE_NEWNS).and_then(|()| mount(rest, "/etc", None, libc::MS_BIND))),
        "as_root" if is_root() => {}
        "as_root" => plan.take("users"),
        "path" => unsafe { std::env::set_var("PATH", rest) },
        "supervised" => unsafe { std::env::set_var("SYSTEMD_EXEC_PID", process::id().to_string()) },
        _ => plan.take(word),
    }
}

/// Numbers and ranges: `5,70000..70009`.
fn groups(list: &str) -> Vec<u32> {
    let pieces = list.split(',').filter(|piece| !piece.is_empty());
    let ranges = pieces.map(|piece| piece.split_once("..").unwrap_or((piece, piece)));
    ranges.flat_map(|(first, last)| first.parse::<u32>().unwrap()..=last.parse().unwrap()).collect()
}

const CAP_SETGID: u32 = 6;
const CAP_SETUID: u32 = 7;
const HEADER: [u32; 2] = [0x2008_0522, 0];

/// Gives up root's powers for those of an ordinary user that has two capabilities, and could hand them down.
fn become_capable(uid: u32) {
    let both = 1 << CAP_SETGID | 1 << CAP_SETUID;
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_KEEPCAPS, 1), 0);
        assert_eq!(libc::setgroups(0, std::ptr::null()), 0);
        assert_eq!(libc::setresgid(uid, uid, uid), 0);
        assert_eq!(libc::setresuid(uid, uid, uid), 0);
        let sets = [[both; 3], [0; 3]];
        assert_eq!(libc::syscall(libc::SYS_capset, HEADER.as_ptr(), sets.as_ptr()), 0);
    }
    raise_ambient();
}

/// All that it has may be inherited, and is.
fn raise_inheritable() {
    let mut sets = [[0_u32; 3]; 2];
    unsafe {
        assert_eq!(libc::syscall(libc::SYS_capget, HEADER.as_ptr(), sets.as_mut_ptr()), 0);
        sets.iter_mut().for_each(|set| set[2] = set[1]);
        assert_eq!(libc::syscall(libc::SYS_capset, HEADER.as_ptr(), sets.as_ptr()), 0);
    }
    raise_ambient();
}

fn raise_ambient() {
    for capability in [CAP_SETGID, CAP_SETUID] {
        let raised = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, capability, 0, 0) };
        assert_eq!(raised, 0);
    }
}

/// Goes into a user namespace of its own, as root there, in which setgroups is denied.
fn deny_groups() -> Result<(), String> {
    let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).map_err(|errno| format!("unshare: {errno}"))?;
    for (file, text) in
        [("setgroups", "deny".to_owned()), ("gid_map", format!("0 {group} 1")), ("uid_map", format!("0 {user} 1"))]
    {
        fs::write(format!("/proc/self/{file}"), text).map_err(|error| format!("{file}: {error}"))?;
    }
    Ok(())
}

/// Goes into a user namespace of its own, in which there are that many ids; a child that stayed outside makes them.
fn map_ids(count: u32) -> Result<(), String> {
    let mut go = [0; 2];
    assert_eq!(unsafe { libc::pipe(go.as_mut_ptr()) }, 0);
    let outside = unsafe { libc::fork() };
    let mut byte = [0_u8];
    if outside == 0 {
        unsafe { libc::close(go[1]) };
        unsafe { libc::read(go[0], byte.as_mut_ptr().cast(), 1) };
        let parent = unsafe { libc::getppid() };
        let map = |file| fs::write(format!("/proc/{parent}/{file}"), format!("0 0 {count}")).is_ok();
        process::exit(if map("gid_map") && map("uid_map") { 0 } else { 1 });
    }
    let unshared =
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).map_err(|errno| format!("unshare: {errno}"));
    go.iter().for_each(|fd| assert_eq!(unsafe { libc::close(*fd) }, 0));
    let mut status = 0;
    assert_eq!(unsafe { libc::waitpid(outside, &raw mut status, 0) }, outside);
    unshared.and(if status == 0 { Ok(()) } else { Err("the ids cannot be mapped".to_owned()) })
}

// The test's side.

/// Whether this test can become other users; says so if it cannot.
fn can_change_user() -> bool {
    if !is_root() {
        skipped("only root can become another user");
    }
    is_root()
}

/// The ids of a process, real, effective, saved and of the file system alike, and its groups. Who is not root has no
/// capability either.
fn ids(pid: i32) -> (u32, u32, Vec<u32>) {
    let state = who_is(pid);
    let numbers =
        |key: &str| -> Vec<u32> { state[key][1..].split_whitespace().map(|id| id.parse().unwrap()).collect() };
    let (users, groups) = (numbers("Uid"), numbers("Gid"));
    assert_eq!((users.as_slice(), groups.as_slice()), (&[users[0]; 4][..], &[groups[0]; 4][..]));
    if users[0] != 0 {
        assert_eq!(capabilities(pid), [0; 4]);
    }
    (users[0], groups[0], numbers("Groups"))
}

/// Inheritable, permitted, effective, ambient.
fn capabilities(pid: i32) -> [u64; 4] {
    let state = who_is(pid);
    ["CapInh", "CapPrm", "CapEff", "CapAmb"].map(|key| u64::from_str_radix(&state[key][1..], 16).unwrap())
}

fn sorted(mut groups: Vec<u32>) -> Vec<u32> {
    groups.sort_unstable();
    groups
}

/// Starts a daemon by words that make it ready as it should, looks at it from outside, and ends it.
fn while_it_runs(words: &[&str], look: impl FnOnce(&mut Running)) {
    let mut start = Start::with(words);
    let mut daemon = start.daemon();
    daemon.ready();
    assert_eq!(start.caller(), End::Exited(0));
    look(&mut daemon);
    let pid = daemon.pid;
    drop(daemon);
    assert_eq!(start.rest(), [(pid, End::Exited(0))]);
}

/// Starts a program by words, looks at it from outside while it runs, and ends it.
fn while_a_program_runs(words: &[&str], look: impl FnOnce(i32)) {
    let mut start = Start::with(words);
    let answer = start.answer();
    if answer.skipped() {
        return;
    }
    let pid = number(answer.outcome.strip_prefix("daemon ").unwrap_or_else(|| panic!("{}", answer.outcome)));
    look(pid);
    kill(pid, libc::SIGKILL);
    drop(answer);
    assert_eq!(start.caller(), End::Exited(0));
    assert_eq!(start.rest(), [(pid, End::Killed(libc::SIGKILL))]);
}

/// The command, started by words.
struct Started {
    warden: Warden,
    status: i32,
    /// What it said, on standard output or error.
    said: Vec<String>,
}

fn start_command(words: &[&str], command: &[&str]) -> Started {
    let mut warden = Warden::start(helper("command").args(words).arg("--").args(command));
    let status = match warden.caller() {
        End::Exited(status) => status,
        End::Killed(signal) => panic!("{command:?} was killed by {signal}"),
    };
    let said = warden.all_output();
    Started { warden, status, said }
}

/// A start by the command that must fail, with one line and nothing left. False where this machine forbids it.
fn command_fails(words: &[&str], command: &[&str], status: i32, line: &str) -> bool {
    let mut started = start_command(words, &[&["untty"], command].concat());
    started.warden.rest();
    if started.status == FORBIDDEN {
        skipped(&started.said.concat());
        return false;
    }
    assert_eq!((started.status, started.said), (status, vec![line.to_owned()]), "{command:?}");
    true
}

/// A start by the command with -P that must succeed; looks at the program while it runs, and ends it.
fn command_runs(words: &[&str], command: &[&str], look: impl FnOnce(i32)) -> bool {
    let mut started = start_command(words, &[&["untty", "-P"], command].concat());
    if started.status == FORBIDDEN {
        skipped(&started.said.concat());
        return false;
    }
    assert_eq!((started.status, started.said.len()), (0, 1), "{command:?}: {:?}", started.said);
    let pid = number(&started.said[0]);
    look(pid);
    kill(pid, libc::SIGKILL);
    let rest = started.warden.rest();
    assert!(rest.contains(&(pid, End::Killed(libc::SIGKILL))), "{rest:?}");
    true
}

const SLEEP: [&str; 2] = ["/bin/sleep", "1000"];

// Users, in Rust.

fn the_daemon_is_that_user_for_good() {
    if !can_change_user() {
        return;
    }
    for (uid, gid, list) in [
        (70000, 70001, ""),
        (70000, 70001, "5,6,70002"),
        (1, 1, "0"),
        (65534, 65534, "65534"),
        (4_294_967_294, 4_294_967_294, "4294967294"),
    ] {
        let expected = (uid, gid, groups(list));
        let words = ["groups 0,4,27", &format!("become {uid} {gid} {list}")];
        while_it_runs(&words, |daemon| {
            assert_eq!(ids(daemon.pid), expected);
            assert_eq!(daemon.order("regain"), "refused");
            assert_eq!(ids(daemon.pid), expected);
        });
        let words = [words[0], words[1], "spawn /bin/sleep 1000"];
        while_a_program_runs(&words, |pid| assert_eq!(ids(pid), expected));
    }
}

fn an_empty_list_empties_the_groups() {
    if !can_change_user() {
        return;
    }
    for before in ["", "0", "0,4,27", "1..100"] {
        let before = format!("groups {before}");
        while_it_runs(&[&before, "become 70000 70000"], |daemon| {
            assert_eq!(ids(daemon.pid), (70000, 70000, vec![]), "{before}");
        });
    }
}

fn a_daemon_can_have_as_many_groups_as_the_kernel_knows() {
    if !can_change_user() {
        return;
    }
    for list in
        ["1..100", "100..199,1..99", "7,7,7", "5,6,5,6,0", "1..65536", "65536..131071", "30000..65534,1..30000,9"]
    {
        let expected = sorted(groups(list));
        while_it_runs(&[&format!("become 70000 70001 {list}")], |daemon| {
            let (uid, gid, groups) = ids(daemon.pid);
            assert_eq!((uid, gid), (70000, 70001));
            assert!(groups == expected, "{list}");
        });
    }
    assert!(fails(&["become 70000 70001 1..65537"], "setgroups EINVAL"));
}

fn root_can_become_root() {
    if !can_change_user() {
        return;
    }
    let own = capabilities(unsafe { libc::getpid() });
    for (list, expected) in [("", vec![]), ("0", vec![0]), ("3,1,2", vec![1, 2, 3])] {
        let user = format!("become 0 0 {list}");
        while_it_runs(&["groups 0,4,27", &user], |daemon| {
            assert_eq!(ids(daemon.pid), (0, 0, expected.clone()));
            assert_eq!(capabilities(daemon.pid), own, "root's powers are root's");
        });
        while_a_program_runs(&["groups 0,4,27", &user, "spawn /bin/sleep 1000"], |pid| {
            assert_eq!(ids(pid), (0, 0, expected.clone()));
        });
    }
    // Another user with root's group, and root with another group.
    while_it_runs(&["become 70000 0 0"], |daemon| assert_eq!(ids(daemon.pid), (70000, 0, vec![0])));
    while_it_runs(&["become 0 70000 70001"], |daemon| assert_eq!(ids(daemon.pid), (0, 70000, vec![70001])));
}

fn ids_of_minus_one_are_refused_before_anything_happens() {
    let scratch = scratch();
    let (log, pid_file) = (scratch.file("log"), scratch.file("pid"));
    for user in [
        "4294967295 0",
        "0 4294967295",
        "4294967295 4294967295",
        "0 0 4294967295",
        "70000 70000 1,2,4294967295,3",
        "4294967295 70000 70000",
    ] {
        let words = [format!("become {user}"), format!("stdout file {log}"), format!("pid_file {pid_file}")];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        assert!(fails(&words, "options EINVAL"));
        assert!(fails(&[&words[..], &["spawn /bin/sleep 1000"]].concat(), "options EINVAL"));
        assert!(!Path::new(&log).exists() && !Path::new(&pid_file).exists());
    }
}

/// The calls that make a daemon another user, and the step that each belongs to.
const CALLS: [(&str, &str); 8] = [
    ("getresuid", "setresuid"),
    ("setgroups", "setgroups"),
    ("setresgid", "setresgid"),
    ("setresuid", "setresuid"),
    ("capset", "privileges"),
    ("getresgid", "privileges"),
    ("getgroups", "privileges"),
    ("capget", "privileges"),
];

fn each_failing_call_is_named_and_leaves_nothing() {
    if !can_change_user() {
        return;
    }
    let scratch = scratch();
    let pid_file = scratch.file("pid");
    let with_pid_file = format!("pid_file {pid_file}");
    for (call, step) in CALLS {
        for (errno, name) in [(libc::EPERM, "EPERM"), (libc::EAGAIN, "EAGAIN"), (libc::EINVAL, "EINVAL")] {
            // A pid file's owner is asked for with the same call.
            let with_pid_file = if call == "getresuid" { "umask 027" } else { &with_pid_file };
            let words = ["groups 0,4,27", "become 70000 70001 5,6", with_pid_file, &format!("forbid {call} {errno}")];
            let expected = format!("{step} {name}");
            assert!(fails(&words, &expected), "{call}");
            assert!(fails(&[&words[..], &["spawn /bin/sleep 1000"]].concat(), &expected), "{call}");
            assert!(!Path::new(&pid_file).exists(), "{call}");
        }
        let forbid = format!("forbid {call} {}", libc::ENOSYS);
        let line = match step {
            "privileges" => "untty: privileges: privileges are not gone for good: ENOSYS".to_owned(),
            step => format!("untty: {step}: 70000:70001: ENOSYS"),
        };
        if call != "getgroups" {
            assert!(command_fails(&[&forbid], &["-u", "70000:70001", "/bin/sleep", "1000"], 125, &line));
        }
    }
}

fn calls_that_succeed_without_doing_anything_are_found_out() {
    if !can_change_user() {
        return;
    }
    // What would stay without the call.
    for (call, with, step) in [
        ("setgroups", "become 70000 70001 5,6", "privileges"),
        ("setgroups", "become 70000 70001", "privileges"),
        ("setresgid", "become 70000 70001 5,6", "privileges"),
        ("setresuid", "become 70000 70001 5,6", "privileges"),
        ("getresuid", "become 70000 70001 5,6", "privileges"),
        ("getresgid", "become 70000 70001 5,6", "privileges"),
        ("getgroups", "become 70000 70001 5,6", "privileges"),
        ("capget", "become 70000 70001 5,6", "privileges"),
        ("setgroups", "become 0 0", "privileges"),
        ("setresgid", "become 0 70001", "privileges"),
    ] {
        let words = ["groups 0,4,27", with, &format!("forbid {call} 0")];
        assert!(fails(&words, &format!("{step} EPERM")), "{call} {with}");
        assert!(fails(&[&words[..], &["spawn /bin/sleep 1000"]].concat(), &format!("{step} EPERM")), "{call} {with}");
    }
    // The kernel takes root's capabilities away by itself; these it leaves.
    for prepare in ["secure 20", "secure 4", "inheritable", "capable 70002"] {
        let words = [prepare, "become 70000 70001 5,6", "forbid capset 0"];
        assert!(fails(&words, "privileges EPERM"), "{prepare}");
    }
    // Only the last of the three set, or the attempt to regain, succeeds in nothing.
    let unchanged = u64::from(u32::MAX);
    let words = ["become 70000 70001", &format!("forbid setresuid 0 0={unchanged}")];
    assert!(fails(&words, "privileges EPERM"));
}

fn securebits_and_handed_down_capabilities_save_nothing() {
    if !can_change_user() {
        return;
    }
    // SECBIT_NO_SETUID_FIXUP is 04, SECBIT_KEEP_CAPS 020, and 040 locks it; SECBIT_NOROOT 01.
    for prepare in [vec!["secure 4"], vec!["secure 20"], vec!["secure 24"], vec!["secure 60"], vec!["secure 5"]] {
        for also in [&[][..], &["inheritable"]] {
            let words = [also, &prepare, &["become 70000 70001 5,6"]].concat();
            while_it_runs(&words, |daemon| {
                assert_eq!(ids(daemon.pid), (70000, 70001, vec![5, 6]));
                assert_eq!(daemon.order("regain"), "refused");
            });
            while_a_program_runs(&[&words[..], &["spawn /bin/sleep 1000"]].concat(), |pid| {
                assert_eq!(ids(pid), (70000, 70001, vec![5, 6]));
            });
            if !prepare.contains(&"secure 5") {
                // With SECBIT_NOROOT, root that executes the command has no powers left to give up.
                command_runs(&words[..words.len() - 1], &["-u", "70000:70001", "/bin/sleep", "1000"], |pid| {
                    assert_eq!(ids(pid), (70000, 70001, vec![]));
                });
            }
        }
    }
}

fn an_ordinary_user_with_two_capabilities_can_become_another() {
    if !can_change_user() {
        return;
    }
    for (uid, gid) in [(70011, 70012), (70010, 70010)] {
        let user = format!("become {uid} {gid} 5,6");
        while_it_runs(&["capable 70010", &user], |daemon| {
            assert_eq!(ids(daemon.pid), (uid, gid, vec![5, 6]));
            assert_eq!(daemon.order("regain"), "refused");
        });
        while_a_program_runs(&["capable 70010", &user, "spawn /bin/sleep 1000"], |pid| {
            assert_eq!(ids(pid), (uid, gid, vec![5, 6]));
        });
    }
}

fn an_ordinary_user_is_told_the_truth() {
    for words in [["ordinary", "oneself"], ["ordinary", "become 0 0"], ["ordinary", "become 70000 70000 5"]] {
        assert!(fails(&words, "setgroups EPERM"));
        assert!(fails(&[&words[..], &["spawn /bin/sleep 1000"]].concat(), "setgroups EPERM"));
    }
}

fn where_setgroups_is_denied_there_is_no_daemon() {
    for user in ["become 0 0", "become 0 0 0", "become 1 1"] {
        fails(&["deny_groups", user], "setgroups EPERM");
        fails(&["deny_groups", user, "spawn /bin/sleep 1000"], "setgroups EPERM");
    }
    let line = "untty: setgroups: 0:0: EPERM";
    command_fails(&["deny_groups"], &["-u", "0:0", "/bin/sleep", "1000"], 125, line);
}

fn ids_that_a_user_namespace_does_not_know_are_refused() {
    if !can_change_user() {
        return;
    }
    for (user, expected) in [
        ("become 5000 500", "setresuid EINVAL"),
        ("become 500 5000", "setresgid EINVAL"),
        ("become 500 500 5000", "setgroups EINVAL"),
    ] {
        fails(&["map 1000", user], expected);
    }
    let mut start = Start::with(&["map 1000", "become 500 501 7,9,3", "return", "then ready"]);
    let answer = start.answer();
    if !answer.skipped() {
        let pid = number(answer.outcome.strip_prefix("daemon ").unwrap());
        assert_eq!(ids(pid), (500, 501, vec![3, 7, 9]));
    }
}

fn too_many_processes_of_that_user_are_an_error_of_exec() {
    if !can_change_user() {
        return;
    }
    let uid = 200_000 + process::id();
    let user = format!("become {uid} 70000");
    let spawn = "spawn /bin/sleep 1000";
    // The kernel counts before the process changes its user: with as many as the limit, there may be one more.
    while_a_program_runs(&["own_processes 1", &user, spawn], |_| {
        while_a_program_runs(&["own_processes 1", &user, spawn], |_| {
            assert!(fails(&["own_processes 1", &user, spawn], "exec EAGAIN"));
            let numbers = format!("{uid}:70000");
            let command = ["-u", &numbers, "/bin/sleep", "1000"];
            assert!(command_fails(&["own_processes 1"], &command, 126, "untty: exec: /bin/sleep: EAGAIN"));
            while_a_program_runs(&["own_processes 2", &user, spawn], |pid| assert_eq!(ids(pid).0, uid));
            // Who executes nothing is none too many (setuid(2), EAGAIN).
            while_it_runs(&["own_processes 1", &user], |daemon| assert_eq!(ids(daemon.pid).0, uid));
        });
    });
}

fn log_and_pid_file_are_opened_before_and_stay_roots() {
    if !can_change_user() {
        return;
    }
    let scratch = scratch();
    // Nobody else may even look into it.
    let secret = scratch.file("secret");
    fs::create_dir(&secret).unwrap();
    fs::set_permissions(&secret, Permissions::from_mode(0o700)).unwrap();
    let (log, pid_file) = (format!("{secret}/log"), format!("{secret}/pid"));
    let owners = |expected: (u32, u32)| {
        for path in [&log, &pid_file] {
            let metadata = fs::metadata(path).unwrap();
            assert_eq!((metadata.uid(), metadata.gid()), expected, "{path}");
        }
        assert_eq!(fs::metadata(&pid_file).unwrap().mode() & 0o7777, 0o644);
    };
    let is_owner = |pid: i32| {
        assert_eq!(fs::read_to_string(&pid_file).unwrap(), format!("{pid}\n"));
        assert_eq!(untty::pid_file_read(c(&pid_file)).unwrap(), Some(pid));
    };
    let stdout = format!("stdout file {log}");
    let words = [stdout.as_str(), "stderr stdout", &format!("pid_file {pid_file}"), "become 70000 70001"];
    while_it_runs(&words, |daemon| {
        assert_eq!(daemon.order("write 1 hello"), "wrote 5");
        is_owner(daemon.pid);
        owners((0, 0));
        assert!(fails(&words, "pid_file EEXIST"));
        is_owner(daemon.pid);
    });
    assert_eq!(fs::read_to_string(&log).unwrap(), "hello");
    let command = ["-u", "70000:70001", "-o", &log, "-p", &pid_file, "/bin/sh", "-c", "id -u; exec /bin/sleep 1000"];
    command_runs(&[], &command, |pid| {
        until("the program said who it is", || fs::read_to_string(&log).unwrap() == "hello70000\n");
        is_owner(pid);
        owners((0, 0));
    });
    assert_eq!(untty::pid_file_read(c(&pid_file)).unwrap(), None);
}

fn a_program_that_only_root_may_execute_is_an_error() {
    if !can_change_user() {
        return;
    }
    let secret = scratch();
    let program = secret.file("sleep");
    copy(Path::new("/bin/sleep"), &program);
    fs::set_permissions(secret.path(), Permissions::from_mode(0o700)).unwrap();
    assert!(fails(&["become 70000 70000", &format!("spawn {program} 1000")], "exec EACCES"));
    let line = format!("untty: exec: {program}: EACCES");
    assert!(command_fails(&[], &["-u", "70000:70000", &program, "1000"], 126, &line));
    while_a_program_runs(&["become 0 0", &format!("spawn {program} 1000")], |pid| assert_eq!(ids(pid).0, 0));
}

// Users, by the command.

/// The ids and the groups, or what the command says instead.
type Who = Result<(u32, u32, Vec<u32>), String>;

/// A directory to be /etc, with just these files.
fn etc(passwd: Option<&[u8]>, group: Option<&[u8]>) -> Scratch {
    let etc = scratch();
    fs::write(etc.file("nsswitch.conf"), "passwd: files\ngroup: files\n").unwrap();
    for (name, content) in [("passwd", passwd), ("group", group)] {
        if let Some(content) = content {
            fs::write(etc.file(name), content).unwrap();
        }
    }
    etc
}

/// Who `-u USER` is in that /etc: the ids and, sorted and each once, the groups; or what the command says instead.
fn who(etc: &Scratch, user: &str) -> Who {
    let bind = format!("etc {}", etc.path().display());
    let mut started = start_command(&[&bind], &["untty", "-P", "-u", user, SLEEP[0], SLEEP[1]]);
    assert_eq!(started.said.len(), 1, "{user}: {:?}", started.said);
    let said = started.said[0].clone();
    if started.status != 0 {
        assert_eq!(started.status, 125, "{user}: {said}");
        assert_eq!(started.warden.rest(), []);
        return Err(said);
    }
    let pid = number(&said);
    let (uid, gid, mut groups) = ids(pid);
    groups.dedup();
    kill(pid, libc::SIGKILL);
    assert_eq!(started.warden.rest(), [(pid, End::Killed(libc::SIGKILL))]);
    Ok((uid, gid, groups))
}

fn no_such(what: &str, name: &str) -> String {
    format!("untty: user: no such {what}: '{name}': ENOENT")
}

fn no_group(user: &str) -> String {
    format!("untty: options: user '{user}' has no entry, and so no group; say USER:GROUP: EINVAL")
}

const PASSWD: &[u8] = b"root:x:0:0:root:/root:/bin/sh\n\
    daemon:x:1:1:::\n\
    joe:x:70010:70011:Joe:/:/bin/sh\n\
    joey:x:70020:70021:::\n\
    70010:x:70030:70031:::\n\
    alone:x:70040:70041:::\n";
const GROUP: &[u8] = b"root:x:0:\n\
    daemon:x:1:\n\
    joes:x:70011:\n\
    one:x:101:joe\n\
    two:x:102:joey,joe\n\
    three:x:103:a,joe,b\n\
    others:x:104:joey,jo,oe,joejoe,Joe\n\
    103:x:105:\n";

fn the_command_knows_users_by_name_and_by_number() {
    if !can_change_user() {
        return;
    }
    let etc = etc(Some(PASSWD), Some(GROUP));
    for (user, uid, gid, groups) in [
        ("root", 0, 0, &[0][..]),
        ("joe", 70010, 70011, &[101, 102, 103, 70011]),
        ("joey", 70020, 70021, &[102, 104, 70021]),
        ("alone", 70040, 70041, &[70041]),
        // A name goes before a number, as POSIX has it for chown.
        ("70010", 70030, 70031, &[70031]),
        ("70020", 70020, 70021, &[102, 104, 70021]),
        ("070020", 70020, 70021, &[102, 104, 70021]),
        ("joe:two", 70010, 102, &[101, 102, 103]),
        ("joe:others", 70010, 104, &[101, 102, 103, 104]),
        ("joe:103", 70010, 105, &[101, 102, 103, 105]),
        ("joe:70077", 70010, 70077, &[101, 102, 103, 70077]),
        ("joe:0", 70010, 0, &[0, 101, 102, 103]),
        ("70020:70077", 70020, 70077, &[102, 104, 70077]),
        // Without an entry there are no groups.
        ("70000:70000", 70000, 70000, &[]),
        ("70000:two", 70000, 102, &[]),
        ("4294967294:4294967294", 4_294_967_294, 4_294_967_294, &[]),
        ("0:0", 0, 0, &[0]),
    ] {
        assert_eq!(who(&etc, user), Ok((uid, gid, groups.to_vec())), "{user}");
    }
    assert_eq!(who(&etc, "70000"), Err(no_group("70000")));
}

fn the_command_refuses_what_is_no_user() {
    let scratch = scratch();
    let log = scratch.file("log");
    let misuse = |user: &str| format!("untty: options: not USER or USER:GROUP: '{user}': EINVAL");
    let long = "n".repeat(300);
    let gone = [
        ("", misuse("")),
        (":", misuse(":")),
        (":root", misuse(":root")),
        ("root:", misuse("root:")),
        ("no-such-user", no_such("user", "no-such-user")),
        ("no-such-user:root", no_such("user", "no-such-user")),
        ("root:no-such-group", no_such("group", "no-such-group")),
        ("root::", no_such("group", ":")),
        ("root:root:root", no_such("group", "root:root")),
        ("4294967295", no_such("user", "4294967295")),
        ("4294967296", no_such("user", "4294967296")),
        ("-1", no_such("user", "-1")),
        ("18446744073709551616", no_such("user", "18446744073709551616")),
        ("4294967295:0", no_such("user", "4294967295")),
        ("0:4294967295", no_such("group", "4294967295")),
        ("0:-1", no_such("group", "-1")),
        (" 0", no_such("user", " 0")),
        ("+0", no_such("user", "+0")),
        ("0x0", no_such("user", "0x0")),
        ("new\nline", no_such("user", "new?line")),
        (&long, no_such("user", &long)),
        ("3999999999", no_group("3999999999")),
    ];
    for (user, line) in gone {
        assert!(command_fails(&[], &["-o", &log, "-u", user, "/bin/sleep", "1000"], 125, &line));
        assert!(!Path::new(&log).exists(), "{user}");
    }
}

fn the_command_tells_an_ordinary_user_the_truth() {
    let uid = if is_root() { 100_000 } else { unsafe { libc::geteuid() } };
    for user in [format!("{uid}:{uid}"), "0:0".to_owned()] {
        let line = format!("untty: setgroups: {user}: EPERM");
        assert!(command_fails(&["ordinary"], &["-u", &user, "/bin/sleep", "1000"], 125, &line));
    }
}

/// Lines of /etc/passwd, and who `-u USER` is with them.
fn both_backends_read_the_files_alike() {
    if !can_change_user() {
        return;
    }
    let joe = || Ok((70010, 70011, vec![70011]));
    let nobody = || Err(no_such("user", "joe"));
    let long = [b"long:x:1:1:".as_slice(), &[b'x'; 100_000], b":/:\njoe:x:70010:70011:::\n"].concat();
    let longer = [[b'n'; 100_000].as_slice(), b":x:1:1:::\njoe:x:70010:70011:::\n"].concat();
    let tables: [(&[u8], Who); 31] = [
        (b"joe:x:70010:70011:::\n", joe()),
        (b"joe::70010:70011:::\n", joe()),
        (b"joe:x:70010:70011:::", joe()),
        (b"joe:x:70010:70011:::\r\n", joe()),
        (b"joe:x:070010:070011:::\n", joe()),
        (b"joe:x:70010:70011:a:b:c:d:e\n", joe()),
        // Malformed lines, before the one that counts.
        (b"\n\n \njoe:x:70010:70011:::\n", joe()),
        (b"joe\njoe:\njoe:x\njoe:x:\njoe:x:1\njoe:x:1:\njoe:x:70010:70011:::\n", joe()),
        (b"joe:x::1:::\njoe:x:1::::\njoe:x:a:1:::\njoe:x:1:a:::\njoe:x:1a:1:::\njoe:x:70010:70011:::\n", joe()),
        (b"joe:x:0x1:1:::\njoe:x:1.0:1:::\njoe:x:1 :1:::\njoe:x:70010:70011:::\n", joe()),
        (b"+::::::\njoe:x:70010:70011:::\n", joe()),
        (b"+\n-\n+@netgroup\njoe:x:70010:70011:::\n", joe()),
        (b":x:70010:1:::\njoe:x:70010:70011:::\n", joe()),
        (b"#joe:x:1:1:::\n# joe:x:1:1:::\njoe:x:70010:70011:::\n", joe()),
        (b"jo\0e:x:1:1:::\njoe\0:x:1:1:::\njoe:x:1\0:1:::\njoe:x:70010:70011:::\n", joe()),
        (b"joe:x:70010:70011:a\0b::\n", joe()),
        (b"JOE:x:1:1:::\njoey:x:1:1:::\njo:x:1:1:::\njoe :x:1:1:::\njoe:x:70010:70011:::\n", joe()),
        (&long, joe()),
        (&longer, joe()),
        // The first one counts.
        (b"joe:x:70010:70011:::\njoe:x:0:0:::\n", joe()),
        // Fields that nobody needs may be missing, and blanks may come before.
        (b"joe:x:70010:70011\n", joe()),
        (b"joe:x:70010:70011", joe()),
        (b" \tjoe:x:70010:70011:::\n", joe()),
        // No such user.
        (b"", nobody()),
        (b"\n", nobody()),
        (b"joe", nobody()),
        (b"joe:x:70010:70011\r\n", nobody()),
        (b"#joe:x:70010:70011:::\n", nobody()),
        (b"+joe:x:70010:70011:::\n-joe:x:70010:70011:::\n", nobody()),
        (b"\0\0\0\0", nobody()),
        (&[b':'; 10_000], nobody()),
    ];
    for (table, expected) in tables {
        let table_shown = String::from_utf8_lossy(&table[..table.len().min(200)]).into_owned();
        let etc = etc(Some(table), Some(b""));
        assert_eq!(who(&etc, "joe"), expected, "{table_shown:?}");
    }
    // Who is no entry by name is none by number.
    for line in ["#joe:x:70010:1:::\n", "+joe:x:70010:1:::\n", "-:x:70010:1:::\n", "+:x:70010:1:::\n"] {
        let etc = etc(Some(line.as_bytes()), Some(b""));
        for user in ["70010".to_owned(), line.split(':').next().unwrap().to_owned()] {
            let expected = if user == "70010" { no_group(&user) } else { no_such("user", &user) };
            assert_eq!(who(&etc, &user), Err(expected), "{line:?}");
        }
    }
    // What a user id of -1 would do is refused, whoever says it.
    let minus_one = etc(Some(b"joe:x:4294967295:1:::\n"), Some(b""));
    assert!(who(&minus_one, "joe").is_err());
}

fn a_users_groups_are_all_found() {
    if !can_change_user() {
        return;
    }
    let many: Vec<u8> = (1000..1100).flat_map(|gid| format!("g{gid}:x:{gid}:joe\n").into_bytes()).collect();
    let members: Vec<String> = (0..10_000).map(|number| format!("member{number}")).collect();
    let full = format!("full:x:5:{},joe\nafter:x:6:joe\n", members.join(","));
    let without = format!("full:x:5:{}\nafter:x:6:joe\n", members.join(","));
    let long = [b"long:x:5:".as_slice(), &[b'x'; 100_000], b",joe\nafter:x:6:joe\n"].concat();
    let hundred: Vec<u32> = (1000..1100).collect();
    let tables: [(&[u8], &[u32]); 28] = [
        (b"", &[]),
        (b"g:x:5:joe\n", &[5]),
        (b"g:x:5:joe", &[5]),
        (b"g::5:joe\n", &[5]),
        (b"a:x:5:joe\nb:x:6:b,joe\nc:x:7:joe,c\nd:x:8:b,c\n", &[5, 6, 7]),
        (b"g:x:5:joe\ng:x:5:joe\nh:x:5:joe\n", &[5]),
        (b"g:x:5:joe,joe,joe\n", &[5]),
        (b"g:x:70011:joe\n", &[]),
        (b"g:x:5:,,joe,,\n", &[5]),
        (b"g:x:5:joe,\n", &[5]),
        (b"g:x:5:a, joe\n", &[5]),
        (b"g:x:5: \tjoe\n", &[5]),
        (b" g:x:5:joe\n", &[5]),
        (b"\n\ng:x:5:joe\n\n", &[5]),
        (&many, &hundred),
        (full.as_bytes(), &[5, 6]),
        (without.as_bytes(), &[6]),
        (&long, &[5, 6]),
        // None of them is joe.
        (b"g:x:5:jo,oe,joey,joejoe,JOE,j oe\n", &[]),
        (b"g:x:5:joe \n", &[]),
        (b"g:x:5:joe\r\nh:x:6:joe,b\r\n", &[6]),
        (b"g:x:5:joe:b\n", &[]),
        (b"joe:x:5:\n", &[]),
        // No groups.
        (b"g:x::joe\ng:x:a:joe\ng:x:5a:joe\ng:x:5 :joe\n", &[]),
        (b"g:x:5\ng:x:6:\ng:x\ng\njoe\n:joe\n::joe\n", &[]),
        (b"g:joe\ng:x:joe\ng:x:5:jo\0e\n", &[]),
        (b"+::: \n", &[]),
        (b"g\0:x:5:joe\n", &[]),
    ];
    for (table, groups) in tables {
        let table_shown = String::from_utf8_lossy(&table[..table.len().min(200)]).into_owned();
        let etc = etc(Some(b"joe:x:70010:70011:::\n"), Some(table));
        let expected = sorted([groups, &[70011]].concat());
        assert_eq!(who(&etc, "joe"), Ok((70010, 70011, expected)), "{table_shown:?}");
    }
    // By a name after the colon.
    for (table, group, expected) in [
        ("g:x:5:\n", "g", Some(5)),
        ("g:x:5\n", "g", Some(5)),
        ("g:x:5", "g", Some(5)),
        (" g:x:5:\n", "g", Some(5)),
        ("g:x:5:\ng:x:6:\n", "g", Some(5)),
        ("g:x:a:\ng:x:6:\n", "g", Some(6)),
        ("6:x:5:\n", "6", Some(5)),
        ("#g:x:5:\n", "#g", None),
        ("+g:x:5:\n", "+g", None),
        ("-g:x:5:\n", "-g", None),
        ("+:x:5:\n", "+", None),
        ("gg:x:5:\nG:x:5:\n", "g", None),
        ("g:x:5\r\n", "g", None),
    ] {
        let etc = etc(Some(b"joe:x:70010:70011:::\n"), Some(table.as_bytes()));
        let expected = expected.map_or_else(|| Err(no_such("group", group)), |gid| Ok((70010, gid, vec![gid])));
        assert_eq!(who(&etc, &format!("joe:{group}")), expected, "{table:?}");
    }
    // As many as there is room for, and one more.
    for (last, is_room) in [(2022, true), (2023, false)] {
        let table: String = (1000..=last).map(|gid| format!("g{gid}:x:{gid}:joe\n")).collect();
        let etc = etc(Some(b"joe:x:70010:70011:::\n"), Some(table.as_bytes()));
        let all = (1000..=last).chain([70011]).collect();
        let too_many = Err("untty: user: groups of joe: E2BIG".to_owned());
        assert_eq!(who(&etc, "joe"), if is_room { Ok((70010, 70011, all)) } else { too_many });
    }
}

/// What `getent` says of a user, by name or number; `None` when there is none.
fn their_answer(etc: &Scratch, user: &str) -> Option<(u32, u32, Vec<u32>)> {
    let bind = format!("etc {}", etc.path().display());
    let said = |command: &[&str]| {
        let mut started = start_command(&[&bind], command);
        started.warden.rest();
        (started.status == 0).then(|| started.said.concat())
    };
    let entry = said(&["getent", "passwd", user])?;
    let fields: Vec<&str> = entry.split(':').collect();
    let (uid, gid) = (fields[2].parse().unwrap(), fields[3].parse().unwrap());
    let groups = said(&["getent", "initgroups", fields[0]])?;
    let groups = groups.strip_prefix(fields[0]).unwrap().split_whitespace().map(|gid| gid.parse().unwrap());
    let mut groups = sorted(groups.chain([gid]).collect());
    groups.dedup();
    Some((uid, gid, groups))
}

/// Files put together by chance, the same ones every time.
fn names_are_what_the_systems_own_tools_say() {
    if !can_change_user() {
        return;
    }
    if !cfg!(target_env = "gnu") || Command::new("getent").arg("--version").output().is_err() {
        return skipped("the GNU system's getent is the judge here");
    }
    const NAMES: [&str; 8] = ["joe", "joey", "jo", "j.o-e_", "JOE", "70020", "joe joe", "j"];
    const IDS: [&str; 8] = ["70010", "70020", "5", "6", "0070", "8", "70010", "7x"];
    const LAST: [&str; 6] = [":::\n", ":a:b:c\n", "\n", ":\n", ":::\r\n", ":x y:\n"];
    const NOISE: [&str; 9] = ["", "", "", "", "\n", "#", " ", "junk\n", "joe:x\n"];
    let mut number = 1_u64;
    let mut pick = move |most: usize| {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(number >> 33).unwrap() % most
    };
    let mut known = 0;
    for _ in 0..60 {
        let (mut passwd, mut group) = (String::new(), String::new());
        for _ in 0..pick(6) {
            let (noise, name) = (NOISE[pick(9)], NAMES[pick(8)]);
            passwd += &format!("{noise}{name}:x:{}:{}{}", IDS[pick(8)], IDS[pick(8)], LAST[pick(6)]);
        }
        for _ in 0..pick(8) {
            let members: Vec<&str> = (0..pick(5)).map(|_| NAMES[pick(8)]).collect();
            // No comments: this C library takes their members for members.
            let noise = NOISE[pick(9)].replace('#', "");
            group += &format!("{noise}{}:x:{}:{}\n", NAMES[pick(8)], IDS[pick(8)], members.join(","));
        }
        let etc = etc(Some(passwd.as_bytes()), Some(group.as_bytes()));
        for user in ["joe", "joey", "70010"] {
            let (ours, theirs) = (who(&etc, user).ok(), their_answer(&etc, user));
            assert_eq!(ours, theirs, "{user}: {passwd:?} {group:?}");
            known += usize::from(ours.is_some());
        }
    }
    assert!(known > 20, "{known}");
}

fn without_files_numbers_do() {
    if !can_change_user() {
        return;
    }
    let (empty, no_groups) = (etc(None, None), etc(Some(PASSWD), None));
    assert_eq!(who(&empty, "70000:70001"), Ok((70000, 70001, vec![])));
    assert_eq!(who(&empty, "70000"), Err(no_group("70000")));
    assert_eq!(who(&empty, "joe"), Err(no_such("user", "joe")));
    assert_eq!(who(&no_groups, "joe"), Ok((70010, 70011, vec![70011])));
    assert_eq!(who(&no_groups, "joe:7"), Ok((70010, 7, vec![7])));
    assert_eq!(who(&no_groups, "joe:one"), Err(no_such("group", "one")));
}

// The root directory.

/// A root directory with a shell, `sleep`, what they need, and scripts. Neither /dev nor /proc nor /etc, and links that
/// lead nowhere but inside.
fn new_root() -> Scratch {
    let root = scratch();
    for program in ["sh", "sleep"] {
        copy_program(&root, program);
    }
    for directory in ["programs", "links", "empty"] {
        fs::create_dir(root.file(directory)).unwrap();
    }
    put(&root, "programs/tool", "#!/bin/sh\necho \"$0\" \"$@\"\npwd\nexec /bin/sleep 1000\n", 0o755);
    put(&root, "programs/bare", "echo bare \"$@\"\nexec /bin/sleep 1000\n", 0o755);
    put(&root, "programs/plain", "#!/bin/sh\n", 0o644);
    symlink("/programs/tool", root.file("links/tool")).unwrap();
    symlink("/programs", root.file("links/place")).unwrap();
    root
}

/// Copies a program of /bin, and the libraries that it needs to where they are.
fn copy_program(root: &Scratch, name: &str) {
    let program = format!("/bin/{name}");
    // Of a static program, ldd knows nothing.
    let said = Command::new("ldd").arg(&program).output().expect("ldd").stdout;
    let said = String::from_utf8(said).unwrap();
    for library in said.split_whitespace().filter(|word| word.starts_with('/')) {
        copy(Path::new(library), &root.file(&library[1..]));
    }
    copy(Path::new(&program), &root.file(&program[1..]));
}

/// By another process: nothing that is started here meanwhile can hold it open for writing, which would be ETXTBSY.
fn copy(from: &Path, to: &str) {
    fs::create_dir_all(Path::new(to).parent().unwrap()).unwrap();
    assert!(Command::new("cp").arg("-L").arg(from).arg(to).status().unwrap().success());
}

fn put(root: &Scratch, name: &str, content: &str, mode: u32) {
    let source = root.file("source");
    fs::write(&source, content).unwrap();
    copy(Path::new(&source), &root.file(name));
    fs::remove_file(&source).unwrap();
    fs::set_permissions(root.file(name), Permissions::from_mode(mode)).unwrap();
}

/// The root directory and the working directory of a process, as seen from here.
fn places(pid: i32) -> (String, String) {
    let place = |name| fs::read_link(format!("/proc/{pid}/{name}")).unwrap().display().to_string();
    (place("root"), place("cwd"))
}

fn path_of(root: &Scratch) -> String {
    fs::canonicalize(root.path()).unwrap().display().to_string()
}

/// That a program has these descriptors and no others; it may just be loading its libraries.
fn has_just_open(pid: i32, expected: &[i32]) {
    let open = || {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let mut open: Vec<i32> = entries.map(|entry| number(entry.file_name().to_str().unwrap())).collect();
        open.sort_unstable();
        open
    };
    until(&format!("just {expected:?} are open"), || open() == expected);
}

/// That a descriptor of a process is the one true /dev/null.
fn is_null(pid: i32, fd: i32) {
    let (theirs, ours) = (fs::metadata(format!("/proc/{pid}/fd/{fd}")).unwrap(), fs::metadata("/dev/null").unwrap());
    assert!(theirs.file_type().is_char_device());
    assert_eq!((theirs.dev(), theirs.ino(), theirs.rdev()), (ours.dev(), ours.ino(), libc::makedev(1, 3)));
}

fn a_root_without_dev_and_proc_is_enough() {
    let (root, outside) = (new_root(), scratch());
    let path = path_of(&root);
    let (log, pid_file) = (outside.file("log"), outside.file("pid"));
    let root_word = format!("root {path}");
    let words = ["as_root", &root_word, "spawn /bin/sleep 1000"];
    while_a_program_runs(&words, |pid| {
        assert_eq!(places(pid), (path.clone(), path.clone()));
        (0..=2).for_each(|fd| is_null(pid, fd));
        has_just_open(pid, &[0, 1, 2]);
    });
    // A daemon that executes nothing: it says that it is ready, and stops.
    while_a_program_runs(&["as_root", &root_word, "return", "first ready", "first die 19"], |pid| {
        assert_eq!(places(pid), (path.clone(), path.clone()));
        (0..=2).for_each(|fd| is_null(pid, fd));
        has_just_open(pid, &[0, 1, 2]);
    });
    let (stdout, pid_word) = (format!("stdout file {log}"), format!("pid_file {pid_file}"));
    let words = [
        "as_root",
        &root_word,
        &stdout,
        "stderr stdout",
        &pid_word,
        "directory /programs",
        "spawn /bin/sh /programs/tool",
    ];
    while_a_program_runs(&words, |pid| {
        assert_eq!(places(pid), (path.clone(), format!("{path}/programs")));
        until("the log is written", || fs::read_to_string(&log).unwrap() == "/programs/tool\n/programs\n");
        is_null(pid, 0);
        assert_eq!(fs::read_to_string(&pid_file).unwrap(), format!("{pid}\n"));
        assert_eq!(untty::pid_file_read(c(&pid_file)).unwrap(), Some(pid));
    });
    fs::remove_file(&log).unwrap();
    let command = ["-r", &path, "-C", "/programs", "-o", &log, "-p", &pid_file, "/programs/tool", "one"];
    command_runs(&["as_root"], &command, |pid| {
        assert_eq!(places(pid), (path.clone(), format!("{path}/programs")));
        until("the log is written", || fs::read_to_string(&log).unwrap() == "/programs/tool one\n/programs\n");
        assert_eq!(untty::pid_file_read(c(&pid_file)).unwrap(), Some(pid));
    });
    for inside in ["dev", "proc", "log", "pid"] {
        assert!(!Path::new(&root.file(inside)).exists());
    }
}

fn descriptors_are_closed_in_a_root_without_proc() {
    let (root, outside) = (new_root(), scratch());
    let root_word = format!("root {}", path_of(&root));
    let file = outside.file("file");
    let opened: Vec<String> =
        [3, 4, 5, 77, 300, 900].map(|fd| format!("open {fd} {}", if fd == 5 { "/dev/null" } else { &file })).into();
    for forbid in [None, Some(libc::ENOSYS), Some(libc::EPERM)] {
        for keep in [None, Some("keep 77")] {
            let forbid = forbid.map(|errno| format!("forbid close_range {errno}"));
            let mut words: Vec<&str> = opened.iter().map(String::as_str).collect();
            words.extend(["as_root", &root_word, "spawn /bin/sleep 1000"]);
            words.extend(forbid.as_deref());
            words.extend(keep);
            while_a_program_runs(&words, |pid| {
                has_just_open(pid, if keep.is_some() { &[0, 1, 2, 77] } else { &[0, 1, 2] });
            });
        }
    }
}

fn the_working_directory_is_always_inside() {
    let (root, outside) = (new_root(), scratch());
    let path = path_of(&root);
    let (cd, root_word) = (format!("cd {}", outside.path().display()), format!("root {path}"));
    for (directory, inside) in [
        ("keep_directory", ""),
        ("directory /", ""),
        ("directory /programs", "/programs"),
        ("directory programs", "/programs"),
        ("directory links/place", "/programs"),
        ("directory ..", ""),
        ("directory ../../..", ""),
        ("directory /../programs/..", ""),
    ] {
        let words = ["as_root", &cd, &root_word, directory, "spawn /bin/sleep 1000"];
        while_a_program_runs(&words, |pid| {
            assert_eq!(places(pid), (path.clone(), format!("{path}{inside}")), "{directory}");
        });
    }
    // The way up ends there.
    let log = outside.file("log");
    let stdout = format!("stdout file {log}");
    put(&root, "programs/climb", "cd ../../../../.. && echo * && pwd -P\nexec /bin/sleep 1000\n", 0o755);
    let words = ["as_root", &cd, &root_word, "keep_directory", &stdout, "spawn /bin/sh /programs/climb"];
    while_a_program_runs(&words, |pid| {
        until("it has climbed", || fs::read_to_string(&log).unwrap().lines().count() == 2);
        let said = fs::read_to_string(&log).unwrap();
        let mut names: Vec<String> = fs::read_dir(root.path())
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(said, format!("{}\n/\n", names.join(" ")));
        assert_eq!(places(pid), (path.clone(), path.clone()));
    });
    // A root that is given from where the caller is.
    let parent = root.path().parent().unwrap().display().to_string();
    let relative = format!("root {}", root.path().file_name().unwrap().to_str().unwrap());
    while_a_program_runs(&["as_root", &format!("cd {parent}"), &relative, "spawn /bin/sleep 1000"], |pid| {
        assert_eq!(places(pid), (path.clone(), path.clone()));
    });
}

fn the_command_looks_for_the_program_inside() {
    let (root, outside) = (new_root(), scratch());
    let path = path_of(&root);
    let log = outside.file("log");
    let here = outside.path().display().to_string();
    put(&outside, "only", "#!/bin/sh\nexec /bin/sleep 1000\n", 0o755);
    let own = format!("path {here}:/bin");
    for (search, program, said) in [
        ("path /links:/bin", "tool", Some("/links/tool a\n/\n")),
        ("path /missing:/programs/plain:/empty:/links", "tool", Some("/links/tool a\n/\n")),
        ("path /links/place", "tool", Some("/links/place/tool a\n/\n")),
        ("path /empty::/links", "tool", Some("/links/tool a\n/\n")),
        ("path programs", "tool", Some("programs/tool a\n/\n")),
        ("path /nowhere", "/links/tool", Some("/links/tool a\n/\n")),
        ("path /nowhere", "programs/tool", Some("programs/tool a\n/\n")),
        ("path /nowhere", "/bin/sleep", None),
    ] {
        let _ = fs::remove_file(&log);
        let argument = if said.is_some() { "a" } else { "1000" };
        command_runs(&["as_root", search], &["-r", &path, "-o", &log, program, argument], |pid| {
            assert_eq!(places(pid).0, path, "{search} {program}");
            if let Some(said) = said {
                until("the log is written", || fs::read_to_string(&log).unwrap() == said);
            }
        });
    }
    let only = outside.file("only");
    for (search, program, status, errno) in [
        (own.as_str(), "only", 127, "ENOENT"),
        (&own, only.as_str(), 127, "ENOENT"),
        (&own, "./only", 127, "ENOENT"),
        ("path /empty:/programs", "missing", 127, "ENOENT"),
        ("path /empty:/programs", "plain", 126, "EACCES"),
        ("path /programs:/empty", "plain", 126, "EACCES"),
        ("path /bin", "/programs/plain", 126, "EACCES"),
        ("path /bin", "/programs", 126, "EACCES"),
        ("path /bin", "/programs/tool/x", 126, "ENOTDIR"),
        ("path /bin", "", 127, "ENOENT"),
    ] {
        let line = format!("untty: exec: {program}: {errno}");
        let words = ["as_root", &format!("cd {here}"), search];
        command_fails(&words, &["-r", &path, program], status, &line);
    }
}

fn the_command_starts_scripts_inside() {
    let (root, outside) = (new_root(), scratch());
    let (path, log) = (path_of(&root), outside.file("log"));
    let command = ["-r", &path, "-o", &log, "bare", "a", "b c"];
    command_runs(&["as_root", "path /bin:/programs"], &command, |pid| {
        until("the log is written", || fs::read_to_string(&log).unwrap() == "bare a b c\n");
        assert_eq!(places(pid), (path.clone(), path.clone()));
    });
}

/// It stays what it is, and what it tries in one directory of PATH after the other must not be done twice.
fn a_supervised_command_looks_for_the_program_inside_its_root_too() {
    let (root, outside) = (new_root(), scratch());
    let path = path_of(&root);
    let (log, pid_file) = (outside.file("log"), outside.file("pid"));
    for (search, program, said) in [
        ("path /empty:/links:/bin", "tool", "/links/tool a\n/\n"),
        ("path /missing:/programs/plain:/empty:/links", "tool", "/links/tool a\n/\n"),
        ("path /bin:/programs", "bare", "bare a\n"),
    ] {
        let words = ["as_root", search, "supervised", "--", "untty", "-S", "-P"];
        let options = ["-r", &path, "-o", &log, "-p", &pid_file, program, "a"];
        let mut warden = Warden::start(helper("command").args(words).args(options));
        let mut ended = None;
        until("the log is written", || {
            ended = ended.or_else(|| warden.try_next(Duration::ZERO));
            ended.is_some() || fs::read_to_string(&log).is_ok_and(|log| log == said)
        });
        if ended == Some(Event::Caller(End::Exited(FORBIDDEN))) {
            return skipped(&warden.all_output().concat());
        }
        assert_eq!(ended, None, "{:?}", warden.output());
        let [pid] = warden.living()[..] else { panic!("{:?}", warden.living()) };
        assert_eq!(places(pid), (path.clone(), path.clone()));
        assert_eq!(untty::pid_file_read(c(&pid_file)).unwrap(), Some(pid));
        kill(pid, libc::SIGKILL);
        assert_eq!(warden.caller(), End::Killed(libc::SIGKILL), "it was what had been started");
        assert_eq!(warden.rest(), []);
        assert_eq!(warden.all_output(), [""; 0]);
        fs::remove_file(&log).unwrap();
    }
}

fn a_root_that_cannot_be_is_reported() {
    let (root, outside) = (new_root(), scratch());
    let path = path_of(&root);
    let (missing, file, pid_file) = (root.file("missing"), root.file("programs/plain"), outside.file("pid"));
    let root_word = format!("root {path}");
    let pid_word = format!("pid_file {pid_file}");
    for (words, expected) in [
        (vec!["as_root".to_owned(), format!("root {missing}")], "chroot ENOENT"),
        (vec!["as_root".to_owned(), "root ".to_owned()], "chroot ENOENT"),
        (vec!["as_root".to_owned(), format!("root {file}")], "chroot ENOTDIR"),
        (vec!["as_root".to_owned(), root_word.clone(), "directory /missing".to_owned()], "chdir ENOENT"),
        (vec!["as_root".to_owned(), root_word.clone(), "directory /programs/plain".to_owned()], "chdir ENOTDIR"),
        (vec!["as_root".to_owned(), root_word.clone(), format!("directory {path}")], "chdir ENOENT"),
        (vec!["as_root".to_owned(), root_word.clone(), "forbid chroot 38".to_owned()], "chroot ENOSYS"),
        (vec!["as_root".to_owned(), root_word.clone(), "forbid chdir 5".to_owned()], "chroot EIO"),
        (vec!["ordinary".to_owned(), root_word.clone()], "chroot EPERM"),
    ] {
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        if words[0] != "ordinary" {
            words.push(&pid_word);
        }
        fails(&words, expected);
        fails(&[&words[..], &["spawn /bin/sleep 1000"]].concat(), expected);
        assert!(!Path::new(&pid_file).exists());
    }
    for (word, options, line) in [
        ("as_root", vec!["-r", &missing], format!("untty: chroot: {missing}: ENOENT")),
        ("as_root", vec!["-r", &file], format!("untty: chroot: {file}: ENOTDIR")),
        ("as_root", vec!["-r", ""], "untty: chroot: : ENOENT".to_owned()),
        ("as_root", vec!["-r", &path, "-C", "/missing"], "untty: chdir: /missing: ENOENT".to_owned()),
        ("ordinary", vec!["-r", &path], format!("untty: chroot: {path}: EPERM")),
    ] {
        command_fails(&[word], &[&options[..], &["sleep", "1000"]].concat(), 125, &line);
    }
}

fn root_and_user_go_together() {
    if !can_change_user() {
        return;
    }
    let (root, outside) = (new_root(), scratch());
    let path = path_of(&root);
    let words = [&format!("root {path}"), "become 70000 70001 5", "directory /programs", "spawn /bin/sleep 1000"];
    while_a_program_runs(&words, |pid| {
        assert_eq!(ids(pid), (70000, 70001, vec![5]));
        assert_eq!(places(pid), (path.clone(), format!("{path}/programs")));
    });
    // Names are looked up outside; the root has no /etc.
    let (etc, log) = (etc(Some(PASSWD), Some(GROUP)), outside.file("log"));
    let bind = format!("etc {}", etc.path().display());
    let pid_file = outside.file("pid");
    let command = ["-r", &path, "-u", "joe", "-o", &log, "-p", &pid_file, "/bin/sleep", "1000"];
    command_runs(&[&bind], &command, |pid| {
        assert_eq!(untty::pid_file_read(c(&pid_file)).unwrap(), Some(pid));
        assert_eq!(ids(pid), (70010, 70011, vec![101, 102, 103, 70011]));
        assert_eq!(places(pid), (path.clone(), path.clone()));
        assert_eq!(fs::read_link(format!("/proc/{pid}/fd/1")).unwrap(), Path::new(&log));
    });
}
