//! The pid file: whose it is, who is refused, and what is left of it when a start fails.

#![allow(
    clippy::multiple_unsafe_ops_per_block,
    clippy::undocumented_unsafe_blocks,
    reason = "tests: bare system calls"
)]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests have std")]

mod harness;

use harness::start::*;
use harness::{CALLER, Call, DAEMON, End, LEADER, Moment, State, Tracer, Visitor, Warden, helper, is_root};
use std::collections::BTreeSet;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;
use std::{env, fs, process, thread};
use untty::{Daemon, Errno, Error, Process, Step};

fn main() {
    harness::main(
        named![
            the_file_is_the_daemons_pid_and_a_newline_with_mode_0644_under_any_umask,
            the_file_is_complete_when_the_command_returns,
            the_file_is_its_starters_also_when_the_daemon_is_another_user,
            the_file_is_written_before_privileges_drop,
            a_relative_name_means_what_it_says_in_the_caller,
            the_file_lies_outside_the_daemons_root,
            a_second_start_is_told_who_runs,
            a_second_start_leaves_the_file_alone_and_makes_no_log,
            a_second_start_is_refused_while_the_first_gets_ready,
            a_second_start_is_refused_at_every_moment_of_the_first,
            the_kernel_names_the_daemon_as_the_holder,
            a_child_of_the_daemon_does_not_hold_the_file_after_it,
            the_file_of_a_dead_daemon_is_free_at_once,
            the_descriptor_that_holds_the_file_can_only_read,
            who_asks_for_its_own_file_does_not_lose_it,
            a_program_that_closes_everything_gives_up_the_file,
            a_file_that_somebody_has_overwritten_is_still_held,
            the_owner_of_a_file_that_somebody_has_emptied_finds_it_by_its_lock,
            in_a_root_without_proc_the_owner_finds_its_file_by_its_lock,
            a_strangers_lock_is_not_taken_for_a_daemons,
            a_number_without_a_lock_is_nobodys,
            what_is_no_pid_file_is_refused_and_stays,
            a_fifo_is_refused_without_waiting,
            a_text_that_is_no_pid_is_refused_and_stays,
            a_place_that_cannot_be_written_is_refused,
            a_file_of_another_user_is_refused,
            a_read_only_file_system_is_refused,
            a_full_file_system_is_an_error_of_the_start,
            a_file_size_limit_is_an_error_of_the_start,
            no_descriptor_is_free_for_it,
            a_call_that_fails_is_an_error_of_the_start,
            every_later_failure_puts_back_what_was_there,
            a_new_file_that_cannot_be_removed_names_nobody,
            a_death_at_any_step_puts_back_what_was_there,
            a_command_that_cannot_be_executed_puts_back_what_was_there,
            a_deadline_puts_back_what_was_there,
            a_stray_child_of_a_failed_start_does_not_keep_the_gate_shut,
            a_start_that_fails_before_its_gate_is_shut_leaves_the_file_to_whoever_won,
            a_stale_file_heals_itself,
            the_file_of_a_start_whose_caller_was_killed_heals_itself,
            a_caller_that_dies_while_it_waits_leaves_the_file_to_its_daemon,
            reading_tells_the_living_daemon_and_what_is_wrong,
            only_the_owner_removes_the_file,
            a_file_that_was_replaced_is_not_the_daemons,
            simultaneous_starts_that_all_fail_put_back_what_was_there,
            no_two_daemons_hold_the_same_file_while_it_is_unlinked_again_and_again,
            of_a_thousand_simultaneous_starts_one_wins,
            of_simultaneous_commands_one_wins,
            a_stale_file_taken_over_is_never_seen_empty_or_cut_short,
            a_stale_file_put_back_is_never_seen_empty_or_cut_short,
            a_stale_file_with_the_right_number_gets_its_mode_back,
            a_child_that_another_thread_has_forked_does_not_keep_the_gate_shut,
            a_failed_start_puts_the_text_back_although_a_stranger_has_locked_the_file,
            a_supervised_program_that_cannot_be_executed_puts_back_what_was_there,
            a_supervised_process_holds_the_file_itself,
            start_stop_daemon_agrees,
        ],
        named![
            caller,
            caller_as_pid_1,
            program,
            held,
            herd,
            failing_herd,
            rooted,
            rooted_owner,
            forking,
            reader_elsewhere,
            stranger,
            writer,
        ],
    );
}

// What the tests are made of.

/// A daemon that is ready and owns a pid file, on the line.
struct Owner {
    start: Start,
    pid: i32,
    line: Visitor,
}

/// How a daemon can be started: by the library, with more words, or by the command, with more options.
type Way = fn(&str, &[&str]) -> Owner;
const WAYS: [Way; 2] = [by_library, by_command];

fn by_library(path: &str, words: &[&str]) -> Owner {
    let pid_file = format!("pid_file {path}");
    let mut start = Start::with(&[&[pid_file.as_str()], words].concat());
    let mut daemon = start.daemon();
    daemon.ready();
    assert_eq!(start.caller(), End::Exited(0));
    Owner { pid: daemon.pid, line: daemon.line, start }
}

fn by_command(path: &str, options: &[&str]) -> Owner {
    let mut start = Start::untty(&[&["-p", path], options, &["PROGRAM"]].concat());
    assert_eq!(start.caller(), End::Exited(0), "{:?}", start.warden.output());
    let program = start.program();
    Owner { pid: number(&program.state["pid"]), line: program.line, start }
}

impl Owner {
    fn ask(&mut self, order: &str) -> String {
        self.line.ask(order)
    }

    /// Lets it end by itself.
    fn end(mut self) {
        drop(self.line);
        assert_eq!(self.start.orphan(self.pid), End::Exited(0));
        self.start.rest();
    }

    fn kill(&mut self) {
        kill(self.pid, libc::SIGKILL);
        assert_eq!(self.start.orphan(self.pid), End::Killed(libc::SIGKILL));
    }
}

/// What a file is, down to its times.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    text: String,
    mode: u32,
    inode: u64,
    owner: [u32; 2],
    times: [i64; 4],
}

fn see(path: &str) -> Seen {
    let stat = fs::symlink_metadata(path).unwrap();
    Seen {
        text: fs::read_to_string(path).unwrap(),
        mode: stat.mode() & 0o7777,
        inode: stat.ino(),
        owner: [stat.uid(), stat.gid()],
        times: [stat.mtime(), stat.mtime_nsec(), stat.ctime(), stat.ctime_nsec()],
    }
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap()
}

/// The text of that daemon's pid file.
fn line_of(pid: i32) -> String {
    format!("{pid}\n")
}

fn set_mode(path: &str, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A file as a daemon of long ago may have left it.
fn leave(path: &str, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::File::options().write(true).open(path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    set_mode(path, mode);
}

/// Who holds a file by a record lock, as the kernel tells a stranger.
fn holder(path: &str) -> Option<i32> {
    let file = fs::File::open(path).unwrap();
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK.try_into().unwrap();
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GETLK, &raw mut lock) }, 0);
    (i32::from(lock.l_type) != libc::F_UNLCK).then_some(lock.l_pid)
}

/// The kinds of locks on a file, as `/proc/locks` lists them.
fn locks(path: &str) -> Vec<String> {
    let inode = format!(":{} ", fs::metadata(path).unwrap().ino());
    let list = fs::read_to_string("/proc/locks").unwrap();
    let ours = list.lines().filter(|line| line.contains(&inode));
    ours.map(|line| line.split_whitespace().skip(1).step_by(2).take(2).collect::<Vec<_>>().join(" ")).collect()
}

/// The command, which must fail, say that one line, and leave nothing.
fn refused(arguments: &[&str], line: &str) {
    let mut warden = Warden::start(harness::untty().args(arguments));
    assert_eq!(warden.caller(), End::Exited(125), "{:?}", warden.output());
    let ends = warden.rest();
    assert!(ends.iter().all(|(_, end)| *end == End::Exited(1)), "{ends:?}");
    assert_eq!(warden.all_output(), [line]);
}

/// Both the library and the command must be refused that file, with that errno and for the command in those words.
fn both_refused(path: &str, directory: &str, words: &[&str], errno: &str, what: &str) {
    let mine = [format!("pid_file {path}"), format!("watch {directory}")];
    let mine: Vec<&str> = mine.iter().map(String::as_str).chain(words.iter().copied()).collect();
    fails(&mine, &format!("pid_file {errno}"));
    if words.is_empty() {
        let before = files(directory);
        refused(&["-p", path, "/bin/true"], &format!("untty: pid file: {path}: {what}: {errno}"));
        assert_eq!(files(directory), before);
    }
}

const CANNOT: &str = "cannot use the pid file";
const NO_PID_FILE: &str = "not a pid file";

/// A pid that no process has: the kernel gives out no number so high (`proc_sys_kernel(5)`, pid_max).
const NOBODY: &str = "4194305";

// 1. The file.

fn the_file_is_the_daemons_pid_and_a_newline_with_mode_0644_under_any_umask() {
    for umask in ["0", "22", "77", "777"] {
        for stale in [None, Some(0o600), Some(0o666), Some(0o777)] {
            let scratch = scratch();
            let path = scratch.file("pid");
            let make = || {
                let _ = fs::remove_file(&path);
                if let Some(mode) = stale {
                    leave(&path, NOBODY, mode);
                }
            };
            make();
            let mask = format!("mask {umask}");
            let mut start = Start::with(&[&mask, &format!("pid_file {path}")]);
            let mut daemon = start.daemon();
            // Complete when the daemon's code begins, and the caller's end changes nothing.
            let seen = see(&path);
            assert_eq!((seen.text.as_str(), seen.mode), (line_of(daemon.pid).as_str(), 0o644), "{umask} {stale:?}");
            assert_eq!(seen.owner, [nix::unistd::geteuid().as_raw(), fs::metadata(&path).unwrap().gid()]);
            daemon.ready();
            assert_eq!(start.caller(), End::Exited(0));
            assert_eq!(see(&path), seen);
            drop(daemon);
            start.rest();

            make();
            let mut start = Start::untty_after(&mask.replace("mask", "umask"), &["-p", &path, "PROGRAM"]);
            assert_eq!(start.caller(), End::Exited(0), "{umask} {stale:?} {:?}", start.warden.output());
            let seen = see(&path);
            let program = start.program();
            assert_eq!((seen.text, seen.mode), (format!("{}\n", program.state["pid"]), 0o644), "{umask} {stale:?}");
            drop(program);
            start.rest();
        }
    }
}

fn the_file_is_complete_when_the_command_returns() {
    let scratch = scratch();
    let path = scratch.file("pid");
    for _ in 0..20 {
        let mut warden = Warden::start(harness::untty().args(["-P", "-p", &path, "/bin/true"]));
        assert_eq!(warden.caller(), End::Exited(0));
        let text = text(&path); // of a program that ends at once: it stays, and is stale
        warden.rest();
        assert_eq!(warden.all_output().iter().map(|pid| format!("{pid}\n")).collect::<Vec<_>>(), [text]);
    }
}

