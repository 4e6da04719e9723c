//! The sequence, seen from outside: what the daemon is, what the caller learns, what is left.
//!
//! Nearly every test is one [`Start`] (tests/harness/start.rs).

#![allow(
    clippy::multiple_unsafe_ops_per_block,
    clippy::undocumented_unsafe_blocks,
    reason = "tests: bare system calls"
)]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests have std")]

mod harness;

use harness::start::*;
use harness::{Call, End, is_root};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fmt::Display;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{fs, process, ptr, thread};
use untty::{Daemon, Errno, Process, Step};

fn main() {
    harness::main(
        named![
            the_daemon_has_the_whole_default_state,
            the_caller_of_that_test_has_all_that_the_daemon_lacks,
            the_daemon_leads_nothing_and_its_leader_is_gone_when_its_code_runs,
            the_leader_is_unreaped_until_the_outcome_is_known,
            the_terminals_signals_that_a_caller_had_pending_are_not_the_daemons,
            keep_signals_keeps_the_mask_the_ignored_and_the_handlers,
            the_directory_is_as_asked,
            the_umask_is_as_asked,
            inherited_streams_are_the_callers,
            any_descriptor_can_be_any_stream_and_0_to_2_can_change_places,
            standard_input_reads_a_file,
            a_log_is_appended_to,
            a_new_log_has_mode_0640_less_the_callers_umask,
            a_fifo_with_a_reader_can_be_the_log_and_then_waits_for_it,
            standard_error_shares_standard_output,
            the_console_does_not_become_the_terminal,
            kept_descriptors_stay_with_their_flags_and_no_others,
            keep_descriptors_closes_nothing,
            return_in_caller_returns_the_daemons_pid_and_an_unchanged_caller,
            the_caller_exits_without_its_atexit_handlers,
            threads_are_refused_unless_they_are_accepted,
            where_unshare_is_forbidden_proc_tells_of_threads,
            a_bad_umask_is_refused,
            streams_that_cannot_be_opened,
            closed_standard_streams_are_no_descriptors_to_be_given,
            a_log_on_a_read_only_file_system,
            dev_null_must_be_there_and_be_the_device,
            no_descriptor_is_free,
            with_closed_streams_and_no_descriptor_free_nothing_takes_their_place,
            the_pipe_cannot_be_made,
            signals_cannot_be_blocked,
            the_first_fork_fails,
            the_second_fork_fails,
            the_session_cannot_be_made,
            a_signal_cannot_be_reset,
            the_directory_cannot_be_entered,
            the_umask_cannot_be_set,
            streams_that_cannot_be_put_in_place,
            a_log_made_for_a_daemon_that_failed_stays_empty,
            leader_or_daemon_killed_at_any_step_is_a_failure,
            the_caller_waits_until_the_daemon_is_ready,
            a_daemon_that_ends_before_it_is_ready_is_a_failure,
            the_daemons_status_is_the_callers_when_it_gives_up,
            at_the_deadline_the_daemon_and_its_children_are_killed,
            at_the_deadline_a_stopped_daemon_is_killed,
            at_the_deadline_a_daemon_that_left_its_process_group_is_killed,
            at_the_deadline_a_daemon_in_a_session_of_its_own_is_killed,
            a_deadline_that_is_kept_is_not_noticed,
            a_dead_daemon_whose_child_lives_is_a_failure,
            a_failure_leaves_a_caller_that_is_a_subreaper_no_zombie,
            a_failed_daemon_that_left_its_group_leaves_a_caller_that_is_a_subreaper_no_zombie,
            a_caller_that_is_a_subreaper_is_the_daemons_parent,
            any_of_the_standard_streams_may_be_closed,
            a_caller_killed_while_it_waits_is_told_to_the_daemon,
            a_daemon_that_gives_up_when_the_caller_is_gone_just_ends,
            a_waiting_caller_dies_of_a_signal_as_ever_and_its_daemon_lives_on,
            a_waiting_callers_handlers_run_and_it_waits_on,
            a_caller_may_lead_a_group_or_a_session,
            a_caller_may_be_the_first_process_of_all,
            where_neither_exec_nor_kill_is_allowed_to_tell_nobody_waits,
            without_a_pidfd_a_daemon_in_a_session_of_its_own_is_told_of,
            a_caller_that_is_the_first_process_of_all_must_not_exit,
            a_thousand_starts_tell_the_truth,
            a_spawned_program_has_the_whole_default_state,
            a_spawned_programs_signals_are_at_their_defaults_or_the_callers,
            a_spawned_program_has_the_streams_and_descriptors_asked_for,
            a_program_that_cannot_be_executed_is_a_failure,
            a_threaded_caller_can_spawn,
            a_child_that_another_thread_has_forked_does_not_keep_a_spawn_waiting,
            a_daemon_killed_at_exec_is_a_failure,
            a_leader_killed_while_it_watches_is_a_failure,
            a_spawned_program_that_is_over_at_once_is_a_success,
            every_step_has_a_number_and_a_name_of_its_own,
            every_errno_has_the_name_that_others_know,
            an_errors_text_is_one_line,
        ],
        named![caller, caller_as_pid_1, program, often, spawn_often, spawn_among_forks,],
    );
}

// 1. What the daemon is.

/// A caller that has everything that a daemon must not have.
fn burdened(directory: &str) -> Vec<String> {
    let file = format!("{directory}/file");
    let words = [
        "mask 0".to_owned(),
        format!("cd {directory}"),
        "ignore all".to_owned(),
        "handle 10 17 40".to_owned(),
        "block all".to_owned(),
        format!("open 5 {file}"),
        format!("open 90 {file}"),
        "cloexec 90".to_owned(),
        format!("open 400 {file}"),
    ];
    words.to_vec()
}

fn the_daemon_has_the_whole_default_state() {
    let scratch = scratch();
    let words = burdened(&scratch.file(""));
    let mut start = Start::with(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let mut daemon = start.daemon();
    let state = daemon.state.clone();
    assert_eq!(state["parent"], start.warden.pid().to_string());
    assert_eq!(state["terminal"], "0");
    assert_eq!(state["directory"], "/");
    assert_eq!(state["umask"], "0027");
    for signals in ["blocked", "ignored", "caught", "pending"] {
        assert_eq!(set(&state[signals]), [0; 0], "{signals}");
    }
    let files = open_files(&state);
    let null = |fd| (fd, "/dev/null".to_owned(), 0, libc::O_RDWR);
    assert_eq!(files[..3], [null(0), null(1), null(2)]);
    assert_eq!(files.len(), 4, "the report pipe and nothing else: {files:?}");
    assert!(files[3].1.starts_with("pipe:"));
    assert_eq!(files[3].0.to_string(), daemon.report);
    assert_eq!((files[3].2, files[3].3), (libc::FD_CLOEXEC, libc::O_WRONLY));
    daemon.ready();
    assert_eq!(open_files(&daemon.state_now()), [null(0), null(1), null(2)]);
    assert_eq!(start.caller(), End::Exited(0));
    drop(daemon);
    assert_eq!(start.rest(), [(number(&state["pid"]), End::Exited(0))]);
}

fn the_caller_of_that_test_has_all_that_the_daemon_lacks() {
    let scratch = scratch();
    let words = burdened(&scratch.file(""));
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.extend(["return", "umask 1000"]);
    let mut start = Start::with(&words);
    let state = start.answer().state;
    assert_eq!(set(&state["caught"]), [10, 17, 40]);
    let all = signals("all");
    assert_eq!(set(&state["blocked"]), all);
    let ignored: Vec<i32> = all.into_iter().filter(|signal| ![10, 17, 40].contains(signal)).collect();
    assert_eq!(set(&state["ignored"]), ignored);
    let open: BTreeSet<i32> = targets(&state).into_iter().map(|file| file.0).collect();
    assert!(open.is_superset(&BTreeSet::from([5, 90, 400])));
    assert_eq!(state["umask"], "0000");
    assert_eq!(Path::new(&state["directory"]), scratch.path());
}

fn the_daemon_leads_nothing_and_its_leader_is_gone_when_its_code_runs() {
    for _ in 0..20 {
        let state = state_of(&[]);
        let leader = &state["session"];
        assert_eq!(state["group"], *leader);
        assert_ne!(state["pid"], *leader);
        assert_ne!(state["parent"], *leader);
        assert!(harness::stat_fields(number(leader)).is_none(), "reaped when the caller has ended");
    }
}

fn the_leader_is_unreaped_until_the_outcome_is_known() {
    let mut start = Start::with(&["return"]);
    let mut daemon = start.daemon();
    let leader = number(&daemon.state["session"]);
    until("a zombie", || harness::stat_fields(leader).expect("the leader's number is kept")[0] == "Z");
    let answer = {
        daemon.ready();
        start.answer()
    };
    assert_eq!(answer.outcome, format!("daemon {}", daemon.pid));
    assert!(harness::stat_fields(leader).is_none());
}

fn the_terminals_signals_that_a_caller_had_pending_are_not_the_daemons() {
    let mut start = Start::with(&["block 1 2 3 15", "return"]);
    let daemon = start.daemon();
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM] {
        kill(start.caller_of(&daemon), signal);
    }
    let mut daemon = daemon;
    daemon.ready();
    let answer = start.answer();
    assert_eq!(set(&answer.state["pending"]), [1, 2, 15], "blocked by the caller, so they wait for it");
    assert_eq!(set(&daemon.state_now()["pending"]), [0; 0]);
}

