//! Supervisors, readiness, signals that come during the start, and logs.
//!
//! The test is the supervisor: it has the socket that systemd would have, the pipe that s6 would have, or the name that
//! runit would have, and listens. What it listens to is the helper `service`, which detaches as its words say, or the
//! command with the helper `program` as COMMAND. Both call, tell their state, and obey orders.

#![allow(
    clippy::multiple_unsafe_ops_per_block,
    clippy::undocumented_unsafe_blocks,
    reason = "tests: bare system calls"
)]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests have std")]

mod harness;

use harness::start::{
    c, filter, forget_the_tests_parents, kill, named, number, scratch, short, skipped, start_thread, until, wander,
};
use harness::{
    CALLER, Call, DAEMON, End, Event, LEADER, Meeting, Moment, PATIENCE, Scratch, State, Tracer, Visitor, Warden,
    differences, helper, is_root, stat_fields, state, untty,
};
use std::ffi::{CString, c_int};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt;
use std::process::{self, Command};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, mem, ptr, thread};
use untty::{Daemon, Environment, Error, Handle, NotifySocket, Process, Readiness, Stdio, listen_fds, reopen_log};

/// What a supervisor puts into the environment; the tests' own may have been started by one.
const VARIABLES: [&str; 8] = [
    "NOTIFY_SOCKET",
    "SYSTEMD_EXEC_PID",
    "INVOCATION_ID",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
];

fn main() {
    if env::args().nth(1).is_none_or(|word| word != "helper") {
        VARIABLES.iter().for_each(|name| unsafe { env::remove_var(name) });
    }
    harness::main(
        named![
            // 1. Telling the supervisor.
            the_supervisor_has_been_told_when_the_caller_returns_or_exits,
            every_state_is_sent_as_it_is,
            the_time_of_a_reload_is_added,
            a_busy_supervisor_is_waited_for,
            a_daemon_of_another_user_in_another_root_reaches_its_supervisor,
            without_a_supervisor_nothing_is_told,
            a_supervisor_that_cannot_be_reached_is_an_error_of_the_start,
            ready_can_be_said_once,
            a_supervisor_that_has_vanished_is_an_error_of_the_start,
            a_child_that_another_thread_has_forked_does_not_keep_ready_waiting,
            a_supervisor_that_does_not_listen_is_waited_for_until_the_deadline,
            a_signal_ends_a_caller_that_waits_for_a_supervisor_that_does_not_listen,
            without_a_c_library_the_environment_has_to_be_handed_over,
            the_ready_fd_gets_one_newline_and_its_end,
            a_descriptor_that_is_not_open_is_an_error_of_the_start,
            a_ready_fd_that_nobody_reads_is_an_error_of_ready_and_no_death,
            // 2. The command that waits for READY=1.
            the_command_waits_until_the_program_says_that_it_is_ready,
            a_child_of_the_program_may_say_that_it_is_ready,
            systemd_notify_is_heard_out,
            a_program_in_a_session_of_its_own_may_say_that_it_is_ready,
            nobody_else_may_say_that_it_is_ready,
            of_a_sender_that_is_gone_its_user_counts,
            why_a_program_gave_up_is_told,
            a_program_that_ends_before_it_is_ready_is_a_failure,
            a_program_that_is_ready_and_over_at_once_leaves_the_truth,
            what_a_program_had_said_before_it_ended_is_heard,
            a_program_that_dies_while_it_is_heard_out_is_a_failure_unless_it_has_done_its_work,
            bad_messages_do_no_harm,
            descriptors_that_come_with_a_message_are_not_kept,
            a_start_that_is_not_ready_in_time_is_killed_whole,
            a_program_in_a_session_of_its_own_that_is_not_ready_in_time_is_killed,
            a_program_that_has_killed_or_stopped_its_leader_is_ended,
            a_program_may_ask_for_more_time_and_never_gets_less,
            a_program_that_stops_itself_is_waited_for,
            a_program_that_cannot_be_ended_is_told_of,
            where_kill_is_forbidden_a_program_that_gets_ready_is_a_success,
            a_signal_to_the_programs_group_does_not_end_the_start,
            a_command_that_is_killed_takes_the_start_with_it,
            arguments_and_environment_are_as_they_were_but_for_the_socket,
            a_script_without_an_interpreter_can_say_that_it_is_ready,
            two_ways_to_be_ready_exclude_each_other,
            a_descriptor_cannot_be_kept_and_be_the_one_to_be_ready_on,
            // 3. The command that waits for a newline.
            a_newline_says_that_the_program_is_ready,
            a_pipe_that_ends_without_a_newline_is_not_readiness,
            a_program_that_writes_without_end_is_ended_at_the_deadline,
            the_program_has_its_descriptor_at_any_number_and_no_others,
            a_number_that_no_descriptor_can_have_is_an_error,
            a_caller_that_spawns_a_program_learns_when_it_is_ready_or_why_not,
            a_socket_that_is_used_again_has_forgotten_the_earlier_start,
            // 4. Supervised.
            what_systemd_runs_stays_what_it_is,
            what_runit_or_s6_runs_stays_what_it_is,
            what_nobody_runs_forks,
            a_process_whose_parent_is_process_1_forks,
            streams_of_the_supervisor_stay_and_files_asked_for_are_opened,
            sockets_of_the_supervisor_stay_open,
            listen_fds_are_for_the_process_that_they_name,
            a_supervised_program_talks_to_its_supervisor_itself,
            all_the_rest_is_done_under_a_supervisor_too,
            a_supervised_script_without_an_interpreter_has_its_log_and_its_user,
            a_supervised_program_that_cannot_be_executed_is_one_line,
            a_supervised_service_is_ready_without_a_caller,
            a_supervised_process_with_threads_cannot_change_its_user,
            // 5. Signals.
            a_sigterm_of_the_start_counts_and_the_terminals_signals_do_not,
            // 6. Logs.
            a_log_is_reopened_without_a_line_lost,
            a_log_is_reopened_under_a_thread_that_writes_it,
            the_close_on_exec_flag_stays,
            a_log_that_cannot_be_reopened_stays_as_it_was,
            a_log_is_not_reopened_without_a_free_descriptor,
        ],
        named![
            launch, service, reuser, program, parent, orphan, process_1, say, shout, over, stray, signalled, logger,
            at_the_end, roots, slowly,
        ],
    );
}

// The helpers.

/// Prepares this process, and executes a program in it: words, `exec`, the program and its arguments.
fn launch(arguments: &[String]) {
    forget_the_tests_parents();
    let end = arguments.iter().position(|word| word == "exec").unwrap();
    assert!(arguments[..end].iter().all(|word| prepare(word)), "{arguments:?}");
    let mut command = Command::new(&arguments[end + 1]);
    panic!("{}", command.args(&arguments[end + 2..]).exec());
}

const NOBODY: u32 = 65_534;

/// The words for what a process is. False for a word that is none of them.
fn prepare(word: &str) -> bool {
    let (verb, rest) = word.split_once(' ').unwrap_or((word, ""));
    match verb {
        "bare" => env::vars_os().for_each(|(name, _)| unsafe { env::remove_var(name) }),
        "env" => {
            let (name, value) = rest.split_once('=').unwrap();
            unsafe { env::set_var(name, value) }
        }
        "self" => unsafe { env::set_var(rest, process::id().to_string()) },
        "forbid" => filter(rest, None),
        "thread" => start_thread(),
        "nobody" => {
            let (user, group) = (NOBODY.into(), NOBODY.into());
            nix::unistd::setgroups(&[]).unwrap();
            nix::unistd::setresgid(group, group, group).unwrap();
            nix::unistd::setresuid(user, user, user).unwrap();
        }
        "open" => {
            let (fd, path) = rest.split_once(' ').unwrap();
            let write = !fs::metadata(path).unwrap().is_dir();
            let file = fs::File::options().read(!write).write(write).open(path).unwrap();
            if file.as_raw_fd() == number(fd) {
                unsafe { libc::fcntl(number(fd), libc::F_SETFD, 0) };
                mem::forget(file);
            } else {
                assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), number(fd)) }, number(fd));
            }
        }
        _ => return false,
    }
    true
}

/// Detaches as its words say. The daemon serves, and so does the caller if it comes back.
fn service(arguments: &[String]) {
    forget_the_tests_parents();
    let mut meeting = arguments[0].clone();
    let (mut daemon, mut handed_over, mut spawn) = (Daemon::new(), !cfg!(feature = "libc"), false);
    for word in &arguments[1..] {
        let (verb, rest) = word.split_once(' ').unwrap_or((word, ""));
        daemon = match verb {
            "return" => daemon.return_in_caller(),
            "accept_threads" => daemon.accept_threads(),
            "forker" => {
                start_forker(&meeting);
                daemon.accept_threads()
            }
            "stay" => daemon.stay_if_supervised(),
            "ignore_supervisor" => daemon.ignore_supervisor(),
            "ready_fd" => daemon.ready_fd(number(rest)),
            "directory" => daemon.directory(c(rest)),
            "umask" => daemon.umask(u32::from_str_radix(rest, 8).unwrap()),
            "pid_file" => daemon.pid_file(c(rest)),
            "stdout" => daemon.stdout(Stdio::Fd(number(rest))),
            "log" => daemon.stdout(Stdio::File(c(rest))).stderr(Stdio::Stdout),
            "user" => daemon.user(rest.parse().unwrap(), rest.parse().unwrap(), &[]),
            "root" => {
                meeting = meeting.strip_prefix(rest).unwrap().to_owned();
                daemon.root(c(rest))
            }
            "spawn" => {
                spawn = true;
                daemon
            }
            "newline" => daemon.readiness(Readiness::Newline(number(rest))),
            "deadline" => daemon.deadline(Duration::from_secs_f64(rest.parse().unwrap())),
            "not_handed_over" => {
                handed_over = false;
                daemon
            }
            _ if prepare(word) => daemon,
            _ => panic!("what is {word:?}?"),
        };
    }
    if handed_over {
        daemon = daemon.environment(environment());
    }
    let before = state();
    let result = if spawn {
        spawn_program(&daemon, &meeting).map(|daemon| Process::Caller { daemon })
    } else {
        // SAFETY: a helper uses no descriptor that gets closed, and has one thread.
        unsafe { daemon.detach() }
    };
    match result {
        // In another root there is nothing to read one's state from.
        Ok(Process::Daemon(handle)) if meeting != arguments[0] => {
            serve("daemon", &meeting, &State::from([("pid".to_owned(), process::id().to_string())]), Some(handle));
        }
        Ok(Process::Daemon(handle)) => serve("daemon", &meeting, &state(), Some(handle)),
        Ok(Process::Caller { daemon }) => {
            let after = state();
            serve(&format!("returned {daemon} {:?}", differences(&before, &after)), &meeting, &after, None);
        }
        Err(error) => {
            let after = state();
            serve(&format!("failed {} {:?}", short(error), differences(&before, &after)), &meeting, &after, None);
        }
    }
}

/// Spawns the helper `program`; without another way to say that it is ready, with a socket.
fn spawn_program(daemon: &Daemon<'_>, meeting: &str) -> Result<i32, Error> {
    let by_newline = format!("{daemon:?}").contains("Newline");
    let socket = if by_newline { None } else { Some(NotifySocket::new()?) };
    spawn_with(daemon, socket.as_ref(), meeting)
}

fn spawn_with(daemon: &Daemon<'_>, socket: Option<&NotifySocket>, meeting: &str) -> Result<i32, Error> {
    let name = socket.map(NotifySocket::name).unwrap_or_default();
    let variable = CString::new([b"NOTIFY_SOCKET=", name].concat()).unwrap();
    let words = [&binary(), "helper", "program", meeting].map(|word| CString::new(word).unwrap());
    let mut argv: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
    argv.push(ptr::null());
    let envp = [variable.as_ptr(), ptr::null()];
    let daemon = socket.map_or(*daemon, |socket| daemon.readiness(Readiness::Notify(socket)));
    // SAFETY: both arrays end with NULL and hold strings that live as long.
    unsafe { daemon.spawn(&words[0], argv.as_ptr(), envp.as_ptr()) }
}

/// A thread that calls, and forks when it is told to.
fn start_forker(meeting: &str) {
    let mut call = Call::to(meeting);
    call.say("forker");
    call.tell_state(&state());
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        sender.send(()).unwrap();
        while call.line().is_some() {
            let child = fork_and_stay();
            call.say(&child);
        }
    });
    receiver.recv().unwrap();
}

/// A child that does nothing, until it is killed: its pid.
fn fork_and_stay() -> String {
    match unsafe { libc::fork() } {
        0 => loop {
            unsafe { libc::pause() };
        },
        child => child.to_string(),
    }
}

/// COMMAND: cannot be killed by who has started it, if its file is root's and set-user-ID. Serves.
fn roots(arguments: &[String]) {
    let is_root = unsafe { libc::setresuid(0, 0, 0) } == 0;
    serve(if is_root { "roots" } else { "not root's" }, &arguments[0], &state(), None);
}

/// Spawns one program after the other with the same socket, as often as it is told a deadline, and says what came of it
/// and of which status it knows.
fn reuser(arguments: &[String]) {
    forget_the_tests_parents();
    let socket = NotifySocket::new().unwrap();
    let mut call = Call::to(&arguments[0]);
    call.say("reuser");
    call.tell_state(&state());
    while let Some(seconds) = call.line() {
        let daemon = Daemon::new().deadline(Duration::from_secs_f64(seconds.parse().unwrap()));
        let outcome =
            spawn_with(&daemon, Some(&socket), &arguments[0]).map_or_else(short, |pid| format!("daemon {pid}"));
        call.say(&format!("{outcome} {:?}", String::from_utf8_lossy(socket.status().bytes())));
    }
}

/// COMMAND: serves.
fn program(arguments: &[String]) {
    serve("program", &arguments[0], &state(), None);
}

/// Starts a program and outlives all that becomes of it, if that has this process for its parent.
fn parent(arguments: &[String]) {
    let mut child = Command::new(&arguments[0]).args(&arguments[1..]).spawn().unwrap();
    let status = child.wait().unwrap();
    while nix::sys::wait::wait().is_ok() {}
    process::exit(status.code().unwrap_or(255));
}

/// Executes a program when this process's parent is dead.
fn orphan(arguments: &[String]) {
    let parent = process::id() as i32;
    if unsafe { libc::fork() } > 0 {
        return;
    }
    until("the parent is gone", || unsafe { libc::getppid() } != parent);
    panic!("{}", Command::new(&arguments[0]).args(&arguments[1..]).exec());
}

/// Starts `parent` as process 1 of a new namespace.
fn process_1(arguments: &[String]) {
    let (meeting, command) = arguments.split_first().unwrap();
    let users = if is_root() { 0 } else { libc::CLONE_NEWUSER };
    if unsafe { libc::unshare(libc::CLONE_NEWPID | users) } != 0 {
        return Call::to(meeting).say(&format!("skipped: unshare: {}", std::io::Error::last_os_error()));
    }
    process::exit(helper("parent").args(command).status().unwrap().code().unwrap_or(255));
}

