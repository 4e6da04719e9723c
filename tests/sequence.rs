//! The sequence, seen from outside: what the daemon is, what the caller learns, what is left.
//!
//! Nearly every test is one [`Start`]: the helper `caller` does what its words say (it prepares itself, sets options,
//! detaches or spawns) and calls with what came of it and whether it is as it was. Its daemon calls too, tells its
//! state, and obeys orders.

#![allow(
    clippy::multiple_unsafe_ops_per_block,
    clippy::undocumented_unsafe_blocks,
    reason = "tests: bare system calls"
)]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests have std")]

mod harness;

use harness::{
    Call, End, Event, Meeting, PATIENCE, Scratch, State, Visitor, Warden, differences, helper, is_root, state,
};
use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_int};
use std::fmt::Display;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, process, ptr, thread};
use untty::{Daemon, Errno, Error, Handle, Process, Stdio, Step};

/// Functions with their names.
macro_rules! named {
    ($($function:ident,)*) => { &[$((stringify!($function), $function)),*] };
}

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
            a_deadline_that_is_kept_is_not_noticed,
            a_dead_daemon_whose_child_lives_is_a_failure,
            a_failure_leaves_a_caller_that_is_a_subreaper_no_zombie,
            a_caller_that_is_a_subreaper_is_the_daemons_parent,
            any_of_the_standard_streams_may_be_closed,
            a_caller_killed_while_it_waits_is_told_to_the_daemon,
            a_daemon_that_gives_up_when_the_caller_is_gone_just_ends,
            a_waiting_caller_dies_of_a_signal_as_ever_and_its_daemon_lives_on,
            a_waiting_callers_handlers_run_and_it_waits_on,
            a_caller_may_lead_a_group_or_a_session,
            a_caller_may_be_the_first_process_of_all,
            a_thousand_starts_tell_the_truth,
            a_spawned_program_has_the_whole_default_state,
            a_spawned_programs_signals_are_at_their_defaults_or_the_callers,
            a_spawned_program_has_the_streams_and_descriptors_asked_for,
            a_program_that_cannot_be_executed_is_a_failure,
            a_threaded_caller_can_spawn,
            a_daemon_killed_at_exec_is_a_failure,
            a_leader_killed_while_it_watches_is_a_failure,
            a_spawned_program_that_is_over_at_once_is_a_success,
            every_step_has_a_number_and_a_name_of_its_own,
            every_errno_has_the_name_that_others_know,
            an_errors_text_is_one_line,
        ],
        named![caller, caller_as_pid_1, program, often, spawn_often,],
    );
}

// The helper.

/// What a caller has been told to do, in its words.
struct Plan {
    meeting: String,
    daemon: Daemon<'static>,
    spawn: Option<Vec<CString>>,
    /// What the daemon does before it calls.
    first: Vec<String>,
    /// What the daemon does when it has told its state.
    then: Vec<String>,
    /// A limit of open descriptors during the call.
    descriptors: Option<u64>,
    /// What this machine does not let it do.
    forbidden: Option<String>,
}

/// Does what its words say. See [`Plan::take`].
fn caller(arguments: &[String]) {
    let mut plan = Plan {
        meeting: arguments[0].clone(),
        daemon: Daemon::new(),
        spawn: None,
        first: Vec::new(),
        then: Vec::new(),
        descriptors: None,
        forbidden: None,
    };
    forget_the_tests_parents();
    for word in &arguments[1..] {
        plan.take(word);
    }
    plan.perform();
}

/// Descriptors, ignored signals (a shell's background jobs ignore SIGINT) and a mask may come from far above the test.
fn forget_the_tests_parents() {
    for fd in harness::open_fds().into_iter().filter(|fd| *fd > 2) {
        unsafe { libc::close(fd) };
    }
    set_signals("all", libc::SIG_DFL, 0);
    change_mask(libc::SIG_SETMASK, 0);
}