// 2. The options.

fn keep_signals_keeps_the_mask_the_ignored_and_the_handlers() {
    let state = state_of(&["ignore 1 13 40", "handle 10 41", "block 12 50", "keep_signals"]);
    assert_eq!(set(&state["blocked"]), [12, 50]);
    let (ignored, caught) = (set(&state["ignored"]), set(&state["caught"]));
    assert!([1, 13, 40].iter().all(|signal| ignored.contains(signal)), "{ignored:?}");
    assert!([10, 41].iter().all(|signal| caught.contains(signal)), "{caught:?}");
}

fn the_directory_is_as_asked() {
    let scratch = scratch();
    let (top, below) = (scratch.file("top"), scratch.file("top/below"));
    fs::create_dir_all(&below).unwrap();
    assert_eq!(state_of(&[&format!("directory {below}")])["directory"], below);
    assert_eq!(state_of(&[&format!("cd {top}"), "directory below"])["directory"], below, "relative to the caller's");
    assert_eq!(state_of(&[&format!("cd {top}"), "keep_directory"])["directory"], top);
    assert_eq!(state_of(&[&format!("cd {top}")])["directory"], "/");
}

fn the_umask_is_as_asked() {
    for (words, expected) in [
        (["mask 22", "umask 0"], "0000"),
        (["mask 0", "umask 22"], "0022"),
        (["mask 0", "umask 777"], "0777"),
        (["mask 51", "keep_umask"], "0051"),
        (["mask 0", "return"], "0027"),
    ] {
        let mut start = Start::with(&words);
        assert_eq!(start.daemon().state["umask"], expected, "{words:?}");
    }
}

fn inherited_streams_are_the_callers() {
    let scratch = scratch();
    let files = ["a", "b", "c"].map(|name| scratch.file(name));
    let open: Vec<String> = files.iter().enumerate().map(|(fd, file)| format!("open {fd} {file}")).collect();
    let mut words: Vec<&str> = open.iter().map(String::as_str).collect();
    words.push("inherit");
    assert_eq!(streams(&state_of(&words)), files);
    words.push("stdout null");
    assert_eq!(streams(&state_of(&words)), [files[0].clone(), "/dev/null".to_owned(), files[2].clone()]);
}

fn any_descriptor_can_be_any_stream_and_0_to_2_can_change_places() {
    let scratch = scratch();
    let files = ["a", "b", "c", "d"].map(|name| scratch.file(name));
    let numbers = [0, 1, 2, 7];
    for combination in 0..64 {
        let sources = [combination % 4, combination / 4 % 4, combination / 16];
        let mut words: Vec<String> = Vec::new();
        for (fd, file) in numbers.iter().zip(&files) {
            words.extend([format!("open {fd} {file}"), format!("cloexec {fd}")]);
        }
        for (stream, source) in ["stdin", "stdout", "stderr"].iter().zip(sources) {
            words.push(format!("{stream} fd {}", numbers[source]));
        }
        let state = state_of(&words.iter().map(String::as_str).collect::<Vec<_>>());
        let expected: Vec<_> =
            sources.iter().zip(0..).map(|(source, fd)| (fd, files[*source].clone(), 0, libc::O_RDWR)).collect();
        let files = open_files(&state);
        assert_eq!(files[..3], expected, "{words:?}: in place, and not close-on-exec");
        assert_eq!(files.len(), 4, "the source itself is closed");
    }
}

fn standard_input_reads_a_file() {
    let scratch = scratch();
    fs::write(scratch.file("input"), "what it says").unwrap();
    let mut start = Start::with(&[&format!("cd {}", scratch.file("")), "stdin file input"]);
    let mut daemon = start.daemon();
    assert_eq!(open_files(&daemon.state)[0], (0, scratch.file("input"), 0, libc::O_RDONLY));
    assert_eq!(daemon.order("read"), "read \"what it says\"");
}

fn a_log_is_appended_to() {
    let scratch = scratch();
    let log = scratch.file("log");
    fs::write(&log, "old\n").unwrap();
    fs::set_permissions(&log, fs::Permissions::from_mode(0o604)).unwrap();
    let mut start = Start::with(&[&format!("cd {}", scratch.file("")), "stdout file log", "stderr null"]);
    let mut daemon = start.daemon();
    assert_eq!(open_files(&daemon.state)[1], (1, log.clone(), 0, libc::O_WRONLY | libc::O_APPEND));
    assert_eq!(daemon.order("write 1 new"), "wrote 3");
    assert_eq!(fs::read_to_string(&log).unwrap(), "old\nnew");
    assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o7777, 0o604, "an existing log keeps its mode");
}

fn a_new_log_has_mode_0640_less_the_callers_umask() {
    let scratch = scratch();
    for (mask, mode) in [("0", 0o640), ("22", 0o640), ("27", 0o640), ("77", 0o600), ("777", 0)] {
        for stream in ["stdout", "stderr"] {
            let log = scratch.file(&format!("{stream}-{mask}"));
            let words = [&format!("mask {mask}"), &*format!("{stream} file {log}"), "umask 0"];
            assert_eq!(streams(&state_of(&words)).iter().filter(|target| **target == log).count(), 1);
            assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o7777, mode, "umask {mask}");
        }
    }
}