/// Says something on the program's socket.
fn say(arguments: &[String]) {
    tell(&notifier(&env::var("NOTIFY_SOCKET").unwrap()), arguments[0].as_bytes(), &[]);
}

/// Says it, and is gone perhaps before it is heard.
fn shout(arguments: &[String]) {
    notifier(&env::var("NOTIFY_SOCKET").unwrap()).send(arguments[0].as_bytes()).unwrap();
}

/// Lets it run to its end, and ends as it does.
fn end_as(mut tracer: Tracer) -> ! {
    let end = tracer.run();
    tracer.release();
    let End::Exited(status) = end else { panic!("{end:?}") };
    process::exit(status);
}

/// Runs a command under ptrace, which makes every system call slow. Ends as it does.
fn slowly(arguments: &[String]) {
    end_as(Tracer::start(Command::new(&arguments[0]).args(&arguments[1..])));
}

/// COMMAND: says that it is ready, and ends as the word says when that file is there.
fn over(arguments: &[String]) {
    shout(&["READY=1".to_owned()]);
    until("it may end", || fs::exists(&arguments[1]).unwrap());
    obey(&arguments[0], &mut None);
}

/// Runs a command under ptrace, and stops it when it is about to hear the program's first word; makes that file, and waits
/// until the command's leader has told of the program's end. Ends as the command does.
fn at_the_end(arguments: &[String]) {
    forget_the_tests_parents();
    let mut tracer = Tracer::start(Command::new(&arguments[1]).args(&arguments[2..]));
    tracer.run_until(LEADER, Moment::Call(libc::SYS_setsid)).expect("a session");
    let caller = tracer.run_until(CALLER, Moment::Call(libc::SYS_recvmsg)).expect("a word");
    tracer.leave_stopped();
    fs::write(&arguments[0], "").unwrap();
    tracer.run_until(LEADER, Moment::Call(libc::SYS_exit_group)).expect("the leader's end");
    nix::sys::ptrace::syscall(nix::unistd::Pid::from_raw(caller), None).unwrap();
    end_as(tracer);
}

/// Says something on the program's socket out of a session of its own, and stays until its standard input ends.
fn stray(arguments: &[String]) {
    nix::unistd::setsid().unwrap();
    say(arguments);
    println!("said");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// Runs a command under ptrace, and sends one of its processes signals when that makes a system call. Arguments: its
/// role, the call's number, the signals, the command. Ends as it does.
fn signalled(arguments: &[String]) {
    forget_the_tests_parents();
    let [role, call, signals, program, rest @ ..] = arguments else { panic!("{arguments:?}") };
    let mut tracer = Tracer::start(Command::new(program).args(rest));
    let moment = Moment::Call(call.parse().unwrap());
    let process = tracer.run_until(role.parse().unwrap(), moment).expect("the moment comes");
    signals.split(' ').for_each(|signal| kill(process, number(signal)));
    end_as(tracer);
}

static LOG: OnceLock<CString> = OnceLock::new();
static TOLD_TO_END: AtomicBool = AtomicBool::new(false);
static MISTAKES: AtomicUsize = AtomicUsize::new(0);

/// Writes lines to a log on standard output and error, as fast as it can, and reopens it at every SIGHUP, until SIGTERM.
/// Arguments: the meeting, the log, and whether a thread of its own writes.
fn logger(arguments: &[String]) {
    forget_the_tests_parents();
    LOG.set(CString::new(arguments[1].as_str()).unwrap()).unwrap();
    for fd in [1, 2] {
        reopen_log(fd, LOG.get().unwrap()).unwrap();
    }
    unsafe {
        libc::signal(libc::SIGHUP, reopen as extern "C" fn(c_int) as usize);
        libc::signal(libc::SIGTERM, end as extern "C" fn(c_int) as usize);
    }
    let mut call = Call::to(&arguments[0]);
    call.say(&process::id().to_string());
    let lines = if arguments[2] == "thread" {
        // The main thread, which handles the signals, is started last: a mask is inherited.
        block(libc::SIG_BLOCK);
        let writer = thread::spawn(write_lines);
        block(libc::SIG_UNBLOCK);
        writer.join().unwrap()
    } else {
        write_lines()
    };
    call.say(&format!("{lines} lines, {} mistakes", MISTAKES.load(Ordering::SeqCst)));
}

fn block(how: c_int) {
    unsafe {
        let mut set = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGHUP);
        libc::pthread_sigmask(how, &raw const set, ptr::null_mut());
    }
}

extern "C" fn reopen(_: c_int) {
    for fd in [1, 2] {
        if reopen_log(fd, LOG.get().unwrap()).is_err() {
            MISTAKES.fetch_add(1, Ordering::SeqCst);
        }
    }
}

extern "C" fn end(_: c_int) {
    TOLD_TO_END.store(true, Ordering::SeqCst);
}

fn write_lines() -> usize {
    let mut count = 0;
    while !TOLD_TO_END.load(Ordering::SeqCst) {
        for (fd, name) in [(1, "out"), (2, "err")] {
            let line = format!("{name} {count}\n");
            if unsafe { libc::write(fd, line.as_ptr().cast(), line.len()) } != line.len() as isize {
                MISTAKES.fetch_add(1, Ordering::SeqCst);
            }
        }
        count += 1;
    }
    count
}

// Orders.

/// Calls, and obeys until the test hangs up.
fn serve(role: &str, meeting: &str, state: &State, mut handle: Option<Handle>) {
    let mut call = Call::to(meeting);
    call.say(role);
    call.tell_state(state);
    while let Some(order) = call.line() {
        match order.as_str() {
            "state" => call.tell_state(&harness::state()),
            order => call.say(&obey(&unescaped(order), &mut handle)),
        }
    }
}

/// What a line of orders cannot hold.
fn unescaped(order: &str) -> String {
    order.replace("\\n", "\n").replace("\\r", "\r").replace("\\s", " ")
}

/// Obeys one order; returns what came of it.
fn obey(order: &str, handle: &mut Option<Handle>) -> String {
    let (verb, rest) = order.split_once(' ').unwrap_or((order, ""));
    let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
    let done = |result: Result<(), Error>| result.map_or_else(short, |()| "done".to_owned());
    match verb {
        // To the caller and the supervisor.
        "ready" => done(handle.as_mut().unwrap().ready()),
        "notify" => handle.as_ref().unwrap().notify(rest.as_bytes()).map_or_else(short, |sent| sent.to_string()),
        "notify_often" => {
            let handle = handle.as_ref().unwrap();
            (0..number(rest)).all(|count| handle.notify(format!("STATUS={count}").as_bytes()) == Ok(true)).to_string()
        }
        "fail" => handle.take().unwrap().fail(number(rest)),
        "descriptors" => format!("{:?}", handle.as_ref().unwrap().descriptors()),
        "listen" => {
            for (name, value) in ["LISTEN_PID", "LISTEN_FDS"].into_iter().zip(rest.split(' ')) {
                let value = if value == "self" { process::id().to_string() } else { value.to_owned() };
                unsafe { env::set_var(name, value) };
            }
            format!("{:?}", listen_fds(environment()))
        }
        // To the command.
        "say" => tell(&notifier(&env::var("NOTIFY_SOCKET").unwrap()), rest.as_bytes(), &[]),
        "flood" => {
            let socket = notifier(&env::var("NOTIFY_SOCKET").unwrap());
            (0..number(rest)).for_each(|count| assert!(socket.send(format!("STATUS={count}").as_bytes()).unwrap() > 0));
            tell(&socket, b"", &[])
        }
        "junk" => {
            let bytes: Vec<u8> = (0..first.parse().unwrap()).map(|at: u32| (at % 251) as u8).collect();
            tell(&notifier(&env::var("NOTIFY_SOCKET").unwrap()), &[second.as_bytes(), &bytes].concat(), &[])
        }
        "attach" => {
            let fds = vec![0; first.parse().unwrap()];
            tell(&notifier(&env::var("NOTIFY_SOCKET").unwrap()), second.as_bytes(), &fds)
        }
        "child" => format!("{}", helper("say").arg(rest).status().unwrap()),
        "gone" => format!("{}", helper("shout").arg(rest).status().unwrap()),
        "run" => format!("{}", Command::new("sh").args(["-c", rest]).status().unwrap()),
        "stray" => start_stray(rest),
        "session" => format!("{}", unsafe { libc::setsid() } > 0),
        // A leader of a group cannot make a session; it has to leave that group, and a child's will do.
        "wander" => format!("{}", wander()),
        // To itself.
        "exit" => unsafe { libc::_exit(number(rest)) },
        "die" => {
            kill(process::id() as i32, number(rest));
            "alive".to_owned()
        }
        "fork" => fork_and_stay(),
        "signal_group" => unsafe {
            libc::signal(number(rest), libc::SIG_IGN);
            format!("{}", libc::kill(0, number(rest)))
        },
        // With descriptors.
        "write" => format!("{}", unsafe { libc::write(number(first), second.as_ptr().cast(), second.len()) }),
        "shut" => format!("{}", unsafe { libc::close(number(rest)) }),
        "cloexec" => format!("{}", unsafe { libc::fcntl(number(first), libc::F_SETFD, number(second)) }),
        "flags" => format!("{}", unsafe { libc::fcntl(number(rest), libc::F_GETFD) }),
        "target" => fs::read_link(format!("/proc/self/fd/{rest}")).map_or("none".into(), |it| it.display().to_string()),
        "reopen" => done(reopen_log(number(first), c(second))),
        "no_descriptor_free" => {
            let free = unsafe { libc::dup(0) };
            unsafe { libc::close(free) };
            let limit = libc::rlimit { rlim_cur: free as u64, rlim_max: 4096 };
            format!("{}", unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })
        }
        _ => panic!("what is {order:?}?"),
    }
}

/// A child in a session of its own, which says that and stays as long as this process.
fn start_stray(text: &str) -> String {
    let mut command = helper("stray");
    let mut child = command.arg(text).stdin(process::Stdio::piped()).stdout(process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    mem::forget(child);
    line.trim_end().to_owned()
}

/// The C library's environment, which the raw backend does not know of.
fn environment() -> Environment {
    unsafe extern "C" {
        static environ: *const *const libc::c_char;
    }
    // SAFETY: a helper changes it in one thread, and not while it is used.
    unsafe { Environment::from_raw(environ) }
}

/// A socket to that name, as it stands in the environment.
fn notifier(name: &str) -> UnixDatagram {
    try_notifier(name).unwrap()
}

fn try_notifier(name: &str) -> std::io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match name.strip_prefix('@') {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(name)?,
    }
    Ok(socket)
}

/// Sends a message, with descriptors, and waits until it has been read.
fn tell(socket: &UnixDatagram, text: &[u8], fds: &[i32]) -> String {
    let mut piece = libc::iovec { iov_base: text.as_ptr().cast_mut().cast(), iov_len: text.len() };
    let mut control = vec![0_u64; 300];
    unsafe {
        let mut message: libc::msghdr = mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (&raw mut piece, 1);
        if !fds.is_empty() {
            let size = size_of_val(fds) as u32;
            (message.msg_control, message.msg_controllen) =
                (control.as_mut_ptr().cast(), libc::CMSG_SPACE(size) as usize);
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_len = libc::CMSG_LEN(size) as usize;
            ((*header).cmsg_level, (*header).cmsg_type) = (libc::SOL_SOCKET, libc::SCM_RIGHTS);
            ptr::copy_nonoverlapping(fds.as_ptr(), libc::CMSG_DATA(header).cast(), fds.len());
        }
        let sent = libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL);
        if sent != text.len() as isize {
            return std::io::Error::last_os_error().to_string();
        }
    }
    until("it has been read", || {
        let mut unread: c_int = 0;
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut unread) };
        unread == 0
    });
    "said".to_owned()
}

// The test's side.

fn binary() -> String {
    env::current_exe().unwrap().display().to_string()
}

/// The end of systemd, as it is: a datagram socket that learns from the kernel who has sent what.
struct Supervisor {
    socket: UnixDatagram,
    /// The value of NOTIFY_SOCKET.
    name: String,
    scratch: Scratch,
}

#[derive(Debug, PartialEq, Eq)]
struct Message {
    text: String,
    pid: i32,
    uid: u32,
}

impl Supervisor {
    /// With a socket in the file system.
    fn at_a_path() -> Self {
        let scratch = scratch();
        let name = scratch.file("notify");
        let socket = UnixDatagram::bind(&name).unwrap();
        fs::set_permissions(&name, fs::Permissions::from_mode(0o777)).unwrap();
        Self::with(socket, name, scratch)
    }

    /// With a socket that has a name only.
    fn by_name() -> Self {
        let scratch = scratch();
        let name = format!("untty/{}", scratch.path().display());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Self::with(socket, format!("@{name}"), scratch)
    }

    fn with(socket: UnixDatagram, name: String, scratch: Scratch) -> Self {
        let on: c_int = 1;
        let (value, size) = ((&raw const on).cast(), size_of::<c_int>() as u32);
        let set = unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PASSCRED, value, size) };
        assert_eq!(set, 0);
        Self { socket, name, scratch }
    }

    /// The word for the environment.
    fn word(&self) -> String {
        format!("env NOTIFY_SOCKET={}", self.name)
    }

    /// The message that is there already.
    fn message(&self) -> Option<Message> {
        let (mut text, mut control) = (vec![0_u8; 65536], [0_u64; 32]);
        let mut piece = libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: text.len() };
        unsafe {
            let mut message: libc::msghdr = mem::zeroed();
            (message.msg_iov, message.msg_iovlen) = (&raw mut piece, 1);
            (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control));
            let length = libc::recvmsg(self.socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT);
            if length < 0 {
                assert_eq!(std::io::Error::last_os_error().kind(), std::io::ErrorKind::WouldBlock);
                return None;
            }
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            assert_eq!((*header).cmsg_type, libc::SCM_CREDENTIALS);
            assert!(libc::CMSG_NXTHDR(&raw const message, header).is_null(), "nothing else comes with it");
            let sender = libc::CMSG_DATA(header).cast::<libc::ucred>().read_unaligned();
            text.truncate(length as usize);
            Some(Message { text: String::from_utf8(text).unwrap(), pid: sender.pid, uid: sender.uid })
        }
    }

    /// Closes it, and waits until it is closed: a process that is just being started elsewhere has a copy for a moment.
    fn vanish(self) {
        drop(self.socket);
        until("nobody listens", || try_notifier(&self.name).is_err());
    }

    /// Asserts that it has been told of that daemon, and nothing else.
    fn has_heard(&self, text: &str, pid: i32) {
        let uid = unsafe { libc::geteuid() };
        assert_eq!(self.message(), Some(Message { text: text.to_owned(), pid, uid }));
        assert_eq!(self.message(), None);
    }
}

