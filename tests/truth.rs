//! The caller learns the truth: what fails is told with step and errno, nothing is left, and the caller is as it was.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::multiple_unsafe_ops_per_block, clippy::undocumented_unsafe_blocks, reason = "helpers of one thread")]
#![allow(clippy::std_instead_of_core, reason = "tests have std")]

mod harness;

use harness::{Call, End, Event, Meeting, PATIENCE, Scratch, State, Warden, differences, helper, state};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::Pid;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::ptr;
use std::thread;
use std::time::Duration;
use untty::{Daemon, Process, Stdio};

fn main() {
    harness::main(
        &[
            ("bad_umask_is_refused", bad_umask_is_refused),
            ("second_thread_is_refused", second_thread_is_refused),
            (
                "second_thread_is_noticed_where_unshare_is_forbidden",
                second_thread_is_noticed_where_unshare_is_forbidden,
            ),
            ("second_thread_can_be_accepted", second_thread_can_be_accepted),
            ("wrong_stream_is_told_by_name", wrong_stream_is_told_by_name),
            ("no_free_descriptor_is_told", no_free_descriptor_is_told),
            ("failing_calls_are_told_by_step", failing_calls_are_told_by_step),
            ("second_fork_that_fails_is_told", second_fork_that_fails_is_told),
            ("missing_directory_is_told", missing_directory_is_told),
            ("missing_null_device_is_told", missing_null_device_is_told),
            ("false_null_device_is_told", false_null_device_is_told),
            ("death_without_a_report_is_told", death_without_a_report_is_told),
            ("failing_daemon_chooses_the_exit_status", failing_daemon_chooses_the_exit_status),
            ("deadline_ends_the_whole_start", deadline_ends_the_whole_start),
            ("caller_waits_until_the_daemon_is_ready", caller_waits_until_the_daemon_is_ready),
            ("sigchld_changes_nothing", sigchld_changes_nothing),
            ("closed_standard_streams_change_nothing", closed_standard_streams_change_nothing),
            ("killed_caller_is_noticed_by_ready", killed_caller_is_noticed_by_ready),
            ("interrupted_caller_leaves_the_daemon", interrupted_caller_leaves_the_daemon),
            ("spawn_tells_why_a_program_is_not_executed", spawn_tells_why_a_program_is_not_executed),
            ("daemon_killed_at_its_exec_is_a_failure", daemon_killed_at_its_exec_is_a_failure),
            ("shortest_program_is_a_success", shortest_program_is_a_success),
            ("threaded_caller_may_spawn", threaded_caller_may_spawn),
        ],
        &[("start", start), ("program", program)],
    );
}

// The caller, in a helper. Its arguments say what to be, what to ask for, and what the daemon does.

const FAILED: i32 = 9;

fn text(word: &str) -> &'static CStr {
    Box::leak(CString::new(word).unwrap().into_boxed_c_str())
}

fn stream(word: &str) -> Stdio<'static> {
    match word.split_once('=') {
        Some(("file", path)) => Stdio::File(text(path)),
        Some(("fd", number)) => Stdio::Fd(number.parse().unwrap()),
        _ => match word {
            "inherit" => Stdio::Inherit,
            "stdout" => Stdio::Stdout,
            "console" => Stdio::Console,
            _ => Stdio::Null,
        },
    }
}

