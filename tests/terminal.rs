//! The terminal: a daemon has none and cannot get one, and nothing that a terminal sends hurts a start.
//!
//! Every start here comes from a session of its own on a pseudo-terminal. The *shell* is its leader and does what an
//! interactive shell does with a job; the test sits at the other end and types.
//!
//! ```text
//! test ── warden ── shell ── caller (a job) ── leader ── daemon
//! ```

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests have std")]

mod harness;

use harness::{
    CALLER, Call, DAEMON, End, Event, LEADER, Meeting, Moment, PATIENCE, Scratch, State, Tracer, Visitor, Warden,
    helper, stat_fields, state, untty,
};
use nix::pty::PtyMaster;
use nix::sys::signal::{SigHandler, Signal, kill, killpg, signal};
use nix::unistd::Pid;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::process::{self, Command, Stdio};
use std::time::Duration;
use untty::{Daemon, Error, Process, Stdio as Stream};

fn main() {
    harness::main(
        &[
            ("single_fork_can_acquire_a_terminal_again", single_fork_can_acquire_a_terminal_again),
            ("detached_daemon_never_has_a_terminal_again", detached_daemon_never_has_a_terminal_again),
            ("daemon_with_everything_kept_never_has_a_terminal", daemon_with_everything_kept_never_has_a_terminal),
            ("spawned_daemon_never_has_a_terminal_again", spawned_daemon_never_has_a_terminal_again),
            ("daemon_of_the_command_never_has_a_terminal_again", daemon_of_the_command_never_has_a_terminal_again),
            ("session_leader_itself_becomes_a_daemon", session_leader_itself_becomes_a_daemon),
            ("start_in_the_background_is_never_stopped", start_in_the_background_is_never_stopped),
            ("unprotected_leader_dies_of_what_is_typed", unprotected_leader_dies_of_what_is_typed),
            ("leader_survives_what_is_typed_before_setsid", leader_survives_what_is_typed_before_setsid),
            ("daemon_is_out_of_reach_of_what_is_typed", daemon_is_out_of_reach_of_what_is_typed),
            ("command_exits_0_whatever_is_typed_during_the_start", command_exits_0_whatever_is_typed_during_the_start),
            ("status_is_true_whenever_something_is_typed", status_is_true_whenever_something_is_typed),
            ("unprotected_leader_dies_of_a_hangup", unprotected_leader_dies_of_a_hangup),
            ("start_survives_a_hangup_of_the_line", start_survives_a_hangup_of_the_line),
            ("start_survives_the_death_of_the_shell", start_survives_the_death_of_the_shell),
            ("daemon_survives_a_hangup_of_the_line", daemon_survives_a_hangup_of_the_line),
            ("daemon_survives_the_death_of_the_shell", daemon_survives_the_death_of_the_shell),
        ],
        &[
            ("shell", shell),
            ("tell", tell),
            ("detach", detach),
            ("detach_and_keep_everything", detach_and_keep_everything),
            ("spawn", spawn),
            ("single_fork", single_fork),
        ],
    );
}

// The ways to become a daemon. Each is a command that ends when its daemon is ready, or with a status that is not 0;
// the daemon calls, tells its state and then answers.

const WAYS: [&str; 4] = ["detach", "detach_and_keep_everything", "spawn", "command"];

fn way(name: &str, meeting: &Meeting) -> Command {
    let mut command = if name == "command" { untty() } else { helper(name) };
    if name == "command" {
        let tell = helper("tell");
        command.arg(tell.get_program()).args(tell.get_args());
    }
    command.arg(meeting.path());
    command
}

/// Detaches with the defaults.
fn detach(arguments: &[String]) {
    become_daemon(&Daemon::new(), &arguments[0]);
}

/// Detaches as daemon(3) with both of its arguments set would: all that can be left alone is.
fn detach_and_keep_everything(arguments: &[String]) {
    let daemon = Daemon::new().keep_directory().keep_umask().keep_signals().keep_descriptors().accept_threads();
    become_daemon(&daemon.stdin(Stream::Inherit).stdout(Stream::Inherit).stderr(Stream::Inherit), &arguments[0]);
}