/// One start, under a warden.
struct Start {
    warden: Warden,
    meeting: Meeting,
    scratch: Scratch,
}

/// A process on the line.
struct Line {
    visitor: Visitor,
    /// As what it called.
    role: String,
    state: State,
    pid: i32,
}

impl Start {
    /// The helper `service`, with these words. SCRATCH stands for the start's own directory.
    fn service(words: &[&str]) -> Self {
        Self::with("service", words)
    }

    /// The command with these options and the helper `program`.
    fn command(options: &[&str]) -> Self {
        Self::prepared(&[], options)
    }

    /// The same in a process that has been prepared so.
    fn prepared(words: &[&str], options: &[&str]) -> Self {
        Self::below(words, &[], options)
    }

    /// The same, below other programs.
    fn below(words: &[&str], above: &[&str], options: &[&str]) -> Self {
        let (command, binary) = (untty().get_program().to_str().unwrap().to_owned(), binary());
        let program = [binary.as_str(), "helper", "program", "MEETING"];
        Self::with("launch", &[words, &["exec"], above, &[&command], options, &program].concat())
    }

    fn with(name: &str, words: &[&str]) -> Self {
        let scratch = scratch();
        let meeting = Meeting::new(&scratch);
        fs::set_permissions(meeting.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let mut command = helper(name);
        if name == "service" {
            command.arg(meeting.path());
        }
        let directory = scratch.path().to_str().unwrap();
        for word in words {
            command
                .arg(word.replace("SCRATCH", directory).replace("MEETING", meeting.path()).replace("SELF", &binary()));
        }
        Self { warden: Warden::start(&command), meeting, scratch }
    }

    /// The next one that calls.
    fn call(&mut self) -> Line {
        let Some(mut visitor) = self.meeting.try_daemon(PATIENCE) else {
            panic!("nobody called; {:?} are alive; said: {:?}", self.warden.living(), self.warden.output())
        };
        let role = visitor.line().unwrap();
        let state =
            if role.starts_with("skipped") { State::from([("pid".into(), "0".into())]) } else { visitor.state() };
        Line { visitor, pid: number(&state["pid"]), role, state }
    }

    /// What was started: the warden's child, which may have got orphans besides.
    fn child(&self) -> i32 {
        let children: Vec<i32> =
            self.warden.living().into_iter().filter(|pid| parent_of(*pid) == self.warden.pid()).collect();
        assert_eq!(children.len(), 1, "the warden has one child");
        children[0]
    }

    /// The caller that waits for that daemon, whose leader is gone.
    fn caller_of(&self, daemon: &Line) -> i32 {
        let others: Vec<i32> = self.warden.living().into_iter().filter(|pid| *pid != daemon.pid).collect();
        assert_eq!(others.len(), 1, "the caller alone");
        others[0]
    }

    /// Waits for the end of it all: how the child ended, the rest, and what was said.
    fn end(mut self) -> (End, Vec<(i32, End)>, Vec<String>) {
        let mut orphans = Vec::new();
        let end = loop {
            match self.warden.next() {
                Event::Caller(end) => break end,
                Event::Orphan(pid, end) => orphans.push((pid, end)),
                Event::None => panic!("the caller is gone without a word"),
            }
        };
        orphans.extend(self.warden.rest());
        (end, orphans, self.warden.all_output())
    }

    /// The command fails with that line, and leaves nothing.
    fn fails(self, line: &str) {
        assert_eq!(self.end(), (End::Exited(125), vec![], vec![line.to_owned()]));
    }

    /// The command succeeds, says that, and its daemon, which lives on, is all that is left.
    fn succeeds(mut self, daemon: Line, says: &[String]) {
        assert_eq!(self.warden.caller(), End::Exited(0));
        assert_eq!(self.warden.living(), [daemon.pid]);
        assert_eq!(parent_of(daemon.pid), self.warden.pid(), "its leader is gone");
        let pid = daemon.pid;
        drop(daemon);
        assert_eq!(self.warden.rest(), [(pid, End::Exited(0))]);
        assert_eq!(self.warden.all_output(), says);
    }
}

impl Line {
    fn order(&mut self, order: &str) -> String {
        self.visitor.say(order);
        self.visitor.line().unwrap_or_else(|| "gone".to_owned())
    }

    /// Orders something that has to come out so.
    fn does(&mut self, order: &str, result: &str) {
        assert_eq!(self.order(order), result, "{order}");
    }

    /// Says something on NOTIFY_SOCKET that has then been read.
    fn says(&mut self, text: &str) {
        self.does(&format!("say {text}"), "said");
    }

    /// Its open files, sockets left out: number and target.
    fn files(&self) -> Vec<(i32, String)> {
        files(&self.state)
    }
}

fn files(state: &State) -> Vec<(i32, String)> {
    let files = state.iter().filter_map(|(key, value)| {
        let mut words = value.rsplitn(3, ' ');
        Some((number(key.strip_prefix("fd ")?), words.nth(2)?.to_owned()))
    });
    files.filter(|file| !file.1.starts_with("socket:")).collect()
}

fn parent_of(pid: i32) -> i32 {
    stat_fields(pid).map_or(0, |fields| number(&fields[1]))
}

/// The line of a program that ended before it was ready, in the words of the command.
fn ended(how: &str) -> String {
    format!("untty: fail: {} ended before it was ready{how}", binary())
}

const DIED: &str = "untty: wait: the daemon died before it was ready: ESRCH";
const TOO_LATE: &str = "untty: wait: the daemon was not ready in time and was ended: ETIMEDOUT";

fn strings<Text: AsRef<str>>(texts: &[Text]) -> Vec<String> {
    texts.iter().map(|text| text.as_ref().to_owned()).collect()
}

// 1. Telling the supervisor.

fn the_supervisor_has_been_told_when_the_caller_returns_or_exits() {
    for supervisor in [Supervisor::at_a_path(), Supervisor::by_name()] {
        for returns in [false, true] {
            let words = [supervisor.word(), "return".to_owned()];
            let words: Vec<&str> = words.iter().take(if returns { 2 } else { 1 }).map(String::as_str).collect();
            let mut start = Start::service(&words);
            let mut daemon = start.call();
            // It listens to the process that it has started, and to no other: that is the caller.
            let caller = start.caller_of(&daemon);
            assert_eq!(supervisor.message(), None, "not ready yet");
            daemon.does("ready", "done");
            supervisor.has_heard(&format!("READY=1\nMAINPID={}", daemon.pid), caller);
            if returns {
                assert_eq!(start.call().role, format!("returned {} []", daemon.pid));
            } else {
                assert_eq!(start.warden.caller(), End::Exited(0));
            }
            drop(daemon);
            start.end_after(returns);
            assert_eq!(supervisor.message(), None);
        }
    }
}

impl Start {
    /// Waits until nothing is left, whether or not the caller has been waited for.
    fn end_after(mut self, caller_lives: bool) {
        if caller_lives {
            assert_eq!(self.warden.caller(), End::Exited(0));
        }
        self.warden.rest();
    }
}

fn every_state_is_sent_as_it_is() {
    let supervisor = Supervisor::by_name();
    let mut start = Start::service(&[&supervisor.word()]);
    let mut daemon = start.call();
    let mut sends = |text: &str| {
        daemon.does(&format!("notify {text}"), "true");
        supervisor.has_heard(&text.replace("\\n", "\n"), daemon.pid);
    };
    sends("STATUS=not ready yet");
    for text in ["STOPPING=1", "WATCHDOG=1", "STATUS=é", "STATUS=a\\nSTOPPING=1", "RELOADING=0", "XRELOADING=1"] {
        sends(text);
    }
    sends("RELOADING=1x");
    sends("STATUS=RELOADING=1");
    sends(&format!("STATUS={}", "x".repeat(20_000)));
    daemon.does("ready", "done");
    assert_eq!(start.warden.caller(), End::Exited(0));
    assert!(supervisor.message().unwrap().text.starts_with("READY=1\n"));
    daemon.does("notify STATUS=long ready", "true");
    supervisor.has_heard("STATUS=long ready", daemon.pid);
}

/// The monotonic clock, in microseconds.
fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) }, 0);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

fn the_time_of_a_reload_is_added() {
    let supervisor = Supervisor::by_name();
    let mut start = Start::service(&[&supervisor.word()]);
    let mut daemon = start.call();
    for text in ["RELOADING=1", "STATUS=again\\nRELOADING=1", "RELOADING=1\\nSTATUS=again"] {
        let before = now();
        daemon.does(&format!("notify {text}"), "true");
        let (after, message) = (now(), supervisor.message().unwrap());
        let (state, time) = message.text.rsplit_once("\nMONOTONIC_USEC=").unwrap();
        assert_eq!((state, message.pid), (text.replace("\\n", "\n").as_str(), daemon.pid));
        let time: u64 = time.parse().unwrap();
        assert!((before..=after).contains(&time), "{before} {time} {after}");
    }
    for text in ["RELOADING=1\\nMONOTONIC_USEC=5", "MONOTONIC_USEC=5\\nRELOADING=1"] {
        daemon.does(&format!("notify {text}"), "true");
        supervisor.has_heard(&text.replace("\\n", "\n"), daemon.pid);
    }
}

/// A datagram socket takes so and so many messages, and then whoever sends more waits.
fn a_busy_supervisor_is_waited_for() {
    const MESSAGES: usize = 2000;
    let supervisor = Supervisor::by_name();
    let mut start = Start::service(&[&supervisor.word()]);
    let mut daemon = start.call();
    daemon.visitor.say(&format!("notify_often {MESSAGES}"));
    daemon.visitor.say("ready");
    let next = || {
        let mut message = None;
        until("there is a message", || {
            message = supervisor.message();
            message.is_some()
        });
        message.unwrap().text
    };
    (0..MESSAGES).for_each(|count| assert_eq!(next(), format!("STATUS={count}")));
    assert_eq!(next(), format!("READY=1\nMAINPID={}", daemon.pid));
    assert_eq!(daemon.visitor.line().unwrap(), "true");
    assert_eq!(daemon.visitor.line().unwrap(), "done");
}