fn the_file_is_its_starters_also_when_the_daemon_is_another_user() {
    if !is_root() {
        return skipped("only root may become another user");
    }
    let scratch = scratch();
    let path = scratch.file("pid");
    // Whoever gets it by the library can call; a program might lie where it cannot be reached.
    let mut owner = by_library(&path, &["user 65534 65534"]);
    let seen = see(&path);
    assert_eq!((seen.text.as_str(), seen.mode, seen.owner), (line_of(owner.pid).as_str(), 0o644, [0, 0]));
    assert_eq!(fs::metadata(format!("/proc/{}", owner.pid)).unwrap().uid(), 65534);
    assert_eq!(holder(&path), Some(owner.pid));
    assert_eq!(owner.ask(&format!("pid_file_read {path}")), format!("process {}", owner.pid));
    // It cannot make the file name another process, which root would then kill.
    let descriptor = owner.ask("pid_file_descriptor").replace("descriptor ", "");
    assert_eq!(owner.ask(&format!("write {descriptor} 1")), "wrote -1");
    for file in [path.clone(), format!("/proc/self/fd/{descriptor}")] {
        assert_eq!(owner.ask(&format!("open {file}")), format!("errno {}", libc::EACCES), "{file}");
    }
    assert_eq!(owner.ask(&format!("pid_file_remove {path}")), "pid_file EACCES");
    assert_eq!((see(&path), holder(&path)), (seen, Some(owner.pid)));
    owner.end();

    let program = ["-u", "nobody", "/bin/sh", "-c", "kill -STOP $$"];
    let mut start = Start::untty(&[&["-p", path.as_str()], program.as_slice()].concat());
    assert_eq!(start.caller(), End::Exited(0), "{:?}", start.warden.output());
    let seen = see(&path);
    let pid = number(seen.text.trim());
    assert_eq!((seen.mode, seen.owner, holder(&path)), (0o644, [0, 0], Some(pid)));
    assert_eq!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), 65534);
    kill(pid, libc::SIGKILL);
    start.rest();
    // And root takes it over.
    by_command(&path, &[]).end();
}

fn the_file_is_written_before_privileges_drop() {
    if !is_root() {
        return skipped("only root may become another user");
    }
    let scratch = scratch();
    let path = scratch.file("pid");
    let stopped = Held::at(DAEMON, libc::SYS_setresuid, &["-p", &path, "-u", "nobody", "/bin/true"]);
    assert_eq!(text(&path), line_of(stopped.pid));
    assert_eq!(stopped.go(), End::Exited(0));
    // Where the new user could write nothing.
    set_mode(scratch.path().to_str().unwrap(), 0o700);
    leave(&path, NOBODY, 0o600);
    let mut warden = Warden::start(harness::untty().args(["-P", "-p", &path, "-u", "nobody", "/bin/true"]));
    assert_eq!(warden.caller(), End::Exited(0));
    warden.rest();
    assert_eq!(warden.all_output(), [text(&path).trim()]);
}

fn a_relative_name_means_what_it_says_in_the_caller() {
    let scratch = scratch();
    let directory = scratch.path().to_str().unwrap();
    let path = scratch.file("pid");
    let owner = by_library("pid", &[&format!("cd {directory}")]);
    assert_eq!((text(&path), holder(&path)), (line_of(owner.pid), Some(owner.pid)));
    assert_eq!(fs::read_link(format!("/proc/{}/cwd", owner.pid)).unwrap().to_str(), Some("/"));
    owner.end();
    let cd = format!("cd '{directory}'");
    let mut start = Start::untty_after(&cd, &["-C", "/usr", "-p", "./pid", "PROGRAM"]);
    assert_eq!(start.caller(), End::Exited(0));
    let program = start.program();
    assert_eq!(text(&path), format!("{}\n", program.state["pid"]));
    drop(program);
    start.rest();
    // What the daemon could not find from where it is, is undone all the same.
    let words = ["watch .", "pid_file pid", "directory /nonexistent"];
    for stale in [None, Some("17\n")] {
        fs::remove_file(&path).unwrap();
        stale.iter().for_each(|text| leave(&path, text, 0o640));
        fails(&[&[format!("cd {directory}").as_str()], words.as_slice()].concat(), "chdir ENOENT");
        assert_eq!(fs::exists(&path).unwrap(), stale.is_some());
        leave(&path, "", 0o644);
    }
}

/// `ROOT PIDFILE`: a daemon with that root directory, which writes there what it finds of its pid file.
fn rooted(arguments: &[String]) {
    forget_the_tests_parents();
    if !is_root() {
        if let Err(why) = unshare(0) {
            return println!("{why}");
        }
    }
    let (root, path) = (c(&arguments[0]), c(&arguments[1]));
    let Process::Daemon(mut handle) = unsafe { Daemon::new().root(root).pid_file(path).detach() }.unwrap() else {
        return;
    };
    let found = untty::pid_file_read(path);
    let removed = untty::pid_file_remove(path).map_err(|error| error.errno());
    fs::write("/found", format!("{found:?} {removed:?}")).unwrap();
    handle.ready().unwrap();
    loop {
        unsafe { libc::pause() };
    }
}

fn the_file_lies_outside_the_daemons_root() {
    let scratch = scratch();
    let (root, path) = (scratch.file("root"), scratch.file("pid"));
    fs::create_dir(&root).unwrap();
    let mut warden = Warden::start(helper("rooted").args([&root, &path]));
    assert_eq!(warden.caller(), End::Exited(0));
    if !fs::exists(&path).unwrap() {
        return skipped(&warden.all_output().join(" "));
    }
    let pid = number(text(&path).trim());
    assert_eq!(holder(&path), Some(pid));
    // By the same name there is nothing inside.
    assert_eq!(text(&scratch.file("root/found")), "Ok(None) Err(ENOENT)");
    kill(pid, libc::SIGKILL);
    warden.rest();
    // A start that fails in there is undone out here.
    for stale in [None, Some("17\n")] {
        let _ = fs::remove_file(&path);
        stale.iter().for_each(|text| leave(&path, text, 0o640));
        let (root, path) = (format!("root {root}"), format!("pid_file {path}"));
        let words = [&root, &path, "directory /missing", &format!("watch {}", scratch.path().display())];
        let words = [if is_root() { &[][..] } else { &["users"][..] }, &words].concat();
        fails(&words, "chdir ENOENT");
    }
}

// 2. A second start.

fn a_second_start_is_told_who_runs() {
    for way in WAYS {
        let scratch = scratch();
        let path = scratch.file("pid");
        let owner = way(&path, &[]);
        let line = format!("untty: pid file: {path}: already running, process {}: EEXIST", owner.pid);
        refused(&["-p", &path, "/bin/true"], &line);
        refused(&["-n", "-t", "60", "-p", &path, "/bin/true"], &line);
        owner.end();
    }
}