fn a_fifo_with_a_reader_can_be_the_log_and_then_waits_for_it() {
    let scratch = scratch();
    let fifo = scratch.file("fifo");
    nix::unistd::mkfifo(Path::new(&fifo), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let _reader = fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(&fifo).unwrap();
    let state = state_of(&[&format!("stdout file {fifo}")]);
    assert_eq!(open_files(&state)[1], (1, fifo, 0, libc::O_WRONLY | libc::O_APPEND), "not O_NONBLOCK");
}

fn standard_error_shares_standard_output() {
    let scratch = scratch();
    let file = scratch.file("file");
    // One open file has one offset, so nothing is overwritten.
    for (stderr, expected) in [("stderr stdout", "onetwo"), ("stderr fd 8", "two")] {
        let _ = fs::remove_file(&file);
        let words = [&format!("open 7 {file}"), &*format!("open 8 {file}"), "stdout fd 7", stderr];
        let mut start = Start::with(&words);
        let mut daemon = start.daemon();
        assert_eq!(streams(&daemon.state)[1..], [file.clone(), file.clone()]);
        assert_eq!(daemon.order("write 1 one"), "wrote 3");
        assert_eq!(daemon.order("write 2 two"), "wrote 3");
        assert_eq!(fs::read_to_string(&file).unwrap(), expected, "{stderr}");
    }
    let log = scratch.file("log");
    let state = state_of(&[&format!("stdout file {log}"), "stderr stdout"]);
    assert_eq!(streams(&state), ["/dev/null".to_owned(), log.clone(), log]);
    let state = state_of(&["stderr stdout"]);
    assert_eq!(streams(&state), ["/dev/null"; 3]);
}

fn the_console_does_not_become_the_terminal() {
    let console = fs::File::options().read(true).write(true).custom_flags(libc::O_NOCTTY).open("/dev/console");
    if let Err(error) = console {
        return skipped(&format!("/dev/console: {error}"));
    }
    let state = state_of(&["stdin console", "stdout console", "stderr console"]);
    let console = |fd| (fd, "/dev/console".to_owned(), 0, libc::O_RDWR);
    assert_eq!(open_files(&state)[..3], [console(0), console(1), console(2)]);
    assert_eq!(state["terminal"], "0");
}

fn kept_descriptors_stay_with_their_flags_and_no_others() {
    let scratch = scratch();
    let file = scratch.file("file");
    let open = [5, 6, 90, 300].map(|fd| format!("open {fd} {file}"));
    let mut words: Vec<&str> = open.iter().map(String::as_str).collect();
    words.extend(["cloexec 90", "keep 300 7 -1 90 2147483647 90 5 -2147483648"]);
    let mut start = Start::with(&words);
    let mut daemon = start.daemon();
    let kept = |fd, flags| (fd, file.clone(), flags, libc::O_RDWR);
    let files: Vec<_> = open_files(&daemon.state).into_iter().filter(|open| open.1 == file).collect();
    assert_eq!(files, [kept(5, 0), kept(90, libc::FD_CLOEXEC), kept(300, 0)]);
    daemon.ready();
    assert_eq!(open_files(&daemon.state_now()).len(), 6, "0 to 2, and the three");
}

fn keep_descriptors_closes_nothing() {
    let scratch = scratch();
    let file = scratch.file("file");
    let open = [5, 300].map(|fd| format!("open {fd} {file}"));
    let state = state_of(&[&open[0], &open[1], "cloexec 300", "keep_descriptors"]);
    let kept = |fd, flags| (fd, file.clone(), flags, libc::O_RDWR);
    let files: Vec<_> = open_files(&state).into_iter().filter(|open| open.1 == file).collect();
    assert_eq!(files, [kept(5, 0), kept(300, libc::FD_CLOEXEC)]);
    let null = targets(&state).into_iter().filter(|file| file.1 == "/dev/null").count();
    assert_eq!(null, 3, "what was opened for the streams is closed again");
    assert_eq!(targets(&state).into_iter().filter(|file| file.0 > 2 && file.1.starts_with("pipe:")).count(), 1);
}

fn return_in_caller_returns_the_daemons_pid_and_an_unchanged_caller() {
    let mut start = Start::with(&["return", "mask 51", "ignore 10", "handle 12", "block 15"]);
    let mut daemon = start.daemon();
    daemon.ready();
    let answer = start.answer();
    assert_eq!(answer.outcome, format!("daemon {}", daemon.pid));
    assert_eq!(answer.differences, [""; 0]);
}

fn the_caller_exits_without_its_atexit_handlers() {
    let mut start = Start::with(&["at_exit", "first ready"]);
    drop(start.daemon());
    assert_eq!(start.caller(), End::Exited(0));
    start.rest();
    // The daemon is the program that goes on: it exits as a program does.
    assert_eq!(start.warden.all_output(), [""; 0], "the daemon's is on /dev/null");
    let mut start = Start::with(&["at_exit", "umask 1000"]);
    drop(start.answer());
    assert_eq!(start.caller(), End::Exited(0));
    start.rest();
    assert_eq!(start.warden.all_output(), ["at exit"], "a caller that gets an error has them");
}

fn threads_are_refused_unless_they_are_accepted() {
    assert!(fails(&["thread"], "threads EBUSY"));
    assert!(fails(&["thread", "return"], "threads EBUSY"));
    let state = state_of(&["thread", "accept_threads"]);
    assert_eq!(state["directory"], "/");
}

fn where_unshare_is_forbidden_proc_tells_of_threads() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let forbid = format!("forbid unshare {errno}");
        assert!(fails(&["thread", &forbid], "threads EBUSY"));
        state_of(&[&forbid]);
    }
}

// 3. Every step that can be made to fail.

fn a_bad_umask_is_refused() {
    for mask in ["1000", "7777", "37777777777"] {
        assert!(fails(&[&format!("umask {mask}")], "options EINVAL"));
    }
}