fn a_daemon_of_another_user_in_another_root_reaches_its_supervisor() {
    if !is_root() {
        return skipped("only root can change user and root directory");
    }
    const USER: u32 = 61_234;
    for supervisor in [Supervisor::at_a_path(), Supervisor::by_name()] {
        fs::set_permissions(supervisor.scratch.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let mut start = Start::service(&[&supervisor.word(), &format!("user {USER}"), "root SCRATCH"]);
        let mut daemon = start.call();
        assert_eq!(fs::read_link(format!("/proc/{}/root", daemon.pid)).unwrap(), start.scratch.path());
        let caller = start.caller_of(&daemon);
        daemon.does("ready", "done");
        assert_eq!(start.warden.caller(), End::Exited(0));
        let text = format!("READY=1\nMAINPID={}", daemon.pid);
        assert_eq!(supervisor.message(), Some(Message { text, pid: caller, uid: 0 }));
        daemon.does("notify STOPPING=1", "true");
        let text = "STOPPING=1".to_owned();
        assert_eq!(supervisor.message(), Some(Message { text, pid: daemon.pid, uid: USER }));
    }
}

fn without_a_supervisor_nothing_is_told() {
    let supervisor = Supervisor::by_name();
    for words in [&[][..], &["env NOTIFY_SOCKET="], &[&supervisor.word(), "ignore_supervisor"]] {
        let mut start = Start::service(words);
        let mut daemon = start.call();
        daemon.does("notify STATUS=here", "false");
        daemon.does("ready", "done");
        daemon.does("notify RELOADING=1", "false");
        let descriptors = daemon.order("descriptors");
        assert_eq!(descriptors, "[-1, -1, -1, -1]", "{words:?}");
        assert_eq!(start.warden.caller(), End::Exited(0));
        assert_eq!(supervisor.message(), None, "{words:?}");
    }
}

fn a_supervisor_that_cannot_be_reached_is_an_error_of_the_start() {
    let scratch = scratch();
    drop(UnixDatagram::bind(scratch.file("dead")).unwrap());
    until("nobody listens", || try_notifier(&scratch.file("dead")).is_err());
    let _stream = UnixListener::bind(scratch.file("stream")).unwrap();
    fs::write(scratch.file("file"), "").unwrap();
    symlink("loop", scratch.file("loop")).unwrap();
    let file = |name: &str| scratch.file(name);
    let as_long = |length: usize| format!("/{}", "x".repeat(length - 1));
    for (name, errno) in [
        (file("missing"), "ENOENT"),
        (file("dead"), "ECONNREFUSED"),
        (file("file"), "ECONNREFUSED"),
        (file("file/below"), "ENOTDIR"),
        (file("stream"), "EPROTOTYPE"),
        (file("loop"), "ELOOP"),
        (as_long(107), "ENOENT"),
        (as_long(108), "ENAMETOOLONG"),
        (as_long(109), "ENAMETOOLONG"),
        (as_long(5000), "ENAMETOOLONG"),
        (format!("@{}", as_long(107)), "ECONNREFUSED"),
        (format!("@{}", as_long(108)), "ENAMETOOLONG"),
        ("@".to_owned(), "EAFNOSUPPORT"),
        ("vsock:2:1234".to_owned(), "EAFNOSUPPORT"),
        ("notify".to_owned(), "EAFNOSUPPORT"),
    ] {
        let pid_file = scratch.file("pid");
        for old in [None, Some("4711\n")] {
            old.into_iter().for_each(|text| fs::write(&pid_file, text).unwrap());
            let words =
                [format!("env NOTIFY_SOCKET={name}"), format!("pid_file {pid_file}"), "log SCRATCH/log".to_owned()];
            let mut start = Start::service(&words.each_ref().map(String::as_str));
            let caller = start.call();
            assert_eq!(caller.role, format!("failed notify {errno} []"), "{name}");
            assert_eq!(start.warden.living(), [caller.pid]);
            assert_eq!(fs::read_to_string(&pid_file).ok().as_deref(), old);
            drop(caller);
            assert_eq!(start.end(), (End::Exited(0), vec![], vec![]));
        }
        fs::remove_file(&pid_file).unwrap();
    }
    let mut start = Start::service(&[&format!("env NOTIFY_SOCKET={}", file("dead")), "ignore_supervisor"]);
    start.call().does("ready", "done");
    assert_eq!(start.warden.caller(), End::Exited(0));
}

fn ready_can_be_said_once() {
    let supervisor = Supervisor::by_name();
    let mut start = Start::service(&[&supervisor.word()]);
    let mut daemon = start.call();
    let caller = start.caller_of(&daemon);
    daemon.does("ready", "done");
    supervisor.has_heard(&format!("READY=1\nMAINPID={}", daemon.pid), caller);
    for _ in 0..2 {
        daemon.does("ready", "ready EALREADY");
    }
    assert_eq!(supervisor.message(), None);
    assert_eq!(start.warden.caller(), End::Exited(0));
}

fn a_supervisor_that_has_vanished_is_an_error_of_the_start() {
    for supervisor in [Supervisor::at_a_path(), Supervisor::by_name()] {
        let mut start = Start::service(&[&supervisor.word()]);
        let mut daemon = start.call();
        supervisor.vanish();
        daemon.does("notify STATUS=here", "notify ECONNREFUSED");
        // Its caller cannot tell the supervisor, so there is no daemon.
        daemon.does("ready", "gone");
        let caller = start.call();
        // From the first refusal on the kernel counts the socket as not connected.
        assert_eq!(caller.role, "failed notify ENOTCONN []");
        let pid = daemon.pid;
        drop((caller, daemon));
        assert_eq!(start.end(), (End::Exited(0), vec![(pid, End::Killed(libc::SIGKILL))], vec![]));
    }
}

/// Its queue is full, and it does not read.
/// It has a copy of the caller's end of the pipe, and keeps it.
fn a_child_that_another_thread_has_forked_does_not_keep_ready_waiting() {
    let supervisor = Supervisor::at_a_path();
    for returns in [&["return"][..], &[]] {
        let mut start = Start::service(&[returns, &[supervisor.word().as_str(), "forker"]].concat());
        let mut forker = start.call();
        assert_eq!(forker.role, "forker");
        let mut daemon = start.call();
        // Now there is a pipe.
        let child = number(&forker.order("fork"));
        daemon.does("ready", "done");
        assert!(start.warden.living().contains(&child));
        supervisor.has_heard(&format!("READY=1\nMAINPID={}", daemon.pid), forker.pid);
        if returns.is_empty() {
            assert_eq!(start.warden.caller(), End::Exited(0));
            kill(child, libc::SIGKILL);
            drop((forker, daemon));
            start.warden.rest();
        } else {
            let caller = start.call();
            assert_eq!(caller.role, format!("returned {} []", daemon.pid));
            kill(child, libc::SIGKILL);
            drop((forker, daemon, caller));
            assert_eq!(start.end().0, End::Exited(0));
        }
    }
}

fn a_supervisor_that_does_not_listen_is_waited_for_until_the_deadline() {
    let supervisor = Supervisor::by_name();
    let other = try_notifier(&supervisor.name).unwrap();
    other.set_nonblocking(true).unwrap();
    while other.send(b"STATUS=full").is_ok() {}
    let mut start = Start::service(&[&supervisor.word(), "deadline 0.3"]);
    let mut daemon = start.call();
    daemon.does("ready", "gone");
    let caller = start.call();
    assert_eq!(caller.role, "failed wait ETIMEDOUT []");
    let pid = daemon.pid;
    drop((caller, daemon));
    assert_eq!(start.end(), (End::Exited(0), vec![(pid, End::Killed(libc::SIGKILL))], vec![]));
}

/// Whether a process waits for one descriptor alone; `None` where the kernel does not tell (`proc_pid_syscall(5)`).
fn waits_for_one(pid: i32) -> Option<bool> {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    let words: Vec<&str> = call.split_whitespace().collect();
    Some(words[0] == libc::SYS_ppoll.to_string() && words.get(2) == Some(&"0x1"))
}

fn a_signal_ends_a_caller_that_waits_for_a_supervisor_that_does_not_listen() {
    for words in [&[][..], &["deadline 1000"]] {
        for signal in [libc::SIGTERM, libc::SIGINT] {
            let supervisor = Supervisor::by_name();
            let other = try_notifier(&supervisor.name).unwrap();
            other.set_nonblocking(true).unwrap();
            while other.send(b"STATUS=full").is_ok() {}
            let mut start = Start::service(&[&[supervisor.word().as_str()], words].concat());
            let mut daemon = start.call();
            let caller = start.caller_of(&daemon);
            if waits_for_one(caller).is_none() {
                return skipped("nobody tells in which system call another process is");
            }
            // Before, it waits for the daemon's report and the daemon's death.
            daemon.visitor.say("ready");
            until("it waits for the supervisor", || waits_for_one(caller) == Some(true));
            kill(caller, signal);
            assert_eq!(start.warden.caller(), End::Killed(signal));
            // Its daemon lives on, as with every caller that is killed while it waits.
            assert_eq!(daemon.visitor.line().as_deref(), Some("done"));
            assert_eq!(start.warden.living(), [daemon.pid]);
            let pid = daemon.pid;
            drop(daemon);
            // And perhaps the leader, which the caller had not yet reaped.
            let rest = start.warden.rest();
            assert!(rest.contains(&(pid, End::Exited(0))) && rest.len() <= 2, "{rest:?}");
        }
    }
}

fn without_a_c_library_the_environment_has_to_be_handed_over() {
    let supervisor = Supervisor::by_name();
    let mut start = Start::service(&[&supervisor.word(), "not_handed_over"]);
    let mut daemon = start.call();
    let caller = start.caller_of(&daemon);
    daemon.does("ready", "done");
    assert_eq!(start.warden.caller(), End::Exited(0));
    if cfg!(feature = "libc") {
        supervisor.has_heard(&format!("READY=1\nMAINPID={}", daemon.pid), caller);
    } else {
        daemon.does("notify STATUS=here", "false");
        assert_eq!(supervisor.message(), None);
    }
}

/// A FIFO, and its end to read, which does not wait for writers.
fn fifo(path: &str) -> fs::File {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).unwrap()
}

/// Waits until nobody has that FIFO open to read, as a process that is just being started elsewhere may have.
fn until_nobody_reads(path: &str) {
    let mut writer = fs::File::options();
    let writer = writer.write(true).custom_flags(libc::O_NONBLOCK);
    until("nobody reads", || writer.open(path).is_err_and(|error| error.raw_os_error() == Some(libc::ENXIO)));
}

fn the_ready_fd_gets_one_newline_and_its_end() {
    for fd in [3, 4, 7, 100] {
        let scratch = scratch();
        let (path, supervisor) = (scratch.file("fifo"), Supervisor::by_name());
        let mut reader = fifo(&path);
        let words = [format!("open {fd} {path}"), format!("ready_fd {fd}"), supervisor.word()];
        let mut start = Start::service(&words.each_ref().map(String::as_str));
        let mut daemon = start.call();
        let caller = start.caller_of(&daemon);
        let mut text = [0; 10];
        assert_eq!(reader.read(&mut text).unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "not ready yet");
        daemon.does("ready", "done");
        daemon.does(&format!("flags {fd}"), "-1");
        assert_eq!(start.warden.caller(), End::Exited(0));
        // The daemon lives, and nobody can write any more.
        let mut text = Vec::new();
        reader.read_to_end(&mut text).unwrap();
        assert_eq!(text, b"\n");
        daemon.does("ready", "ready EALREADY");
        supervisor.has_heard(&format!("READY=1\nMAINPID={}", daemon.pid), caller);
    }
}

/// Also where the start opens something of its own at that number.
fn a_descriptor_that_is_not_open_is_an_error_of_the_start() {
    let supervisor = Supervisor::by_name();
    let numbers = (3..12).chain([-1, 77, i32::MAX]);
    let both = numbers.flat_map(|fd| [(fd, "ready_fd"), (fd, "stdout")]);
    for (fd, option) in both.chain([(0, "ready_fd"), (1, "ready_fd"), (2, "ready_fd")]) {
        let mut start = Start::service(&[&format!("{option} {fd}"), "pid_file SCRATCH/pid", &supervisor.word()]);
        let caller = start.call();
        let error = match option {
            "stdout" => "stdout EBADF",
            _ if fd < 3 => "options EINVAL",
            _ => "notify EBADF",
        };
        assert_eq!(caller.role, format!("failed {error} []"), "{fd}");
        assert!(!fs::exists(start.scratch.file("pid")).unwrap());
        drop(caller);
        assert_eq!(start.end(), (End::Exited(0), vec![], vec![]));
    }
}

fn a_ready_fd_that_nobody_reads_is_an_error_of_ready_and_no_death() {
    let scratch = scratch();
    let path = scratch.file("fifo");
    let reader = fifo(&path);
    let mut start = Start::service(&[&format!("open 5 {path}"), "ready_fd 5"]);
    let mut daemon = start.call();
    let caller = start.caller_of(&daemon);
    drop(reader);
    until_nobody_reads(&path);
    daemon.does("ready", "notify EPIPE");
    daemon.does("ready", "notify EPIPE");
    assert!(start.warden.living().contains(&caller), "the caller waits");
    daemon.does("fail 9", "gone");
    assert_eq!(start.end().0, End::Exited(9));
}

// 2. The command that waits for READY=1.

fn the_command_waits_until_the_program_says_that_it_is_ready() {
    for option in ["-n", "--notify"] {
        for ready in ["READY=1", "STATUS=up\\nREADY=1\\n", "READY=1\\nSTATUS=up\\nMAINPID=1", "FOO=\\n\\nREADY=1"] {
            let mut start = Start::command(&[option, "-P"]);
            let mut daemon = start.call();
            let command = start.child();
            for text in ["STATUS=warming up", "STATUS=READY=1", "READY=0", "RELOADING=1", "STOPPING=1", "WATCHDOG=1"] {
                daemon.says(text);
            }
            let leader = parent_of(daemon.pid);
            let mut living = start.warden.living();
            living.sort_unstable();
            let mut expected = [command, leader, daemon.pid];
            expected.sort_unstable();
            assert_eq!(living, expected, "the command waits, and nothing is printed");
            assert_eq!(start.warden.output(), [""; 0]);
            daemon.says(ready);
            let pid = daemon.pid.to_string();
            start.succeeds(daemon, &[pid]);
        }
    }
}

fn a_child_of_the_program_may_say_that_it_is_ready() {
    let mut start = Start::command(&["-n"]);
    let mut daemon = start.call();
    daemon.does("child STATUS=up\\nREADY=1", "exit status: 0");
    start.succeeds(daemon, &[]);
}

/// `--ready` alone asks whether it was heard (BARRIER=1), and fails if nobody is there any more.
fn systemd_notify_is_heard_out() {
    const TIMES: usize = 20;
    if Command::new("systemd-notify").arg("--version").stdout(process::Stdio::null()).status().is_err() {
        return skipped("systemd-notify is not installed");
    }
    for arguments in ["--ready", "--ready --status=up", "--pid --ready", "--ready --no-block"] {
        for _ in 0..TIMES {
            let mut start = Start::command(&["-n"]);
            let mut daemon = start.call();
            daemon.does(&format!("run exec systemd-notify {arguments} 2>/dev/null"), "exit status: 0");
            start.succeeds(daemon, &[]);
        }
    }
}

fn a_program_in_a_session_of_its_own_may_say_that_it_is_ready() {
    for order in ["session", "wander"] {
        for says in ["say READY=1", "child READY=1"] {
            let mut start = Start::command(&["-n"]);
            let mut daemon = start.call();
            daemon.does(order, "true");
            daemon.order(says);
            start.succeeds(daemon, &[]);
        }
    }
}

/// The name of the socket that a program was given.
fn socket_of(pid: i32) -> String {
    let environ = String::from_utf8(fs::read(format!("/proc/{pid}/environ")).unwrap()).unwrap();
    environ.split('\0').find_map(|entry| entry.strip_prefix("NOTIFY_SOCKET=")).unwrap().to_owned()
}

fn nobody_else_may_say_that_it_is_ready() {
    // This process, as which nobody is more: it may even be root.
    let mut start = Start::command(&["-n"]);
    let mut daemon = start.call();
    let name = socket_of(daemon.pid);
    assert!(name.starts_with('@') && name.len() > 1, "{name}");
    let lie = b"STATUS=a lie\nERRNO=5\nREADY=1";
    assert_eq!(tell(&notifier(&name), lie, &[]), "said");
    daemon.does("exit 3", "gone");
    // Had it been believed, there would be success, or its words in the line.
    start.fails(&ended(": exit status 3"));
    // A child that has left the session.
    let mut start = Start::command(&["-n"]);
    let mut daemon = start.call();
    daemon.does("stray STATUS=a lie\\nERRNO=5\\nREADY=1", "said");
    daemon.does("exit 3", "gone");
    let (end, _, said) = start.end();
    assert_eq!((end, said), (End::Exited(125), vec![ended(": exit status 3")]));
    // And the truth is still heard after a lie.
    let mut start = Start::command(&["-n"]);
    let mut daemon = start.call();
    assert_eq!(tell(&notifier(&socket_of(daemon.pid)), lie, &[]), "said");
    daemon.says("READY=1");
    start.succeeds(daemon, &[]);
}

/// Stops the command while something is done, so that it hears of it only afterwards.
fn unheard(command: i32, what: impl FnOnce()) {
    kill(command, libc::SIGSTOP);
    until("it has stopped", || stat_fields(command).is_some_and(|fields| fields[0] == "T"));
    what();
    kill(command, libc::SIGCONT);
}

fn of_a_sender_that_is_gone_its_user_counts() {
    let mut start = Start::command(&["-n"]);
    let mut daemon = start.call();
    unheard(start.child(), || daemon.does("gone READY=1", "exit status: 0"));
    start.succeeds(daemon, &[]);
    if !is_root() {
        return skipped("only root can be several users");
    }
    // The binary's directory may be closed to others; a copy's is not.
    let scratch = scratch();
    let copy = scratch.file("copy");
    assert!(Command::new("cp").args([&binary(), &copy]).status().unwrap().success());
    let shout = |text: &str, name: &str, user: u32| {
        let mut command = Command::new(&copy);
        let command = command.args(["helper", "shout", text]).env("NOTIFY_SOCKET", name).uid(user).gid(user);
        assert!(command.current_dir("/").status().unwrap().success());
    };
    let command = untty().get_program().to_str().unwrap().to_owned();
    for (user, option, is_believed) in [(61_234, "-u61234:61234", true), (61_235, "-u61234:61234", false)] {
        let words = ["exec", &command, "-n", option, &copy, "helper", "program", "MEETING"];
        let mut start = Start::with("launch", &words);
        let mut daemon = start.call();
        let name = socket_of(daemon.pid);
        unheard(start.child(), || shout("STATUS=gone\nREADY=1", &name, user));
        if is_believed {
            start.succeeds(daemon, &[]);
        } else {
            daemon.does("exit 3", "gone");
            start.fails(&format!("untty: fail: {copy} ended before it was ready: exit status 3"));
        }
    }
}