fn a_second_start_leaves_the_file_alone_and_makes_no_log() {
    for way in WAYS {
        let scratch = scratch();
        let (path, log) = (scratch.file("pid"), scratch.file("log"));
        let owner = way(&path, &[]);
        set_mode(&path, 0o640); // and does not even mend that
        let seen = see(&path);
        let line = format!("untty: pid file: {path}: already running, process {}: EEXIST", owner.pid);
        refused(&["-o", &log, "-p", &path, "/bin/true"], &line);
        let words = [format!("pid_file {path}"), format!("stdout file {log}"), "return".to_owned()];
        let mut start = Start::with(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let answer = start.answer();
        assert_eq!(answer.outcome, "pid_file EEXIST");
        assert_eq!(answer.text, "pid file: already running or being started: EEXIST");
        assert_eq!(answer.differences, [""; 0]);
        start.only_the_caller_lives();
        drop(answer);
        start.rest();
        assert_eq!(see(&path), seen);
        assert!(!fs::exists(&log).unwrap());
        assert_eq!(holder(&path), Some(owner.pid));
        owner.end();
    }
}

fn a_second_start_is_refused_while_the_first_gets_ready() {
    let scratch = scratch();
    let path = scratch.file("pid");
    let second = |pid: i32| {
        let seen = see(&path);
        let line = format!("untty: pid file: {path}: already running, process {pid}: EEXIST");
        refused(&["-p", &path, "/bin/true"], &line);
        fails(&[&format!("pid_file {path}")], "pid_file EEXIST");
        assert_eq!((see(&path), holder(&path)), (seen, Some(pid)));
    };
    let mut start = Start::with(&[&format!("pid_file {path}")]);
    let mut daemon = start.daemon();
    second(daemon.pid);
    daemon.ready();
    assert_eq!(start.caller(), End::Exited(0));
    second(daemon.pid);
    drop(daemon);
    start.rest();
    for waits in [&["-n"][..], &["-R", "5"]] {
        fs::remove_file(&path).unwrap();
        let mut start = Start::untty(&[&["-p", path.as_str()], waits, &["PROGRAM"]].concat());
        let program = start.program();
        second(number(&program.state["pid"]));
        assert_eq!(start.caller, None);
        drop(program); // ends before it is ready
        assert_eq!(start.caller(), End::Exited(125));
        start.rest();
        assert!(!fs::exists(&path).unwrap(), "and so it is undone");
        leave(&path, "", 0o644);
    }
}

/// A start by the command that is stopped at a moment.
struct Held {
    start: Start,
    line: Visitor,
    pid: i32,
}

/// `MEETING ROLE CALL COMMAND…`: runs it until that process is about to make that system call.
fn held(arguments: &[String]) {
    forget_the_tests_parents();
    let [meeting, role, call, command @ ..] = arguments else { panic!("{arguments:?}") };
    let mut tracer = Tracer::start(Command::new(&command[0]).args(&command[1..]));
    let stopped = tracer.run_until(role.parse().unwrap(), Moment::Call(call.parse().unwrap()));
    let stopped = stopped.expect("the moment comes before the end");
    let mut call = Call::to(meeting);
    call.say("held");
    call.say(&stopped.to_string());
    match call.line().as_deref() {
        Some("kill") => kill(stopped, libc::SIGKILL),
        Some("kill the caller") => {
            tracer.leave_stopped();
            kill(tracer.caller(), libc::SIGKILL);
        }
        _ => {}
    }
    let end = tracer.run();
    tracer.release();
    process::exit(if let End::Exited(status) = end { status } else { 255 });
}

impl Held {
    fn at(role: usize, call: libc::c_long, arguments: &[&str]) -> Self {
        Self::of(role, call, |meeting| {
            let program = harness::untty().get_program().to_str().unwrap().to_owned();
            [vec![program], expanded(arguments, meeting)].concat()
        })
    }

    /// A start by the library, by its words.
    fn caller_at(call: libc::c_long, words: &[&str]) -> Self {
        Self::of(CALLER, call, |meeting| {
            let binary = env::current_exe().unwrap().display().to_string();
            [&[&binary, "helper", "caller", meeting], words].concat().into_iter().map(str::to_owned).collect()
        })
    }

    fn of(role: usize, call: libc::c_long, command: impl FnOnce(&str) -> Vec<String>) -> Self {
        let mut start = Start::by(|meeting| {
            let mut held = helper("held");
            held.args([meeting, &role.to_string(), &call.to_string()]).args(command(meeting));
            held
        });
        let mut line = start.call("held");
        let pid = number(&line.line().unwrap());
        Self { start, line, pid }
    }

    /// How the command ends.
    fn after(&mut self, what: &str) -> End {
        self.line.say(what);
        self.start.caller()
    }

    fn go(mut self) -> End {
        let end = self.after("go");
        self.start.rest();
        end
    }
}

fn a_second_start_is_refused_at_every_moment_of_the_first() {
    let scratch = scratch();
    let path = scratch.file("pid");
    let unknown = format!("untty: pid file: {path}: already running or being started: EEXIST");
    for (role, call, known) in [
        (CALLER, libc::SYS_pipe2, false),
        (LEADER, libc::SYS_setsid, false),
        (DAEMON, libc::SYS_chdir, false),
        (DAEMON, libc::SYS_pwrite64, false),
        (DAEMON, libc::SYS_ftruncate, false),
        (DAEMON, libc::SYS_fcntl, false),
        (DAEMON, libc::SYS_execve, true),
    ] {
        for stale in [None, Some(NOBODY)] {
            let _ = fs::remove_file(&path);
            stale.iter().for_each(|text| leave(&path, text, 0o600));
            let mut first = Held::at(role, call, &["-p", &path, "PROGRAM"]);
            let seen = see(&path);
            let line = format!("untty: pid file: {path}: already running, process {}: EEXIST", first.pid);
            refused(&["-p", &path, "/bin/true"], if known { &line } else { &unknown });
            fails(&[&format!("pid_file {path}")], "pid_file EEXIST");
            assert_eq!(see(&path), seen, "{role} {call}");
            let owner = known.then_some(first.pid);
            assert_eq!(untty::pid_file_read(c(&path)), Ok(owner), "{role} {call}");
            assert_eq!(first.after("go"), End::Exited(0));
            let program = first.start.program();
            assert_eq!(text(&path), format!("{}\n", program.state["pid"]));
            assert_eq!(Some(number(&program.state["pid"])), holder(&path));
            drop(program);
            first.start.rest();
        }
    }
}

// 3. The locks.

fn the_kernel_names_the_daemon_as_the_holder() {
    for way in WAYS {
        let scratch = scratch();
        let path = scratch.file("pid");
        let owner = way(&path, &[]);
        assert_eq!(holder(&path), Some(owner.pid));
        assert_eq!(untty::pid_file_read(c(&path)), Ok(Some(owner.pid)));
        // The gate is open, and the record lock a shared one.
        assert_eq!(locks(&path), ["POSIX READ"]);
        owner.end();
        assert_eq!(holder(&path), None);
        assert_eq!(untty::pid_file_read(c(&path)), Ok(None));
    }
}

fn a_child_of_the_daemon_does_not_hold_the_file_after_it() {
    for way in WAYS {
        for executes in [false, true] {
            let scratch = scratch();
            let path = scratch.file("pid");
            let mut owner = way(&path, &[]);
            let (child, mut line) = if executes {
                let words = program_that_calls(owner.start.meeting.path()).join(" ");
                let child = owner.ask(&format!("child {words}")).replace("child ", "");
                (child, Some(owner.start.program()))
            } else {
                (owner.ask("fork").replace("forked ", ""), None)
            };
            // While both live, it is the daemon's; the child knows that it is not its own.
            if let Some(child) = &mut line {
                assert_eq!(child.line.ask(&format!("pid_file_read {path}")), format!("process {}", owner.pid));
                assert_eq!(child.line.ask(&format!("pid_file_remove {path}")), "pid_file EPERM");
                assert_eq!(child.line.ask(&format!("detach {path}")), "pid_file EEXIST");
            }
            assert_eq!(holder(&path), Some(owner.pid));
            owner.kill();
            assert_eq!((holder(&path), locks(&path)), (None, vec![]), "{executes}");
            let next = way(&path, &[]);
            assert_eq!((text(&path), holder(&path)), (line_of(next.pid), Some(next.pid)));
            assert_eq!(nix::sys::signal::kill(nix::unistd::Pid::from_raw(number(&child)), None), Ok(()));
            drop(line);
            if !executes {
                kill(number(&child), libc::SIGKILL);
            }
            owner.start.rest();
            next.end();
        }
    }
}

fn the_file_of_a_dead_daemon_is_free_at_once() {
    let scratch = scratch();
    let path = scratch.file("pid");
    for _ in 0..10 {
        for way in WAYS {
            way(&path, &[]).kill();
            assert_eq!(untty::pid_file_read(c(&path)), Ok(None));
            way(&path, &[]).end();
            assert_eq!(untty::pid_file_read(c(&path)), Ok(None));
        }
    }
}

fn the_descriptor_that_holds_the_file_can_only_read() {
    for (way, close_on_exec) in [(by_library as Way, libc::FD_CLOEXEC), (by_command, 0)] {
        let scratch = scratch();
        let path = scratch.file("pid");
        let mut owner = way(&path, &[]);
        owner.line.say("state");
        let state = owner.line.state();
        let files: Vec<_> = open_files(&state).into_iter().filter(|file| file.1 == path).collect();
        let [(descriptor, _, flags, status)] = files[..] else { panic!("{files:?}") };
        assert_eq!((flags, status & libc::O_ACCMODE), (close_on_exec, libc::O_RDONLY));
        assert_eq!(owner.ask(&format!("write {descriptor} 1")), "wrote -1");
        if close_on_exec != 0 {
            assert_eq!(owner.ask("pid_file_descriptor"), format!("descriptor {descriptor}"));
        }
        assert_eq!(text(&path), line_of(owner.pid));
        owner.end();
    }
}

fn who_asks_for_its_own_file_does_not_lose_it() {
    for way in WAYS {
        let scratch = scratch();
        let path = scratch.file("pid");
        let mut owner = way(&path, &[]);
        let me = format!("process {}", owner.pid);
        for _ in 0..2 {
            assert_eq!(owner.ask(&format!("pid_file_read {path}")), me);
            assert_eq!(holder(&path), Some(owner.pid));
            assert_eq!(owner.ask(&format!("detach {path}")), "pid_file EEXIST");
            assert_eq!(holder(&path), Some(owner.pid));
        }
        // By whatever name.
        let other = scratch.file("./../") + scratch.path().file_name().unwrap().to_str().unwrap() + "/pid";
        assert_eq!(owner.ask(&format!("pid_file_read {other}")), me);
        assert_eq!(owner.ask(&format!("detach {other}")), "pid_file EEXIST");
        assert_eq!(holder(&path), Some(owner.pid));
        assert_eq!(text(&path), line_of(owner.pid));
        fails(&[&format!("pid_file {path}")], "pid_file EEXIST");
        owner.end();
    }
}

/// fcntl(2)'s trap, as the documentation of `pid_file` has it.
fn a_program_that_closes_everything_gives_up_the_file() {
    for order in ["close_all".to_owned(), "read_file".to_owned()] {
        let scratch = scratch();
        let path = scratch.file("pid");
        let mut owner = by_command(&path, &[]);
        owner.ask(&if order == "read_file" { format!("read_file {path}") } else { order });
        assert_eq!(holder(&path), None);
        let next = by_command(&path, &[]);
        assert_eq!((text(&path), holder(&path)), (line_of(next.pid), Some(next.pid)));
        owner.end();
        next.end();
    }
}

fn a_file_that_somebody_has_overwritten_is_still_held() {
    for way in WAYS {
        for damage in ["", "1\n", "no pid at all, and longer than any pid file may be\n"] {
            let scratch = scratch();
            let path = scratch.file("pid");
            let owner = way(&path, &[]);
            fs::write(&path, damage).unwrap();
            // The lock and the text have to agree: any stranger may lock a file that it may read.
            let error = untty::pid_file_read(c(&path)).unwrap_err();
            assert_eq!((error.step(), error.errno()), (Step::PidFile, Errno::new(libc::ESRCH)));
            let seen = see(&path);
            let line = format!("untty: pid file: {path}: already running or being started: EEXIST");
            refused(&["-p", &path, "/bin/true"], &line);
            assert_eq!((see(&path), holder(&path)), (seen, Some(owner.pid)));
            owner.end();
        }
    }
}

fn the_owner_of_a_file_that_somebody_has_emptied_finds_it_by_its_lock() {
    for way in WAYS {
        let scratch = scratch();
        let path = scratch.file("pid");
        let mut owner = way(&path, &[]);
        fs::write(&path, "").unwrap();
        let line = format!("untty: pid file: {path}: already running or being started: EEXIST");
        for _ in 0..2 {
            assert_eq!(owner.ask(&format!("pid_file_read {path}")), format!("process {}", owner.pid));
            assert_eq!(holder(&path), Some(owner.pid));
            assert_eq!(owner.ask(&format!("detach {path}")), "pid_file EEXIST");
            refused(&["-p", &path, "/bin/true"], &line);
            fails(&[&format!("pid_file {path}")], "pid_file EEXIST");
            assert_eq!((text(&path).as_str(), holder(&path)), ("", Some(owner.pid)));
        }
        assert_eq!(owner.ask(&format!("pid_file_remove {path}")), "removed");
        owner.end();
    }
}

/// `MEETING`: a daemon whose root directory is the meeting's, with a pid file in there. Calls, and obeys.
fn rooted_owner(arguments: &[String]) {
    forget_the_tests_parents();
    let unshared = if is_root() { Ok(()) } else { unshare(0) };
    if let Err(why) = unshared {
        return answer(&arguments[0], &[format!("outcome skipped: {why}")], &State::new());
    }
    let (root, meeting) = arguments[0].rsplit_once('/').unwrap();
    let daemon = Daemon::new().root(c(root)).pid_file(c(&format!("{root}/pid"))).return_in_caller();
    // SAFETY: a helper uses no descriptor that gets closed, and has one thread.
    match unsafe { daemon.detach() } {
        // Its whole state it cannot tell: that is read from /proc.
        Ok(Process::Daemon(handle)) => {
            let mut call = Call::to(&format!("/{meeting}"));
            call.say("daemon");
            call.tell_state(&State::from([("pid".to_owned(), process::id().to_string())]));
            call.say(&format!("report {}", handle.descriptors()[0]));
            let mut handle = Some(handle);
            while let Some(order) = call.line() {
                call.say(&obey(&order, &mut handle));
            }
        }
        Ok(Process::Caller { daemon }) => {
            answer(&arguments[0], &[format!("outcome daemon {daemon}")], &State::new());
        }
        Err(error) => answer(&arguments[0], &[format!("outcome {}", short(error))], &State::new()),
    }
}

/// There, its own descriptors are not listed; in the second case, a list is there and empty.
fn in_a_root_without_proc_the_owner_finds_its_file_by_its_lock() {
    for directories in [&[][..], &["proc/thread-self/fd", "proc/self/fd"]] {
        for emptied in [false, true] {
            let mut start = Start::of("rooted_owner", &[]);
            let root = start.meeting.path().rsplit_once('/').unwrap().0.to_owned();
            let path = format!("{root}/pid");
            directories.iter().for_each(|directory| fs::create_dir_all(format!("{root}/{directory}")).unwrap());
            let Some(mut daemon) = start.daemon_or_skipped() else { return };
            assert_eq!(text(&path), line_of(daemon.pid));
            daemon.ready();
            let answer = start.answer();
            assert_eq!(answer.outcome, format!("daemon {}", daemon.pid));
            if emptied {
                fs::write(&path, "").unwrap();
            }
            for _ in 0..2 {
                assert_eq!(daemon.order("pid_file_read /pid"), format!("process {}", daemon.pid), "{directories:?}");
                assert_eq!(daemon.order("detach /pid"), "pid_file EEXIST", "{directories:?}");
                assert_eq!(holder(&path), Some(daemon.pid), "{directories:?} {emptied}");
            }
            fails(&[&format!("pid_file {path}")], "pid_file EEXIST");
            assert_eq!(daemon.order("pid_file_remove /pid"), "removed");
            assert!(!fs::exists(&path).unwrap());
            drop((daemon, answer));
            start.rest();
        }
    }
}

/// `MEETING PATH`: takes a shared record lock of a file that it may only read, and keeps it until the test hangs up.
fn stranger(arguments: &[String]) {
    forget_the_tests_parents();
    if is_root() {
        become_ordinary();
    }
    let file = fs::File::open(&arguments[1]).unwrap();
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_RDLCK.try_into().unwrap();
    assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &raw const lock) }, 0);
    let mut call = Call::to(&arguments[0]);
    call.say("stranger");
    call.say(&process::id().to_string());
    call.wait_for_the_end();
}