/// Goes into a new pid namespace and starts `caller` there as its first process.
fn caller_as_pid_1(arguments: &[String]) {
    forget_the_tests_parents();
    if let Err(why) = unshare(libc::CLONE_NEWPID | libc::CLONE_NEWNS) {
        let mut call = Call::to(&arguments[0]);
        call.say("caller");
        call.say(&format!("outcome skipped: {why}"));
        call.say("end");
        return call.wait_for_the_end();
    }
    let mut caller = helper("caller").args(arguments).spawn().unwrap();
    process::exit(caller.wait().unwrap().code().unwrap_or(255));
}

impl Plan {
    fn take(&mut self, word: &str) {
        let (verb, rest) = word.split_once(' ').unwrap_or((word, ""));
        let daemon = self.daemon;
        match verb {
            // The options.
            "directory" => self.daemon = daemon.directory(c(rest)),
            "keep_directory" => self.daemon = daemon.keep_directory(),
            "umask" => self.daemon = daemon.umask(octal(rest)),
            "keep_umask" => self.daemon = daemon.keep_umask(),
            "stdin" => self.daemon = daemon.stdin(stdio(rest)),
            "stdout" => self.daemon = daemon.stdout(stdio(rest)),
            "stderr" => self.daemon = daemon.stderr(stdio(rest)),
            "inherit" => {
                self.daemon = daemon.stdin(Stdio::Inherit).stdout(Stdio::Inherit).stderr(Stdio::Inherit);
            }
            "keep" => self.daemon = daemon.keep(rest.split(' ').map(number).collect::<Vec<_>>().leak()),
            "keep_descriptors" => self.daemon = daemon.keep_descriptors(),
            "keep_signals" => self.daemon = daemon.keep_signals(),
            "accept_threads" => self.daemon = daemon.accept_threads(),
            "return" => self.daemon = daemon.return_in_caller(),
            "deadline" => self.daemon = daemon.deadline(Duration::from_millis(rest.parse().unwrap())),
            "spawn" => self.spawn = Some(rest.split(' ').map(|word| CString::new(word).unwrap()).collect()),
            // The daemon's orders.
            "first" => self.first.push(rest.to_owned()),
            "then" => self.then.push(rest.to_owned()),
            // What the caller is.
            "mask" => drop(unsafe { libc::umask(octal(rest)) }),
            "cd" => std::env::set_current_dir(rest).unwrap(),
            "ignore" | "handle" | "reap" | "no_zombies" | "block" => prepare(word),
            "shut" => drop(unsafe { libc::close(number(rest)) }),
            "open" => open_at(rest),
            "cloexec" => drop(unsafe { libc::fcntl(number(rest), libc::F_SETFD, libc::FD_CLOEXEC) }),
            "descriptors" => self.descriptors = Some(rest.parse().unwrap()),
            "processes" => self.or_forbidden(limit_processes(rest.parse().unwrap())),
            "no_cores" => set_limit(libc::RLIMIT_CORE, 0),
            "forbid" => filter(rest, None),
            "deadly" => filter(rest, Some(seccompiler::SeccompAction::KillProcess)),
            "thread" => start_thread(),
            "session" => drop(nix::unistd::setsid().unwrap()),
            "group" => nix::unistd::setpgid(nix::unistd::Pid::this(), nix::unistd::Pid::from_raw(0)).unwrap(),
            "subreaper" => nix::sys::prctl::set_child_subreaper(true).unwrap(),
            "ordinary" => become_ordinary(),
            "at_exit" => drop(unsafe { libc::atexit(say_exit) }),
            "read_only" => self.or_forbidden(mount_read_only(rest)),
            "no_dev" => self.or_forbidden(hide_dev()),
            "null" => self.or_forbidden(replace_null(rest)),
            "proc" => self.or_forbidden(mount("proc", "/proc", Some("proc"), 0)),
            _ => panic!("what is {word:?}?"),
        }
    }

    fn or_forbidden(&mut self, result: Result<(), String>) {
        self.forbidden = self.forbidden.take().or(result.err());
    }