fn why_a_program_gave_up_is_told() {
    let gave_up = |how: &str| format!("untty: notify: {} gave up{how}", binary());
    let long = "x".repeat(300);
    for (says, order, line) in [
        (&["STATUS=no such disk"][..], "exit 3", ended(" (no such disk): exit status 3")),
        (&["STATUS=no such disk", "STATUS=no disk at all"], "exit 1", ended(" (no disk at all): exit status 1")),
        (&["STATUS=soon", "STATUS="], "exit 1", ended(": exit status 1")),
        (&[&format!("STATUS={long}")], "exit 1", ended(&format!(" ({}): exit status 1", &long[..256]))),
        (&["STATUS=a\tb\x1b[31m"], "exit 1", ended(" (a?b?[31m): exit status 1")),
        (&["STATUS=dying"], "die 9", DIED.replace(": ESRCH", " (dying): ESRCH")),
        (&["STATUS=dying"], "exit 0", DIED.replace(": ESRCH", " (dying): ESRCH")),
        (&["ERRNO=28"], "exit 3", gave_up(": ENOSPC")),
        (&["STATUS=disk full\\nERRNO=28"], "exit 3", gave_up(" (disk full): ENOSPC")),
        (&["ERRNO=28"], "exit 0", gave_up(": ENOSPC")),
        (&["ERRNO=28"], "die 9", gave_up(": ENOSPC")),
        (&["ERRNO=28", "ERRNO=5"], "exit 3", gave_up(": EIO")),
        (&["ERRNO=54321"], "exit 3", gave_up(": 54321")),
        (&["ERRNO=28", "ERRNO=0"], "exit 3", ended(": exit status 3")),
        (&["ERRNO=", "ERRNO=x", "ERRNO=-5", "ERRNO= 5", "ERRNO=99999999999"], "exit 3", ended(": exit status 3")),
    ] {
        let mut start = Start::command(&["-n", "-P"]);
        let mut daemon = start.call();
        says.iter().for_each(|text| daemon.says(text));
        daemon.does(order, "gone");
        start.fails(&line);
    }
}

fn a_program_that_ends_before_it_is_ready_is_a_failure() {
    for options in [&["-n"][..], &["-R", "7"], &["-nP", "-t", "1000"], &["-R7", "-p", "SCRATCH/pid"]] {
        for (order, line) in [
            ("exit 3", ended(": exit status 3")),
            ("exit 255", ended(": exit status 255")),
            ("exit 0", DIED.to_owned()),
            ("die 9", DIED.to_owned()),
            ("die 15", DIED.to_owned()),
        ] {
            let mut start = Start::command(options);
            let mut daemon = start.call();
            // What it has started ends with it.
            let child = number(&daemon.order("fork"));
            daemon.does(order, "gone");
            let pid_file = start.scratch.file("pid");
            let (end, orphans, said) = start.end();
            assert_eq!((end, said), (End::Exited(125), vec![line]), "{options:?} {order}");
            assert_eq!(orphans, [(child, End::Killed(libc::SIGKILL))], "{options:?} {order}");
            assert!(!fs::exists(pid_file).unwrap(), "{options:?} {order}");
        }
    }
}

/// What it said and its death may be seen in either order. But never is there success with a line, or failure without.
fn a_program_that_is_ready_and_over_at_once_leaves_the_truth() {
    let binary = binary();
    let notify = format!("exec {binary} helper say READY=1");
    for (option, script, status) in [
        ("-n", notify.as_str(), 0),
        ("-n", &format!("{binary} helper say READY=1; exit 4"), 4),
        ("-R7", "echo >&7", 0),
        ("-R7", "echo >&7; exit 4", 4),
    ] {
        for _ in 0..20 {
            let command = untty().get_program().to_str().unwrap().to_owned();
            let start = Start::with("launch", &["exec", &command, option, "sh", "-c", script]);
            let failure = format!("untty: fail: sh ended before it was ready: exit status {status}");
            match start.end() {
                (End::Exited(0), orphans, said) => {
                    assert_eq!(said, [""; 0]);
                    let ends: Vec<End> = orphans.into_iter().map(|(_, end)| end).collect();
                    assert!(
                        ends.len() <= 1 && ends.iter().all(|end| *end == End::Exited(status)),
                        "{script}: {ends:?}"
                    );
                }
                (end, orphans, said) => {
                    assert_ne!(status, 0, "it was ready, and has done its work");
                    assert_eq!((end, orphans, said), (End::Exited(125), vec![], vec![failure]), "{script}");
                }
            }
        }
    }
}

/// Also where the caller comes to listen only when it has ended.
fn what_a_program_had_said_before_it_ended_is_heard() {
    let failure = |line: String| (End::Exited(125), vec![line]);
    for (option, says, status, expected) in [
        ("-n", "gone READY=1", 0, (End::Exited(0), vec![])),
        ("-R7", "write 7 \\n", 0, (End::Exited(0), vec![])),
        ("-n", "gone READY=1", 3, failure(ended(": exit status 3"))),
        ("-n", "gone STATUS=no disk", 3, failure(ended(" (no disk): exit status 3"))),
        ("-n", "gone ERRNO=28", 3, failure(format!("untty: notify: {} gave up: ENOSPC", binary()))),
        ("-n", "gone ERRNO=28", 0, failure(format!("untty: notify: {} gave up: ENOSPC", binary()))),
    ] {
        let mut start = Start::command(&[option]);
        let mut daemon = start.call();
        let (caller, leader) = (start.child(), parent_of(daemon.pid));
        kill(caller, libc::SIGSTOP);
        until("it is stopped", || harness::stat_fields(caller).is_some_and(|fields| fields[0] == "T"));
        daemon.order(says);
        daemon.does(&format!("exit {status}"), "gone");
        until("the leader has told", || harness::stat_fields(leader).is_none_or(|fields| fields[0] == "Z"));
        kill(caller, libc::SIGCONT);
        let (end, _, said) = start.end();
        assert_eq!((end, said), expected, "{option} {says} {status}");
    }
}

/// The command hears that it is ready, and then of its end: in this order.
fn a_program_that_dies_while_it_is_heard_out_is_a_failure_unless_it_has_done_its_work() {
    let command = untty().get_program().to_str().unwrap().to_owned();
    for stale in [None, Some("999999\n")] {
        for (order, line) in
            [("exit 3", ended(": exit status 3")), ("die 9", DIED.to_owned()), ("exit 0", String::new())]
        {
            let scratch = scratch();
            let path = scratch.file("pid");
            stale.iter().for_each(|text| fs::write(&path, text).unwrap());
            let words = ["SCRATCH/go", &command, "-n", "-p", &path, "SELF", "helper", "over", order, "SCRATCH/go"];
            let (end, _, said) = Start::with("at_the_end", &words).end();
            if line.is_empty() {
                assert_eq!((end, said), (End::Exited(0), vec![]), "{order}");
            } else {
                assert_eq!((end, said), (End::Exited(125), vec![line]), "{order}");
                assert_eq!(fs::read_to_string(&path).ok().as_deref(), stale, "{order}");
            }
        }
    }
}

fn bad_messages_do_no_harm() {
    let mut start = Start::command(&["-n"]);
    let mut daemon = start.call();
    let command = start.child();
    let open = || fs::read_dir(format!("/proc/{command}/fd")).unwrap().count();
    daemon.says("STATUS=it is heard, so all that is open stays open");
    let before = open();
    for order in [
        "say",
        "say \\n\\n\\n",
        "say READY",
        "say READY=",
        "say READY=11",
        "say READY=1\\s",
        "say  READY=1",
        "say READY=1\\r",
        "say ready=1",
        "say =READY=1",
        "say EXTEND_TIMEOUT_USEC=99999999999999999999999",
        "say EXTEND_TIMEOUT_USEC=18446744073709551615",
        "say ERRNO=\\nSTATUS",
        "junk 1",
        "junk 4095",
        "junk 4096",
        "junk 4097",
        "junk 100000",
        "junk 4090 STATUS=",
        "flood 2000",
    ] {
        daemon.does(order, "said");
    }
    assert_eq!(open(), before);
    daemon.does("exit 3", "gone");
    start.fails(&ended(" (1999): exit status 3"));
}

fn descriptors_that_come_with_a_message_are_not_kept() {
    let mut start = Start::command(&["-n"]);
    let mut daemon = start.call();
    let command = start.child();
    let open = || fs::read_dir(format!("/proc/{command}/fd")).unwrap().count();
    daemon.says("STATUS=it is heard, so all that is open stays open");
    let before = open();
    for order in ["attach 1 STATUS=take this", "attach 2 FDSTORE=1", "attach 253 x", "attach 1"] {
        daemon.does(order, "said");
        assert_eq!(open(), before, "{order}");
    }
    daemon.does("attach 3 READY=1", "said");
    start.succeeds(daemon, &[]);
}

fn a_start_that_is_not_ready_in_time_is_killed_whole() {
    let killed = End::Killed(libc::SIGKILL);
    for (options, says, line) in [
        (["-n", "-t4"], "", TOO_LATE.to_owned()),
        (["-R9", "-t4"], "", TOO_LATE.to_owned()),
        (["-n", "-t4"], "STATUS=loading", TOO_LATE.replace(": ETIMEDOUT", " (loading): ETIMEDOUT")),
        (["-n", "-t4"], "ERRNO=28", TOO_LATE.to_owned()),
    ] {
        let began = Instant::now();
        let mut start = Start::command(&[&options[..], &["-P", "-p", "SCRATCH/pid"]].concat());
        let mut daemon = start.call();
        let child = number(&daemon.order("fork"));
        if !says.is_empty() {
            daemon.says(says);
        }
        let pid_file = start.scratch.file("pid");
        let (end, orphans, said) = start.end();
        assert!(began.elapsed() >= Duration::from_secs(4));
        assert_eq!((end, said), (End::Exited(125), vec![line]), "{options:?} {says}");
        assert!(orphans.contains(&(child, killed)), "{orphans:?}");
        assert!(orphans.iter().all(|orphan| orphan.1 == killed), "{orphans:?}");
        assert!(!fs::exists(pid_file).unwrap());
    }
}

/// Its leader, which is its parent, kills and reaps it, wherever it has gone.
fn a_program_in_a_session_of_its_own_that_is_not_ready_in_time_is_killed() {
    for order in ["session", "wander"] {
        for option in ["-n", "-R9"] {
            let mut start = Start::command(&[option, "-t4", "-p", "SCRATCH/pid"]);
            let mut daemon = start.call();
            daemon.does(order, "true");
            let pid_file = start.scratch.file("pid");
            let (end, orphans, said) = start.end();
            assert_eq!((end, said), (End::Exited(125), strings(&[TOO_LATE])), "{order} {option}");
            assert!(orphans.iter().all(|orphan| orphan.1 == End::Killed(libc::SIGKILL)), "{orphans:?}");
            assert!(!fs::exists(pid_file).unwrap());
            assert_eq!(daemon.visitor.line(), None);
        }
        for words in [&["spawn"][..], &["spawn", "newline 7"]] {
            let mut start = Start::service(&[words, &["deadline 3"]].concat());
            let mut daemon = start.call();
            daemon.does(order, "true");
            let caller = start.call();
            assert_eq!(caller.role, "failed wait ETIMEDOUT []");
            assert_eq!(start.warden.living(), [caller.pid]);
            drop((caller, daemon));
            assert_eq!(start.end().0, End::Exited(0));
        }
    }
}

/// Nobody is left who is its parent, or in whose session it is: the kernel's handle on it is (Linux 5.3).
fn a_program_that_has_killed_or_stopped_its_leader_is_ended() {
    if unsafe { libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0) } < 0 {
        return skipped("pidfd_open");
    }
    let mut starts = Vec::new();
    for (signal, line) in [(libc::SIGKILL, DIED), (libc::SIGSTOP, TOO_LATE)] {
        for order in ["session", "wander"] {
            for option in ["-n", "-R9"] {
                let mut start = Start::command(&[option, "-t4", "-p", "SCRATCH/pid"]);
                let mut daemon = start.call();
                daemon.does(order, "true");
                // It may be ended before it can answer.
                daemon.visitor.say(&format!("run kill -{signal} {}", parent_of(daemon.pid)));
                starts.push((start, daemon, line, format!("{order} {signal} {option}")));
            }
        }
    }
    for (start, mut daemon, line, what) in starts {
        let pid_file = start.scratch.file("pid");
        let (end, orphans, said) = start.end();
        assert_eq!((end, said), (End::Exited(125), strings(&[line])), "{what}");
        assert!(orphans.iter().all(|(pid, end)| *pid != daemon.pid || *end == End::Killed(libc::SIGKILL)), "{what}");
        assert!(!fs::exists(pid_file).unwrap(), "{what}");
        while daemon.visitor.line().is_some() {}
    }
}

fn a_program_may_ask_for_more_time_and_never_gets_less() {
    let (began, time) = (Instant::now(), Duration::from_secs(5));
    let mut longer = Start::command(&["-n", "-t5"]);
    let mut daemon = longer.call();
    daemon.says("EXTEND_TIMEOUT_USEC=1000000000");
    // Of several, the longest counts.
    daemon.says("EXTEND_TIMEOUT_USEC=1");
    let mut shorter = Start::command(&["-n", "-t1000"]);
    let mut patient = shorter.call();
    for text in ["EXTEND_TIMEOUT_USEC=1", "EXTEND_TIMEOUT_USEC=0", "EXTEND_TIMEOUT_USEC=x"] {
        patient.says(text);
    }
    let mut endless = Start::command(&["-n"]);
    let mut slow = endless.call();
    slow.says("EXTEND_TIMEOUT_USEC=1");
    // The only way to see that a time has been extended.
    let rest = (time + Duration::from_millis(300)).saturating_sub(began.elapsed());
    assert_eq!(longer.warden.try_next(rest), None);
    for (start, mut daemon) in [(longer, daemon), (shorter, patient), (endless, slow)] {
        daemon.says("READY=1");
        start.succeeds(daemon, &[]);
    }
}

fn a_program_that_stops_itself_is_waited_for() {
    for options in [&["-n"][..], &["-n", "-t", "3"]] {
        let mut start = Start::command(options);
        let mut daemon = start.call();
        daemon.visitor.say(&format!("die {}", libc::SIGSTOP));
        until("it has stopped", || stat_fields(daemon.pid).is_none_or(|fields| fields[0] == "T"));
        if options.len() == 1 {
            kill(daemon.pid, libc::SIGCONT);
            assert_eq!(daemon.visitor.line().as_deref(), Some("alive"));
            daemon.says("READY=1");
            start.succeeds(daemon, &[]);
        } else {
            let (end, orphans, said) = start.end();
            assert_eq!((end, said), (End::Exited(125), strings(&[TOO_LATE])));
            assert!(orphans.iter().all(|orphan| orphan.1 == End::Killed(libc::SIGKILL)), "{orphans:?}");
        }
    }
}

/// It is root's, and the command is not.
fn a_program_that_cannot_be_ended_is_told_of() {
    if !is_root() {
        return skipped("only root can make a program set-user-ID root");
    }
    let scratch = scratch();
    let (command, program) = (scratch.file("untty"), scratch.file("program"));
    // Copied by other processes: nothing that is started here at the same time can have them open for writing.
    for (from, to, mode) in [(untty().get_program(), &command, "755"), (binary().as_ref(), &program, "4755")] {
        let copy = "cp \"$1\" \"$2\" && chmod \"$3\" \"$2\"";
        assert!(
            Command::new("sh")
                .args(["-c", copy, "sh"])
                .args([from, to.as_ref(), mode.as_ref()])
                .status()
                .unwrap()
                .success()
        );
    }
    let mut start =
        Start::with("launch", &["nobody", "exec", &command, "-n", "-t3", &program, "helper", "roots", "MEETING"]);
    let mut daemon = start.call();
    if daemon.role != "roots" {
        return skipped("set-user-ID programs are not root's here");
    }
    let end = start.warden.caller();
    // It lives, and is all that does.
    daemon.does("flags 0", "0");
    assert_eq!(start.warden.living(), [daemon.pid]);
    kill(daemon.pid, libc::SIGKILL);
    start.warden.rest();
    let line = "untty: wait: the daemon could not be ended: EPERM";
    assert_eq!((end, start.warden.all_output()), (End::Exited(125), strings(&[line])));
}