/// Starts a stranger that has locked the file: its pid.
fn lock_by_a_stranger(path: &str) -> (Start, Visitor, i32) {
    let mut start = Start::of("stranger", &[path]);
    let mut line = start.call("stranger");
    let pid = number(&line.line().unwrap());
    (start, line, pid)
}

fn a_strangers_lock_is_not_taken_for_a_daemons() {
    let scratch = scratch();
    let path = scratch.file("pid");
    let unknown = format!("untty: pid file: {path}: already running or being started: EEXIST");
    let nobody_known = Err(Errno::new(libc::ESRCH));
    let read = || untty::pid_file_read(c(&path)).map_err(Error::errno);
    for stale in ["", NOBODY, &process::id().to_string(), "17\n"] {
        leave(&path, stale, 0o644);
        let (mut start, line, pid) = lock_by_a_stranger(&path);
        assert_eq!(holder(&path), Some(pid), "the control");
        assert_eq!(read(), nobody_known, "{stale:?}");
        let seen = see(&path);
        refused(&["-p", &path, "/bin/true"], &unknown);
        fails(&[&format!("pid_file {path}")], "pid_file EEXIST");
        assert_eq!(see(&path), seen);
        drop(line);
        start.rest();
        assert_eq!(read(), Ok(None));
    }
    for way in WAYS {
        let mut owner = way(&path, &[]);
        let strangers = [lock_by_a_stranger(&path), lock_by_a_stranger(&path)];
        for _ in 0..2 {
            let found = read();
            assert!([Ok(Some(owner.pid)), nobody_known].contains(&found), "{found:?}");
            let mut warden = Warden::start(harness::untty().args(["-p", &path, "/bin/true"]));
            assert_eq!(warden.caller(), End::Exited(125));
            warden.rest();
            let known = format!("untty: pid file: {path}: already running, process {}: EEXIST", owner.pid);
            let said = warden.all_output();
            assert!(said == [known.as_str()] || said == [unknown.as_str()], "{said:?}");
            fails(&[&format!("pid_file {path}")], "pid_file EEXIST");
            // The owner knows itself, and stays it.
            assert_eq!(owner.ask(&format!("pid_file_read {path}")), format!("process {}", owner.pid));
            assert!(locks(&path).len() == 3, "{:?}", locks(&path));
        }
        for (mut start, line, _) in strangers {
            drop(line);
            start.rest();
        }
        assert_eq!((read(), holder(&path)), (Ok(Some(owner.pid)), Some(owner.pid)));
        owner.end();
    }
}

/// `MEETING PATH`: writes its pid there, as many a daemon does, and keeps the file open. Calls, and obeys.
fn writer(arguments: &[String]) {
    use std::io::Write;
    forget_the_tests_parents();
    let mut file = fs::File::options().read(true).write(true).create_new(true).open(&arguments[1]).unwrap();
    writeln!(file, "{}", process::id()).unwrap();
    let mut call = Call::to(&arguments[0]);
    call.say("writer");
    call.say(&process::id().to_string());
    while let Some(order) = call.line() {
        call.say(&obey(&order, &mut None));
    }
}

fn a_number_without_a_lock_is_nobodys() {
    let scratch = scratch();
    let path = scratch.file("pid");
    let mut start = Start::of("writer", &[&path]);
    let mut line = start.call("writer");
    let pid = number(&line.line().unwrap());
    let seen = see(&path);
    assert_eq!((seen.text.as_str(), holder(&path)), (line_of(pid).as_str(), None));
    for _ in 0..2 {
        assert_eq!(line.ask(&format!("pid_file_remove {path}")), "pid_file EPERM");
        assert_eq!(line.ask(&format!("pid_file_read {path}")), "nobody");
    }
    assert_eq!(untty::pid_file_read(c(&path)), Ok(None));
    assert_eq!(see(&path), seen);
    // Not even to itself: it may start a daemon with it.
    by_library(&path, &[]).end();
    drop(line);
    start.rest();
}

// 4. What is refused.

/// What it is, what makes it, the errno, and in what words.
type NoPidFile = (&'static str, fn(&str), &'static str, &'static str);

fn no_pid_files() -> Vec<NoPidFile> {
    vec![
        (
            "a symbolic link",
            |path| {
                leave(&format!("{path}.target"), "17\n", 0o644);
                symlink(format!("{path}.target"), path).unwrap();
            },
            "ELOOP",
            CANNOT,
        ),
        ("a dangling symbolic link", |path| symlink(format!("{path}.missing"), path).unwrap(), "ELOOP", CANNOT),
        ("a symbolic link to itself", |path| symlink(path, path).unwrap(), "ELOOP", CANNOT),
        ("a symbolic link to a directory", |path| symlink("/", path).unwrap(), "ELOOP", CANNOT),
        (
            "a hard link",
            |path| {
                leave(path, "17\n", 0o644);
                fs::hard_link(path, format!("{path}.other")).unwrap();
            },
            "EMLINK",
            CANNOT,
        ),
        (
            "an empty hard link",
            |path| {
                leave(path, "", 0o644);
                fs::hard_link(path, format!("{path}.other")).unwrap();
            },
            "EMLINK",
            CANNOT,
        ),
        ("a directory", |path| fs::create_dir(path).unwrap(), "EISDIR", CANNOT),
        ("a socket", |path| drop(UnixListener::bind(path).unwrap()), "EINVAL", NO_PID_FILE),
        (
            "a FIFO",
            |path| {
                nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_retain(0o644)).unwrap();
            },
            "EINVAL",
            NO_PID_FILE,
        ),
    ]
}

fn what_is_no_pid_file_is_refused_and_stays() {
    for (_, make, errno, words) in no_pid_files() {
        let scratch = scratch();
        let directory = scratch.path().to_str().unwrap();
        let path = scratch.file("pid");
        make(&path);
        both_refused(&path, directory, &[], errno, words);
    }
    let scratch = scratch();
    let directory = scratch.path().to_str().unwrap();
    leave(&scratch.file("file"), "17\n", 0o644);
    for (path, errno, words) in [
        ("/dev/null", "EINVAL", NO_PID_FILE),
        ("/dev/ptmx", "EINVAL", NO_PID_FILE),
        ("/", "EISDIR", CANNOT),
        ("", "ENOENT", CANNOT),
        (&scratch.file("missing/pid"), "ENOENT", CANNOT),
        (&scratch.file("file/pid"), "ENOTDIR", CANNOT),
        (&scratch.file("file/"), "ENOTDIR", CANNOT),
        (&scratch.file("."), "EISDIR", CANNOT),
        (&scratch.file("missing/"), "EISDIR", CANNOT),
        (&scratch.file(&"n".repeat(300)), "ENAMETOOLONG", CANNOT),
    ] {
        both_refused(path, directory, &[], errno, words);
    }
}

fn a_fifo_is_refused_without_waiting() {
    let scratch = scratch();
    let path = scratch.file("pid");
    nix::unistd::mkfifo(path.as_str(), nix::sys::stat::Mode::from_bits_retain(0o644)).unwrap();
    // With nobody at its other end, with a reader, and with somebody at both.
    let ends: [fn(&mut fs::OpenOptions) -> &mut fs::OpenOptions; 3] = [
        |options| options,
        |options| std::os::unix::fs::OpenOptionsExt::custom_flags(options.read(true), libc::O_NONBLOCK),
        |options| options.read(true).write(true),
    ];
    for (at, open) in ends.iter().enumerate() {
        let _end = (at > 0).then(|| open(fs::File::options().create(false)).open(&path).unwrap());
        both_refused(&path, scratch.path().to_str().unwrap(), &[], "EINVAL", NO_PID_FILE);
        assert_eq!(untty::pid_file_read(c(&path)).unwrap_err().errno(), Errno::new(libc::EINVAL));
    }
}

fn a_text_that_is_no_pid_is_refused_and_stays() {
    let scratch = scratch();
    let path = scratch.file("pid");
    let long = " ".repeat(33);
    for text in ["root:x:0:0::/:/bin/sh\n", "-17\n", "pid 17\n", "17,", "0x11\n", "\u{e9}\n", "17\n\x01", &long] {
        leave(&path, text, 0o644);
        let seen = see(&path);
        both_refused(&path, scratch.path().to_str().unwrap(), &[], "EINVAL", NO_PID_FILE);
        assert_eq!(see(&path), seen);
    }
}

fn a_place_that_cannot_be_written_is_refused() {
    let scratch = scratch();
    let directory = scratch.path().to_str().unwrap();
    let path = scratch.file("pid");
    // Root would write anyway.
    let words: &[&str] = if is_root() { &["ordinary"] } else { &[] };
    set_mode(directory, 0o555);
    both_refused(&path, directory, words, "EACCES", CANNOT);
    set_mode(directory, 0o755);
    if is_root() {
        return;
    }
    for mode in [0o000, 0o444, 0o200] {
        let _ = fs::remove_file(&path);
        leave(&path, "17\n", mode);
        both_refused(&path, directory, words, "EACCES", CANNOT);
    }
}

fn a_file_of_another_user_is_refused() {
    let scratch = scratch();
    let directory = scratch.path().to_str().unwrap();
    let path = scratch.file("pid");
    if is_root() {
        for (text, mode) in [("17\n", 0o644), ("", 0o666), ("17\n", 0o666)] {
            leave(&path, text, mode);
            std::os::unix::fs::chown(&path, Some(12345), Some(0)).unwrap();
            both_refused(&path, directory, &[], "EPERM", CANNOT);
            std::os::unix::fs::chown(&path, Some(0), None).unwrap();
            both_refused(&path, directory, &["ordinary"], "EPERM", CANNOT);
        }
        fs::remove_file(&path).unwrap();
    }
    // And where it could not even be opened; nor does its kind matter less.
    let words: &[&str] = if is_root() { &["ordinary"] } else { &[] };
    both_refused("/etc/passwd", directory, words, "EPERM", CANNOT);
}