    /// Detaches or spawns, and in the caller tells what came of it.
    fn perform(self) {
        if let Some(why) = self.forbidden {
            return answer(&self.meeting, &[format!("outcome skipped: {why}")], &State::new());
        }
        let before = whole_state();
        let usual = get_limit(libc::RLIMIT_NOFILE);
        if let Some(limit) = self.descriptors {
            set_limit(libc::RLIMIT_NOFILE, limit);
        }
        let start = Instant::now();
        let result = match &self.spawn {
            Some(words) => spawn(&self.daemon, words).map(|daemon| Process::Caller { daemon }),
            // SAFETY: a helper uses no descriptor that gets closed, and its threads hold nothing.
            None => unsafe { self.daemon.detach() },
        };
        let milliseconds = start.elapsed().as_millis();
        if self.descriptors.is_some() {
            set_limit(libc::RLIMIT_NOFILE, usual);
        }
        let outcome = match result {
            Ok(Process::Daemon(handle)) => return serve(&self.meeting, handle, &self.first, &self.then),
            Ok(Process::Caller { daemon }) => vec![format!("outcome daemon {daemon}")],
            Err(error) => vec![format!("outcome {}", short(error)), format!("text {error}")],
        };
        let after = whole_state();
        let mut lines = outcome;
        lines.push(format!("milliseconds {milliseconds}"));
        let mut differences = differences(&before, &after);
        if set(&before["blocked"]).contains(&libc::SIGCHLD) && set(&after["pending"]) == [libc::SIGCHLD] {
            // The leader's death. Reaping it does not take the signal back, and nobody knows whose it was.
            differences.retain(|line| !line.starts_with("pending:"));
        }
        lines.extend(differences.iter().map(|line| format!("difference {line}")));
        answer(&self.meeting, &lines, &after);
    }
}

/// The words for what the caller does with signals.
fn prepare(word: &str) {
    let (verb, rest) = word.split_once(' ').unwrap_or((word, ""));
    match verb {
        "ignore" => set_signals(rest, libc::SIG_IGN, 0),
        "handle" => set_signals(rest, say_signal as *const () as usize, 0),
        "reap" => set_signals(&libc::SIGCHLD.to_string(), reap as *const () as usize, libc::SA_RESTART),
        "no_zombies" => set_signals(&libc::SIGCHLD.to_string(), libc::SIG_DFL, libc::SA_NOCLDWAIT),
        "block" => block_signals(rest),
        _ => panic!("what is {word:?}?"),
    }
}

/// An error in two words: its step, and the errno's name or the status.
fn short(error: Error) -> String {
    match error.step() {
        Step::Fail => format!("fail {}", error.errno().number()),
        step => format!("{} {}", step.name().replace(' ', "_"), error.errno()),
    }
}

fn spawn(daemon: &Daemon<'_>, words: &[CString]) -> Result<i32, Error> {
    let mut argv: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
    argv.push(ptr::null());
    let envp = [c"WITNESS=yes".as_ptr(), ptr::null()];
    // SAFETY: both arrays end with NULL and hold strings that live as long.
    unsafe { daemon.spawn(&words[0], argv.as_ptr(), envp.as_ptr()) }
}

/// The caller calls.
fn answer(meeting: &str, lines: &[String], state: &State) {
    let mut call = Call::to(meeting);
    call.say("caller");
    lines.iter().for_each(|line| call.say(line));
    call.tell_state(state);
    call.wait_for_the_end();
}

/// The daemon calls, and obeys until the test hangs up.
fn serve(meeting: &str, handle: Handle, first: &[String], then: &[String]) {
    let state = state();
    let report = handle.descriptors()[0];
    let mut handle = Some(handle);
    for order in first {
        obey(order, &mut handle);
    }
    let mut call = Call::to(meeting);
    call.say("daemon");
    call.tell_state(&state);
    call.say(&format!("report {report}"));
    for order in then {
        call.say(&obey(order, &mut handle));
    }
    while let Some(order) = call.line() {
        match order.as_str() {
            "state" => call.tell_state(&harness::state()),
            order => call.say(&obey(order, &mut handle)),
        }
    }
}