fn streams_that_cannot_be_opened() {
    let scratch = scratch();
    let file = |name: &str| format!("file {}", scratch.file(name));
    fs::write(scratch.file("plain"), "").unwrap();
    fs::write(scratch.file("sealed"), "").unwrap();
    fs::set_permissions(scratch.file("sealed"), fs::Permissions::from_mode(0o0)).unwrap();
    std::os::unix::fs::symlink(scratch.file("plain"), scratch.file("link")).unwrap();
    std::os::unix::fs::symlink(scratch.file("nothing"), scratch.file("dangling")).unwrap();
    nix::unistd::mkfifo(Path::new(&scratch.file("fifo")), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (stdio, errno) in [
        (file("nothing"), "ENOENT"),
        (file("plain/log"), "ENOTDIR"),
        (file("sealed"), "EACCES"),
        ("fd 99".to_owned(), "EBADF"),
        ("fd -1".to_owned(), "EBADF"),
        ("fd 2147483647".to_owned(), "EBADF"),
        ("stdout".to_owned(), "EINVAL"),
    ] {
        assert!(fails(&["ordinary", &format!("stdin {stdio}")], &format!("stdin {errno}")));
    }
    for (stdio, errno) in [
        (file("none/log"), "ENOENT"),
        (file("plain/log"), "ENOTDIR"),
        (file("sealed"), "EACCES"),
        (file("link"), "ELOOP"),
        (file("dangling"), "ELOOP"),
        (file(""), "EISDIR"),
        (file("fifo"), if is_root() { "EACCES" } else { "ENXIO" }),
        ("fd 99".to_owned(), "EBADF"),
        ("fd -2147483648".to_owned(), "EBADF"),
    ] {
        for stream in ["stdout", "stderr"] {
            assert!(fails(&["ordinary", &format!("{stream} {stdio}")], &format!("{stream} {errno}")));
        }
    }
    assert!(fails(&[&format!("stdout {}", file("fifo"))], "stdout ENXIO"));
    assert!(fails(&["stdout stdout"], "stdout EINVAL"));
    assert!(!Path::new(&scratch.file("nothing")).exists(), "nothing was made through the link");
}

fn closed_standard_streams_are_no_descriptors_to_be_given() {
    assert!(fails(&["shut 0", "stdin fd 0", "stdout inherit", "stderr inherit"], "stdin EBADF"));
    // Opening comes first, and must not make 0 something that it was not.
    assert!(fails(&["shut 0", "stdin null", "stdout fd 0"], "stdout EBADF"));
}

fn a_log_on_a_read_only_file_system() {
    let scratch = scratch();
    let directory = scratch.file("readonly");
    fs::create_dir(&directory).unwrap();
    fs::write(format!("{directory}/old"), "").unwrap();
    let read_only = format!("read_only {directory}");
    for name in ["new", "old"] {
        fails(&[&read_only, &format!("stdout file {directory}/{name}")], "stdout EROFS");
    }
    assert!(!Path::new(&directory).join("new").exists());
}

fn dev_null_must_be_there_and_be_the_device() {
    let scratch = scratch();
    let file = scratch.file("file");
    fs::write(&file, "").unwrap();
    fails(&["no_dev"], "stdin ENOENT");
    fails(&["no_dev", "stdin inherit"], "stdout ENOENT");
    for with in ["/dev/zero", &file] {
        fails(&[&format!("null {with}")], "stdin ENODEV");
        fails(&[&format!("null {with}"), "stdin inherit", "stdout inherit"], "stderr ENODEV");
    }
    let mut start = Start::with(&["no_dev", "inherit", "return", "first ready"]);
    let answer = start.answer();
    if !answer.skipped() {
        assert!(answer.outcome.starts_with("daemon "), "who wants no /dev/null needs none");
    }
}

fn no_descriptor_is_free() {
    // 0 to 2 are open, and the helper has nothing else.
    assert!(fails(&["descriptors 3"], "stdin EMFILE"));
    assert!(fails(&["descriptors 3", "inherit"], "pipe EMFILE"));
    assert!(fails(&["descriptors 4", "inherit"], "pipe EMFILE"));
    assert!(fails(&["descriptors 4"], "pipe EMFILE"));
    // A duplicate must be above 2, and for the kernel that is asking for more than there can be.
    assert!(fails(&["descriptors 3", "inherit", "stderr fd 2"], "stderr EINVAL"));
}

fn with_closed_streams_and_no_descriptor_free_nothing_takes_their_place() {
    // The number that the call gets is moved up, where there is no room.
    assert!(fails(&["shut 0", "descriptors 3"], "stdin EINVAL"));
    assert!(fails(&["shut 0", "shut 1", "inherit", "descriptors 3"], "pipe EINVAL"));
}

fn the_pipe_cannot_be_made() {
    assert!(fails(&[&format!("forbid pipe {}", libc::ENFILE)], "pipe ENFILE"));
}

fn signals_cannot_be_blocked() {
    let forbid = format!("forbid mask {} 0={}", libc::EPERM, libc::SIG_SETMASK);
    assert!(fails(&[&forbid], "signals EPERM"));
}

fn the_first_fork_fails() {
    for errno in [(libc::EAGAIN, "EAGAIN"), (libc::ENOMEM, "ENOMEM")] {
        assert!(fails(&[&format!("forbid fork {}", errno.0)], &format!("fork {}", errno.1)));
    }
    fails(&["processes 1", "return"], "fork EAGAIN");
}

fn the_second_fork_fails() {
    fails(&["processes 2", "return"], "fork_again EAGAIN");
    fails(&["processes 2", "return", "spawn /bin/true"], "fork_again EAGAIN");
    // The control: one more, and there is a daemon.
    let mut start = Start::with(&["processes 3", "return", "first ready"]);
    let answer = start.answer();
    if !answer.skipped() {
        assert!(answer.outcome.starts_with("daemon "), "{}", answer.outcome);
    }
}

fn the_session_cannot_be_made() {
    assert!(fails(&[&format!("forbid setsid {}", libc::EPERM)], "setsid EPERM"));
}

fn a_signal_cannot_be_reset() {
    // That of SIGUSR2 alone, and only setting it.
    assert!(fails(&[&format!("forbid sigaction {} 0=12 1!=0", libc::EPERM)], "signals EPERM"));
    assert!(fails(&[&format!("forbid sigaction {} 0=64 1!=0", libc::EINVAL)], "signals EINVAL"));
}

fn the_directory_cannot_be_entered() {
    let scratch = scratch();
    fs::write(scratch.file("plain"), "").unwrap();
    fs::create_dir(scratch.file("sealed")).unwrap();
    fs::set_permissions(scratch.file("sealed"), fs::Permissions::from_mode(0o0)).unwrap();
    std::os::unix::fs::symlink("circle", scratch.file("circle")).unwrap();
    for (name, errno) in
        [("nothing", "ENOENT"), ("plain", "ENOTDIR"), ("sealed", "EACCES"), ("circle", "ELOOP"), ("plain/", "ENOTDIR")]
    {
        assert!(fails(&["ordinary", &format!("directory {}", scratch.file(name))], &format!("chdir {errno}")));
    }
    assert!(fails(&["directory "], "chdir ENOENT"));
    fs::set_permissions(scratch.file("sealed"), fs::Permissions::from_mode(0o755)).unwrap();
}

fn the_umask_cannot_be_set() {
    assert!(fails(&[&format!("forbid umask {} 0={}", libc::EPERM, 0o27)], "umask EPERM"));
}

fn streams_that_cannot_be_put_in_place() {
    for (fd, stream) in ["stdin", "stdout", "stderr"].iter().enumerate() {
        let forbid = format!("forbid dup3 {} 1={fd}", libc::EBUSY);
        assert!(fails(&[&forbid], &format!("{stream} EBUSY")));
        let mut start = Start::with(&[&forbid, "inherit", "return", "first ready"]);
        assert!(start.answer().outcome.starts_with("daemon "), "an inherited one is in place");
    }
}

fn a_log_made_for_a_daemon_that_failed_stays_empty() {
    let scratch = scratch();
    let log = scratch.file("log");
    assert!(fails(&[&format!("stdout file {log}"), "directory /nowhere"], "chdir ENOENT"));
    assert_eq!(fs::read_to_string(&log).unwrap(), "");
}

fn leader_or_daemon_killed_at_any_step_is_a_failure() {
    for step in ["setsid", "sigaction 0=12 1!=0", "chdir", "umask 0=23", "dup3 1=2", "close_range"] {
        let deadly = format!("deadly {step}");
        assert!(fails(&["no_cores", &deadly, "return"], "wait ESRCH"));
        assert!(fails(&["no_cores", &deadly, "ignore 17"], "wait ESRCH"));
        assert!(fails(&["no_cores", &deadly, "spawn /bin/true"], "wait ESRCH"));
    }
}

// 4. The truth.

/// Everything that a caller may do with the deaths of its children.
const CHILD_SIGNALS: [&[&str]; 5] = [&[], &["ignore 17"], &["no_zombies"], &["reap"], &["block 17"]];

/// Those words, and more.
fn with<'a>(words: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [words, more].concat()
}

fn the_caller_waits_until_the_daemon_is_ready() {
    for child_signal in CHILD_SIGNALS {
        let mut start = Start::with(child_signal);
        let mut daemon = start.daemon();
        let caller = start.caller_of(&daemon);
        until_it_waits(caller);
        assert_eq!(daemon.order("write 1 something"), "wrote 9", "it is busy, and the caller waits");
        assert_eq!(start.warden.try_next(Duration::ZERO), None);
        assert_eq!(start.caller_of(&daemon), caller);
        daemon.ready();
        assert_eq!(start.caller(), End::Exited(0));
        let pid = daemon.pid;
        assert_eq!(daemon.order("write 1 more"), "wrote 4", "it lives on");
        drop(daemon);
        assert_eq!(start.rest(), [(pid, End::Exited(0))]);
    }
}

fn a_daemon_that_ends_before_it_is_ready_is_a_failure() {
    for child_signal in CHILD_SIGNALS {
        for (order, end) in [
            ("exit 0", End::Exited(0)),
            ("exit 3", End::Exited(3)),
            ("die 9", End::Killed(9)),
            ("die 15", End::Killed(15)),
        ] {
            let mut start = Start::with(child_signal);
            let mut daemon = start.daemon();
            assert_eq!(daemon.order(order), "gone");
            let answer = start.answer();
            assert_eq!(answer.outcome, "wait ESRCH", "{child_signal:?} {order}");
            assert_eq!(answer.text, "wait: the daemon died before it was ready: ESRCH");
            assert_eq!(answer.differences, [""; 0], "{child_signal:?} {order}");
            start.only_the_caller_lives();
            drop(answer);
            assert_eq!(start.caller(), End::Exited(0));
            assert_eq!(start.rest(), [(daemon.pid, end)]);
            // And at once, before anybody could notice that it lived.
            assert!(fails(&with(child_signal, &[&format!("first {order}"), "return"]), "wait ESRCH"));
        }
    }
}