fn a_read_only_file_system_is_refused() {
    let scratch = scratch();
    let directory = scratch.path().to_str().unwrap();
    let path = scratch.file("pid");
    let read_only = format!("read_only {directory}");
    both_refused(&path, directory, &[&read_only], "EROFS", CANNOT);
    leave(&path, "17\n", 0o644);
    both_refused(&path, directory, &[&read_only], "EROFS", CANNOT);
}

fn a_full_file_system_is_an_error_of_the_start() {
    let scratch = scratch();
    let directory = scratch.file("small");
    fs::create_dir(&directory).unwrap();
    let (path, filler) = (format!("{directory}/pid"), format!("fill {directory}/filler"));
    let tmpfs = format!("tmpfs 4k {directory}");
    both_refused(&path, &directory, &[&tmpfs, &filler], "ENOSPC", CANNOT);
    both_refused(&path, &directory, &[&tmpfs, &format!("write {path} "), &filler], "ENOSPC", CANNOT);
    // No more inodes: its directory is one.
    let tmpfs = format!("tmpfs 4k,nr_inodes=1 {directory}");
    both_refused(&path, &directory, &[&tmpfs], "ENOSPC", CANNOT);
}

fn a_file_size_limit_is_an_error_of_the_start() {
    let scratch = scratch();
    let directory = scratch.path().to_str().unwrap();
    let path = scratch.file("pid");
    for size in ["0", "1"] {
        for stale in [None, Some(""), Some("7654321\n")] {
            let _ = fs::remove_file(&path);
            stale.iter().for_each(|text| leave(&path, text, 0o600));
            both_refused(&path, directory, &[&format!("file_size {size}")], "EFBIG", CANNOT);
        }
    }
    fs::remove_file(&path).unwrap();
    let mut start = Start::untty_after("ulimit -f 0", &["-p", &path, "/bin/true"]);
    assert_eq!(start.caller(), End::Exited(125));
    start.rest();
    assert_eq!(start.warden.all_output(), [format!("untty: pid file: {path}: {CANNOT}: EFBIG")]);
    assert!(!fs::exists(&path).unwrap());
}

fn no_descriptor_is_free_for_it() {
    let scratch = scratch();
    let directory = scratch.path().to_str().unwrap();
    let path = scratch.file("pid");
    // 0 to 2 are open. One is free for the file, and none for the lock.
    for limit in [3, 4] {
        for stale in [None, Some("17\n")] {
            let _ = fs::remove_file(&path);
            stale.iter().for_each(|text| leave(&path, text, 0o600));
            both_refused(&path, directory, &[&format!("descriptors {limit}")], "EMFILE", CANNOT);
        }
    }
}

fn a_call_that_fails_is_an_error_of_the_start() {
    let scratch = scratch();
    let directory = scratch.path().to_str().unwrap();
    let path = scratch.file("pid");
    let (enolck, eio) = (libc::ENOLCK, libc::EIO);
    for (call, errno) in [
        (format!("pread {eio}"), "EIO"),
        (format!("pwrite {eio}"), "EIO"),
        (format!("pwrite {}", libc::EDQUOT), "EDQUOT"),
        (format!("ftruncate {eio}"), "EIO"),
        (format!("fchmod {}", libc::EPERM), "EPERM"),
        (format!("flock {enolck}"), "ENOLCK"),
        (format!("fcntl {enolck} 1={}", libc::F_SETLK), "ENOLCK"),
        (format!("fcntl {enolck} 1={}", libc::F_GETLK), "ENOLCK"),
    ] {
        for stale in [None, Some(""), Some("7654321\n")] {
            if call.starts_with("ftruncate") && stale == Some("") {
                continue; // to put that back, it would have to be truncated
            }
            let _ = fs::remove_file(&path);
            stale.iter().for_each(|text| leave(&path, text, 0o644));
            both_refused(&path, directory, &[&format!("forbid {call}")], errno, CANNOT);
        }
    }
}

// 5. What is left of a start that fails later.

/// What may have been there before: nothing, or a text with a mode.
const BEFORE: [Option<(&str, u32)>; 4] =
    [None, Some(("", 0o644)), Some(("7654321\n", 0o600)), Some((" 17\n\n\0\0", 0o666))];

fn prepare_before(path: &str, before: Option<(&str, u32)>) {
    let _ = fs::remove_file(path);
    before.iter().for_each(|(text, mode)| leave(path, text, *mode));
}

/// In some directories files can be made, and not removed. The next start takes it.
fn a_new_file_that_cannot_be_removed_names_nobody() {
    let scratch = scratch();
    let path = scratch.file("pid");
    let mine = format!("pid_file {path}");
    let mut start = Start::with(&[&mine, "forbid unlink 1", "return", "first fail 3"]);
    assert_eq!(start.answer().outcome, "fail 3");
    start.caller();
    start.rest();
    assert_eq!(
        (fs::read_to_string(&path).unwrap(), fs::metadata(&path).unwrap().mode() & 0o7777),
        (String::new(), 0o700)
    );
    let state = state_of(&[&mine]);
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", state["pid"]));
}

fn every_later_failure_puts_back_what_was_there() {
    let scratch = scratch();
    let path = scratch.file("pid");
    let (mine, watch) = (format!("pid_file {path}"), format!("watch {}", scratch.path().display()));
    let user = nix::unistd::geteuid();
    let user = format!("user {user} {}", nix::unistd::getegid());
    let uid = format!("forbid setresuid {}", libc::EAGAIN);
    let mut cases: Vec<(Vec<&str>, &str)> = vec![
        (vec!["stdout file /nonexistent/log"], "stdout ENOENT"),
        (vec!["forbid pipe 24"], "pipe EMFILE"),
        (vec!["forbid mask 22"], "signals EINVAL"),
        (vec!["forbid fork 11"], "fork EAGAIN"),
        (vec!["forbid setsid 1"], "setsid EPERM"),
        (vec!["directory /nonexistent"], "chdir ENOENT"),
        (vec!["root /nonexistent"], "chroot ENOENT"),
        (vec!["forbid dup3 16"], "stdin EBUSY"),
        (vec!["return", "first fail 3"], "fail 3"),
        (vec!["return", "first exit 0"], "wait ESRCH"),
        (vec!["return", "first die 9"], "wait ESRCH"),
        (vec!["return", "first group", "first fail 4"], "fail 4"),
        (vec!["return", "no_cores", "first die 11"], "wait ESRCH"),
        (vec!["spawn /nonexistent"], "exec ENOENT"),
        (vec!["spawn /"], "exec EACCES"),
        (vec!["spawn /bin/true", "forbid execve 7"], "exec E2BIG"),
    ];
    if is_root() {
        cases.push((vec![&user, &uid], "setresuid EAGAIN"));
    } else {
        cases.push((vec![&user], "setgroups EPERM"));
    }
    for (words, expected) in cases {
        for before in BEFORE {
            prepare_before(&path, before);
            fails(&[&[mine.as_str(), watch.as_str()], words.as_slice()].concat(), expected);
        }
    }
}

fn a_death_at_any_step_puts_back_what_was_there() {
    let scratch = scratch();
    let path = scratch.file("pid");
    let (mine, watch) = (format!("pid_file {path}"), format!("watch {}", scratch.path().display()));
    for deadly in [
        "setsid".to_owned(),
        "chdir".to_owned(),
        "umask".to_owned(),
        "dup3".to_owned(),
        "close_range".to_owned(),
        "pwrite".to_owned(),
        "ftruncate".to_owned(),
        format!("fcntl 1={}", libc::F_SETLK),
    ] {
        for before in BEFORE {
            prepare_before(&path, before);
            // What it does in the caller to put things back would be deadly there.
            if deadly == "ftruncate" && before.is_some() {
                continue;
            }
            let deadly = format!("deadly {deadly}");
            fails(&[&mine, &watch, "return", "no_cores", &deadly], "wait ESRCH");
        }
    }
    for (role, call) in [
        (LEADER, libc::SYS_setsid),
        (DAEMON, libc::SYS_chdir),
        (DAEMON, libc::SYS_pwrite64),
        (DAEMON, libc::SYS_ftruncate),
        (DAEMON, libc::SYS_fchmod),
        (DAEMON, libc::SYS_fcntl),
        (DAEMON, libc::SYS_execve),
        (LEADER, libc::SYS_setpgid),
    ] {
        for before in BEFORE {
            prepare_before(&path, before);
            let state = files(scratch.path().to_str().unwrap());
            let mut start = Held::at(role, call, &["-p", &path, "/bin/cat"]);
            assert_eq!(start.after("kill"), End::Exited(125), "{role} {call}");
            start.start.rest();
            assert_eq!(files(scratch.path().to_str().unwrap()), state, "{role} {call} {before:?}");
        }
    }
}

fn a_command_that_cannot_be_executed_puts_back_what_was_there() {
    let scratch = scratch();
    let path = scratch.file("pid");
    let no_program = scratch.file("program");
    leave(&no_program, "\u{7f}ELF and no more", 0o755);
    for (program, status) in [(no_program.as_str(), 125), ("/dev/null", 126), ("/nonexistent", 127)] {
        for before in BEFORE {
            prepare_before(&path, before);
            let state = files(scratch.path().to_str().unwrap());
            let mut warden = Warden::start(harness::untty().args(["-n", "-p", &path, program]));
            // The shell, to which it is given as a script, says that it is none.
            assert_eq!(warden.caller(), End::Exited(status), "{:?}", warden.output());
            warden.rest();
            assert_eq!(warden.all_output().len(), 1);
            assert_eq!(files(scratch.path().to_str().unwrap()), state);
        }
    }
}

fn a_deadline_puts_back_what_was_there() {
    let scratch = scratch();
    let path = scratch.file("pid");
    let (mine, watch) = (format!("pid_file {path}"), format!("watch {}", scratch.path().display()));
    for first in ["first fork", "first group", "first pid_file_descriptor"] {
        for before in BEFORE {
            prepare_before(&path, before);
            let mut start = Start::with(&[&mine, &watch, "return", "deadline 300", first]);
            let answer = start.answer();
            assert_eq!((answer.outcome.as_str(), answer.differences.as_slice()), ("wait ETIMEDOUT", &[][..]));
            start.only_the_caller_lives();
            drop(answer);
            start.rest();
        }
    }
    for before in BEFORE {
        prepare_before(&path, before);
        let state = files(scratch.path().to_str().unwrap());
        refused(
            &["-n", "-t", "0.3", "-p", &path, "/bin/sleep", "1000"],
            "untty: wait: the daemon was not ready in time and was ended: ETIMEDOUT",
        );
        assert_eq!(files(scratch.path().to_str().unwrap()), state);
    }
}