/// Obeys one order; returns what came of it.
fn obey(order: &str, handle: &mut Option<Handle>) -> String {
    let (verb, rest) = order.split_once(' ').unwrap_or((order, ""));
    match verb {
        "ready" => match handle.as_mut().unwrap().ready() {
            Ok(()) => "ready".to_owned(),
            Err(error) => short(error),
        },
        "fail" => handle.take().unwrap().fail(number(rest)),
        "exit" => unsafe { libc::_exit(number(rest)) },
        "die" => unsafe {
            libc::kill(libc::getpid(), number(rest));
            "alive".to_owned()
        },
        "fork" => match unsafe { libc::fork() } {
            0 => loop {
                unsafe { libc::pause() };
            },
            child => format!("forked {child}"),
        },
        "group" => format!("group {}", unsafe { libc::setpgid(0, 0) }),
        "session" => format!("session {}", unsafe { libc::setsid() } > 0),
        "write" => {
            let (fd, text) = rest.split_once(' ').unwrap();
            format!("wrote {}", unsafe { libc::write(number(fd), text.as_ptr().cast(), text.len()) })
        }
        "read" => {
            let mut buffer = [0_u8; 100];
            let count = unsafe { libc::read(0, buffer.as_mut_ptr().cast(), buffer.len()) };
            format!("read {:?}", String::from_utf8_lossy(&buffer[..usize::try_from(count).unwrap()]))
        }
        _ => panic!("what is {order:?}?"),
    }
}

/// What a spawned program does: it calls and tells its state.
fn program(arguments: &[String]) {
    let state = state();
    let mut call = Call::to(&arguments[0]);
    call.say("program");
    call.tell_state(&state);
    call.say(&std::env::var("WITNESS").unwrap_or_default());
    call.say(&arguments[1..].join(" "));
    call.wait_for_the_end();
}

/// The state, and also every signal's disposition as the kernel keeps it, and whether there are children.
fn whole_state() -> State {
    let mut state = state();
    for signal in 1..=64 {
        let mut disposition = [0_usize; 8];
        let none = ptr::null::<usize>();
        let result =
            unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, none, disposition.as_mut_ptr(), size_of::<u64>()) };
        state.insert(format!("signal {signal:02}"), format!("{result} {disposition:x?}"));
    }
    let mut information = std::mem::MaybeUninit::<libc::siginfo_t>::uninit();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    let children = unsafe { libc::waitid(libc::P_ALL, 0, information.as_mut_ptr(), options) };
    state.insert("children".to_owned(), if children == 0 { "some" } else { "none" }.to_owned());
    state
}

fn c(text: &str) -> &'static CStr {
    Box::leak(CString::new(text).unwrap().into_boxed_c_str())
}

fn octal(text: &str) -> u32 {
    u32::from_str_radix(text, 8).unwrap()
}

fn number(text: &str) -> i32 {
    text.parse().unwrap()
}

fn stdio(text: &str) -> Stdio<'static> {
    match text.split_once(' ').unwrap_or((text, "")) {
        ("null", _) => Stdio::Null,
        ("inherit", _) => Stdio::Inherit,
        ("fd", fd) => Stdio::Fd(number(fd)),
        ("file", path) => Stdio::File(c(path)),
        ("console", _) => Stdio::Console,
        ("stdout", _) => Stdio::Stdout,
        _ => panic!("what is {text:?}?"),
    }
}

/// Signals from a list of numbers, or `all` that can be changed.
fn signals(list: &str) -> Vec<c_int> {
    match list {
        "all" => (1..=64).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)).collect(),
        list => list.split(' ').map(number).collect(),
    }
}

fn set_signals(list: &str, handler: usize, flags: c_int) {
    for signal in signals(list) {
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        (action.sa_sigaction, action.sa_flags) = (handler, flags);
        let set = unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
        // The C library does not give away its own signals; the kernel does.
        if set != 0 {
            let action = [handler, 0, 0, 0, 0, 0, 0, 0];
            let none = ptr::null::<usize>();
            let set = unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), none, size_of::<u64>()) };
            assert_eq!(set, 0);
        }
    }
}