fn the_daemons_status_is_the_callers_when_it_gives_up() {
    for child_signal in CHILD_SIGNALS {
        for (status, seen) in [(7, 7), (1, 1), (255, 255), (0, 1), (256, 1), (300, 44), (-1, 255), (i32::MIN, 1)] {
            let mut start = Start::with(child_signal);
            let mut daemon = start.daemon();
            assert_eq!(daemon.order(&format!("fail {status}")), "gone");
            assert_eq!(start.caller(), End::Exited(seen), "{child_signal:?} {status}");
            assert_eq!(start.rest(), [(daemon.pid, End::Exited(seen))]);
        }
        assert!(fails(&with(child_signal, &["first fail 7", "return"]), "fail 7"));
        assert!(fails(&with(child_signal, &["first fail 0", "return"]), "fail 1"));
    }
}

/// Runs a start with ever longer deadlines, until its daemon has time enough to do what it is to do first.
fn with_deadline(words: &[&str], last: &str, check: impl Fn(&mut Start, &Answer, &[String])) {
    for power in 7..16 {
        let deadline = 1_u64 << power;
        let mut start = Start::with(&with(words, &[&format!("deadline {deadline}")]));
        let answer = start.answer();
        assert_eq!(answer.outcome, "wait ETIMEDOUT", "{words:?}");
        assert_eq!(answer.text, "wait: the daemon was not ready in time and was ended: ETIMEDOUT");
        assert_eq!(answer.differences, [""; 0], "{words:?}");
        // The clock's milliseconds are whole ones.
        assert!(answer.milliseconds + 1 >= deadline.into(), "{} < {deadline}", answer.milliseconds);
        start.only_the_caller_lives();
        let mut said = Vec::new();
        if let Some(mut daemon) = start.called("daemon") {
            while let Some(line) = daemon.line() {
                said.push(line);
            }
        }
        if said.iter().any(|line| line.starts_with(last)) {
            return check(&mut start, &answer, &said);
        }
    }
    panic!("no deadline was long enough for {words:?}");
}

/// The pid that the daemon, or its child, said it has.
fn pid_said(said: &[String], prefix: &str) -> i32 {
    number(said.iter().find_map(|line| line.strip_prefix(prefix)).unwrap())
}

fn at_the_deadline_the_daemon_and_its_children_are_killed() {
    for child_signal in CHILD_SIGNALS {
        with_deadline(&with(child_signal, &["then fork"]), "forked", |start, _, said| {
            let (daemon, child) = (pid_said(said, "pid\t"), pid_said(said, "forked "));
            assert_eq!(start.orphan(daemon), End::Killed(libc::SIGKILL));
            assert_eq!(start.orphan(child), End::Killed(libc::SIGKILL));
        });
    }
}

fn at_the_deadline_a_stopped_daemon_is_killed() {
    for child_signal in CHILD_SIGNALS {
        // The report is the last thing that it says before it stops.
        with_deadline(&with(child_signal, &["then die 19"]), "report", |start, _, said| {
            assert_eq!(start.orphan(pid_said(said, "pid\t")), End::Killed(libc::SIGKILL));
        });
    }
}

fn at_the_deadline_a_daemon_that_left_its_process_group_is_killed() {
    with_deadline(&["then group"], "group 0", |start, _, said| {
        assert_eq!(start.orphan(pid_said(said, "pid\t")), End::Killed(libc::SIGKILL));
    });
}

fn at_the_deadline_a_daemon_in_a_session_of_its_own_is_killed() {
    for child_signal in CHILD_SIGNALS {
        for (order, said_at_last) in [("then session", "session true"), ("then wander", "wandered true")] {
            with_deadline(&with(child_signal, &[order]), said_at_last, |start, _, said| {
                assert_eq!(start.orphan(pid_said(said, "pid\t")), End::Killed(libc::SIGKILL), "{order}");
            });
        }
    }
}

fn a_deadline_that_is_kept_is_not_noticed() {
    for child_signal in CHILD_SIGNALS {
        let mut start = Start::with(&with(child_signal, &["deadline 3600000", "return"]));
        let mut daemon = start.daemon();
        daemon.ready();
        let answer = start.answer();
        assert_eq!(answer.outcome, format!("daemon {}", daemon.pid));
        assert_eq!(answer.differences, [""; 0]);
    }
}

fn a_dead_daemon_whose_child_lives_is_a_failure() {
    // The child has inherited the report pipe, and holds it open.
    let mut start = Start::with(&["return"]);
    let mut daemon = start.daemon();
    let forked = daemon.order("fork");
    let child = number(forked.strip_prefix("forked ").unwrap());
    daemon.line.say("exit 3");
    assert_eq!(start.orphan(daemon.pid), End::Exited(3));
    let patience = Duration::from_secs(5);
    let mut caller = start.meeting.try_daemon(patience).expect("the caller learns that its daemon died");
    assert_eq!(caller.line().unwrap(), "caller");
    assert_eq!(caller.line().unwrap(), "outcome wait ESRCH");
    assert_eq!(start.orphan(child), End::Killed(libc::SIGKILL));
}

fn a_failure_leaves_a_caller_that_is_a_subreaper_no_zombie() {
    for first in ["first exit 3", "first fail 3"] {
        let mut start = Start::with(&["subreaper", first, "return"]);
        let answer = start.answer();
        assert_eq!(answer.differences, [""; 0], "{first}");
    }
    let mut start = Start::with(&["subreaper", "directory /nowhere", "return"]);
    let answer = start.answer();
    assert_eq!(answer.outcome, "chdir ENOENT");
    assert_eq!(answer.differences, [""; 0]);
}

fn a_failed_daemon_that_left_its_group_leaves_a_caller_that_is_a_subreaper_no_zombie() {
    for leaves in ["first group", "first session", "first wander"] {
        for (first, expected) in
            [("first fail 7", "fail 7"), ("first exit 3", "wait ESRCH"), ("first die 9", "wait ESRCH")]
        {
            assert!(fails(&["subreaper", leaves, first, "return"], expected), "{leaves} {first}");
        }
        // The caller's state, which is as it was, tells of children too: of a zombie, there would be some.
        with_deadline(&["subreaper", leaves, "then group"], "group ", |start, _, _| start.only_the_caller_lives());
    }
}

fn a_caller_that_is_a_subreaper_is_the_daemons_parent() {
    let mut start = Start::with(&["subreaper", "return"]);
    let mut daemon = start.daemon();
    assert_eq!(daemon.state["parent"], start.caller_of(&daemon).to_string());
    daemon.ready();
    assert_eq!(start.answer().outcome, format!("daemon {}", daemon.pid));
}