fn become_daemon(daemon: &Daemon<'_>, meeting: &str) {
    // SAFETY: a helper has one thread, and uses no descriptor that gets closed.
    match unsafe { daemon.detach() } {
        Ok(Process::Daemon(mut handle)) => {
            let state = state();
            // A caller that was killed meanwhile is no reason to go, for this daemon.
            let ready = handle.ready().map_err(Error::errno);
            converse(meeting, state, &format!("{ready:?}"));
        }
        other => panic!("{other:?}"),
    }
}

/// Executes this binary as a daemon.
fn spawn(arguments: &[String]) {
    let program = CString::new(std::env::current_exe().unwrap().into_os_string().into_encoded_bytes()).unwrap();
    let meeting = CString::new(arguments[0].as_str()).unwrap();
    let argv = [program.as_ptr(), c"helper".as_ptr(), c"tell".as_ptr(), meeting.as_ptr(), std::ptr::null()];
    let envp = [std::ptr::null()];
    // SAFETY: both arrays end with NULL and hold strings that live through the call.
    let pid = unsafe { Daemon::new().spawn(&program, argv.as_ptr(), envp.as_ptr()) };
    assert!(pid.unwrap() > 0);
}

/// What a program is that is started as a daemon.
fn tell(arguments: &[String]) {
    converse(&arguments[0], state(), "Ok(())");
}

/// The wrong way: one fork and setsid, no signal blocked. What remains is a session leader.
fn single_fork(arguments: &[String]) {
    let (listener, reporter) = nix::unistd::pipe().unwrap();
    // SAFETY: a helper has one thread.
    if unsafe { libc::fork() } > 0 {
        drop(reporter);
        process::exit(if nix::unistd::read(listener, &mut [0]) == Ok(1) { 0 } else { 1 });
    }
    nix::unistd::setsid().unwrap();
    nix::unistd::write(reporter, b"!").unwrap();
    converse(&arguments[0], state(), "Ok(())");
}

fn converse(meeting: &str, mut state: State, ready: &str) {
    state.insert("ready".into(), ready.into());
    let mut call = Call::to(meeting);
    call.tell_state(&state);
    while let Some(line) = call.line() {
        match line.as_str() {
            "state" => call.tell_state(&harness::state()),
            "terminal" => call.tell_state(&try_to_get_a_terminal()),
            other => panic!("{other}"),
        }
    }
}

/// Opens a terminal that is nobody's, without O_NOCTTY: what makes it a session leader's own.
fn try_to_get_a_terminal() -> State {
    let mut state = State::new();
    state.insert("before".into(), own_terminal());
    let (master, path) = new_terminal();
    std::mem::forget(master); // closing it would hang up the terminal that may be ours now
    let _slave = File::options().read(true).write(true).open(path).unwrap();
    state.insert("after".into(), own_terminal());
    let number = stat_fields(process::id().try_into().unwrap()).unwrap()[4].clone();
    state.insert("number".into(), number);
    state
}

/// Whether this process has a controlling terminal: what opening `/dev/tty` says.
fn own_terminal() -> String {
    match File::open("/dev/tty") {
        Ok(_) => "open".into(),
        Err(error) => format!("{:?}", nix::errno::Errno::from_raw(error.raw_os_error().unwrap_or(0))),
    }
}

fn new_terminal() -> (PtyMaster, String) {
    use nix::fcntl::OFlag;
    let master = nix::pty::posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
    nix::pty::grantpt(&master).unwrap();
    nix::pty::unlockpt(&master).unwrap();
    let path = nix::pty::ptsname_r(&master).unwrap();
    (master, path)
}

// The shell.