/// The child has left the session, so nothing ends it with the start; and it has all that the program had open.
fn a_stray_child_of_a_failed_start_does_not_keep_the_gate_shut() {
    for before in [BEFORE[0], BEFORE[2]] {
        for (options, order, line) in [
            (&["-n", "-t", "4"][..], None, "untty: wait: the daemon was not ready in time and was ended: ETIMEDOUT"),
            (&["-R", "9", "-t", "4"], None, "untty: wait: the daemon was not ready in time and was ended: ETIMEDOUT"),
            (&["-n"], Some("exit 0"), "untty: wait: the daemon died before it was ready: ESRCH"),
        ] {
            let scratch = scratch();
            let path = scratch.file("pid");
            prepare_before(&path, before);
            let state = files(scratch.path().to_str().unwrap());
            let mut start = Start::untty(&[&["-p", &path], options, &["PROGRAM"]].concat());
            let mut program = start.program();
            let words = program_that_calls(start.meeting.path()).join(" ");
            assert!(program.line.ask(&format!("child setsid {words}")).starts_with("child "));
            let stray = start.program();
            assert_ne!(stray.state["session"], program.state["session"]);
            order.iter().for_each(|order| drop(program.line.ask(order)));
            assert_eq!(start.caller(), End::Exited(125));
            assert_eq!(start.warden.living(), [number(&stray.state["pid"])], "the stray alone");
            assert_eq!(files(scratch.path().to_str().unwrap()), state);
            for way in WAYS {
                let owner = way(&path, &[]);
                assert_eq!((text(&path), holder(&path)), (line_of(owner.pid), Some(owner.pid)));
                owner.end();
            }
            drop((stray, program));
            start.rest();
            assert_eq!(start.warden.all_output(), [line]);
        }
    }
}

/// How a start that has made the file is to fail when it goes on.
type Failing = fn(&str) -> Held;

fn a_start_that_fails_before_its_gate_is_shut_leaves_the_file_to_whoever_won() {
    let failing: [(&str, Failing); 3] = [
        // 0 to 2 are open; one more is free for the file, and none for the lock.
        ("EMFILE", |path| {
            Held::of(CALLER, libc::SYS_flock, |_| {
                let limited = "ulimit -n 4; exec \"$@\"";
                let command = harness::untty().get_program().to_str().unwrap().to_owned();
                ["/bin/sh", "-c", limited, "sh", &command, "-p", path, "/bin/true"].map(str::to_owned).to_vec()
            })
        }),
        ("EPERM", |path| Held::caller_at(libc::SYS_flock, &[&format!("pid_file {path}"), "forbid fchmod 1"])),
        ("ENOLCK", |path| {
            let forbid = format!("forbid flock {}", libc::ENOLCK);
            Held::caller_at(libc::SYS_flock, &[&format!("pid_file {path}"), &forbid])
        }),
    ];
    for (errno, failing) in failing {
        for way in WAYS {
            let scratch = scratch();
            let path = scratch.file("pid");
            let mut loser = failing(&path);
            let made = see(&path);
            assert_eq!((made.text.as_str(), made.mode), ("", 0o700), "it has made the file");
            let winner = way(&path, &[]);
            let seen = see(&path);
            assert_eq!((seen.inode, seen.text.clone(), seen.mode), (made.inode, line_of(winner.pid), 0o644));
            loser.line.say("go");
            if errno == "EMFILE" {
                let line = format!("untty: pid file: {path}: {CANNOT}: EMFILE");
                assert_eq!(loser.start.caller(), End::Exited(125));
                loser.start.rest();
                assert_eq!(loser.start.warden.all_output(), [line]);
            } else {
                let answer = loser.start.answer();
                assert!(["pid_file EEXIST", &format!("pid_file {errno}")].contains(&answer.outcome.as_str()));
                drop(answer);
                loser.start.rest();
            }
            assert_eq!((see(&path), holder(&path)), (seen, Some(winner.pid)), "{errno}");
            let line = format!("untty: pid file: {path}: already running, process {}: EEXIST", winner.pid);
            refused(&["-p", &path, "/bin/true"], &line);
            winner.end();
        }
    }
    // Whoever has only just shut the gate: before it is the daemon's, and while it gets ready.
    for (role, call) in [(CALLER, libc::SYS_pipe2), (DAEMON, libc::SYS_pwrite64), (DAEMON, libc::SYS_execve)] {
        for (errno, failing) in &failing {
            let scratch = scratch();
            let path = scratch.file("pid");
            let mut loser = failing(&path);
            let mut winner = Held::at(role, call, &["-p", &path, "PROGRAM"]);
            let seen = see(&path);
            loser.line.say("go");
            if *errno != "EMFILE" {
                drop(loser.start.answer());
            }
            loser.start.caller();
            loser.start.rest();
            assert_eq!(see(&path), seen, "{errno} {role} {call}");
            assert_eq!(winner.after("go"), End::Exited(0));
            let program = winner.start.program();
            assert_eq!(
                (text(&path), holder(&path)),
                (format!("{}\n", program.state["pid"]), Some(number(&program.state["pid"])))
            );
            fails(&[&format!("pid_file {path}")], "pid_file EEXIST");
            drop(program);
            winner.start.rest();
        }
    }
}

// 6. What heals.

fn a_stale_file_heals_itself() {
    let (living, ancestor) = (process::id().to_string(), std::os::unix::process::parent_id().to_string());
    let long = " ".repeat(32);
    let stale = [
        "",
        "\n",
        "0\n",
        NOBODY,
        &living,
        &ancestor,
        "1",
        "1\n",
        "  17  \n\n",
        "17\n18\n",
        "\t17\r\n",
        "\0\0\0\0\0",
        "17\n\0\0",
        "99999999999999999999999999999999",
        &long,
    ];
    for text_of_old in stale {
        for way in WAYS {
            let scratch = scratch();
            let path = scratch.file("pid");
            leave(&path, text_of_old, 0o600);
            assert_eq!(untty::pid_file_read(c(&path)), Ok(None), "{text_of_old:?}");
            let inode = see(&path).inode;
            let owner = way(&path, &[]);
            let seen = see(&path);
            assert_eq!((seen.text, seen.mode, seen.inode), (line_of(owner.pid), 0o644, inode), "{text_of_old:?}");
            assert_eq!(holder(&path), Some(owner.pid));
            owner.end();
        }
    }
}

fn the_file_of_a_start_whose_caller_was_killed_heals_itself() {
    let scratch = scratch();
    let path = scratch.file("pid");
    for (role, call) in [(CALLER, libc::SYS_pipe2), (LEADER, libc::SYS_setsid), (DAEMON, libc::SYS_execve)] {
        let mut start = Held::at(role, call, &["-p", &path, "/bin/cat"]);
        start.after(if role == CALLER { "kill" } else { "kill the caller" });
        start.start.rest();
        assert_eq!(untty::pid_file_read(c(&path)), Ok(None), "{role} {call}");
        by_command(&path, &[]).end();
    }
}

fn a_caller_that_dies_while_it_waits_leaves_the_file_to_its_daemon() {
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        let scratch = scratch();
        let path = scratch.file("pid");
        let mut start = Start::with(&[&format!("pid_file {path}")]);
        let mut daemon = start.daemon();
        let caller = start.caller_of(&daemon);
        until_it_waits(caller);
        kill(caller, signal);
        assert_eq!(start.caller(), End::Killed(signal));
        assert_eq!(daemon.order("ready"), "ready EPIPE");
        assert_eq!((text(&path), holder(&path)), (line_of(daemon.pid), Some(daemon.pid)));
        fails(&[&format!("pid_file {path}")], "pid_file EEXIST");
        assert_eq!(daemon.order(&format!("pid_file_remove {path}")), "removed");
        drop(daemon);
        start.rest();
    }
}

// 7. Reading and removing.

/// `PATH`: reads a pid file in a pid namespace of its own, and prints what it finds.
fn reader_elsewhere(arguments: &[String]) {
    forget_the_tests_parents();
    match unshare(libc::CLONE_NEWPID) {
        Err(why) => println!("skipped: {why}"),
        Ok(()) => match unsafe { libc::fork() } {
            0 => println!("{:?}", untty::pid_file_read(c(&arguments[0])).map_err(|error| error.errno())),
            child => assert_eq!(unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) }, child),
        },
    }
}

fn reading_tells_the_living_daemon_and_what_is_wrong() {
    let read = |path: &str| untty::pid_file_read(c(path)).map_err(|error| (error.step(), error.errno()));
    let error = |errno| Err((Step::PidFile, Errno::new(errno)));
    for (what, make, ..) in no_pid_files() {
        let scratch = scratch();
        let path = scratch.file("pid");
        make(&path);
        let expected = match what {
            "a directory" => error(libc::EISDIR),
            "a FIFO" | "a socket" => error(libc::EINVAL),
            _ if what.contains("symbolic") => error(libc::ELOOP),
            _ => Ok(None),
        };
        assert_eq!(read(&path), expected, "{what}");
    }
    let scratch = scratch();
    let path = scratch.file("pid");
    assert_eq!(read(&path), Ok(None));
    assert_eq!(read(&scratch.file("missing/pid")), Ok(None));
    assert_eq!(read("/dev/null"), error(libc::EINVAL));
    leave(&path, "no pid, and long, but nobody's: it is the lock that counts", 0o644);
    assert_eq!(read(&format!("{path}/pid")), error(libc::ENOTDIR));
    assert_eq!(read(&path), Ok(None));
    fs::remove_file(&path).unwrap();
    let owner = by_command(&path, &[]);
    assert_eq!(read(&path), Ok(Some(owner.pid)));
    set_mode(&path, 0o000);
    assert_eq!(read(&path), if is_root() { Ok(Some(owner.pid)) } else { error(libc::EACCES) });
    set_mode(&path, 0o644);
    let (_, elsewhere, _) = harness::run(helper("reader_elsewhere").arg(&path));
    match elsewhere.trim().strip_prefix("skipped: ") {
        Some(why) => skipped(why),
        None => assert_eq!(elsewhere.trim(), "Err(ESRCH)"),
    }
    assert_eq!(holder(&path), Some(owner.pid));
    owner.end();
}

fn only_the_owner_removes_the_file() {
    for way in WAYS {
        let scratch = scratch();
        let path = scratch.file("pid");
        let mut owner = way(&path, &[]);
        let seen = see(&path);
        let remove = |path: &str| untty::pid_file_remove(c(path)).map_err(|error| (error.step(), error.errno()));
        assert_eq!(remove(&path), Err((Step::PidFile, Errno::new(libc::EPERM))));
        assert_eq!(see(&path), seen);
        assert_eq!(owner.ask(&format!("pid_file_remove {}", scratch.file("other"))), "pid_file ENOENT");
        let stale = scratch.file("stale");
        leave(&stale, &line_of(owner.pid), 0o644); // its number, and still not its own
        assert_eq!(owner.ask(&format!("pid_file_remove {stale}")), "pid_file EPERM");
        assert!(fs::exists(&stale).unwrap());
        symlink(&path, scratch.file("link")).unwrap();
        assert_eq!(owner.ask(&format!("pid_file_remove {}", scratch.file("link"))), "pid_file EPERM");
        assert_eq!((see(&path), holder(&path)), (seen, Some(owner.pid)));
        assert_eq!(owner.ask(&format!("pid_file_remove {path}")), "removed");
        assert!(!fs::exists(&path).unwrap());
        assert_eq!(owner.ask(&format!("pid_file_remove {path}")), "pid_file ENOENT");
        let next = way(&path, &[]);
        assert_eq!(owner.ask(&format!("pid_file_remove {path}")), "pid_file EPERM");
        assert_eq!((text(&path), holder(&path)), (line_of(next.pid), Some(next.pid)));
        owner.end();
        assert_eq!(holder(&path), Some(next.pid));
        next.end();
    }
}