fn block_signals(list: &str) {
    change_mask(libc::SIG_BLOCK, signals(list).into_iter().fold(0, |set, signal| set | 1 << (signal - 1)));
}

fn change_mask(how: c_int, set: u64) {
    let none = ptr::null::<u64>();
    assert_eq!(unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const set, none, size_of::<u64>()) }, 0);
}

/// A handler that says, on standard error, that it ran.
extern "C" fn say_signal(_: c_int) {
    let text = "handled\n";
    unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
}

/// A handler that takes every child away, as many programs have one.
extern "C" fn reap(_: c_int) {
    while unsafe { libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG) } > 0 {}
}

extern "C" fn say_exit() {
    let text = "at exit\n";
    unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
}

/// `FD PATH`: opens the file at that number.
fn open_at(rest: &str) {
    let (fd, path) = rest.split_once(' ').unwrap();
    let file = fs::File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap();
    assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), number(fd)) }, number(fd));
    if file.as_raw_fd() == number(fd) {
        unsafe { libc::fcntl(number(fd), libc::F_SETFD, 0) };
        std::mem::forget(file);
    }
}

fn get_limit(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    assert_eq!(unsafe { libc::getrlimit(resource, &raw mut limit) }, 0);
    limit.rlim_cur
}

fn set_limit(resource: libc::__rlimit_resource_t, value: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    assert_eq!(unsafe { libc::getrlimit(resource, &raw mut limit) }, 0);
    limit.rlim_cur = value;
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
}

/// `SYSCALL ERRNO [CONDITION]…` or, for what kills, `SYSCALL [CONDITION]…`. A condition is `ARGUMENT=VALUE` or `!=`.
fn filter(rest: &str, deadly: Option<seccompiler::SeccompAction>) {
    use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule};
    let mut words = rest.split(' ');
    let calls: &[libc::c_long] = match words.next().unwrap() {
        #[cfg(target_arch = "x86_64")]
        "fork" => &[libc::SYS_clone, libc::SYS_clone3, libc::SYS_fork, libc::SYS_vfork],
        #[cfg(not(target_arch = "x86_64"))]
        "fork" => &[libc::SYS_clone, libc::SYS_clone3],
        "unshare" => &[libc::SYS_unshare],
        "pipe" => &[libc::SYS_pipe2],
        "mask" => &[libc::SYS_rt_sigprocmask],
        "setsid" => &[libc::SYS_setsid],
        "setpgid" => &[libc::SYS_setpgid],
        "sigaction" => &[libc::SYS_rt_sigaction],
        "chdir" => &[libc::SYS_chdir],
        "umask" => &[libc::SYS_umask],
        "dup3" => &[libc::SYS_dup3],
        "close_range" => &[libc::SYS_close_range],
        "execve" => &[libc::SYS_execve],
        other => panic!("what is {other:?}?"),
    };
    let action = deadly.unwrap_or_else(|| SeccompAction::Errno(words.next().unwrap().parse().unwrap()));
    let conditions = words.map(|condition| {
        let (argument, value) = condition.split_once('=').unwrap();
        let (argument, compare) = match argument.strip_suffix('!') {
            Some(argument) => (argument, SeccompCmpOp::Ne),
            None => (argument, SeccompCmpOp::Eq),
        };
        let (argument, value) = (argument.parse().unwrap(), value.parse().unwrap());
        SeccompCondition::new(argument, SeccompCmpArgLen::Qword, compare, value).unwrap()
    });
    let conditions: Vec<_> = conditions.collect();
    let rule = || if conditions.is_empty() { vec![] } else { vec![SeccompRule::new(conditions.clone()).unwrap()] };
    let rules = calls.iter().map(|call| (*call, rule())).collect();
    let machine = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, machine).unwrap();
    let program: seccompiler::BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).unwrap();
}

/// Starts a thread, and waits until it is there and holds nothing.
fn start_thread() {
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        sender.send(()).unwrap();
        loop {
            thread::park();
        }
    });
    receiver.recv().unwrap();
}