/// What the shell is to do with its job.
const FOREGROUND: &str = "foreground";
const BACKGROUND: &str = "background";
/// In the foreground, after a pause in which the test gets ready to type.
const PROMPT: &str = "prompt";
/// Becomes the job itself, as `exec` makes it.
const EXEC: &str = "exec";
/// In the foreground, stopped when the leader is about to call setsid.
const BEFORE_SETSID: &str = "before setsid";
/// In the foreground, stopped when the daemon is about to make its first call after the signals are reset.
const IN_THE_DAEMON: &str = "in the daemon";
/// In the foreground, stopped when the caller is about to make its first fork (or whatever it reads first).
const IN_THE_CALLER: &str = "in the caller";

/// An interactive shell that runs one job. Arguments: the test's meeting, the terminal, how, and the job.
fn shell(arguments: &[String]) {
    let [meeting, terminal, how, program, rest @ ..] = arguments else { panic!("{arguments:?}") };
    for ignored in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU] {
        // SAFETY: nothing but the disposition changes.
        unsafe { signal(ignored, SigHandler::SigIgn) }.unwrap();
    }
    // SAFETY: as above. Tests may run under nohup, but here a hangup counts.
    unsafe { signal(Signal::SIGHUP, SigHandler::SigDfl) }.unwrap();
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_CORE, 0, 0).unwrap(); // ^\ leaves no core
    nix::unistd::setsid().unwrap();
    let terminal = File::options().read(true).write(true).open(terminal).unwrap();
    // SAFETY: takes no pointers.
    assert_eq!(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) }, 0);
    // What runs in the background and writes to the terminal is stopped.
    let mut settings = nix::sys::termios::tcgetattr(&terminal).unwrap();
    settings.local_flags |= nix::sys::termios::LocalFlags::TOSTOP;
    nix::sys::termios::tcsetattr(&terminal, nix::sys::termios::SetArg::TCSANOW, &settings).unwrap();

    let mut job = Command::new(program);
    let stream = || Stdio::from(terminal.try_clone().unwrap());
    job.args(rest).stdin(stream()).stdout(stream()).stderr(stream());
    if how == EXEC {
        // SAFETY: nothing but dispositions change.
        unsafe { job.pre_exec(as_at_login) };
        panic!("{}", job.exec());
    }
    let in_foreground = how != BACKGROUND;
    // SAFETY: bare system calls on what exists before the fork.
    unsafe {
        job.pre_exec(move || {
            nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
            if in_foreground {
                nix::unistd::tcsetpgrp(std::io::stdin(), nix::unistd::getpid())?;
            }
            as_at_login()
        })
    };
    let mut call = Call::to(meeting);
    let moment = match how.as_str() {
        BEFORE_SETSID => Some((LEADER, Moment::Call(libc::SYS_setsid))),
        IN_THE_DAEMON => Some((DAEMON, Moment::Call(libc::SYS_chdir))),
        IN_THE_CALLER => Some((CALLER, Moment::Call(libc::SYS_pipe2))),
        _ => None,
    };
    let end = match moment {
        Some((role, moment)) => {
            let mut tracer = Tracer::start(&mut job);
            let stopped = tracer.run_until(role, moment);
            call.say(&format!("{} {}", tracer.caller(), stopped.expect("the caller waits")));
            call.line(); // or dies of a hangup
            let end = tracer.run();
            tracer.release();
            end
        }
        None => {
            call.say("go");
            if how == PROMPT {
                call.line();
            }
            // By hand, because Command::spawn waits for the exec, and ^Z may come before it.
            // SAFETY: a helper has one thread.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let _ = job.exec();
                process::exit(99);
            }
            wait_for_job(Pid::from_raw(child), &mut call)
        }
    };
    call.say(&format!("{end:?}"));
    call.wait_for_the_end();
}

/// A program begins with nothing ignored.
fn as_at_login() -> std::io::Result<()> {
    for default in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU] {
        // SAFETY: nothing but the disposition changes.
        unsafe { signal(default, SigHandler::SigDfl) }?;
    }
    Ok(())
}