/// To it, and to all that is below it.
fn where_kill_is_forbidden_a_program_that_gets_ready_is_a_success() {
    let forbid = format!("forbid kill {}", libc::EPERM);
    for (options, ready) in
        [(&["-R5", "-t2"][..], "write 5 \\n"), (&["-R5"], "write 5 \\n"), (&["-n"], "say READY=1"), (&[], "")]
    {
        let mut start = Start::prepared(&[&forbid], &[options, &["-P", "-p", "SCRATCH/pid"]].concat());
        let mut daemon = start.call();
        if !ready.is_empty() {
            daemon.order(ready);
        }
        assert_eq!(start.warden.caller(), End::Exited(0), "{options:?} {:?}", start.warden.output());
        let pid_file = start.scratch.file("pid");
        assert_eq!(untty::pid_file_read(c(&pid_file)).unwrap(), Some(daemon.pid));
        let pid = daemon.pid;
        drop(daemon);
        start.warden.rest();
        assert_eq!(start.warden.all_output(), [pid.to_string()]);
    }
}

/// The signal with which the command tells its leader, in the same group, to give up.
fn a_signal_to_the_programs_group_does_not_end_the_start() {
    for (option, ready) in [("-n", "say READY=1"), ("-R5", "write 5 \\n")] {
        let mut start = Start::command(&[option]);
        let mut daemon = start.call();
        let leader = parent_of(daemon.pid);
        for _ in 0..3 {
            daemon.does("signal_group 64", "0");
            until("its leader has taken it away", || pending(leader).is_none_or(|signals| signals == 0));
        }
        daemon.order(ready);
        start.succeeds(daemon, &[]);
    }
}

/// The signals that are pending for a process; `None` when it is gone.
fn pending(pid: i32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn a_command_that_is_killed_takes_the_start_with_it() {
    for options in [&["-n"][..], &["-R", "5"], &["-n", "-t", "1000", "-p", "SCRATCH/pid"]] {
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGKILL] {
            let mut start = Start::command(options);
            let mut daemon = start.call();
            let child = number(&daemon.order("fork"));
            let leader = parent_of(daemon.pid);
            kill(start.child(), signal);
            let (end, orphans, said) = start.end();
            assert_eq!((end, said), (End::Killed(signal), vec![]), "{options:?}");
            let end_of = |pid| orphans.iter().find(|orphan| orphan.0 == pid).map(|orphan| orphan.1);
            // The leader has killed and reaped the daemon, and then everybody in its group.
            assert_eq!(end_of(child), Some(End::Killed(libc::SIGKILL)), "{options:?} {signal}");
            assert_eq!(end_of(leader), Some(End::Killed(libc::SIGKILL)), "{options:?} {signal}");
            assert_eq!(orphans.len(), 2, "{options:?} {signal}");
        }
    }
}

/// The file below `/proc`, as the strings that it holds.
fn strings_of(pid: i32, file: &str) -> Vec<String> {
    let text = String::from_utf8(fs::read(format!("/proc/{pid}/{file}")).unwrap()).unwrap();
    text.split_terminator('\0').map(str::to_owned).collect()
}

fn arguments_and_environment_are_as_they_were_but_for_the_socket() {
    let plain = |count: usize| (0..count).map(|at| format!("V{at}={}", "x".repeat(at % 40))).collect::<Vec<_>>();
    let socket = "NOTIFY_SOCKET=/run/another".to_owned();
    let [mut first, mut middle, mut last] = [500, 500, 500].map(plain);
    first.insert(0, socket.clone());
    middle.insert(250, socket.clone());
    last.push(socket.clone());
    let similar = strings(&["NOTIFY_SOCKET_=1", "XNOTIFY_SOCKET=2", "NOTIFY_SOCKE=3"]);
    for variables in [plain(0), plain(1), plain(500), vec![socket.clone()], first, middle, last, similar] {
        for arguments in [&[][..], &["", "a b", "--", "-n"]] {
            let command = untty().get_program().to_str().unwrap().to_owned();
            let environment = variables.iter().map(String::as_str);
            let program = [&binary(), "helper", "program", "MEETING"].map(str::to_owned);
            let words: Vec<&str> = ["exec", "/usr/bin/env", "-i"]
                .into_iter()
                .chain(environment)
                .chain([command.as_str(), "-n"])
                .chain(program.iter().map(String::as_str))
                .chain(arguments.iter().copied())
                .collect();
            let mut start = Start::with("launch", &words);
            let mut daemon = start.call();
            let meeting = start.meeting.path().to_owned();
            let expected: Vec<String> = program.iter().map(|word| word.replace("MEETING", &meeting)).collect();
            assert_eq!(strings_of(daemon.pid, "cmdline"), [expected, strings(arguments)].concat());
            let has = strings_of(daemon.pid, "environ");
            let own = format!("NOTIFY_SOCKET={}", socket_of(daemon.pid));
            assert!(own.starts_with("NOTIFY_SOCKET=@"), "{own}");
            if let Some(place) = variables.iter().position(|variable| *variable == socket) {
                let mut expected = variables.clone();
                expected[place] = own;
                assert_eq!(has, expected, "it took the other's place");
            } else {
                let others: Vec<&String> = has.iter().filter(|variable| **variable != own).collect();
                assert_eq!(others, variables.iter().collect::<Vec<_>>());
                assert_eq!(has.len(), variables.len() + 1);
            }
            daemon.says("READY=1");
            start.succeeds(daemon, &[]);
        }
    }
}

/// It is written by another process: nothing that is started here at the same time can have it open for writing.
fn write_script(path: &str, text: &str) {
    let script = "printf '%s\\n' \"$2\" >\"$1\" && chmod 755 \"$1\"";
    assert!(Command::new("sh").args(["-c", script, "sh", path, text]).status().unwrap().success());
}

fn a_script_without_an_interpreter_can_say_that_it_is_ready() {
    let scratch = scratch();
    let path = scratch.file("script");
    write_script(&path, &format!("exec {} helper program \"$@\"", binary()));
    let command = untty().get_program().to_str().unwrap().to_owned();
    for options in [&["-n"][..], &["-nP"], &["--notify", "--"], &["-n", "-t", "1000"]] {
        for environment in [&[][..], &["NOTIFY_SOCKET=/another"], &["A=1", "B=2"]] {
            let words = [&["exec", "/usr/bin/env", "-i"], environment, &[&command], options].concat();
            let mut start = Start::with("launch", &[&words[..], &[&path, "MEETING", "a b", ""]].concat());
            let mut daemon = start.call();
            let expected = strings(&[&binary(), "helper", "program", start.meeting.path(), "a b", ""]);
            assert_eq!(strings_of(daemon.pid, "cmdline"), expected, "{options:?}");
            daemon.says("READY=1");
            let pid = daemon.pid.to_string();
            start.succeeds(daemon, if options == ["-nP"] { std::slice::from_ref(&pid) } else { &[] });
        }
    }
}

fn two_ways_to_be_ready_exclude_each_other() {
    for options in [&["-n", "-R", "3"][..], &["-R3", "--notify"]] {
        let line = "untty: options: '--notify' and '--ready-fd' exclude each other";
        let (end, orphans, said) = Start::command(options).end();
        assert_eq!((end, orphans.len(), said.len()), (End::Exited(125), 0, 1));
        assert!(said[0].starts_with(line), "{said:?}");
    }
}

fn a_descriptor_cannot_be_kept_and_be_the_one_to_be_ready_on() {
    for options in [&["-k", "5", "-R", "5"][..], &["-R5", "-k5"], &["-k7", "-k5", "--ready-fd=5"]] {
        let mut start = Start::prepared(&["open 5 /", "open 7 /"], &[options, &["-p", "SCRATCH/pid"]].concat());
        assert_eq!(start.warden.caller(), End::Exited(125), "{options:?}");
        assert_eq!(start.warden.rest(), []);
        let line = "untty: options: '--ready-fd' and '--keep-fd' name the same descriptor: EINVAL";
        assert_eq!(start.warden.all_output(), [line], "{options:?}");
        assert!(!fs::exists(start.scratch.file("pid")).unwrap());
    }
    // The control: two numbers.
    let mut start = Start::prepared(&["open 5 /"], &["-k5", "-R6"]);
    let mut daemon = start.call();
    daemon.order("write 6 \\n");
    start.succeeds(daemon, &[]);
}

// 3. The command that waits for a newline.

fn a_newline_says_that_the_program_is_ready() {
    for (option, writes) in [("-R7", &["\\n"][..]), ("-R7", &["up", " soon\\n"]), ("--ready-fd=7", &["a\\nb\\n\\n"])] {
        let mut start = Start::command(&[option, "-P"]);
        let mut daemon = start.call();
        // Longer than what is read of it at once.
        daemon.does(&format!("write 7 {}", "x".repeat(1000)), "1000");
        for text in writes {
            daemon.does(&format!("write 7 {text}"), &text.replace("\\n", "\n").len().to_string());
        }
        let pid = daemon.pid.to_string();
        start.succeeds(daemon, &[pid]);
    }
}

fn a_pipe_that_ends_without_a_newline_is_not_readiness() {
    // It waits on, for the program's end or the deadline.
    for text in ["", "almost", &"x".repeat(64)] {
        let mut start = Start::command(&["-R", "7"]);
        let mut daemon = start.call();
        daemon.does(&format!("write 7 {text}"), &text.len().to_string());
        daemon.does("shut 7", "0");
        daemon.does("exit 3", "gone");
        start.fails(&ended(": exit status 3"));
    }
    let mut start = Start::command(&["-R7", "-t3"]);
    let mut daemon = start.call();
    daemon.does("shut 7", "0");
    let (end, orphans, said) = start.end();
    assert_eq!((end, said), (End::Exited(125), strings(&[TOO_LATE])));
    assert!(orphans.iter().all(|orphan| orphan.1 == End::Killed(libc::SIGKILL)), "{orphans:?}");
}

fn a_program_that_writes_without_end_is_ended_at_the_deadline() {
    let command = untty().get_program().to_str().unwrap().to_owned();
    // Also when there always is more to read than the command has read.
    for above in [&[][..], &["SELF", "helper", "slowly"]] {
        let words = [&command, "-R5", "-t0.5", "sh", "-c", "exec cat /dev/zero >&5"];
        let (end, orphans, said) = Start::with("launch", &[&["exec"], above, &words].concat()).end();
        assert_eq!((end, said), (End::Exited(125), strings(&[TOO_LATE])), "{above:?}");
        assert!(orphans.iter().all(|orphan| orphan.1 == End::Killed(libc::SIGKILL)), "{orphans:?}");
    }
}

fn the_program_has_its_descriptor_at_any_number_and_no_others() {
    for number in 3..=12 {
        for more in [&[][..], &["-p", "SCRATCH/pid"], &["-o", "SCRATCH/log", "-p", "SCRATCH/pid"]] {
            // Whether or not the caller has something at that number.
            for words in [vec![], vec![format!("open {number} /")]] {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let option = number.to_string();
                let mut start = Start::prepared(&words, &[&["-R", &option], more].concat());
                let mut daemon = start.call();
                let file = |name: &str| start.scratch.file(name);
                let log = if more.contains(&"-o") { file("log") } else { "/dev/null".to_owned() };
                let mut files = daemon.files();
                let at = files.iter().position(|(fd, _)| *fd == number).unwrap();
                assert!(files.remove(at).1.starts_with("pipe:"), "{number} {more:?}");
                let pipe = &daemon.state[&format!("fd {number:05}")];
                assert!(pipe.ends_with(" 0 1"), "inherited, and to write: {pipe}");
                let targets: Vec<String> = files.iter().map(|file| file.1.clone()).collect();
                let mut expected = vec!["/dev/null".to_owned(), log.clone(), log];
                if !more.is_empty() {
                    expected.push(file("pid"));
                    assert_eq!(fs::read_to_string(file("pid")).unwrap(), format!("{}\n", daemon.pid));
                }
                assert_eq!(targets, expected, "{number} {more:?}");
                daemon.does(&format!("write {number} \\n"), "1");
                start.succeeds(daemon, &[]);
            }
        }
    }
}

fn a_number_that_no_descriptor_can_have_is_an_error() {
    for number in ["2147483647", "1073741824"] {
        let start = Start::command(&["-R", number, "-p", "SCRATCH/pid"]);
        let pid_file = start.scratch.file("pid");
        let (end, orphans, said) = start.end();
        assert_eq!((end, said.len()), (End::Exited(125), 1), "{said:?}");
        assert!(said[0].starts_with("untty: notify: ") && said[0].ends_with(": EBADF"), "{said:?}");
        assert!(orphans.is_empty(), "{orphans:?}");
        assert!(!fs::exists(pid_file).unwrap());
    }
}

fn a_caller_that_spawns_a_program_learns_when_it_is_ready_or_why_not() {
    for (words, ready) in [(&["spawn"][..], "say READY=1"), (&["spawn", "newline 7"], "write 7 \\n")] {
        let mut start = Start::service(words);
        let mut daemon = start.call();
        daemon.order(ready);
        let caller = start.call();
        assert_eq!(caller.role, format!("returned {} []", daemon.pid));
        let mut living = start.warden.living();
        living.sort_unstable();
        let mut expected = [caller.pid, daemon.pid];
        expected.sort_unstable();
        assert_eq!(living, expected, "and no leader");
        drop((caller, daemon));
        assert_eq!(start.end().0, End::Exited(0));
        for (order, error) in [("exit 3", "fail 3"), ("exit 0", "wait ESRCH"), ("die 9", "wait ESRCH")] {
            let mut start = Start::service(words);
            start.call().does(order, "gone");
            let caller = start.call();
            assert_eq!(caller.role, format!("failed {error} []"));
            assert_eq!(start.warden.living(), [caller.pid]);
            drop(caller);
            assert_eq!(start.end(), (End::Exited(0), vec![], vec![]));
        }
        let mut start = Start::service(&[words, &["deadline 3"]].concat());
        let daemon = start.call();
        let caller = start.call();
        assert_eq!(caller.role, "failed wait ETIMEDOUT []");
        assert_eq!(start.warden.living(), [caller.pid]);
        drop((caller, daemon));
        assert_eq!(start.end().0, End::Exited(0));
    }
    for number in [i32::MIN, -1, 0, 1, 2] {
        let mut start = Start::service(&["spawn", &format!("newline {number}")]);
        assert_eq!(start.call().role, "failed options EINVAL []");
    }
}