/// Gives up root's powers, if it has them, for those of a user that nobody else is.
fn become_ordinary() {
    if is_root() {
        let user = 100_000 + process::id();
        nix::unistd::setgroups(&[]).unwrap();
        nix::unistd::setresgid(user.into(), user.into(), user.into()).unwrap();
        nix::unistd::setresuid(user.into(), user.into(), user.into()).unwrap();
    }
}

/// Lets its user have that many processes, of which it is one: as a user of its own, or as one in a namespace.
fn limit_processes(count: u64) -> Result<(), String> {
    if is_root() {
        become_ordinary();
    } else {
        unshare(0)?;
    }
    set_limit(libc::RLIMIT_NPROC, count);
    Ok(())
}

/// Goes into new namespaces; without root's powers also into one of users, where it has them.
fn unshare(namespaces: c_int) -> Result<(), String> {
    let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let users = if user.is_root() { 0 } else { libc::CLONE_NEWUSER };
    if unsafe { libc::unshare(namespaces | users) } != 0 {
        return Err(format!("unshare: {}", std::io::Error::last_os_error()));
    }
    if users != 0 {
        let write =
            |name, text: String| fs::write(format!("/proc/self/{name}"), text).map_err(|error| error.to_string());
        write("setgroups", "deny".to_owned())?;
        write("gid_map", format!("0 {group} 1"))?;
        write("uid_map", format!("0 {user} 1"))?;
    }
    if namespaces & libc::CLONE_NEWNS != 0 {
        mount("none", "/", None, libc::MS_REC | libc::MS_PRIVATE)?;
    }
    Ok(())
}

fn mount(source: &str, target: &str, kind: Option<&str>, flags: libc::c_ulong) -> Result<(), String> {
    let flags = nix::mount::MsFlags::from_bits_retain(flags);
    nix::mount::mount(Some(source), target, kind, flags, None::<&str>)
        .map_err(|error| format!("mount {target}: {error}"))
}

fn mount_read_only(path: &str) -> Result<(), String> {
    unshare(libc::CLONE_NEWNS)?;
    mount(path, path, None, libc::MS_BIND)?;
    mount(path, path, None, libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY)
}

fn hide_dev() -> Result<(), String> {
    unshare(libc::CLONE_NEWNS)?;
    mount("none", "/dev", Some("tmpfs"), 0)
}

fn replace_null(with: &str) -> Result<(), String> {
    unshare(libc::CLONE_NEWNS)?;
    mount(with, "/dev/null", None, libc::MS_BIND)
}

// The test's side.

/// One start of a daemon, under a warden.
struct Start {
    warden: Warden,
    meeting: Meeting,
    _scratch: Scratch,
    /// Who has called, and was not wanted yet.
    waiting: Vec<(String, Visitor)>,
    caller: Option<End>,
    orphans: Vec<(i32, End)>,
}

/// What the caller says when it is back.
struct Answer {
    /// `daemon PID`, or the error's step and errno.
    outcome: String,
    /// The error's text.
    text: String,
    milliseconds: u128,
    /// What is not as it was before the call.
    differences: Vec<String>,
    state: State,
    /// It goes when this is dropped.
    _line: Visitor,
}

/// A daemon on the line.
struct Running {
    /// Its state when its code first ran.
    state: State,
    pid: i32,
    /// Its end of the report pipe.
    report: String,
    line: Visitor,
}

/// A spawned program on the line.
struct Spawned {
    state: State,
    environment: String,
    arguments: String,
    _line: Visitor,
}

/// A directory of its own, into which anybody can look.
fn scratch() -> Scratch {
    let scratch = Scratch::new();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    scratch
}

impl Start {
    fn with(words: &[&str]) -> Self {
        Self::of("caller", words)
    }