/// Waits for the job's end. One that is stopped goes on as if the user had said `fg`; the test is told.
fn wait_for_job(job: Pid, call: &mut Call) -> End {
    use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
    loop {
        match waitpid(job, Some(WaitPidFlag::WUNTRACED)).unwrap() {
            WaitStatus::Stopped(_, by) => {
                call.say(&format!("stopped by {by}"));
                killpg(job, Signal::SIGCONT).unwrap();
            }
            WaitStatus::Exited(_, status) => return End::Exited(status),
            WaitStatus::Signaled(_, signal, _) => return End::Killed(signal as i32),
            _ => {}
        }
    }
}

// The terminal, in the test.

struct Terminal {
    /// `None`: the line is hung up.
    master: Option<PtyMaster>,
    warden: Warden,
    shells: Meeting,
    _scratch: Scratch,
}

impl Terminal {
    fn new(how: &str, job: &Command) -> Self {
        let scratch = Scratch::new();
        let shells = Meeting::new(&scratch);
        let (master, path) = new_terminal();
        let mut shell = helper("shell");
        shell.args([shells.path(), &path, how]).arg(job.get_program()).args(job.get_args());
        Self { master: Some(master), warden: Warden::start(&shell), shells, _scratch: scratch }
    }

    /// Types one control character, and waits until the terminal has sent its signal: it echoes it after that.
    fn press(&mut self, key: Key) {
        self.type_only(key);
        self.wait_for_echo(key);
    }

    fn type_only(&mut self, key: Key) {
        self.master.as_mut().unwrap().write_all(&[key.character]).unwrap();
    }

    fn wait_for_echo(&mut self, key: Key) {
        use nix::poll::{PollFd, PollFlags, poll};
        let master = self.master.as_mut().unwrap();
        let mut seen: Vec<u8> = Vec::new();
        while !seen.windows(2).any(|window| window == key.echo.as_bytes()) {
            let patience = u16::try_from(PATIENCE.as_millis()).unwrap_or(u16::MAX);
            let ready = poll(&mut [PollFd::new(master.as_fd(), PollFlags::POLLIN)], patience).unwrap();
            assert_eq!(ready, 1, "no echo, only {seen:?}");
            let mut buffer = [0; 256];
            let count = master.read(&mut buffer).unwrap();
            seen.extend(&buffer[..count]);
        }
    }

    /// Pulls the plug.
    fn hang_up(&mut self) {
        self.master = None;
    }

    /// The shell's word on how its job ended; and on how often it was stopped before.
    fn end_of_job(shell: &mut Visitor) -> (End, usize) {
        let mut stops = 0;
        loop {
            let line = shell.line().expect("the shell tells the end");
            if line.starts_with("stopped") {
                stops += 1;
                continue;
            }
            let number = line.trim_end_matches(')').rsplit('(').next().unwrap().parse().unwrap();
            return (if line.starts_with("Exited") { End::Exited(number) } else { End::Killed(number) }, stops);
        }
    }
}

#[derive(Clone, Copy)]
struct Key {
    character: u8,
    echo: &'static str,
    signal: Signal,
}

const INTERRUPT: Key = Key { character: 3, echo: "^C", signal: Signal::SIGINT };
const QUIT: Key = Key { character: 0o34, echo: "^\\", signal: Signal::SIGQUIT };
const SUSPEND: Key = Key { character: 0o32, echo: "^Z", signal: Signal::SIGTSTP };
const KEYS: [Key; 3] = [INTERRUPT, QUIT, SUSPEND];

/// A signal in one of the sets of `/proc/PID/status`.
fn has_signal(pid: i32, set: &str, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(set)?.strip_prefix(":\t")).unwrap();
    u64::from_str_radix(line, 16).unwrap() >> (signal as i32 - 1) & 1 == 1
}

/// Two pids on one line.
fn two_pids(shell: &mut Visitor) -> (i32, i32) {
    let line = shell.line().expect("the shell tells where it stopped");
    let (caller, stopped) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
    (caller.parse().unwrap(), stopped.parse().unwrap())
}