fn start(words: &[String]) {
    let mut daemon = Daemon::new();
    let mut behaviour = "ready".to_owned();
    let mut meeting = String::new();
    let mut spawn = None;
    let mut filter: BTreeMap<i64, Vec<seccompiler::SeccompRule>> = BTreeMap::new();
    let mut action = SeccompAction::Allow;
    let mut threads = false;
    let mut free = None;
    for word in words {
        let (name, value) = word.split_once(':').unwrap_or((word, ""));
        match name {
            "call" => meeting = value.to_owned(),
            "do" => behaviour = value.to_owned(),
            "return" => daemon = daemon.return_in_caller(),
            "deadline" => daemon = daemon.deadline(Duration::from_millis(value.parse().unwrap())),
            "umask" => daemon = daemon.umask(u32::from_str_radix(value, 8).unwrap()),
            "directory" => daemon = daemon.directory(text(value)),
            "stdin" => daemon = daemon.stdin(stream(value)),
            "stdout" => daemon = daemon.stdout(stream(value)),
            "stderr" => daemon = daemon.stderr(stream(value)),
            "accept-threads" => daemon = daemon.accept_threads(),
            "spawn" => spawn = Some(value.to_owned()),
            "threads" => threads = true,
            "ignore-sigchld" => child_signal(SigHandler::SigIgn, SaFlags::empty()),
            "no-zombies" => child_signal(SigHandler::SigDfl, SaFlags::SA_NOCLDWAIT),
            "reap-all" => child_signal(SigHandler::Handler(reap_all), SaFlags::empty()),
            "free" => free = Some(value.parse::<u64>().unwrap()),
            "close" => value.bytes().for_each(|fd| assert!(unsafe { libc::close(i32::from(fd - b'0')) } <= 0)),
            "without-null" => without_null(value),
            "filter" => {
                let (call, errno) = value.split_once('=').unwrap();
                action = match errno {
                    "kill" => SeccompAction::KillProcess,
                    errno => SeccompAction::Errno(errno.parse().unwrap()),
                };
                for number in calls(call) {
                    filter.insert(number, Vec::new());
                }
            }
            other => panic!("what is {other}?"),
        }
    }
    if threads {
        let (sender, receiver) = std::sync::mpsc::channel();
        thread::spawn(move || {
            sender.send(()).unwrap();
            loop {
                thread::park();
            }
        });
        receiver.recv().unwrap();
    }
    if !filter.is_empty() {
        let filter =
            SeccompFilter::new(filter, SeccompAction::Allow, action, std::env::consts::ARCH.try_into().unwrap());
        apply_filter(&BpfProgram::try_from(filter.unwrap()).unwrap()).unwrap();
    }
    if free.is_some() {
        fill_descriptors();
    }
    let before = state();
    if let Some(free) = free {
        descriptor_limit(MOST + free);
    }
    if let Some(path) = spawn {
        let program = text(&path);
        let argv = [program.as_ptr(), c"helper".as_ptr(), c"program".as_ptr(), text(&meeting).as_ptr(), ptr::null()];
        let envp = [ptr::null()];
        // SAFETY: both arrays end with NULL.
        match unsafe { daemon.spawn(program, argv.as_ptr(), envp.as_ptr()) } {
            Ok(pid) => {
                say(&before, &format!("daemon {pid}"));
                std::process::exit(0);
            }
            Err(error) => refuse(&before, error),
        }
    }
    // SAFETY: a helper uses no descriptor that gets closed; where it has threads, that is the test.
    match unsafe { daemon.detach() } {
        Ok(Process::Daemon(handle)) => live(handle, &behaviour, &meeting),
        Ok(Process::Caller { daemon }) => {
            say(&before, &format!("daemon {daemon}"));
            std::process::exit(0);
        }
        Err(error) => refuse(&before, error),
    }
}

/// What the caller says at its end: the outcome, and whether it has changed.
fn say(before: &State, outcome: &str) {
    descriptor_limit(u64::MAX);
    let changes = differences(before, &state());
    eprintln!("{outcome}");
    eprintln!("{}", if changes.is_empty() { "unchanged".to_owned() } else { changes.join("; ") });
}

fn refuse(before: &State, error: untty::Error) -> ! {
    say(before, &format!("{} {}", error.step(), error.errno()));
    std::process::exit(FAILED)
}

const MOST: u64 = 32;

/// Takes every number below [`MOST`], so that a limit of that and N leaves N free.
fn fill_descriptors() {
    while unsafe { libc::dup(0) } < libc::c_int::try_from(MOST).unwrap() - 1 {}
}

/// Sets the soft limit, at most to the hard one.
fn descriptor_limit(soft: u64) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard).unwrap();
}

fn child_signal(handler: SigHandler, flags: SaFlags) {
    unsafe { sigaction(Signal::SIGCHLD, &SigAction::new(handler, flags, SigSet::empty())) }.unwrap();
}

extern "C" fn reap_all(_: i32) {
    // SAFETY: async-signal-safe; NULL means that nobody wants the status.
    while unsafe { libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG) } > 0 {}
}

/// The numbers that a call may have, by whatever backend.
fn calls(name: &str) -> Vec<i64> {
    match name {
        "fork" => [
            libc::SYS_clone,
            libc::SYS_clone3,
            #[cfg(target_arch = "x86_64")]
            libc::SYS_fork,
        ]
        .to_vec(),
        "setsid" => vec![libc::SYS_setsid],
        "umask" => vec![libc::SYS_umask],
        "dup3" => vec![libc::SYS_dup3],
        "pipe2" => vec![libc::SYS_pipe2],
        "chdir" => vec![libc::SYS_chdir],
        "unshare" => vec![libc::SYS_unshare],
        "rt_sigaction" => vec![libc::SYS_rt_sigaction],
        "execve" => vec![libc::SYS_execve],
        other => panic!("what is {other}?"),
    }
}