fn a_file_that_was_replaced_is_not_the_daemons() {
    for way in WAYS {
        let scratch = scratch();
        let path = scratch.file("pid");
        let mut owner = way(&path, &[]);
        // By a copy that says the same.
        leave(&scratch.file("copy"), &line_of(owner.pid), 0o644);
        fs::rename(scratch.file("copy"), &path).unwrap();
        let seen = see(&path);
        assert_eq!(owner.ask(&format!("pid_file_read {path}")), "nobody");
        assert_eq!(owner.ask(&format!("pid_file_remove {path}")), "pid_file EPERM");
        assert_eq!(see(&path), seen);
        let next = way(&path, &[]);
        assert_eq!((text(&path), holder(&path)), (line_of(next.pid), Some(next.pid)));
        assert_eq!(owner.ask(&format!("pid_file_read {path}")), format!("process {}", next.pid));
        assert_eq!(owner.ask(&format!("detach {path}")), "pid_file EEXIST");
        owner.end();
        assert_eq!(holder(&path), Some(next.pid));
        next.end();
    }
}

// 8. Many at once.

/// How many start at once.
fn starts() -> usize {
    env::var("UNTTY_STARTS").map_or(200, |count| count.parse().unwrap())
}

/// Does something in that many children at once: what came of each, one line each.
fn all_at_once(count: i32, outcome: impl Fn() -> String) -> String {
    let (gate, open) = nix::unistd::pipe().unwrap();
    let (results, result) = nix::unistd::pipe().unwrap();
    for _ in 0..count {
        if unsafe { libc::fork() } == 0 {
            drop(open);
            nix::unistd::read(&gate, &mut [0]).unwrap();
            nix::unistd::write(&result, (outcome() + "\n").as_bytes()).unwrap();
            unsafe { libc::_exit(0) };
        }
    }
    drop((open, result));
    let said = std::io::read_to_string(fs::File::from(results)).unwrap();
    while unsafe { libc::wait(std::ptr::null_mut()) } > 0 {}
    said
}

/// `MEETING PATH COUNT`: that many starts at once. Says what came of each; the daemons run until they are killed.
fn herd(arguments: &[String]) {
    forget_the_tests_parents();
    let path = c(&arguments[1]);
    let said = all_at_once(number(&arguments[2]), || {
        match unsafe { Daemon::new().return_in_caller().pid_file(path).detach() } {
            Ok(Process::Daemon(mut handle)) => {
                handle.ready().unwrap();
                loop {
                    unsafe { libc::pause() };
                }
            }
            Ok(Process::Caller { daemon }) => format!("daemon {daemon}"),
            Err(error) => short(error),
        }
    });
    let mut call = Call::to(&arguments[0]);
    call.say("herd");
    said.lines().for_each(|line| call.say(line));
}

/// Starts that many at once: the daemons, and how all the others ended.
fn at_once(path: &str, count: usize) -> (Start, Vec<i32>, Vec<String>) {
    let mut start = Start::of("herd", &[path, &count.to_string()]);
    let mut line = start.call("herd");
    let said: Vec<String> = std::iter::from_fn(|| line.line()).collect();
    assert_eq!(said.len(), count);
    let (daemons, others): (Vec<_>, Vec<_>) = said.into_iter().partition(|line| line.starts_with("daemon "));
    (start, daemons.iter().map(|line| number(&line["daemon ".len()..])).collect(), others)
}

/// Reads again and again, in a thread of its own, until told to stop: all that it ever found.
struct Poller<T> {
    stop: std::sync::Arc<AtomicBool>,
    thread: thread::JoinHandle<BTreeSet<T>>,
}

impl<T: Ord + Send + 'static> Poller<T> {
    fn start(mut read: impl FnMut() -> T + Send + 'static) -> Self {
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut found = BTreeSet::new();
            while !stopped.load(Ordering::Relaxed) {
                found.insert(read());
            }
            found
        });
        Self { stop, thread }
    }

    fn found(self) -> BTreeSet<T> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn of_a_thousand_simultaneous_starts_one_wins() {
    let scratch = scratch();
    let path = scratch.file("pid");
    for round in 0..5 {
        let place = c(&path);
        let reader = Poller::start(move || untty::pid_file_read(place).unwrap());
        let (mut start, daemons, others) = at_once(&path, starts());
        let [winner] = daemons[..] else { panic!("{daemons:?}, {others:?}") };
        assert!(others.iter().all(|line| line == "pid_file EEXIST"), "{others:?}");
        assert_eq!((text(&path), holder(&path)), (line_of(winner), Some(winner)));
        assert!(reader.found().is_subset(&BTreeSet::from([None, Some(winner)])), "{round}");
        assert_eq!(start.caller(), End::Exited(0));
        assert_eq!(start.warden.living(), [winner]);
        kill(winner, libc::SIGKILL);
        start.rest();
    }
}

fn of_simultaneous_commands_one_wins() {
    let scratch = scratch();
    let path = scratch.file("pid");
    for _ in 0..3 {
        let begin = || Warden::start(harness::untty().args(["-P", "-p", &path, "/bin/sleep", "1000"]));
        let mut wardens: Vec<Warden> = (0..starts() / 10).map(|_| begin()).collect();
        let ends: Vec<End> = wardens.iter_mut().map(Warden::caller).collect();
        assert_eq!(ends.iter().filter(|end| **end == End::Exited(0)).count(), 1, "{ends:?}");
        assert!(ends.iter().all(|end| [End::Exited(0), End::Exited(125)].contains(end)), "{ends:?}");
        let winner = number(text(&path).trim());
        assert_eq!(holder(&path), Some(winner));
        kill(winner, libc::SIGKILL);
        for (warden, end) in wardens.iter_mut().zip(ends) {
            warden.rest();
            let said = warden.all_output();
            let unknown = format!("untty: pid file: {path}: already running or being started: EEXIST");
            let known = format!("untty: pid file: {path}: already running, process {winner}: EEXIST");
            let right = if end == End::Exited(0) { vec![winner.to_string()] } else { vec![known] };
            assert!(said == right || end != End::Exited(0) && said == [unknown], "{said:?}");
        }
    }
}

/// `MEETING PATH PROGRAM COUNT`: so many at once spawn a program that cannot be executed. Says what came of each.
fn failing_herd(arguments: &[String]) {
    forget_the_tests_parents();
    let daemon = Daemon::new().pid_file(c(&arguments[1]));
    let program = [c(&arguments[2]).to_owned()];
    let outcome = || spawn(&daemon, &program).map_or_else(short, |pid| format!("daemon {pid}"));
    let said = all_at_once(number(&arguments[3]), outcome);
    let mut call = Call::to(&arguments[0]);
    call.say("herd");
    said.lines().for_each(|line| call.say(line));
}

fn simultaneous_starts_that_all_fail_put_back_what_was_there() {
    const ROUNDS: usize = 10;
    const AT_ONCE: usize = 12;
    let scratch = scratch();
    let (no_interpreter, no_program) = (scratch.file("script"), scratch.file("program"));
    for (path, text) in [(&no_interpreter, "#!/nonexistent/interpreter"), (&no_program, "\u{7f}ELF and no more")] {
        // By another process: nothing that is started here meanwhile can hold it open for writing, which is ETXTBSY.
        let script = "printf '%s\\n' \"$2\" >\"$1\" && chmod 755 \"$1\"";
        assert!(Command::new("sh").args(["-c", script, "sh", path, text]).status().unwrap().success());
    }
    let directory = scratch.file("run");
    fs::create_dir(&directory).unwrap();
    let path = format!("{directory}/pid");
    // One has made the file, and another one passes it before it is locked: it is nobody's, so none of them leaves it.
    let mut first = Held::at(CALLER, libc::SYS_flock, &["-p", &path, &no_interpreter]);
    assert_eq!(see(&path).text, "");
    let (status, ..) = harness::run(harness::untty().args(["-p", &path, &no_interpreter]));
    assert_eq!(status.code(), Some(127));
    assert!(!fs::exists(&path).unwrap(), "it has taken it over, and put back what was there before: nothing");
    assert_eq!(first.after("go"), End::Exited(127));
    first.start.rest();
    assert!(!fs::exists(&path).unwrap());
    for round in 0..ROUNDS {
        for before in BEFORE {
            prepare_before(&path, before);
            let state = files(&directory);
            for (program, expected) in [(&no_interpreter, "exec ENOENT"), (&no_program, "exec ENOEXEC")] {
                let mut start = Start::of("failing_herd", &[&path, program, &AT_ONCE.to_string()]);
                let mut line = start.call("herd");
                let said: Vec<String> = std::iter::from_fn(|| line.line()).collect();
                assert_eq!(said.len(), AT_ONCE);
                assert!(said.iter().any(|line| line == expected), "{said:?}");
                assert!(said.iter().all(|line| line == expected || line == "pid_file EEXIST"), "{said:?}");
                start.caller();
                start.rest();
                assert_eq!(files(&directory), state, "{round} {expected}");
            }
            let begin = || Warden::start(harness::untty().args(["-p", &path, &no_interpreter]));
            let mut wardens: Vec<Warden> = (0..AT_ONCE).map(|_| begin()).collect();
            let ends: Vec<End> = wardens.iter_mut().map(Warden::caller).collect();
            assert!(ends.contains(&End::Exited(127)), "{ends:?}");
            assert!(ends.iter().all(|end| [End::Exited(127), End::Exited(125)].contains(end)), "{ends:?}");
            assert_eq!(files(&directory), state, "{round}");
        }
    }
}

fn no_two_daemons_hold_the_same_file_while_it_is_unlinked_again_and_again() {
    let scratch = scratch();
    let path = scratch.file("pid");
    let unlinker = Poller::start({
        let path = path.clone();
        move || fs::remove_file(&path).is_ok()
    });
    let mut rounds: Vec<(Start, Vec<i32>)> = Vec::new();
    for _ in 0..5 {
        let (start, daemons, others) = at_once(&path, starts() / 5);
        // All tries may lead to a file that is gone.
        assert!(others.iter().all(|line| line == "pid_file EEXIST" || line == "pid_file EAGAIN"), "{others:?}");
        rounds.push((start, daemons));
    }
    assert!(unlinker.found().contains(&true));
    let daemons: Vec<i32> = rounds.iter().flat_map(|round| round.1.clone()).collect();
    let held: BTreeSet<(u64, u64)> = daemons.iter().map(|pid| held_file(*pid, &path)).collect();
    assert_eq!(held.len(), daemons.len(), "no two of them hold the same");
    // Nobody is locked out, and nobody has what another holds.
    let there = fs::metadata(&path).ok().map(|stat| (stat.dev(), stat.ino()));
    if there.is_some_and(|there| held.contains(&there)) {
        fails(&[&format!("pid_file {path}")], "pid_file EEXIST");
    } else {
        by_library(&path, &[]).end();
    }
    for (mut start, daemons) in rounds {
        daemons.iter().for_each(|pid| kill(*pid, libc::SIGKILL));
        start.rest();
    }
}