fn any_of_the_standard_streams_may_be_closed() {
    for open in 0..8 {
        let closed: Vec<i32> = (0..3).filter(|fd| open & 1 << fd == 0).collect();
        let shut: Vec<String> = closed.iter().map(|fd| format!("shut {fd}")).collect();
        let words: Vec<&str> = shut.iter().map(String::as_str).collect();
        let state = state_of(&words);
        assert_eq!(streams(&state), ["/dev/null"; 3], "{closed:?}");
        assert_eq!(open_files(&state).len(), 4, "{closed:?}");

        let mut start = Start::with(&with(&words, &["inherit", "return"]));
        let mut daemon = start.daemon();
        daemon.ready();
        let answer = start.answer();
        assert_eq!(answer.outcome, format!("daemon {}", daemon.pid), "{closed:?}");
        assert_eq!(answer.differences, [""; 0], "{closed:?}");
        let below = |state| targets(state).into_iter().filter(|file| file.0 <= 2).collect::<Vec<_>>();
        assert_eq!(below(&daemon.state), below(&answer.state), "{closed:?}");
        assert_eq!(below(&daemon.state).len(), 3 - closed.len());
        assert!(number(&daemon.report) > 2, "{closed:?}: the report pipe is no standard stream");

        // One kind each: what is opened for one must not fall into the place of another.
        let state = state_of(&with(&words, &["stdin inherit", "stderr inherit"]));
        let expected: Vec<i32> = (0..3).filter(|fd| *fd == 1 || !closed.contains(fd)).collect();
        assert_eq!(targets(&state).iter().map(|file| file.0).filter(|fd| *fd <= 2).collect::<Vec<_>>(), expected);

        assert!(fails(&with(&words, &["directory /nowhere"]), "chdir ENOENT"));
        assert!(fails(&with(&words, &["first fail 5", "return"]), "fail 5"));
    }
}

fn a_caller_killed_while_it_waits_is_told_to_the_daemon() {
    for child_signal in CHILD_SIGNALS {
        let mut start = Start::with(child_signal);
        let mut daemon = start.daemon();
        kill(start.caller_of(&daemon), libc::SIGKILL);
        assert_eq!(start.caller(), End::Killed(libc::SIGKILL));
        assert_eq!(set(&daemon.state["ignored"]), [0; 0], "SIGPIPE would kill it");
        assert_eq!(daemon.order("ready"), "ready EPIPE");
        let state = daemon.state_now();
        assert_eq!(set(&state["pending"]), [0; 0]);
        assert_eq!(set(&state["blocked"]), [0; 0]);
        let pid = daemon.pid;
        drop(daemon);
        // The dead caller's leader may be reaped after it.
        assert!(start.rest().contains(&(pid, End::Exited(0))));
    }
}

fn a_daemon_that_gives_up_when_the_caller_is_gone_just_ends() {
    let mut start = Start::with(&[]);
    let mut daemon = start.daemon();
    kill(start.caller_of(&daemon), libc::SIGKILL);
    assert_eq!(start.caller(), End::Killed(libc::SIGKILL));
    assert_eq!(daemon.order("fail 9"), "gone");
    assert_eq!(start.orphan(daemon.pid), End::Exited(9));
}

fn a_waiting_caller_dies_of_a_signal_as_ever_and_its_daemon_lives_on() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let mut start = Start::with(&[]);
        let mut daemon = start.daemon();
        kill(start.caller_of(&daemon), signal);
        assert_eq!(start.caller(), End::Killed(signal));
        assert_eq!(daemon.order("write 1 alive"), "wrote 5");
        assert_eq!(daemon.order("ready"), "ready EPIPE");
    }
}

fn a_waiting_callers_handlers_run_and_it_waits_on() {
    let mut start = Start::with(&["handle 10", "block 12", "return"]);
    let mut daemon = start.daemon();
    let caller = start.caller_of(&daemon);
    for times in 1..4 {
        kill(caller, libc::SIGUSR1);
        until("it is handled", || start.warden.output().len() == times);
    }
    kill(caller, libc::SIGUSR2);
    daemon.ready();
    let answer = start.answer();
    assert_eq!(answer.outcome, format!("daemon {}", daemon.pid));
    assert_eq!(set(&answer.state["pending"]), [libc::SIGUSR2], "what it blocks stays blocked");
}

fn a_caller_may_lead_a_group_or_a_session() {
    for leads in ["group", "session"] {
        let mut start = Start::with(&[leads, "return"]);
        let mut daemon = start.daemon();
        let caller = start.caller_of(&daemon).to_string();
        daemon.ready();
        let answer = start.answer();
        assert_eq!(answer.state["group"], caller);
        assert_eq!(answer.differences, [""; 0]);
        assert_ne!(daemon.state["group"], caller);
        assert_ne!(daemon.state["session"], caller);
        assert_ne!(daemon.state["session"], daemon.state["pid"]);
        state_of(&[leads]);
        assert!(fails(&[leads, "first exit 1"], "wait ESRCH"));
    }
}

/// Its end would be the daemon's.
/// The leader can neither learn whether the program was executed, nor end it, nor wait for its end. The caller can: it
/// knows it by a pidfd.
fn where_neither_exec_nor_kill_is_allowed_to_tell_nobody_waits() {
    for options in [&[][..], &["deadline 20000"]] {
        let words = [options, &["spawn PROGRAM", "forbid setpgid 1", "forbid kill 1"]].concat();
        fails(&words, "wait EPERM");
    }
}

/// It cannot be found there, as on a kernel before 5.3; so it may live, and its pid file is its own.
fn without_a_pidfd_a_daemon_in_a_session_of_its_own_is_told_of() {
    let directory = scratch();
    let path = directory.file("pid");
    let mine = format!("pid_file {path}");
    let words = ["forbid pidfd_open 38", &mine, "return", "deadline 500", "first session"];
    let mut start = Start::with(&words);
    let daemon = start.daemon();
    let answer = start.answer();
    assert_eq!((answer.outcome.as_str(), &answer.differences), ("wait EPERM", &vec![]));
    assert_eq!(untty::pid_file_read(c(&path)).unwrap(), Some(daemon.pid));
    drop((answer, daemon));
    assert_eq!(start.caller(), End::Exited(0));
    start.rest();
}

fn a_caller_that_is_the_first_process_of_all_must_not_exit() {
    let scratch = scratch();
    let (pid_file, watch) =
        (format!("pid_file {}", scratch.file("pid")), format!("watch {}", scratch.path().display()));
    for words in [&["proc"][..], &["proc", "first ready"], &["proc", &pid_file, &watch]] {
        let mut start = Start::of("caller_as_pid_1", words);
        let answer = start.answer();
        if answer.skipped() {
            return;
        }
        assert_eq!(answer.state["pid"], "1");
        assert_eq!((answer.outcome.as_str(), answer.differences.as_slice()), ("setsid EINVAL", &[][..]), "{words:?}");
        until("the caller and its parent", || start.warden.living().len() == 2);
        drop(answer);
        assert_eq!(start.caller(), End::Exited(0));
    }
}

fn a_caller_may_be_the_first_process_of_all() {
    let mut start = Start::of("caller_as_pid_1", &["proc", "return", "first ready"]);
    let answer = start.answer();
    if answer.skipped() {
        return;
    }
    let daemon = start.daemon();
    assert_eq!(answer.outcome, format!("daemon {}", daemon.pid));
    assert_eq!(answer.state["pid"], "1");
    assert_eq!(daemon.state["parent"], "1");
    assert_ne!(daemon.state["session"], daemon.state["pid"]);
    assert_eq!(set(&daemon.state["blocked"]), [0; 0]);
    for (words, expected) in
        [(["proc", "first fail 3", "return"], "fail 3"), (["proc", "directory /nowhere", "return"], "chdir ENOENT")]
    {
        let mut start = Start::of("caller_as_pid_1", &words);
        let answer = start.answer();
        assert_eq!(answer.outcome, expected);
        until("the caller and its parent", || start.warden.living().len() == 2);
        drop(answer);
        assert_eq!(start.caller(), End::Exited(0));
    }
}