/// A /dev without null, or with a false one, for this process alone.
fn without_null(how: &str) {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    let root = user.is_root();
    unshare(if root { CloneFlags::CLONE_NEWNS } else { CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUSER }).unwrap();
    if !root {
        fs::write("/proc/self/setgroups", "deny").unwrap();
        fs::write("/proc/self/uid_map", format!("{user} {user} 1")).unwrap();
        fs::write("/proc/self/gid_map", format!("{group} {group} 1")).unwrap();
    }
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some("none"), "/dev", Some("tmpfs"), MsFlags::empty(), none).unwrap();
    if how == "false" {
        fs::write("/dev/null", "not the device").unwrap();
    }
}

/// What the daemon does.
fn live(handle: untty::Handle, behaviour: &str, meeting: &str) {
    let (what, value) = behaviour.split_once('=').unwrap_or((behaviour, ""));
    match what {
        "exit" => std::process::exit(value.parse().unwrap()),
        "kill" => assert_eq!(unsafe { libc::raise(libc::SIGKILL) }, 0),
        "abort" => std::process::abort(),
        "fail" => handle.fail(value.parse().unwrap()),
        "stop" => assert_eq!(unsafe { libc::raise(libc::SIGSTOP) }, 0),
        "let-go" => {
            // As programs do that close all descriptors by themselves.
            // SAFETY: nothing else is open.
            unsafe { untty::close_from(3) };
            pause_for_ever();
        }
        "hang-with-child" => {
            // SAFETY: a helper has one thread.
            if unsafe { libc::fork() } == 0 {
                pause_for_ever();
            }
            pause_for_ever();
        }
        "call-first" => {
            let mut call = Call::to(meeting);
            call.say(&std::process::id().to_string());
            call.line();
            let told = handle.ready();
            call.say(&told.map_or_else(|error| error.to_string(), |()| "told".to_owned()));
            call.wait_for_the_end();
        }
        _ => {
            let state = state();
            handle.ready().unwrap();
            let mut call = Call::to(meeting);
            call.tell_state(&state);
            call.wait_for_the_end();
        }
    }
}

fn pause_for_ever() -> ! {
    loop {
        thread::park();
    }
}

/// A program to spawn: calls, and goes when told to.
fn program(words: &[String]) {
    let state = state();
    let mut call = Call::to(&words[0]);
    call.tell_state(&state);
    call.wait_for_the_end();
}

// In the test.

/// Runs a start that must fail, and checks that nothing is left and that the caller is unchanged.
fn refused(words: &[&str]) -> String {
    let mut warden = Warden::start(helper("start").args(words));
    assert_eq!(warden.caller(), End::Exited(FAILED), "{words:?}: {:?}", warden.all_output());
    assert!(warden.living().is_empty(), "{words:?}: something is left when the caller has ended");
    warden.rest();
    let said = warden.all_output();
    assert_eq!(said.len(), 2, "{words:?}: {said:?}");
    assert_eq!(said[1], "unchanged", "{words:?}");
    said[0].clone()
}

/// Runs a start that must succeed; returns the warden and the daemon's state, and lets the daemon go.
fn granted(words: &[&str]) -> State {
    let scratch = Scratch::new();
    let meeting = Meeting::new(&scratch);
    let mut warden = Warden::start(helper("start").arg(format!("call:{}", meeting.path())).args(words));
    assert_eq!(warden.caller(), End::Exited(0), "{words:?}: {:?}", warden.output());
    let mut daemon = meeting.daemon();
    let state = daemon.state();
    assert_eq!(warden.living(), [state["pid"].parse::<i32>().unwrap()], "{words:?}: exactly one process is left");
    drop(daemon);
    assert_eq!(warden.rest(), [(state["pid"].parse().unwrap(), End::Exited(0))], "{words:?}");
    state
}

fn skip(test: &str, why: &str) {
    eprintln!("SKIPPED: {test}: {why}");
}

/// Whether this process may make itself a mount namespace (with a user namespace, if it is not root).
fn may_mount() -> bool {
    harness::is_root() || harness::run(std::process::Command::new("unshare").args(["-Urm", "true"])).0.success()
}