/// The daemon still runs: it answers, and it has no terminal. It goes, and nothing else is left.
fn assert_alive_and_alone(mut daemon: Visitor, pid: &str, warden: &mut Warden) {
    daemon.say("state");
    let state = daemon.state();
    assert_eq!((state["pid"].as_str(), state["terminal"].as_str()), (pid, "0"));
    assert_eq!(state["parent"], warden.pid().to_string());
    drop(daemon);
    // The leader is among them if its caller was killed: it is nobody's to wait for then.
    let mut ends = warden.rest();
    ends.retain(|(other, _)| other.to_string() != state["session"]);
    assert_eq!(ends, [(pid.parse().unwrap(), End::Exited(0))]);
}

// No terminal, now and later.

fn single_fork_can_acquire_a_terminal_again() {
    let scratch = Scratch::new();
    let meeting = Meeting::new(&scratch);
    let terminal = Terminal::new(FOREGROUND, &way("single_fork", &meeting));
    let mut shell = terminal.shells.daemon();
    assert_eq!(shell.line().unwrap(), "go");
    assert_eq!(Terminal::end_of_job(&mut shell), (End::Exited(0), 0));
    let mut daemon = meeting.daemon();
    let state = daemon.state();
    assert_eq!(state["session"], state["pid"]);
    daemon.say("terminal");
    let found = daemon.state();
    assert_eq!((found["before"].as_str(), found["after"].as_str()), ("ENXIO", "open"));
    assert_ne!(found["number"], "0");
}

fn never_has_a_terminal_again(name: &str) {
    let scratch = Scratch::new();
    let meeting = Meeting::new(&scratch);
    let mut terminal = Terminal::new(FOREGROUND, &way(name, &meeting));
    let mut shell = terminal.shells.daemon();
    assert_eq!(shell.line().unwrap(), "go");
    assert_eq!(Terminal::end_of_job(&mut shell), (End::Exited(0), 0));
    let mut daemon = meeting.daemon();
    let at_first = daemon.state();
    assert_eq!(at_first["terminal"], "0");
    daemon.say("state");
    let state = daemon.state();
    assert_eq!(state["pid"], at_first["pid"]);
    assert_eq!(state["parent"], terminal.warden.pid().to_string());
    assert_eq!(state["session"], state["group"]);
    assert_ne!(state["session"], state["pid"]);
    let leader = state["session"].parse().unwrap();
    assert!(stat_fields(leader).is_none(), "the leader is there: {:?}", stat_fields(leader));
    daemon.say("terminal");
    let found = daemon.state();
    assert_eq!((found["before"].as_str(), found["after"].as_str()), ("ENXIO", "ENXIO"));
    assert_eq!(found["number"], "0");
    drop(shell);
    assert_eq!(terminal.warden.caller(), End::Exited(0));
    assert_alive_and_alone(daemon, &state["pid"], &mut terminal.warden);
}

fn detached_daemon_never_has_a_terminal_again() {
    never_has_a_terminal_again("detach");
}

fn daemon_with_everything_kept_never_has_a_terminal() {
    never_has_a_terminal_again("detach_and_keep_everything");
}

fn spawned_daemon_never_has_a_terminal_again() {
    never_has_a_terminal_again("spawn");
}

fn daemon_of_the_command_never_has_a_terminal_again() {
    never_has_a_terminal_again("command");
}

fn session_leader_itself_becomes_a_daemon() {
    for name in WAYS {
        let scratch = Scratch::new();
        let meeting = Meeting::new(&scratch);
        let mut terminal = Terminal::new(EXEC, &way(name, &meeting));
        assert_eq!(terminal.warden.caller(), End::Exited(0), "{name}");
        let mut daemon = meeting.daemon();
        let state = daemon.state();
        assert_eq!((state["ready"].as_str(), state["terminal"].as_str()), ("Ok(())", "0"), "{name}");
        terminal.hang_up();
        assert_alive_and_alone(daemon, &state["pid"], &mut terminal.warden);
    }
}