/// Detaches many times, with daemons that end at once in every way, and looks that each is told truly.
fn often(arguments: &[String]) {
    forget_the_tests_parents();
    for word in &arguments[1..] {
        prepare(word);
    }
    for round in 0..60 {
        for (order, expected) in [
            ("exit 0", "wait ESRCH"),
            ("die 9", "wait ESRCH"),
            ("fail 5", "fail 5"),
            ("ready", "daemon"),
            ("wait", "wait ETIMEDOUT"),
            ("late", "either"),
        ] {
            let mut options = Daemon::new().return_in_caller();
            match order {
                "wait" => options = options.deadline(Duration::from_millis(round % 4)),
                "late" => options = options.deadline(Duration::from_millis(round % 3)),
                _ => {}
            }
            // SAFETY: a helper has one thread, and uses no descriptor in the daemon.
            let outcome = match unsafe { options.detach() } {
                Ok(Process::Daemon(handle)) => {
                    let mut handle = Some(handle);
                    match order {
                        "wait" => {}
                        "late" => drop(obey("ready", &mut handle)),
                        order => drop(obey(order, &mut handle)),
                    }
                    if order != "ready" {
                        loop {
                            unsafe { libc::pause() };
                        }
                    }
                    unsafe { libc::_exit(0) }
                }
                Ok(Process::Caller { daemon }) => {
                    if order == "late" {
                        kill(daemon, libc::SIGKILL);
                    }
                    "daemon".to_owned()
                }
                Err(error) => short(error),
            };
            let right = match expected {
                "either" => ["daemon", "wait ETIMEDOUT"].contains(&outcome.as_str()),
                expected => outcome == expected,
            };
            assert!(right, "{round}: {order}: {outcome}");
            let child = unsafe { libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG) };
            assert_eq!(child, -1, "{round}: {order}: no child, and no zombie");
        }
    }
}

fn a_thousand_starts_tell_the_truth() {
    for child_signal in CHILD_SIGNALS {
        let mut start = Start::of("often", child_signal);
        assert_eq!(start.caller(), End::Exited(0), "{child_signal:?}: {:?}", start.warden.output());
        start.rest();
    }
}

// 5. Programs.

fn a_spawned_program_has_the_whole_default_state() {
    let scratch = scratch();
    let words = burdened(&scratch.file(""));
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.push("spawn PROGRAM one two");
    let mut start = Start::with(&words);
    let answer = start.answer();
    let program = start.program();
    let state = program.state.clone();
    assert_eq!(answer.outcome, format!("daemon {}", state["pid"]));
    assert_eq!(answer.differences, [""; 0]);
    assert_eq!((program.environment.as_str(), program.arguments.as_str()), ("yes", "one two"));
    // The leader stays until the caller knows; the program may have looked before.
    let parent = harness::stat_fields(number(&state["pid"])).unwrap()[1].clone();
    assert_eq!(parent, start.warden.pid().to_string());
    assert_eq!(state["session"], state["group"]);
    assert_ne!(state["session"], state["pid"]);
    assert_eq!(state["terminal"], "0");
    assert_eq!(state["directory"], "/");
    assert_eq!(state["umask"], "0027");
    assert_eq!(set(&state["blocked"]), [0; 0]);
    assert_eq!(targets(&state), [0, 1, 2].map(|fd| (fd, "/dev/null".to_owned())));
    start.rest_after(answer, program);
}

/// The line of `/proc/self/status` that a spawned `cat` sees of its signals.
fn signals_of_a_spawned_program(words: &[&str]) -> Vec<Vec<i32>> {
    let scratch = scratch();
    let file = scratch.file("status");
    let mut start = Start::with(&with(words, &[&format!("stdout file {file}"), "spawn /bin/cat /proc/self/status"]));
    let answer = start.answer();
    assert!(answer.outcome.starts_with("daemon "), "{}", answer.outcome);
    assert_eq!(answer.differences, [""; 0]);
    drop(answer);
    start.rest();
    let status = fs::read_to_string(file).unwrap();
    let line = |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    ["SigBlk:", "SigIgn:", "SigCgt:"].iter().map(|name| set(&line(name))).collect()
}

fn a_spawned_programs_signals_are_at_their_defaults_or_the_callers() {
    let none = [Vec::new(), Vec::new(), Vec::new()];
    assert_eq!(signals_of_a_spawned_program(&["ignore all", "block all"]), none);
    let kept = signals_of_a_spawned_program(&["ignore all", "handle 17", "block 12 40", "keep_signals"]);
    let all_but_one: Vec<i32> = signals("all").into_iter().filter(|signal| *signal != libc::SIGCHLD).collect();
    assert_eq!(kept, [vec![12, 40], all_but_one, vec![]], "handlers do not survive an exec");
    let kept = signals_of_a_spawned_program(&["ignore 17", "keep_signals"]);
    assert!(kept[1].contains(&libc::SIGCHLD), "the leader's own is not the daemon's: {kept:?}");
}

fn a_spawned_program_has_the_streams_and_descriptors_asked_for() {
    let scratch = scratch();
    let files = ["a", "b", "c", "d"].map(|name| scratch.file(name));
    let open: Vec<String> = files.iter().zip(0..).map(|(file, fd)| format!("open {} {file}", fd + 5)).collect();
    let open: Vec<&str> = open.iter().map(String::as_str).collect();
    let words = ["stdin fd 7", "stdout fd 6", "stderr fd 5", "cloexec 5", "keep 8", "spawn PROGRAM"];
    let mut start = Start::with(&with(&open, &words));
    let answer = start.answer();
    let program = start.program();
    let [a, b, c, d] = files;
    assert_eq!(targets(&program.state), [(0, c), (1, b), (2, a), (8, d)]);
    start.rest_after(answer, program);
}