fn bad_umask_is_refused() {
    for mask in ["1000", "37777777777"] {
        assert_eq!(refused(&[&format!("umask:{mask}")]), "options EINVAL");
    }
}

fn second_thread_is_refused() {
    assert_eq!(refused(&["threads"]), "threads EBUSY");
}

fn second_thread_is_noticed_where_unshare_is_forbidden() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let filter = format!("filter:unshare={errno}");
        assert_eq!(refused(&["threads", &filter]), "threads EBUSY");
        granted(&[&filter]);
    }
}

fn second_thread_can_be_accepted() {
    granted(&["threads", "accept-threads"]);
}

fn wrong_stream_is_told_by_name() {
    let scratch = Scratch::new();
    let (missing, nowhere) = (scratch.file("missing"), scratch.file("nowhere/log"));
    let (link, fifo, readable) = (scratch.file("link"), scratch.file("fifo"), scratch.file("readable"));
    fs::write(&readable, "kept").unwrap();
    symlink(&readable, &link).unwrap();
    nix::unistd::mkfifo(fifo.as_str(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (stream, kind, told) in [
        ("stdin", format!("file={missing}"), "stdin ENOENT"),
        ("stdout", format!("file={nowhere}"), "stdout ENOENT"),
        ("stderr", format!("file={nowhere}"), "stderr ENOENT"),
        ("stdout", format!("file={link}"), "stdout ELOOP"),
        ("stderr", format!("file={}", scratch.path().display()), "stderr EISDIR"),
        ("stdout", format!("file={fifo}"), "stdout ENXIO"),
        ("stdin", "fd=999".to_owned(), "stdin EBADF"),
        ("stdout", "fd=-1".to_owned(), "stdout EBADF"),
        ("stdin", "stdout".to_owned(), "stdin EINVAL"),
        ("stdout", "stdout".to_owned(), "stdout EINVAL"),
        ("stdout", "file=".to_owned(), "stdout ENOENT"),
    ] {
        assert_eq!(refused(&[&format!("{stream}:{kind}")]), told, "{stream} {kind}");
    }
    assert_eq!(fs::read_to_string(&readable).unwrap(), "kept");
    if harness::is_root() {
        skip("wrong_stream_is_told_by_name", "an unwritable log, which root can write; the run as a user has it");
    } else {
        fs::set_permissions(&readable, fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(refused(&[&format!("stdout:file={readable}")]), "stdout EACCES");
    }
}

fn no_free_descriptor_is_told() {
    // One for /dev/null, two for the pipe.
    assert_eq!(refused(&["free:0"]), "stdin EMFILE");
    assert_eq!(refused(&["free:1"]), "pipe EMFILE");
    assert_eq!(refused(&["free:2"]), "pipe EMFILE");
    granted(&["free:3"]);
}

fn failing_calls_are_told_by_step() {
    for (call, told) in [
        ("pipe2=24", "pipe EMFILE"),
        ("fork=11", "fork EAGAIN"),
        ("setsid=1", "setsid EPERM"),
        ("rt_sigaction=1", "signals EPERM"),
        ("chdir=13", "chdir EACCES"),
        ("umask=38", "umask ENOSYS"),
        ("dup3=1", "stdin EPERM"),
    ] {
        assert_eq!(refused(&[&format!("filter:{call}")]), told);
        assert_eq!(refused(&[&format!("filter:{call}"), "return", "deadline:60000"]), told);
        assert_eq!(refused(&[&format!("filter:{call}"), "spawn:/bin/true"]), told);
    }
}

/// A limit on processes that the first fork still fits in, but the second not. The kernel counts a user's processes,
/// so the helper becomes a user that has no other.
fn second_fork_that_fails_is_told() {
    if !harness::is_root() {
        return skip("second_fork_that_fails_is_told", "needs root, to become a user without processes");
    }
    let scratch = Scratch::new();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let own = scratch.file("test");
    fs::copy(std::env::current_exe().unwrap(), &own).unwrap();
    fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).unwrap();
    for (limit, told) in [("1", "fork EAGAIN"), ("2", "fork again EAGAIN")] {
        for more in [&[][..], &["spawn:/bin/true"]] {
            let user = (60_000 + std::process::id() % 5000).to_string();
            let mut command = std::process::Command::new("setpriv");
            command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "prlimit"]);
            command.arg(format!("--nproc={limit}")).arg(&own).args(["helper", "start"]).args(more);
            let mut warden = Warden::start(&command);
            assert_eq!(warden.caller(), End::Exited(FAILED), "{:?}", warden.all_output());
            warden.rest();
            assert_eq!(warden.all_output(), [told, "unchanged"]);
        }
    }
}