    fn of(name: &str, words: &[&str]) -> Self {
        let scratch = scratch();
        let meeting = Meeting::new(&scratch);
        fs::set_permissions(meeting.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let binary = std::env::current_exe().unwrap().display().to_string();
        let words = words.iter().map(|word| {
            // A program to spawn that calls.
            word.replace("PROGRAM", &format!("{binary} helper program {}", meeting.path()))
        });
        let warden = Warden::start(helper(name).arg(meeting.path()).args(words));
        Self { warden, meeting, _scratch: scratch, waiting: Vec::new(), caller: None, orphans: Vec::new() }
    }

    /// The call of the one with that role.
    fn call(&mut self, role: &str) -> Visitor {
        loop {
            if let Some(visitor) = self.called(role) {
                return visitor;
            }
            let Some(mut visitor) = self.meeting.try_daemon(PATIENCE) else {
                panic!("no {role} called; {:?} are alive; said: {:?}", self.warden.living(), self.warden.output())
            };
            let role = visitor.line().unwrap_or_default();
            self.waiting.push((role, visitor));
        }
    }

    /// The call of the one with that role, if it was before another's.
    fn called(&mut self, role: &str) -> Option<Visitor> {
        let index = self.waiting.iter().position(|visitor| visitor.0 == role)?;
        Some(self.waiting.remove(index).1)
    }

    fn daemon(&mut self) -> Running {
        let mut line = self.call("daemon");
        let state = line.state();
        let report = line.line().unwrap().strip_prefix("report ").unwrap().to_owned();
        Running { pid: state["pid"].parse().unwrap(), state, report, line }
    }

    fn program(&mut self) -> Spawned {
        let mut line = self.call("program");
        let state = line.state();
        let mut next = || line.line().expect("the program says it all");
        Spawned { state, environment: next(), arguments: next(), _line: line }
    }

    fn answer(&mut self) -> Answer {
        let mut line = self.call("caller");
        let (mut outcome, mut text, mut milliseconds) = (String::new(), String::new(), 0);
        let (mut differences, mut state) = (Vec::new(), State::new());
        loop {
            let said = line.line().expect("the caller's answer is whole");
            if let Some((key, value)) = said.split_once('\t') {
                state.insert(key.to_owned(), value.to_owned());
                continue;
            }
            match said.split_once(' ') {
                Some(("outcome", rest)) => rest.clone_into(&mut outcome),
                Some(("text", rest)) => rest.clone_into(&mut text),
                Some(("milliseconds", rest)) => milliseconds = rest.parse().unwrap(),
                Some(("difference", rest)) => differences.push(rest.to_owned()),
                _ => break,
            }
        }
        Answer { outcome, text, milliseconds, differences, state, _line: line }
    }

    /// Waits until the caller has ended.
    fn caller(&mut self) -> End {
        while self.caller.is_none() {
            self.next();
        }
        self.caller.unwrap()
    }

    /// Waits until the process of that pid, left behind, has ended.
    fn orphan(&mut self, pid: i32) -> End {
        loop {
            if let Some(orphan) = self.orphans.iter().find(|orphan| orphan.0 == pid) {
                return orphan.1;
            }
            assert!(self.next(), "{pid} was never seen");
        }
    }

    /// Waits until no process is left, and says how those ended that had been left behind.
    fn rest(&mut self) -> Vec<(i32, End)> {
        while self.next() {}
        self.orphans.clone()
    }

    /// Waits for the next thing that happens, and notes it; false when there is nothing left that could.
    fn next(&mut self) -> bool {
        match self.warden.next() {
            Event::Caller(end) => self.caller = Some(end),
            Event::Orphan(pid, end) => self.orphans.push((pid, end)),
            Event::None => return false,
        }
        true
    }

    /// The pid of the caller that waits for this daemon.
    fn caller_of(&self, daemon: &Running) -> i32 {
        let others: Vec<i32> = self.warden.living().into_iter().filter(|pid| *pid != daemon.pid).collect();
        assert_eq!(others.len(), 1, "the caller, and no leader");
        others[0]
    }

    /// Asserts that nothing of a failed start is left. The dying are waited for: they can do nothing any more.
    fn only_the_caller_lives(&self) {
        until("the caller alone", || self.warden.living().len() == 1);
    }
}

impl Running {
    fn order(&mut self, order: &str) -> String {
        self.line.say(order);
        self.line.line().unwrap_or_else(|| "gone".to_owned())
    }