fn a_program_that_cannot_be_executed_is_a_failure() {
    let scratch = scratch();
    fs::write(scratch.file("plain"), "").unwrap();
    fs::write(scratch.file("garbage"), "\0garbage").unwrap();
    fs::write(scratch.file("script"), "#!/nowhere/interpreter\n").unwrap();
    for name in ["garbage", "script"] {
        fs::set_permissions(scratch.file(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    for child_signal in CHILD_SIGNALS {
        for (name, errno) in [
            ("nothing", "ENOENT"),
            ("plain", "EACCES"),
            ("", "EACCES"),
            ("plain/program", "ENOTDIR"),
            ("garbage", "ENOEXEC"),
            ("script", "ENOENT"),
        ] {
            let spawn = format!("spawn {}", scratch.file(name));
            assert!(fails(&with(child_signal, &[&spawn]), &format!("exec {errno}")));
        }
    }
    assert!(fails(&["directory /nowhere", "spawn /bin/true"], "chdir ENOENT"));
    assert!(fails(&["stdin fd 99", "spawn /bin/true"], "stdin EBADF"));
}

/// `MEETING`: spawns while another thread forks children that stay, until one of them holds a copy of a report pipe's
/// end, whose closing nobody must wait for. Tells how many it spawned.
fn spawn_among_forks(arguments: &[String]) {
    const AT_LEAST: usize = 20;
    const MOST: usize = 50;
    forget_the_tests_parents();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let forker = thread::spawn(move || {
        let mut children = Vec::new();
        while !stopped.load(Ordering::Relaxed) {
            // A few that hold one are enough, and a limit of processes is soon reached.
            if children.len() == MOST {
                let (holders, mut others): (Vec<i32>, Vec<i32>) =
                    children.into_iter().partition(|child| holds_the_end_of_a_pipe(*child));
                end_children(&mut others);
                children = holders;
                thread::yield_now();
                continue;
            }
            match unsafe { libc::fork() } {
                0 => loop {
                    unsafe { libc::pause() };
                },
                child => children.push(child),
            }
        }
        children
    });
    let holds_a_pipe =
        || harness::descendants(i32::try_from(process::id()).unwrap()).into_iter().any(holds_the_end_of_a_pipe);
    let mut count = 0;
    let mut held = false;
    while count < AT_LEAST || !held {
        spawn(&Daemon::new(), &[c"/bin/true".to_owned()]).unwrap();
        count += 1;
        held = held || holds_a_pipe();
    }
    stop.store(true, Ordering::Relaxed);
    end_children(&mut forker.join().unwrap());
    let mut call = Call::to(&arguments[0]);
    call.say("spawned");
    call.say(&count.to_string());
}

fn end_children(children: &mut Vec<i32>) {
    for child in children.drain(..) {
        kill(child, libc::SIGKILL);
        assert_eq!(unsafe { libc::waitpid(child, ptr::null_mut(), 0) }, child);
    }
}

/// Whether a process can write to a pipe above its standard streams.
fn holds_the_end_of_a_pipe(pid: i32) -> bool {
    let Ok(fds) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
    fds.flatten().any(|entry| {
        let is_above = entry.file_name().to_str().is_some_and(|fd| number(fd) > 2);
        is_above && fs::read_link(entry.path()).is_ok_and(|path| path.display().to_string().starts_with("pipe:"))
    })
}

fn a_child_that_another_thread_has_forked_does_not_keep_a_spawn_waiting() {
    let mut start = Start::of("spawn_among_forks", &[]);
    let mut line = start.call("spawned");
    assert!(number(&line.line().unwrap()) >= 20);
    assert_eq!(start.caller(), End::Exited(0));
    start.rest();
}

fn a_threaded_caller_can_spawn() {
    let mut start = Start::with(&["thread", "thread", "spawn PROGRAM"]);
    let answer = start.answer();
    let program = start.program();
    assert_eq!(answer.outcome, format!("daemon {}", program.state["pid"]));
    assert_eq!(answer.differences, [""; 0]);
    start.rest_after(answer, program);
    assert!(fails(&["thread", "spawn /nowhere"], "exec ENOENT"));
}

fn a_daemon_killed_at_exec_is_a_failure() {
    for child_signal in CHILD_SIGNALS {
        assert!(fails(&with(child_signal, &["no_cores", "deadly execve", "spawn /bin/true"]), "wait ESRCH"));
    }
    // The control: the same filter, where nothing is executed, harms nobody.
    state_of(&["no_cores", "deadly execve"]);
}

fn a_leader_killed_while_it_watches_is_a_failure() {
    // It looks with setpgid, when the program runs already: that is not left behind.
    let mut start = Start::with(&["no_cores", "deadly setpgid", "spawn /bin/sleep 1000"]);
    let answer = start.answer();
    assert_eq!(answer.outcome, "wait ESRCH");
    assert_eq!(answer.differences, [""; 0]);
    start.only_the_caller_lives();
    drop(answer);
    assert_eq!(start.caller(), End::Exited(0));
    assert_eq!(start.rest().iter().map(|orphan| orphan.1).collect::<Vec<_>>(), [End::Killed(libc::SIGKILL)]);
}

fn a_spawned_program_that_is_over_at_once_is_a_success() {
    for child_signal in CHILD_SIGNALS {
        let mut start = Start::of("spawn_often", &with(child_signal, &["/bin/true"]));
        assert_eq!(start.caller(), End::Exited(0), "{child_signal:?}: {:?}", start.warden.output());
        let ends = start.rest();
        assert_eq!(ends.len(), 200);
        assert!(ends.iter().all(|orphan| orphan.1 == End::Exited(0)));
    }
}

/// Spawns that program many times.
fn spawn_often(arguments: &[String]) {
    forget_the_tests_parents();
    let (program, words) = arguments[1..].split_last().unwrap();
    for word in words {
        prepare(word);
    }
    for round in 0..200 {
        let result = spawn(&Daemon::new(), &[CString::new(program.as_str()).unwrap()]);
        assert!(result.is_ok_and(|daemon| daemon > 1), "{round}: {result:?}");
        let child = unsafe { libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG) };
        assert_eq!(child, -1, "{round}: no child, and no zombie");
    }
}

impl Start {
    /// Hangs up on both, and waits until nothing is left.
    fn rest_after(&mut self, answer: Answer, program: Spawned) {
        drop((answer, program));
        assert_eq!(self.caller(), End::Exited(0));
        assert!(self.rest().iter().all(|orphan| orphan.1 == End::Exited(0)));
    }
}

// 6. Errors.

fn every_step_has_a_number_and_a_name_of_its_own() {
    let expected = [
        (Step::Options, "options"),
        (Step::Threads, "threads"),
        (Step::Stdin, "stdin"),
        (Step::Stdout, "stdout"),
        (Step::Stderr, "stderr"),
        (Step::Pipe, "pipe"),
        (Step::Fork, "fork"),
        (Step::Setsid, "setsid"),
        (Step::ForkAgain, "fork again"),
        (Step::Signals, "signals"),
        (Step::Directory, "chdir"),
        (Step::Umask, "umask"),
        (Step::Close, "close"),
        (Step::Ready, "ready"),
        (Step::Wait, "wait"),
        (Step::Exec, "exec"),
        (Step::Fail, "fail"),
        (Step::Root, "chroot"),
        (Step::PidFile, "pid file"),
        (Step::Groups, "setgroups"),
        (Step::Gid, "setresgid"),
        (Step::Uid, "setresuid"),
        (Step::Privileges, "privileges"),
        (Step::Notify, "notify"),
        (Step::Log, "log"),
    ];
    for ((step, name), number) in expected.into_iter().zip(1..) {
        assert_eq!(step.number(), number, "permanent");
        assert_eq!(Step::from_number(number), Some(step));
        assert_eq!(step.name(), name);
        assert_eq!(step.to_string(), name);
    }
    for number in [0, 26, -1, i32::MAX, i32::MIN] {
        assert_eq!(Step::from_number(number), None);
    }
}

fn every_errno_has_the_name_that_others_know() {
    for number in 1..200 {
        let errno = Errno::new(number);
        let known = nix::errno::Errno::from_raw(number);
        let expected = (known != nix::errno::Errno::UnknownErrno).then(|| format!("{known:?}"));
        assert_eq!(errno.name(), expected.as_deref(), "{number}");
        assert_eq!(errno.to_string(), expected.unwrap_or(format!("errno {number}")));
        assert_eq!(errno.number(), number);
    }
    for number in [0, -1, 134, 4095, i32::MAX, i32::MIN + 1] {
        assert_eq!(Errno::new(number).name(), None);
        assert_eq!(Errno::new(number).to_string(), format!("errno {number}"));
    }
    assert_eq!(Errno::new(i32::MIN), Errno::new(0), "it has no negative");
    assert_eq!(format!("{:?}", Errno::new(2)), "ENOENT");
}

fn an_errors_text_is_one_line() {
    for (words, text) in [
        (&["umask 1000"][..], "options: invalid options: EINVAL"),
        (&["thread"], "threads: more than one thread is running: EBUSY"),
        (&["stdin file /nowhere"], "stdin: cannot open standard input or put it in place: ENOENT"),
        (&["directory /nowhere"], "chdir: cannot change the working directory: ENOENT"),
        (&["first exit 0", "return"], "wait: the daemon died before it was ready: ESRCH"),
        (&["first fail 107", "return"], "fail: the daemon gave up: exit status 107"),
        (&["spawn /nowhere"], "exec: cannot execute the program: ENOENT"),
    ] {
        let mut start = Start::with(words);
        assert_eq!(start.answer().text, text);
    }
    // SAFETY: it is refused before anything happens.
    let error = unsafe { Daemon::new().umask(0o1000).detach() }.unwrap_err();
    assert_eq!(
        (error.step(), error.errno(), error.what()),
        (Step::Options, Errno::new(libc::EINVAL), "invalid options")
    );
    let text: &dyn Display = &error;
    assert_eq!(text.to_string(), "options: invalid options: EINVAL");
    let _: &dyn std::error::Error = &error;
}