fn a_socket_that_is_used_again_has_forgotten_the_earlier_start() {
    let mut start = Start::with("reuser", &["MEETING"]);
    let mut caller = start.call();
    caller.visitor.say("1000");
    let mut first = start.call();
    first.says("STATUS=old\\nERRNO=28");
    first.says("READY=1");
    assert_eq!(caller.visitor.line(), Some(format!("daemon {} \"old\"", first.pid)));
    // What its errno was is not why another one fails.
    caller.visitor.say("1000");
    let mut second = start.call();
    second.does("exit 3", "gone");
    assert_eq!(caller.visitor.line().as_deref(), Some("fail 3 \"\""));
    // Nobody hears it now, and whoever has said it is gone.
    for text in ["READY=1", "READY=1\\nSTATUS=older\\nERRNO=28", ""] {
        first.does(&format!("gone {text}"), "exit status: 0");
    }
    caller.visitor.say("2");
    assert_eq!(caller.visitor.line().as_deref(), Some("wait ETIMEDOUT \"\""));
    drop((first, second, caller));
    assert_eq!(start.end().0, End::Exited(0));
}

// 4. Supervised.

/// Where everything that the test starts is, if it does not fork.
fn session() -> String {
    stat_fields(process::id() as i32).unwrap()[3].clone()
}

impl Start {
    /// Asserts that the process on the line is what was started, and not forked.
    fn is_not_forked(&self, line: &Line) {
        assert_eq!(line.pid, self.child());
        assert_eq!(line.state["session"], session());
    }

    /// Asserts that it is a daemon.
    fn is_forked(&self, line: &Line) {
        assert_ne!(line.state["session"], session());
        assert_ne!(line.state["session"], line.pid.to_string());
    }

    /// Its end, when it was one process.
    fn ends_alone(self, line: Line, says: &[&str]) {
        drop(line);
        assert_eq!(self.end(), (End::Exited(0), vec![], strings(says)));
    }
}

fn what_systemd_runs_stays_what_it_is() {
    for option in ["-S", "--if-supervised"] {
        let mut start = Start::prepared(&["self SYSTEMD_EXEC_PID", "env INVOCATION_ID=0123"], &[option, "-P"]);
        let program = start.call();
        start.is_not_forked(&program);
        assert_eq!(program.state["parent"], start.warden.pid().to_string());
        start.ends_alone(program, &[]);
    }
    let mut start = Start::service(&["self SYSTEMD_EXEC_PID", "stay"]);
    let daemon = start.call();
    assert_eq!(daemon.role, "daemon");
    start.is_not_forked(&daemon);
    start.ends_alone(daemon, &[]);
    // Before version 248.
    let scratch = scratch();
    symlink(binary(), scratch.file("systemd")).unwrap();
    let parent = scratch.file("systemd");
    let mut start = Start::below(&["env INVOCATION_ID=0123"], &[&parent, "helper", "parent"], &["-S"]);
    let program = start.call();
    assert_eq!(
        (program.state["parent"].as_str(), &program.state["session"]),
        (&*start.child().to_string(), &session())
    );
    // That process is the service, and not what it is named after.
    let words = ["env INVOCATION_ID=0123", &format!("env SYSTEMD_EXEC_PID={}", process::id())];
    let mut start = Start::below(&words, &[&parent, "helper", "parent"], &["-S"]);
    let daemon = start.call();
    start.is_forked(&daemon);
}

fn what_runit_or_s6_runs_stays_what_it_is() {
    let scratch = scratch();
    for name in ["runsv", "s6-supervise"] {
        let parent = scratch.file(name);
        symlink(binary(), &parent).unwrap();
        let mut start = Start::below(&[], &[&parent, "helper", "parent"], &["-S", "-P"]);
        let program = start.call();
        assert_eq!(program.state["parent"], start.child().to_string(), "{name}");
        assert_eq!(program.state["session"], session(), "{name}");
        start.ends_alone(program, &[]);
        // In the API, too.
        let words = [&parent, "helper", "parent", "SELF", "helper", "service", "MEETING", "stay"];
        let mut start = Start::with("launch", &[&["exec"][..], &words].concat());
        let daemon = start.call();
        assert_eq!(daemon.role, "daemon");
        assert_eq!(daemon.state["parent"], start.child().to_string(), "{name}");
        start.ends_alone(daemon, &[]);
    }
}

fn what_nobody_runs_forks() {
    let scratch = scratch();
    let named = |name: &str| {
        let path = scratch.file(name);
        symlink(binary(), &path).unwrap();
        path
    };
    let (runsv, s6, runsvdir, longer) =
        (named("runsv"), named("s6-supervise"), named("runsvdir"), named("s6-supervised"));
    let (systemd, launcher) = (named("systemd"), format!("{} helper parent", binary()));
    let launcher: Vec<&str> = launcher.split(' ').collect();
    let below = |name: &'static str| format!("env SYSTEMD_EXEC_PID={name}");
    let own = format!("env SYSTEMD_EXEC_PID={}", process::id());
    for (words, above) in [
        (&[][..], &[][..]),
        (&["env INVOCATION_ID=0123"], &[]),
        (&["env INVOCATION_ID=0123", &own], &[]),
        (&["env INVOCATION_ID=0123", &below("1")], &[]),
        (&[&below("")], &[]),
        (&[&below("x")], &[]),
        (&[&below("99999999999999999999")], &[]),
        // It is of its parent.
        (&["self SYSTEMD_EXEC_PID"], &launcher),
        // An orphan's parent is the subreaper; the warden.
        (&["env INVOCATION_ID=0123"], &[&binary(), "helper", "orphan"]),
        (&[], &[&runsvdir, "helper", "parent"]),
        (&[], &[&longer, "helper", "parent"]),
        (&[], &[&systemd, "helper", "parent"]),
        // It is the grandparent.
        (&[], &[&[&runsv, "helper", "parent"], &launcher[..]].concat()),
        (&[], &[&[&s6, "helper", "parent"], &launcher[..]].concat()),
        (&[], &[&runsv, "helper", "orphan"]),
    ] {
        let mut start = Start::below(words, above, &["-S", "-P"]);
        let daemon = start.call();
        start.is_forked(&daemon);
        let pid = daemon.pid;
        drop(daemon);
        let (end, _, said) = start.end();
        assert_eq!((end, said), (End::Exited(0), vec![pid.to_string()]), "{words:?} {above:?}");
    }
    // Evidence without the option.
    let mut start = Start::prepared(&["self SYSTEMD_EXEC_PID"], &[]);
    let daemon = start.call();
    start.is_forked(&daemon);
    let mut start = Start::service(&["self SYSTEMD_EXEC_PID"]);
    let daemon = start.call();
    start.is_forked(&daemon);
}

fn a_process_whose_parent_is_process_1_forks() {
    let above = ["SELF", "helper", "process_1", "MEETING"];
    let mut start = Start::below(&["env SYSTEMD_EXEC_PID=1", "env INVOCATION_ID=0123"], &above, &["-S"]);
    let daemon = start.call();
    if let Some(why) = daemon.role.strip_prefix("skipped: ") {
        return skipped(why);
    }
    let is_1 = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("NSpid:") && line.ends_with("\t1"))
    };
    assert_eq!(start.warden.living().into_iter().filter(is_1).count(), 1, "it has outlived the command");
    // A session from outside the namespace would be 0.
    assert_ne!(daemon.state["session"], "0");
}

fn streams_of_the_supervisor_stay_and_files_asked_for_are_opened() {
    for (options, streams) in [
        (&[][..], ["/dev/null", "pipe", "pipe"]),
        (&["-e", "SCRATCH/err"], ["/dev/null", "pipe", "SCRATCH/err"]),
        (&["-o", "SCRATCH/log"], ["/dev/null", "SCRATCH/log", "SCRATCH/log"]),
        (&["-i", "/etc/passwd"], ["/etc/passwd", "pipe", "pipe"]),
    ] {
        let mut start = Start::prepared(&["self SYSTEMD_EXEC_PID"], &[&["-S"], options].concat());
        let program = start.call();
        start.is_not_forked(&program);
        let directory = start.scratch.path().to_str().unwrap();
        let files = program.files();
        assert_eq!(files.len(), 3, "{files:?}");
        for ((fd, target), expected) in files.into_iter().zip(streams) {
            assert!(target.starts_with(&expected.replace("SCRATCH", directory)), "{options:?} {fd}: {target}");
        }
        start.ends_alone(program, &[]);
    }
    let mut start = Start::service(&["self SYSTEMD_EXEC_PID", "stay", "log SCRATCH/log"]);
    let daemon = start.call();
    start.is_not_forked(&daemon);
    let log = start.scratch.file("log");
    let expected = [(0, "/dev/null".to_owned()), (1, log.clone()), (2, log)];
    assert_eq!(daemon.files(), expected);
    start.ends_alone(daemon, &[]);
}

fn sockets_of_the_supervisor_stay_open() {
    let open = ["open 3 /", "open 4 /usr", "open 5 /etc", "open 50 /"];
    let service = ["self SYSTEMD_EXEC_PID", "self LISTEN_PID"];
    let other = format!("env LISTEN_PID={}", process::id());
    for (words, kept) in [
        (&["env LISTEN_FDS=2"][..], &[3, 4][..]),
        (&["env LISTEN_FDS=0"], &[]),
        (&["env LISTEN_FDS=x"], &[]),
        (&["env LISTEN_FDS=-1"], &[]),
        (&["env LISTEN_FDS=99999999999"], &[]),
        (&["env LISTEN_FDS=2", &other], &[]),
        (&["env LISTEN_FDS=2", "env LISTEN_PID="], &[]),
    ] {
        let words = [&open[..], &service, words].concat();
        let mut start = Start::prepared(&words, &["-S"]);
        let program = start.call();
        start.is_not_forked(&program);
        let fds: Vec<i32> = program.files().into_iter().map(|file| file.0).filter(|fd| *fd > 2).collect();
        assert_eq!(fds, kept, "{words:?}");
        drop(program);
        assert_eq!(start.end().0, End::Exited(0));
        // What is asked for stays besides.
        let mut start = Start::prepared(&words, &["-S", "-k", "5"]);
        let program = start.call();
        let fds: Vec<i32> = program.files().into_iter().map(|file| file.0).filter(|fd| *fd > 2).collect();
        assert_eq!(fds, [kept, &[5]].concat(), "{words:?}");
    }
    // They are of no use to a process with another id.
    let mut start = Start::prepared(&[&open[..], &["self LISTEN_PID", "env LISTEN_FDS=2"]].concat(), &["-S"]);
    let daemon = start.call();
    start.is_forked(&daemon);
    assert_eq!(daemon.files().len(), 3);
    let words = [&open[..], &service, &["env LISTEN_FDS=3", "stay"]].concat();
    let mut start = Start::service(&words);
    let daemon = start.call();
    start.is_not_forked(&daemon);
    let expected = [(3, "/".to_owned()), (4, "/usr".to_owned()), (5, "/etc".to_owned())];
    assert_eq!(daemon.files()[3..], expected);
}

fn listen_fds_are_for_the_process_that_they_name() {
    let mut start = Start::service(&[]);
    let mut daemon = start.call();
    let other = process::id();
    for (values, range) in [
        ("self 1", "3..4"),
        ("self 40", "3..43"),
        ("self 0", "3..3"),
        ("self 01", "3..4"),
        ("self -1", "3..3"),
        ("self +1", "3..3"),
        ("self 1x", "3..3"),
        ("self 0x1", "3..3"),
        ("self ", "3..3"),
        ("self 2147483644", "3..2147483647"),
        ("self 2147483645", "3..3"),
        ("self 2147483647", "3..3"),
        ("self 2147483648", "3..3"),
        ("self 4294967297", "3..3"),
        ("self 18446744073709551617", "3..3"),
        (&format!("{other} 1"), "3..3"),
        ("0 1", "3..3"),
        ("x 1", "3..3"),
    ] {
        daemon.does(&format!("listen {values}"), range);
    }
}

fn a_supervised_program_talks_to_its_supervisor_itself() {
    let supervisor = Supervisor::at_a_path();
    let scratch = scratch();
    let path = scratch.file("fifo");
    let mut reader = fifo(&path);
    for options in [&["-S"][..], &["-S", "-n"], &["-Sn", "-t", "1"]] {
        let mut start = Start::prepared(&["self SYSTEMD_EXEC_PID", &supervisor.word()], options);
        let mut program = start.call();
        start.is_not_forked(&program);
        assert_eq!(socket_of(program.pid), supervisor.name);
        assert_eq!(supervisor.message(), None, "what is executed is not ready");
        program.visitor.say("say READY=1");
        until("it is heard", || supervisor.message().is_some_and(|it| it.text == "READY=1" && it.pid == program.pid));
        assert_eq!(program.visitor.line().as_deref(), Some("said"));
        start.ends_alone(program, &[]);
    }
    for number in [3, 7] {
        let words = ["self SYSTEMD_EXEC_PID", &format!("open {number} {path}"), "open 50 /"];
        let mut start = Start::prepared(&words, &["-S", "-R", &number.to_string()]);
        let mut program = start.call();
        start.is_not_forked(&program);
        assert_eq!(program.files()[3..], [(number, path.clone())]);
        program.does(&format!("write {number} \\n"), "1");
        let mut text = [0; 10];
        assert_eq!(reader.read(&mut text).unwrap(), 1);
        start.ends_alone(program, &[]);
    }
    // Not supervised, the socket is the command's own.
    let mut start = Start::prepared(&[&supervisor.word()], &["-S", "-n"]);
    let mut daemon = start.call();
    assert_ne!(socket_of(daemon.pid), supervisor.name);
    daemon.says("READY=1");
    start.succeeds(daemon, &[]);
    assert_eq!(supervisor.message(), None);
}