fn missing_directory_is_told() {
    let scratch = Scratch::new();
    let file = scratch.file("file");
    fs::write(&file, "").unwrap();
    assert_eq!(refused(&[&format!("directory:{}", scratch.file("missing"))]), "chdir ENOENT");
    assert_eq!(refused(&[&format!("directory:{file}"), "return"]), "chdir ENOTDIR");
    assert_eq!(refused(&["directory:"]), "chdir ENOENT");
}

fn missing_null_device_is_told() {
    if !may_mount() {
        return skip("missing_null_device_is_told", "no mount namespace to be had");
    }
    assert_eq!(refused(&["without-null:at-all"]), "stdin ENOENT");
    assert_eq!(refused(&["without-null:at-all", "stdin:inherit"]), "stdout ENOENT");
}

fn false_null_device_is_told() {
    if !may_mount() {
        return skip("false_null_device_is_told", "no mount namespace to be had");
    }
    assert_eq!(refused(&["without-null:false"]), "stdin ENODEV");
}

fn death_without_a_report_is_told() {
    for death in ["exit=0", "exit=7", "kill", "abort", "let-go"] {
        for more in [&[][..], &["return"], &["deadline:60000"], &["ignore-sigchld"], &["reap-all"]] {
            let behaviour = format!("do:{death}");
            let words: Vec<&str> = [behaviour.as_str()].into_iter().chain(more.iter().copied()).collect();
            assert_eq!(refused(&words), "wait ESRCH", "{words:?}");
        }
    }
}

fn failing_daemon_chooses_the_exit_status() {
    for (status, exits) in [(3, 3), (255, 255), (0, 1), (256, 1), (-1, 255)] {
        let mut warden = Warden::start(helper("start").arg(format!("do:fail={status}")));
        assert_eq!(warden.caller(), End::Exited(exits));
        warden.rest();
        assert!(warden.all_output().is_empty());
    }
    assert_eq!(refused(&["do:fail=3", "return"]), "fail ESRCH", "the errno of this step is the exit status, 3");
}

fn deadline_ends_the_whole_start() {
    for behaviour in ["do:hang-with-child", "do:stop"] {
        for more in ["return", "no-zombies", "ignore-sigchld", "reap-all"] {
            assert_eq!(refused(&[behaviour, "deadline:100", more]), "wait ETIMEDOUT", "{behaviour} {more}");
        }
    }
}

fn caller_waits_until_the_daemon_is_ready() {
    let scratch = Scratch::new();
    let meeting = Meeting::new(&scratch);
    let call = format!("call:{}", meeting.path());
    let mut warden = Warden::start(helper("start").args([call.as_str(), "do:call-first", "deadline:60000"]));
    let mut daemon = meeting.daemon();
    let pid: i32 = daemon.line().unwrap().parse().unwrap();
    let living = warden.living();
    assert_eq!(living.len(), 2, "the caller waits, the leader is gone, the daemon gets ready");
    assert!(living.contains(&pid));
    daemon.say("go on");
    assert_eq!(daemon.line().unwrap(), "told");
    assert_eq!(warden.caller(), End::Exited(0));
    drop(daemon);
    assert_eq!(warden.rest(), [(pid, End::Exited(0))]);
}

fn sigchld_changes_nothing() {
    for child in ["ignore-sigchld", "no-zombies", "reap-all"] {
        for more in [&[][..], &["return"]] {
            let words: Vec<&str> = [child].into_iter().chain(more.iter().copied()).collect();
            granted(&words);
        }
        assert_eq!(refused(&[child, "filter:setsid=1"]), "setsid EPERM");
        assert_eq!(refused(&[child, "spawn:/nonexistent"]), "exec ENOENT");
        spawned(&[child]);
    }
}