fn start_in_the_background_is_never_stopped() {
    for name in WAYS {
        let scratch = Scratch::new();
        let meeting = Meeting::new(&scratch);
        let mut terminal = Terminal::new(BACKGROUND, &way(name, &meeting));
        let mut shell = terminal.shells.daemon();
        assert_eq!(shell.line().unwrap(), "go");
        assert_eq!(Terminal::end_of_job(&mut shell), (End::Exited(0), 0), "{name}");
        let mut daemon = meeting.daemon();
        let state = daemon.state();
        drop(shell);
        assert_eq!(terminal.warden.caller(), End::Exited(0));
        assert_alive_and_alone(daemon, &state["pid"], &mut terminal.warden);
    }
}

// What is typed.

/// The control: at the same moment, the same key, a leader that blocks nothing.
fn unprotected_leader_dies_of_what_is_typed() {
    for key in [INTERRUPT, QUIT] {
        let scratch = Scratch::new();
        let meeting = Meeting::new(&scratch);
        let mut terminal = Terminal::new(BEFORE_SETSID, &way("single_fork", &meeting));
        let mut shell = terminal.shells.daemon();
        let (_, leader) = two_pids(&mut shell);
        terminal.press(key);
        assert!(!has_signal(leader, "SigBlk", key.signal));
        shell.say("go");
        let _ = Terminal::end_of_job(&mut shell); // one parent or other exits 0 before, or dies
        drop(shell);
        assert_eq!(terminal.warden.caller(), End::Exited(0));
        for (pid, end) in terminal.warden.rest() {
            assert_eq!((pid, end), (leader, End::Killed(key.signal as i32)));
        }
        assert!(meeting.try_daemon(Duration::ZERO).is_none());
    }
}

/// What is typed arrives in the leader, which is in the foreground group, and waits there for ever.
fn leader_survives_what_is_typed_before_setsid() {
    for (name, key) in WAYS.into_iter().flat_map(|name| KEYS.map(|key| (name, key))) {
        let scratch = Scratch::new();
        let meeting = Meeting::new(&scratch);
        let mut terminal = Terminal::new(BEFORE_SETSID, &way(name, &meeting));
        let mut shell = terminal.shells.daemon();
        let (caller, leader) = two_pids(&mut shell);
        terminal.press(key);
        for pid in [caller, leader] {
            assert!(has_signal(pid, "ShdPnd", key.signal), "{name}: {} does not reach {pid}", key.signal);
            assert!(has_signal(pid, "SigBlk", key.signal), "{name}: {} is not blocked in {pid}", key.signal);
        }
        shell.say("go");
        let (end, _) = Terminal::end_of_job(&mut shell);
        let mut daemon = meeting.daemon();
        let state = daemon.state();
        assert_truth_of_status(name, end, &state);
        drop(shell);
        assert_eq!(terminal.warden.caller(), End::Exited(0));
        assert_alive_and_alone(daemon, &state["pid"], &mut terminal.warden);
    }
}

/// From setsid on, what is typed reaches the caller alone.
fn daemon_is_out_of_reach_of_what_is_typed() {
    for (name, key) in ["detach", "spawn", "command"].into_iter().flat_map(|name| KEYS.map(|key| (name, key))) {
        let scratch = Scratch::new();
        let meeting = Meeting::new(&scratch);
        let mut terminal = Terminal::new(IN_THE_DAEMON, &way(name, &meeting));
        let mut shell = terminal.shells.daemon();
        let (caller, daemon) = two_pids(&mut shell);
        terminal.press(key);
        assert!(has_signal(caller, "ShdPnd", key.signal), "{name}: {} does not reach the caller", key.signal);
        assert!(!has_signal(daemon, "ShdPnd", key.signal), "{name}: {} reaches the daemon", key.signal);
        shell.say("go");
        let (end, _) = Terminal::end_of_job(&mut shell);
        let mut visitor = meeting.daemon();
        let state = visitor.state();
        assert_eq!(state["pid"], daemon.to_string());
        assert_truth_of_status(name, end, &state);
        drop(shell);
        assert_eq!(terminal.warden.caller(), End::Exited(0));
        assert_alive_and_alone(visitor, &state["pid"], &mut terminal.warden);
    }
}