fn all_the_rest_is_done_under_a_supervisor_too() {
    let rest = ["-S", "-p", "SCRATCH/pid", "-m", "012", "-C", "/usr"];
    let mut start = Start::prepared(&["self SYSTEMD_EXEC_PID", "open 50 /"], &rest);
    let program = start.call();
    start.is_not_forked(&program);
    assert_eq!((program.state["umask"].as_str(), program.state["directory"].as_str()), ("0012", "/usr"));
    let pid_file = start.scratch.file("pid");
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), format!("{}\n", program.pid));
    assert_eq!(untty::pid_file_read(c(&pid_file)).unwrap(), Some(program.pid));
    // A second one is refused.
    let option = format!("-p{pid_file}");
    let (end, orphans, said) = Start::prepared(&["self SYSTEMD_EXEC_PID"], &["-S", &option]).end();
    let line = format!("untty: pid file: {pid_file}: already running, process {}: EEXIST", program.pid);
    assert_eq!((end, orphans, said), (End::Exited(125), vec![], vec![line]));
    start.ends_alone(program, &[]);
    let words = ["self SYSTEMD_EXEC_PID", "stay", "umask 012", "directory /usr", "pid_file SCRATCH/pid", "open 50 /"];
    let mut start = Start::service(&words);
    let daemon = start.call();
    start.is_not_forked(&daemon);
    assert_eq!((daemon.state["umask"].as_str(), daemon.state["directory"].as_str()), ("0012", "/usr"));
    let pid_file = start.scratch.file("pid");
    assert_eq!(untty::pid_file_read(c(&pid_file)).unwrap(), Some(daemon.pid));
    assert_eq!(daemon.files().into_iter().filter(|file| file.0 > 2).map(|file| file.1).collect::<Vec<_>>(), [pid_file]);
    start.ends_alone(daemon, &[]);
    if !is_root() {
        return skipped("only root can change the user");
    }
    let mut start = Start::service(&["self SYSTEMD_EXEC_PID", "stay", "user 61234"]);
    let daemon = start.call();
    start.is_not_forked(&daemon);
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid)).unwrap();
    assert!(status.contains("Uid:\t61234\t61234\t61234\t61234\n"), "{status}");
    start.ends_alone(daemon, &[]);
}

fn a_supervised_program_that_cannot_be_executed_is_one_line() {
    let scratch = scratch();
    fs::write(scratch.file("file"), "").unwrap();
    let (missing, file) = (scratch.file("missing"), scratch.file("file"));
    let interpreter = scratch.file("interpreter");
    write_script(&interpreter, "#!/nonexistent/interpreter");
    let command = untty().get_program().to_str().unwrap().to_owned();
    for (program, status, errno) in [
        (missing.as_str(), 127, "ENOENT"),
        ("no-such-program", 127, "ENOENT"),
        (&interpreter, 127, "ENOENT"),
        (&file, 126, "EACCES"),
        ("/", 126, "EACCES"),
    ] {
        // In the tester's own PATH may be places that an ordinary user must not search.
        let path = "env PATH=/usr/bin:/bin";
        let words = [path, "self SYSTEMD_EXEC_PID", "exec", &command, "-S", "-P", "-p", "SCRATCH/pid", program];
        let start = Start::with("launch", &words);
        let pid_file = start.scratch.file("pid");
        let line = format!("untty: exec: {program}: {errno}");
        assert_eq!(start.end(), (End::Exited(status), vec![], vec![line]));
        assert!(!fs::exists(pid_file).unwrap(), "{program}");
    }
    let words = ["self SYSTEMD_EXEC_PID", "exec", &command, "-S", "-C", "/nonexistent", "true"];
    let line = "untty: chdir: /nonexistent: ENOENT";
    assert_eq!(Start::with("launch", &words).end(), (End::Exited(125), vec![], strings(&[line])));
}

/// The kernel refuses it, and then the shell gets it; what has been done by then cannot be done again.
fn a_supervised_script_without_an_interpreter_has_its_log_and_its_user() {
    let command = untty().get_program().to_str().unwrap().to_owned();
    for (options, user) in [(&[][..], None), (&["-u61234:61235"], Some(61_234)), (&["-unobody"], Some(65_534))] {
        if user.is_some() && !is_root() {
            return skipped("only root can change the user");
        }
        let scratch = scratch();
        let directory = scratch.path().to_str().unwrap();
        write_script(&scratch.file("script"), "echo written; id -u; exec sleep 1000");
        let words =
            ["self SYSTEMD_EXEC_PID", "exec", "/bin/sh", "-c", "cd \"$1\" && shift && exec \"$@\"", "sh", directory];
        let untty = [&[command.as_str(), "-S", "-o", "log", "-p", "pid"], options, &["./script"]].concat();
        let mut start = Start::with("launch", &[&words[..], &untty].concat());
        let id = user.unwrap_or_else(|| unsafe { libc::geteuid() });
        let said = format!("written\n{id}\n");
        let mut ended = None;
        until("the log is written", || {
            ended = ended.or_else(|| start.warden.try_next(Duration::ZERO));
            ended.is_some() || fs::read_to_string(scratch.file("log")).is_ok_and(|log| log == said)
        });
        assert_eq!(ended, None, "{options:?}: {:?}", start.warden.output());
        // Until then the shell may have a child that it has not yet waited for.
        let pid = start.child();
        until("it sleeps", || fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n"));
        assert_eq!(start.warden.living(), [pid]);
        assert_eq!(untty::pid_file_read(c(&scratch.file("pid"))).unwrap(), Some(pid));
        kill(pid, libc::SIGKILL);
        assert_eq!(start.end(), (End::Killed(libc::SIGKILL), vec![], vec![]));
    }
}

fn a_supervised_service_is_ready_without_a_caller() {
    let supervisor = Supervisor::at_a_path();
    let mut start = Start::service(&["self SYSTEMD_EXEC_PID", "stay", &supervisor.word()]);
    let mut daemon = start.call();
    start.is_not_forked(&daemon);
    assert!(daemon.order("descriptors").starts_with("[-1, "));
    daemon.does("ready", "done");
    supervisor.has_heard(&format!("READY=1\nMAINPID={}", daemon.pid), daemon.pid);
    daemon.does("ready", "ready EALREADY");
    daemon.does("notify STOPPING=1", "true");
    supervisor.has_heard("STOPPING=1", daemon.pid);
    start.ends_alone(daemon, &[]);
    let mut start = Start::service(&["self SYSTEMD_EXEC_PID", "stay", &supervisor.word()]);
    start.call().does("fail 7", "gone");
    assert_eq!(start.end(), (End::Exited(7), vec![], vec![]));
    assert_eq!(supervisor.message(), None);
}

/// What a thread gives up, the others keep.
fn a_supervised_process_with_threads_cannot_change_its_user() {
    let id = unsafe { libc::geteuid() };
    for user in [id, 61_234] {
        let words = [
            "self SYSTEMD_EXEC_PID",
            "stay",
            "accept_threads",
            "thread",
            &format!("user {user}"),
            "pid_file SCRATCH/pid",
        ];
        let mut start = Start::service(&words);
        let caller = start.call();
        assert_eq!(caller.role, "failed threads EBUSY []");
        assert!(!fs::exists(start.scratch.file("pid")).unwrap());
        drop(caller);
        assert_eq!(start.end(), (End::Exited(0), vec![], vec![]));
    }
    // With one of the two it can.
    let mut start = Start::service(&["self SYSTEMD_EXEC_PID", "stay", "accept_threads", "thread"]);
    let daemon = start.call();
    assert_eq!(daemon.role, "daemon");
    start.is_not_forked(&daemon);
    start.ends_alone(daemon, &[]);
    if !is_root() {
        return skipped("only root can change the user");
    }
    // A fork leaves the threads behind.
    let mut start = Start::service(&["accept_threads", "thread", "user 61234"]);
    let mut daemon = start.call();
    start.is_forked(&daemon);
    daemon.does("ready", "done");
    drop(daemon);
    assert_eq!(start.end().0, End::Exited(0));
}

// 5. Signals.

fn a_sigterm_of_the_start_counts_and_the_terminals_signals_do_not() {
    let terminals = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU];
    let terminals = terminals.map(|signal| signal.to_string()).join(" ");
    let term = libc::SIGTERM.to_string();
    let command = untty().get_program().to_str().unwrap().to_owned();
    let (leader, daemon) = (LEADER.to_string(), DAEMON.to_string());
    let [setsid, sigaction, chdir] =
        [libc::SYS_setsid, libc::SYS_rt_sigaction, libc::SYS_chdir].map(|it| it.to_string());
    let service = ["SELF", "helper", "service", "MEETING"];
    let program = [command.as_str(), "SELF", "helper", "program", "MEETING"];
    for way in [&service[..], &program] {
        // What the terminal sends before the daemon is out of its reach is dropped.
        for (role, moment) in [(&leader, &setsid), (&daemon, &sigaction)] {
            let mut start = Start::with("signalled", &[&[role.as_str(), moment, &terminals], way].concat());
            let mut daemon = start.call();
            assert_eq!(daemon.state["pending"].trim_start_matches('0'), "");
            if way == service {
                daemon.does("ready", "done");
            }
            assert_eq!(start.warden.caller(), End::Exited(0));
            drop(daemon);
            assert_eq!(start.warden.rest().iter().map(|orphan| orphan.1).collect::<Vec<_>>(), [End::Exited(0)]);
        }
        // A request to end is not, whenever it comes.
        for moment in [&sigaction, &chdir] {
            let mut start = Start::with("signalled", &[&[daemon.as_str(), moment, &term], way].concat());
            if way == service {
                assert_eq!(start.call().role, "failed wait ESRCH []");
            }
            let (end, _, said) = start.end();
            if way == service {
                assert_eq!((end, said), (End::Exited(0), vec![]));
            } else {
                assert_eq!((end, said), (End::Exited(125), strings(&[DIED])));
            }
        }
    }
}

// 6. Logs.

fn rotate(how: &str) {
    const TIMES: usize = 30;
    let mut start = Start::with("logger", &["MEETING", "SCRATCH/log", how]);
    let mut visitor = start.meeting.daemon();
    let pid = number(&visitor.line().unwrap());
    let log = start.scratch.file("log");
    let old = |number: usize| format!("{log}.{number}");
    let has_lines = |path: &str| fs::metadata(path).is_ok_and(|file| file.len() > 1000);
    for number in 0..TIMES {
        until("the log is written", || has_lines(&log));
        fs::rename(&log, old(number)).unwrap();
        kill(pid, libc::SIGHUP);
    }
    until("the last log is written", || has_lines(&log));
    kill(pid, libc::SIGTERM);
    let said = visitor.line().unwrap();
    let count: usize = said.strip_suffix(" lines, 0 mistakes").unwrap_or_else(|| panic!("{said}")).parse().unwrap();
    drop(visitor);
    assert_eq!(start.warden.caller(), End::Exited(0));
    let texts: Vec<String> =
        (0..TIMES).map(old).chain([log.clone()]).map(|path| fs::read_to_string(path).unwrap()).collect();
    for stream in ["out ", "err "] {
        let lines = texts.iter().flat_map(|text| text.lines()).filter_map(|line| line.strip_prefix(stream));
        let mut next = 0;
        for line in lines {
            assert_eq!(line.parse(), Ok(next), "{stream}");
            next += 1;
        }
        assert_eq!(next, count, "{stream}");
    }
}

fn a_log_is_reopened_without_a_line_lost() {
    rotate("alone");
}

fn a_log_is_reopened_under_a_thread_that_writes_it() {
    rotate("thread");
}

fn the_close_on_exec_flag_stays() {
    let mut start = Start::service(&["log SCRATCH/log"]);
    let mut daemon = start.call();
    let (log, old) = (start.scratch.file("log"), start.scratch.file("old"));
    for fd in [1, 2] {
        for flag in ["1", "0"] {
            fs::rename(&log, &old).unwrap();
            daemon.does(&format!("cloexec {fd} {flag}"), "0");
            daemon.does(&format!("target {fd}"), &old);
            daemon.does(&format!("reopen {fd} {log}"), "done");
            daemon.does(&format!("target {fd}"), &log);
            daemon.does(&format!("flags {fd}"), flag);
            daemon.does(&format!("write {fd} new"), "3");
            assert_eq!(fs::read_to_string(&log).unwrap(), "new");
            assert_eq!(fs::metadata(&log).unwrap().permissions().mode() & 0o7777, 0o640);
        }
        daemon.does(&format!("reopen {} {log}", 3 - fd), "done");
    }
    // Nothing else has been opened.
    daemon.visitor.say("state");
    let expected = [(0, "/dev/null".to_owned()), (1, log.clone()), (2, log)];
    assert_eq!(files(&daemon.visitor.state())[..3], expected);
    daemon.visitor.say("state");
    assert!(files(&daemon.visitor.state()).iter().all(|file| file.0 < 3 || file.1.starts_with("pipe:")));
}

fn a_log_that_cannot_be_reopened_stays_as_it_was() {
    let root = is_root();
    // Root's rights would open everything.
    let words: &[&str] = if root { &["log SCRATCH/log", "user 61234"] } else { &["log SCRATCH/log"] };
    let mut start = Start::service(words);
    let mut daemon = start.call();
    let scratch = scratch();
    let file = |name: &str| scratch.file(name);
    symlink("/dev/null", file("link")).unwrap();
    symlink("missing", file("dangling")).unwrap();
    drop(fifo(&file("fifo")));
    until_nobody_reads(&file("fifo"));
    fs::set_permissions(file("fifo"), fs::Permissions::from_mode(0o666)).unwrap();
    fs::create_dir(file("directory")).unwrap();
    fs::create_dir(file("closed")).unwrap();
    fs::set_permissions(file("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    fs::write(file("plain"), "").unwrap();
    let _listener = UnixListener::bind(file("socket")).unwrap();
    fs::set_permissions(file("socket"), fs::Permissions::from_mode(0o666)).unwrap();
    let log = start.scratch.file("log");
    for (path, errno) in [
        (file("link"), "ELOOP"),
        (file("dangling"), "ELOOP"),
        (file("closed/log"), "EACCES"),
        (file("missing/log"), "ENOENT"),
        (file("plain/log"), "ENOTDIR"),
        (file("directory"), "EISDIR"),
        (file("fifo"), "ENXIO"),
        (file("socket"), "ENXIO"),
        ("/".to_owned() + &"x".repeat(5000), "ENAMETOOLONG"),
        (String::new(), "ENOENT"),
    ] {
        for fd in [1, 2] {
            let before = daemon.order(&format!("flags {fd}"));
            daemon.does(&format!("reopen {fd} {path}"), &format!("log {errno}"));
            daemon.does(&format!("target {fd}"), &log);
            daemon.does(&format!("flags {fd}"), &before);
            daemon.does(&format!("write {fd} x"), "1");
        }
    }
    assert_eq!(fs::read_to_string(&log).unwrap(), "x".repeat(20));
    for fd in [-1, 77, i32::MAX] {
        daemon.does(&format!("reopen {fd} {}", file("new")), "log EBADF");
        daemon.does(&format!("flags {fd}"), "-1");
    }
    assert!(!fs::exists(file("new")).unwrap());
    fs::set_permissions(file("closed"), fs::Permissions::from_mode(0o700)).unwrap();
}

fn a_log_is_not_reopened_without_a_free_descriptor() {
    let mut start = Start::service(&["log SCRATCH/log"]);
    let mut daemon = start.call();
    let (log, old) = (start.scratch.file("log"), start.scratch.file("old"));
    daemon.does("no_descriptor_free", "0");
    fs::rename(&log, &old).unwrap();
    for fd in [1, 2] {
        daemon.does(&format!("reopen {fd} {log}"), "log EMFILE");
        daemon.does(&format!("write {fd} x"), "1");
    }
    assert_eq!(fs::read_to_string(&old).unwrap(), "xx");
    assert!(!fs::exists(&log).unwrap());
}