fn closed_standard_streams_change_nothing() {
    for closed in ["", "0", "1", "2", "01", "02", "12", "012"] {
        let close = format!("close:{closed}");
        let state = granted(&[&close]);
        for fd in 0..3 {
            assert!(state[&format!("fd {fd:05}")].starts_with("/dev/null "), "{closed}: {state:?}");
        }
        let state = granted(&[&close, "stdin:inherit", "stdout:inherit", "stderr:inherit"]);
        for fd in 0..3 {
            let key = format!("fd {fd:05}");
            assert_eq!(state.contains_key(&key), !closed.contains(&fd.to_string()), "{closed}: {state:?}");
        }
        let others = state.keys().filter(|key| key.as_str() >= "fd 00003" && key.starts_with("fd ")).count();
        assert_eq!(others, 1, "{closed}: nothing but the report pipe, as it is not ready: {state:?}");
    }
}

/// The caller is killed while it waits for the daemon to get ready.
fn end_the_waiting_caller(signal: Signal) -> String {
    let scratch = Scratch::new();
    let meeting = Meeting::new(&scratch);
    let call = format!("call:{}", meeting.path());
    let mut warden = Warden::start(helper("start").args([call.as_str(), "do:call-first"]));
    let mut daemon = meeting.daemon();
    let pid: i32 = daemon.line().unwrap().parse().unwrap();
    let caller = warden.living().into_iter().find(|living| *living != pid).unwrap();
    kill(Pid::from_raw(caller), signal).unwrap();
    assert_eq!(warden.next(), Event::Caller(End::Killed(signal as i32)));
    assert_eq!(warden.living(), [pid], "the daemon lives on");
    daemon.say("go on");
    let told = daemon.line().unwrap();
    drop(daemon);
    assert_eq!(warden.rest().last(), Some(&(pid, End::Exited(0))), "the leader's zombie was before");
    told
}

fn killed_caller_is_noticed_by_ready() {
    assert_eq!(end_the_waiting_caller(Signal::SIGKILL), "ready: cannot report to the caller: EPIPE");
}

fn interrupted_caller_leaves_the_daemon() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        assert_eq!(end_the_waiting_caller(signal), "ready: cannot report to the caller: EPIPE");
    }
}

/// Spawns this test's own helper, with success.
fn spawned(words: &[&str]) {
    let scratch = Scratch::new();
    let meeting = Meeting::new(&scratch);
    let own = std::env::current_exe().unwrap();
    let call = format!("call:{}", meeting.path());
    let program = format!("spawn:{}", own.display());
    let mut warden = Warden::start(helper("start").args([&call, &program]).args(words));
    let mut daemon = meeting.try_daemon(PATIENCE).unwrap();
    let state = daemon.state();
    assert_eq!(warden.caller(), End::Exited(0));
    assert_eq!(state["umask"], "0027");
    assert_ne!(state["session"], state["pid"]);
    assert_eq!(state.keys().filter(|key| key.starts_with("fd ")).count(), 3, "{state:?}");
    drop(daemon);
    assert_eq!(warden.rest(), [(state["pid"].parse().unwrap(), End::Exited(0))]);
    assert_eq!(warden.all_output(), [format!("daemon {}", state["pid"]).as_str(), "unchanged"]);
}

fn spawn_tells_why_a_program_is_not_executed() {
    let scratch = Scratch::new();
    let (plain, script) = (scratch.file("plain"), scratch.file("script"));
    fs::write(&plain, "").unwrap();
    fs::write(&script, "exit 0").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    for (program, told) in [
        ("/nonexistent", "exec ENOENT"),
        (plain.as_str(), "exec EACCES"),
        ("/", "exec EACCES"),
        (script.as_str(), "exec ENOEXEC"),
        ("", "exec ENOENT"),
    ] {
        assert_eq!(refused(&[&format!("spawn:{program}")]), told);
    }
}

fn daemon_killed_at_its_exec_is_a_failure() {
    // The filter kills whoever calls execve, and nobody but the daemon does.
    assert_eq!(refused(&["filter:execve=kill", "spawn:/bin/true"]), "wait ESRCH");
    assert_eq!(refused(&["filter:execve=kill", "spawn:/bin/true", "ignore-sigchld"]), "wait ESRCH");
}

fn shortest_program_is_a_success() {
    for _ in 0..200 {
        let mut warden = Warden::start(helper("start").arg("spawn:/bin/true"));
        assert_eq!(warden.caller(), End::Exited(0));
        warden.rest();
        let said = warden.all_output();
        assert!(said[0].starts_with("daemon "), "{said:?}");
        assert_eq!(said[1], "unchanged");
    }
}

fn threaded_caller_may_spawn() {
    spawned(&["threads"]);
}