/// A daemon runs, and so much is sure of its caller's end. The command's status claims nothing else, whatever was
/// typed. A detaching caller that a signal ends while its program gets ready leaves that to the daemon, which learns
/// it from `ready` (or said so in the moment before). A program that spawns does with its signals what it likes.
fn assert_truth_of_status(name: &str, end: End, state: &State) {
    match name {
        "command" => assert_eq!(end, End::Exited(0), "there is a daemon, and {name} says that there is none"),
        "spawn" => {}
        _ => match state["ready"].as_str() {
            "Ok(())" => {}
            "Err(EPIPE)" => assert!(matches!(end, End::Killed(_)), "{name}: {end:?}"),
            other => panic!("{name}: {end:?} {other}"),
        },
    }
}

/// The same for the command from its first call for a daemon on, in one place more: so no status is a lie.
fn command_exits_0_whatever_is_typed_during_the_start() {
    for (moment, key) in
        [IN_THE_CALLER, BEFORE_SETSID, IN_THE_DAEMON].into_iter().flat_map(|moment| KEYS.map(|key| (moment, key)))
    {
        let scratch = Scratch::new();
        let meeting = Meeting::new(&scratch);
        let mut terminal = Terminal::new(moment, &way("command", &meeting));
        let mut shell = terminal.shells.daemon();
        let (caller, _) = two_pids(&mut shell);
        terminal.press(key);
        // Before the signals are blocked, ^C ends the command and nothing is started, as is right.
        let may_die = moment == IN_THE_CALLER && !has_signal(caller, "SigBlk", key.signal);
        shell.say("go");
        let (end, _) = Terminal::end_of_job(&mut shell);
        drop(shell);
        assert_eq!(terminal.warden.caller(), End::Exited(0));
        if may_die && end == End::Killed(key.signal as i32) {
            assert_eq!(terminal.warden.rest(), []);
            assert!(meeting.try_daemon(Duration::ZERO).is_none());
            continue;
        }
        assert_eq!(end, End::Exited(0), "{moment}, {}: the status does not tell that there is a daemon", key.signal);
        let mut daemon = meeting.daemon();
        let pid = daemon.state()["pid"].clone();
        assert_alive_and_alone(daemon, &pid, &mut terminal.warden);
    }
}

/// Any moment: exit status 0 if and only if exactly one daemon runs.
fn status_is_true_whenever_something_is_typed() {
    const STARTS: u64 = 102;
    let mut exits = 0;
    for start in 0..STARTS {
        let key = KEYS[usize::try_from(start % 3).unwrap()];
        let scratch = Scratch::new();
        let meeting = Meeting::new(&scratch);
        let mut terminal = Terminal::new(PROMPT, &way("command", &meeting));
        let mut shell = terminal.shells.daemon();
        assert_eq!(shell.line().unwrap(), "go");
        shell.say("go");
        // From at once to about when the start is over: a spread of moments, not a wait for anything.
        for turn in 0..start * start % STARTS * 400 {
            std::hint::black_box(turn);
            std::hint::spin_loop();
        }
        terminal.press(key);
        let (end, _) = Terminal::end_of_job(&mut shell);
        drop(shell);
        assert_eq!(terminal.warden.caller(), End::Exited(0));
        let daemon = daemon_or_nothing(&meeting, &mut terminal.warden);
        match (end, daemon) {
            (End::Exited(0), Some(mut daemon)) => {
                let pid = daemon.state()["pid"].clone();
                assert_alive_and_alone(daemon, &pid, &mut terminal.warden);
                assert!(meeting.try_daemon(Duration::ZERO).is_none(), "a second daemon");
                exits += 1;
            }
            (End::Killed(_), None) => {}
            (end, daemon) => {
                panic!("{} at start {start}: the caller {end:?}, a daemon: {}", key.signal, daemon.is_some())
            }
        }
    }
    println!("{exits} of {STARTS} starts ended well");
}