    fn ready(&mut self) {
        assert_eq!(self.order("ready"), "ready");
    }

    fn state_now(&mut self) -> State {
        self.line.say("state");
        self.line.state()
    }
}

impl Answer {
    /// Whether this machine does not let the test do what it needs; says so.
    fn skipped(&self) -> bool {
        let why = self.outcome.strip_prefix("skipped: ");
        if let Some(why) = why {
            skipped(why);
        }
        why.is_some()
    }
}

fn skipped(why: &str) {
    eprintln!("SKIPPED, because this machine does not permit it: {why}");
}

/// Waits until something is true that nothing tells of.
fn until(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "never: {what}");
        thread::yield_now();
    }
}

/// Waits until a process waits: the caller, for its daemon.
fn until_it_waits(pid: i32) {
    until("it waits", || harness::stat_fields(pid).is_some_and(|fields| fields[0] == "S"));
}

fn kill(pid: i32, signal: c_int) {
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

/// Descriptor, target, descriptor flags and status flags (those that matter) of all that is open, sockets of the calls
/// left out.
fn open_files(state: &State) -> Vec<(i32, String, i32, i32)> {
    const STATUS: i32 = libc::O_ACCMODE | libc::O_APPEND | libc::O_NONBLOCK;
    let files = state.iter().filter_map(|(key, value)| {
        let fd = number(key.strip_prefix("fd ")?);
        let mut words = value.rsplitn(3, ' ');
        let (status, flags, target) = (words.next()?, words.next()?, words.next()?);
        Some((fd, target.to_owned(), number(flags), i32::from_str_radix(status, 8).unwrap() & STATUS))
    });
    files.filter(|file| !file.1.starts_with("socket:")).collect()
}

fn targets(state: &State) -> Vec<(i32, String)> {
    open_files(state).into_iter().map(|(fd, target, ..)| (fd, target)).collect()
}

/// The targets of standard input, output and error.
fn streams(state: &State) -> Vec<String> {
    targets(state).into_iter().filter(|file| file.0 <= 2).map(|file| file.1).collect()
}

/// The signals in a mask as `/proc` shows it.
fn set(mask: &str) -> Vec<i32> {
    let mask = u64::from_str_radix(mask, 16).unwrap();
    (1..=64).filter(|signal| mask & 1 << (signal - 1) != 0).collect()
}

/// Starts a daemon that gets ready as it should, and ends it: the state in which its code began.
fn state_of(words: &[&str]) -> State {
    let mut start = Start::with(words);
    let mut daemon = start.daemon();
    daemon.ready();
    assert_eq!(start.caller(), End::Exited(0));
    let (pid, state) = (daemon.pid, daemon.state.clone());
    drop(daemon);
    assert_eq!(start.rest(), [(pid, End::Exited(0))]);
    state
}

/// A start that must fail with that step and errno, leave the caller as it was, and nothing behind. False where this
/// machine does not let it happen.
fn fails(words: &[&str], expected: &str) -> bool {
    let mut start = Start::with(words);
    let answer = start.answer();
    if answer.skipped() {
        return false;
    }
    assert_eq!(answer.outcome, expected, "{words:?}");
    assert_eq!(answer.differences, [""; 0], "{words:?}");
    start.only_the_caller_lives();
    drop(answer);
    assert_eq!(start.caller(), End::Exited(0));
    start.rest();
    true
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
    ];
    for ((step, name), number) in expected.into_iter().zip(1..) {
        assert_eq!(step.number(), number, "permanent");
        assert_eq!(Step::from_number(number), Some(step));
        assert_eq!(step.name(), name);
        assert_eq!(step.to_string(), name);
    }
    for number in [0, 18, -1, i32::MAX, i32::MIN] {
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
    for number in [0, -1, 134, 4095, i32::MAX, i32::MIN] {
        assert_eq!(Errno::new(number).name(), None);
        assert_eq!(Errno::new(number).to_string(), format!("errno {number}"));
    }
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