/// The file at that path, or once at it, that a process has open.
fn held_file(pid: i32, path: &str) -> (u64, u64) {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|entry| entry.unwrap().path());
    let is_it = |fd: &std::path::PathBuf| fs::read_link(fd).unwrap().display().to_string().starts_with(path);
    let found: Vec<_> = fds.filter(is_it).map(|fd| fs::metadata(fd).unwrap()).collect();
    assert_eq!(found.len(), 1);
    (found[0].dev(), found[0].ino())
}

/// Every text that somebody reads there who knows nothing of locks.
fn read_by_a_stranger(path: &str) -> Poller<String> {
    let path = path.to_owned();
    Poller::start(move || text(&path))
}

fn a_stale_file_taken_over_is_never_seen_empty_or_cut_short() {
    let scratch = scratch();
    let path = scratch.file("pid");
    for old in ["1\n", "7654321\n"] {
        let renew = || {
            leave(&scratch.file("new"), old, 0o644);
            fs::rename(scratch.file("new"), &path).unwrap();
        };
        renew();
        let stranger = read_by_a_stranger(&path);
        for _ in 0..100 {
            renew();
            by_library(&path, &[]).end();
        }
        let found = stranger.found();
        assert!(found.iter().all(|text| text.trim() != "" && text.ends_with('\n')), "{found:?}");
    }
    // Between any two calls that change it.
    for old in ["1", "7654321"] {
        for call in [libc::SYS_pwrite64, libc::SYS_ftruncate, libc::SYS_fchmod] {
            leave(&path, &format!("{old}\n"), 0o644);
            let start = Held::at(DAEMON, call, &["-p", &path, "/bin/true"]);
            let expected = if call == libc::SYS_pwrite64 { old.to_owned() } else { start.pid.to_string() };
            assert_eq!(text(&path).lines().next(), Some(expected.as_str()));
            assert_eq!(start.go(), End::Exited(0));
        }
    }
}

fn a_stale_file_put_back_is_never_seen_empty_or_cut_short() {
    let scratch = scratch();
    let path = scratch.file("pid");
    leave(&path, "76543210987654321\n", 0o644);
    let stranger = read_by_a_stranger(&path);
    for _ in 0..100 {
        fails(&["return", "first fail 3", &format!("pid_file {path}")], "fail 3");
    }
    let found = stranger.found();
    assert!(found.iter().all(|text| text.trim() != "" && text.ends_with('\n')), "{found:?}");
}

fn a_stale_file_with_the_right_number_gets_its_mode_back() {
    let scratch = scratch();
    let path = scratch.file("pid");
    // In a new pid namespace numbers are known before: 1 is the caller, 2 the leader, 3 the daemon.
    leave(&path, "3\n", 0o600);
    let words = ["proc", &format!("watch {}", scratch.path().display()), &format!("pid_file {path}")];
    let mut start = Start::of("caller_as_pid_1", &[&words[..], &["return", "first fail 3"]].concat());
    let answer = start.answer();
    if !answer.skipped() {
        assert_eq!((answer.outcome.as_str(), answer.differences.as_slice()), ("fail 3", &[][..]));
    }
    drop(answer);
    start.rest();
}

// 9. Threads, supervisors, and an outside judge.

/// `PATH`: starts that fail, while another thread forks. Then tells whether the gate is open, and its children's pids.
fn forking(arguments: &[String]) {
    forget_the_tests_parents();
    leave(&arguments[1], NOBODY, 0o644);
    let stop = std::sync::Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let forker = thread::spawn(move || {
        let mut children = Vec::new();
        while !stopped.load(Ordering::Relaxed) && children.len() < 300 {
            match unsafe { libc::fork() } {
                0 => loop {
                    unsafe { libc::pause() };
                },
                child => children.push(child),
            }
        }
        children
    });
    let daemon = Daemon::new().pid_file(c(&arguments[1])).directory(c"/nonexistent");
    for _ in 0..50 {
        let error = spawn(&daemon, &[c"/bin/true".to_owned()]).unwrap_err();
        if error.step() == Step::PidFile {
            break;
        }
        assert_eq!(error.step(), Step::Directory);
    }
    stop.store(true, Ordering::Relaxed);
    let children = forker.join().unwrap();
    let mut call = Call::to(&arguments[0]);
    call.say("forking");
    call.wait_for_the_end();
    children.iter().for_each(|child| kill(*child, libc::SIGKILL));
}

fn a_child_that_another_thread_has_forked_does_not_keep_the_gate_shut() {
    let scratch = scratch();
    let path = scratch.file("pid");
    let mut start = Start::of("forking", &[&path]);
    let line = start.call("forking");
    assert_eq!((text(&path).as_str(), locks(&path)), (NOBODY, vec![]));
    by_command(&path, &[]).end();
    drop(line);
    start.caller();
    start.rest();
}

/// It may lock the file as soon as that may be read by all: that makes it nobody's daemon.
fn a_failed_start_puts_the_text_back_although_a_stranger_has_locked_the_file() {
    let scratch = scratch();
    let (path, directory) = (scratch.file("pid"), scratch.path().to_str().unwrap());
    for before in BEFORE {
        prepare_before(&path, before);
        let state = files(directory);
        let mut start = Start::untty(&["-n", "-p", &path, "PROGRAM"]);
        let mut program = start.program();
        let pid = number(&program.state["pid"]);
        assert_eq!((text(&path), holder(&path)), (line_of(pid), Some(pid)));
        let (mut stranger, line, stranger_pid) = lock_by_a_stranger(&path);
        program.line.say("exit 3");
        assert_eq!(start.caller(), End::Exited(125), "{before:?} {:?}", start.warden.output());
        assert_eq!(files(directory), state, "by the command");
        start.rest();
        if before.is_some() {
            assert_eq!(holder(&path), Some(stranger_pid), "the control");
        }
        drop(line);
        stranger.rest();

        prepare_before(&path, before);
        let mut start = Start::with(&[&format!("pid_file {path}"), &format!("watch {directory}"), "return"]);
        let mut daemon = start.daemon();
        let (mut stranger, line, _) = lock_by_a_stranger(&path);
        daemon.line.say("exit 3");
        let answer = start.answer();
        assert_eq!((answer.outcome.as_str(), answer.differences.as_slice()), ("wait ESRCH", &[][..]), "{before:?}");
        drop((answer, line));
        start.rest();
        stranger.rest();
    }
    // And when it is the deadline that has come.
    leave(&path, "999999\n", 0o644);
    let state = files(directory);
    let mut start = Start::untty(&["-n", "-t", "3", "-p", &path, "/bin/sleep", "1000"]);
    until("it is written", || text(&path) != "999999\n");
    let (mut stranger, line, _) = lock_by_a_stranger(&path);
    assert_eq!(start.caller(), End::Exited(125), "{:?}", start.warden.output());
    assert_eq!(files(directory), state);
    start.rest();
    drop(line);
    stranger.rest();
}

/// It has given up the descriptor to write by then.
fn a_supervised_program_that_cannot_be_executed_puts_back_what_was_there() {
    let scratch = scratch();
    let (path, directory) = (scratch.file("pid"), scratch.path().to_str().unwrap());
    let script = scratch.file("script");
    // By another process: nothing that is started here at the same time can have it open for writing.
    let make = "printf '#!/nonexistent/interpreter\\n' >\"$1\" && chmod 755 \"$1\"";
    assert!(Command::new("sh").args(["-c", make, "sh", &script]).status().unwrap().success());
    for before in BEFORE.into_iter().chain([Some(("999999\n", 0o640))]) {
        for (program, status) in [(script.as_str(), 127), ("/nonexistent", 127), ("/dev/null", 126)] {
            prepare_before(&path, before);
            let state = files(directory);
            let mut start = Start::untty_after("export SYSTEMD_EXEC_PID=$$", &["-S", "-p", &path, program]);
            assert_eq!(start.caller(), End::Exited(status), "{before:?} {:?}", start.warden.output());
            start.rest();
            assert_eq!(files(directory), state, "{before:?} {program}");
        }
    }
}

fn a_supervised_process_holds_the_file_itself() {
    let scratch = scratch();
    let path = scratch.file("pid");
    let supervised = "export SYSTEMD_EXEC_PID=$$";
    let mut start = Start::untty_after(supervised, &["-S", "-p", &path, "PROGRAM"]);
    let mut program = start.program();
    let pid = number(&program.state["pid"]);
    assert_eq!((text(&path), holder(&path), locks(&path)), (line_of(pid), Some(pid), vec!["POSIX READ".to_owned()]));
    assert_eq!(program.line.ask(&format!("pid_file_read {path}")), format!("process {pid}"));
    assert_eq!(program.line.ask(&format!("detach {path}")), "pid_file EEXIST");
    let mut second = Start::untty_after(supervised, &["-S", "-p", &path, "PROGRAM"]);
    assert_eq!(second.caller(), End::Exited(125));
    second.rest();
    let line = format!("untty: pid file: {path}: already running, process {pid}: EEXIST");
    assert_eq!(second.warden.all_output(), [line]);
    assert_eq!(holder(&path), Some(pid));
    drop(program);
    assert_eq!(start.caller(), End::Exited(0));
    start.rest();
    fs::remove_file(&path).unwrap();
    let mut limited = Start::untty_after(&format!("{supervised}; ulimit -f 0"), &["-S", "-p", &path, "PROGRAM"]);
    assert_eq!(limited.caller(), End::Exited(125));
    limited.rest();
    assert_eq!(limited.warden.all_output(), [format!("untty: pid file: {path}: {CANNOT}: EFBIG")]);
    assert!(!fs::exists(&path).unwrap());
}

/// Debian's: exit status, or `None` where it is missing.
fn start_stop_daemon(arguments: &[&str]) -> Option<i32> {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut command = Command::new("start-stop-daemon");
    let output = command.args(arguments).env("PATH", path).stdin(process::Stdio::null()).output();
    match output {
        Ok(output) => Some(output.status.code().unwrap()),
        Err(error) => {
            skipped(&format!("start-stop-daemon: {error}"));
            None
        }
    }
}

fn start_stop_daemon_agrees() {
    for way in WAYS {
        let scratch = scratch();
        let path = scratch.file("pid");
        let status = || start_stop_daemon(&["--status", "--pidfile", &path]);
        let Some(missing) = status() else { return };
        assert_eq!(missing, 3, "not running, and no file");
        let mut owner = way(&path, &[]);
        assert_eq!(status(), Some(0), "running");
        // It waits until the process is gone, which its parent, the warden, sees to.
        assert_eq!(start_stop_daemon(&["--stop", "--retry", "TERM/60", "--pidfile", &path]), Some(0));
        assert_eq!(owner.start.orphan(owner.pid), End::Killed(libc::SIGTERM));
        assert_eq!(status(), Some(1), "dead, and its file is there");
        owner.start.rest();
        let next = way(&path, &[]);
        assert_eq!(status(), Some(0));
        next.end();
    }
}