/// The daemon, or `None` as soon as no process is left.
fn daemon_or_nothing(meeting: &Meeting, warden: &mut Warden) -> Option<Visitor> {
    const TURN: Duration = Duration::from_millis(10);
    let turns = PATIENCE.as_millis() / TURN.as_millis();
    for _ in 0..turns {
        if let Some(daemon) = meeting.try_daemon(TURN) {
            return Some(daemon);
        }
        if warden.try_next(TURN) == Some(Event::None) {
            return meeting.try_daemon(Duration::ZERO);
        }
    }
    panic!("there is something, and it does not call: {:?}", warden.living());
}

// The line is cut, or the shell dies.

#[derive(Clone, Copy, Debug)]
enum Hangup {
    Line,
    Shell,
}

impl Hangup {
    /// Does it; the shell is dead then, and the terminal has sent SIGHUP to the foreground group.
    fn happen(self, terminal: &mut Terminal) {
        let expected = match self {
            Self::Line => {
                terminal.hang_up();
                Signal::SIGHUP
            }
            Self::Shell => {
                let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", terminal.warden.pid()));
                let shell = children.unwrap().split_whitespace().next().unwrap().parse().unwrap();
                kill(Pid::from_raw(shell), Signal::SIGKILL).unwrap();
                Signal::SIGKILL
            }
        };
        assert_eq!(terminal.warden.caller(), End::Killed(expected as i32));
    }
}

/// The control: the SIGHUP really comes to whoever is in the foreground group.
fn unprotected_leader_dies_of_a_hangup() {
    for hangup in [Hangup::Line, Hangup::Shell] {
        let scratch = Scratch::new();
        let meeting = Meeting::new(&scratch);
        let mut terminal = Terminal::new(BEFORE_SETSID, &way("single_fork", &meeting));
        let mut shell = terminal.shells.daemon();
        let (_, leader) = two_pids(&mut shell);
        hangup.happen(&mut terminal);
        let ends = terminal.warden.rest();
        assert!(ends.contains(&(leader, End::Killed(Signal::SIGHUP as i32))), "{hangup:?}: {ends:?}");
        assert!(meeting.try_daemon(Duration::ZERO).is_none());
    }
}

fn start_survives(hangup: Hangup) {
    let moments = [BEFORE_SETSID, IN_THE_DAEMON];
    for (name, moment) in
        ["detach", "spawn", "command"].into_iter().flat_map(|name| moments.map(|moment| (name, moment)))
    {
        let scratch = Scratch::new();
        let meeting = Meeting::new(&scratch);
        let mut terminal = Terminal::new(moment, &way(name, &meeting));
        let mut shell = terminal.shells.daemon();
        let (caller, _) = two_pids(&mut shell);
        hangup.happen(&mut terminal);
        let mut daemon = meeting.daemon();
        let state = daemon.state();
        let Event::Orphan(orphan, end) = terminal.warden.next() else { panic!("{name}: no end of the caller") };
        assert_eq!(orphan, caller, "{name}, {moment}");
        assert_truth_of_status(name, end, &state);
        assert_alive_and_alone(daemon, &state["pid"], &mut terminal.warden);
    }
}

fn start_survives_a_hangup_of_the_line() {
    start_survives(Hangup::Line);
}

fn start_survives_the_death_of_the_shell() {
    start_survives(Hangup::Shell);
}

fn daemon_survives(hangup: Hangup) {
    for name in WAYS {
        let scratch = Scratch::new();
        let meeting = Meeting::new(&scratch);
        let mut terminal = Terminal::new(FOREGROUND, &way(name, &meeting));
        let mut shell = terminal.shells.daemon();
        assert_eq!(shell.line().unwrap(), "go");
        assert_eq!(Terminal::end_of_job(&mut shell), (End::Exited(0), 0), "{name}");
        hangup.happen(&mut terminal);
        let mut daemon = meeting.daemon();
        let state = daemon.state();
        assert_alive_and_alone(daemon, &state["pid"], &mut terminal.warden);
    }
}

fn daemon_survives_a_hangup_of_the_line() {
    daemon_survives(Hangup::Line);
}

fn daemon_survives_the_death_of_the_shell() {
    daemon_survives(Hangup::Shell);
}
