//! What every test of processes needs. A test binary has `harness = false` and calls [`main`]; what forks runs in a
//! *helper*, the same binary started anew with one thread, and a *warden* stands above it as a subreaper and tells how
//! every process of the tree ends, until none is left.
//!
//! ```text
//! test ── warden ── caller (a helper, or the command) ── leader ── daemon
//! ```
//!
//! Nothing here sleeps to synchronise: the test waits for the warden's lines, and for the daemon to call on its socket.

#![allow(dead_code, unreachable_pub, missing_docs, missing_debug_implementations, reason = "no test needs all of it")]
#![allow(clippy::missing_errors_doc, clippy::multiple_unsafe_ops_per_block, reason = "tests")]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests have std")]

pub mod c;
pub mod start;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

/// Long enough for the slowest machine; nothing waits for it to pass.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Where the package is.
pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");

pub type Test = (&'static str, fn());
pub type Helper = (&'static str, fn(&[String]));

/// The `main` of a test binary: runs the tests, or, when started by [`helper`], one helper.
pub fn main(tests: &[Test], helpers: &[Helper]) {
    main_unless(None, tests, helpers);
}

/// The same, unless that is in the way of all tests: then they are ignored, and each says why.
pub fn main_unless(obstacle: Option<&str>, tests: &[Test], helpers: &[Helper]) {
    let arguments: Vec<String> = env::args().collect();
    if arguments.get(1).is_some_and(|word| word == "helper") {
        let name = arguments[2].as_str();
        if name == "warden" {
            warden(&arguments[3..]);
        }
        let (_, run) = helpers.iter().find(|helper| helper.0 == name).expect("a helper of that name");
        run(&arguments[3..]);
        process::exit(0);
    }
    let arguments = libtest_mimic::Arguments::from_args();
    let trials = tests.iter().copied().map(|(name, test)| {
        let trial = libtest_mimic::Trial::test(name, move || {
            test();
            Ok(())
        });
        trial.with_ignored_flag(obstacle.is_some()).with_kind(obstacle.unwrap_or_default())
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

/// A helper of this binary, as a command.
pub fn helper(name: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("this binary"));
    command.arg("helper").arg(name);
    command
}

/// The command `untty` that belongs to this build.
pub fn untty() -> Command {
    Command::new(env!("CARGO_BIN_EXE_untty"))
}

/// True when this process has root's powers.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A directory of its own for one test, removed with all that is in it.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let path = env::temp_dir().join(format!("untty-{}-{number}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Self(path),
                // Of a process that had this one's pid, and was killed.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("a directory of its own: {error}"),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path in it, as text.
    pub fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("text").to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Exited(i32),
    Killed(i32),
}

/// What the warden tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The process that it started ended.
    Caller(End),
    /// A process that had been left behind ended: its pid.
    Orphan(i32, End),
    /// There is no process left.
    None,
}

/// A process tree, seen from outside.
pub struct Warden {
    process: Child,
    lines: Receiver<String>,
    errors: Receiver<String>,
    said: Vec<String>,
}

impl Warden {
    /// Starts a command under a warden. Its standard input is `/dev/null`; what it and its daemon say on standard
    /// output and error is kept (see [`Warden::output`]).
    pub fn start(command: &Command) -> Self {
        let mut warden = helper("warden");
        warden.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => warden.env(name, value),
                None => warden.env_remove(name),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            warden.current_dir(directory);
        }
        let mut process = warden
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a warden can be started");
        let lines = lines(process.stdout.take().expect("a pipe"));
        let errors = lines_of(process.stderr.take().expect("a pipe"));
        Self { process, lines, errors, said: Vec::new() }
    }

    /// The warden's own pid: what orphans have for a parent.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.process.id()).expect("a pid")
    }

    /// The next thing that happens.
    pub fn next(&mut self) -> Event {
        let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            panic!("nothing happened ({error}); left: {:?}; said: {:?}", descendants(self.pid()), self.output())
        });
        event(&line)
    }

    /// The next thing that happens, if it happens within that time.
    pub fn try_next(&mut self, patience: Duration) -> Option<Event> {
        let line = self.lines.recv_timeout(patience).ok()?;
        Some(event(&line))
    }

    /// Waits until the process that was started has ended. Orphans that end before are passed over.
    pub fn caller(&mut self) -> End {
        loop {
            match self.next() {
                Event::Caller(end) => return end,
                Event::Orphan(..) => {}
                Event::None => panic!("the caller is gone without a word"),
            }
        }
    }

    /// Waits until no process is left, and says how those ended that had been left behind.
    pub fn rest(&mut self) -> Vec<(i32, End)> {
        let mut ends = Vec::new();
        loop {
            match self.next() {
                Event::Orphan(pid, end) => ends.push((pid, end)),
                Event::None => return ends,
                Event::Caller(_) => panic!("the caller has not been waited for"),
            }
        }
    }

    /// The processes alive below the warden now, zombies left out.
    pub fn living(&self) -> Vec<i32> {
        descendants(self.pid())
    }

    /// What was said on standard output and error up to now (all of it once no process is left), line by line.
    pub fn output(&mut self) -> Vec<String> {
        self.said.extend(self.errors.try_iter());
        self.said.clone()
    }

    /// Waits for the end of standard output and error, when no process is left, and returns all that was said.
    pub fn all_output(&mut self) -> Vec<String> {
        while let Ok(line) = self.errors.recv_timeout(PATIENCE) {
            self.said.push(line);
        }
        self.said.clone()
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        // Only what was started here, by pid, and until none is left: what dies may just have forked.
        while self.process.try_wait().is_ok_and(|status| status.is_none()) {
            for pid in descendants(self.pid()) {
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL);
            }
            thread::yield_now();
        }
    }
}

/// Reads a warden's line.
fn event(line: &str) -> Event {
    let words: Vec<&str> = line.split(' ').collect();
    let end = |how: &str, number: &str| match how {
        "exited" => End::Exited(number.parse().expect("a status")),
        _ => End::Killed(number.parse().expect("a signal")),
    };
    match words.as_slice() {
        ["caller", how, number] => Event::Caller(end(how, number)),
        ["orphan", pid, how, number] => Event::Orphan(pid.parse().expect("a pid"), end(how, number)),
        _ => Event::None,
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    lines_of(from)
}

fn lines_of(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// All processes below this one that are no zombies.
pub fn descendants(pid: i32) -> Vec<i32> {
    let mut parents: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let Some(stat) = stat_fields(child) else { continue };
        // A process whose first thread has ended alone is a zombie that lives.
        let has_threads = stat[17].parse::<u32>().is_ok_and(|threads| threads > 1);
        if has_threads || (stat[0] != "Z" && stat[0] != "X") {
            parents.entry(stat[1].parse().expect("a pid")).or_default().push(child);
        }
    }
    let mut found = Vec::new();
    let mut todo = vec![pid];
    while let Some(parent) = todo.pop() {
        for child in parents.get(&parent).into_iter().flatten() {
            found.push(*child);
            todo.push(*child);
        }
    }
    found
}

/// The fields of `/proc/PID/stat` from the third (state) on: state, ppid, pgrp, session, tty_nr, …
pub fn stat_fields(pid: i32) -> Option<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// The warden: starts a command, then reaps all that ends below it, until nothing is left. Its standard output is
/// for the test alone; the command's goes to standard error.
fn warden(command: &[String]) -> ! {
    nix::sys::prctl::set_child_subreaper(true).expect("a subreaper");
    let caller = Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(nix::unistd::dup(std::io::stderr()).expect("standard error"))
        .spawn()
        .expect("the command can be started");
    let caller = i32::try_from(caller.id()).expect("a pid");
    // The end of standard error belongs to those below: when they are gone, it is.
    let null = fs::File::options().write(true).open("/dev/null").expect("/dev/null");
    nix::unistd::dup2_stderr(null).expect("standard error");
    loop {
        let mut status = 0;
        // SAFETY: an int can be written there. (nix knows no signal above 31, by which a process can end too.)
        match unsafe { libc::wait(&raw mut status) } {
            -1 if nix::errno::Errno::last() == nix::errno::Errno::EINTR => {}
            -1 => break,
            pid => {
                let how = match end_of(ExitStatus::from_raw(status)) {
                    End::Exited(code) => format!("exited {code}"),
                    End::Killed(signal) => format!("killed {signal}"),
                };
                if pid == caller { println!("caller {how}") } else { println!("orphan {pid} {how}") }
            }
        }
    }
    println!("none");
    process::exit(0)
}

/// Runs a command to its end, with nothing on its standard input: its status, output and error text.
pub fn run(command: &mut Command) -> (ExitStatus, String, String) {
    let output = command.stdin(Stdio::null()).output().expect("the command can be started");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status, text(output.stdout), text(output.stderr))
}

/// Runs a command that has to succeed; returns what it printed.
pub fn succeed(command: &mut Command) -> String {
    let (status, output, errors) = run(command);
    assert!(status.success(), "{command:?}: {status}\n{output}{errors}");
    output
}

/// `make`, as somebody would type it: nothing of this test's own cargo or make may leak into it. One at a time, in
/// whatever test binary.
pub fn make(arguments: &[String]) {
    let target = Path::new(ROOT).join("target");
    fs::create_dir_all(&target).expect("target/");
    let lock = fs::File::create(target.join("c-interface.lock")).expect("a lock file");
    let _lock = nix::fcntl::Flock::lock(lock, nix::fcntl::FlockArg::LockExclusive).expect("a lock");
    let mut make = Command::new("make");
    for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "GNUMAKEFLAGS", "BACKEND", "TARGET", "CROSS"] {
        make.env_remove(name);
    }
    for name in [
        "PREFIX",
        "LIBDIR",
        "INCLUDEDIR",
        "BINDIR",
        "MANDIR",
        "DESTDIR",
        "CARGO_TARGET_DIR",
        "CARGO_BUILD_TARGET",
        "CARGO_ENCODED_RUSTFLAGS",
    ] {
        make.env_remove(name);
    }
    succeed(make.arg("-C").arg(ROOT).args(arguments));
}

/// How a process that was waited for ended.
pub fn end_of(status: ExitStatus) -> End {
    status.code().map_or_else(|| End::Killed(status.signal().expect("a signal")), End::Exited)
}

/// The socket on which daemons call. They are in another directory and have no descriptor left, but know the path.
pub struct Meeting {
    listener: UnixListener,
    path: String,
}

impl Meeting {
    pub fn new(scratch: &Scratch) -> Self {
        Self::at(scratch.file("meeting"))
    }

    /// A socket at that path.
    pub fn at(path: String) -> Self {
        let listener = UnixListener::bind(&path).expect("a socket");
        listener.set_nonblocking(true).expect("a socket");
        Self { listener, path }
    }

    /// For the helper's arguments.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Waits for a daemon to call.
    pub fn daemon(&self) -> Visitor {
        self.try_daemon(PATIENCE).expect("a daemon called")
    }

    /// Waits that long for a daemon to call.
    pub fn try_daemon(&self, patience: Duration) -> Option<Visitor> {
        use std::os::fd::AsFd;
        let end = Instant::now() + patience;
        loop {
            if let Ok((stream, _)) = self.listener.accept() {
                stream.set_nonblocking(false).expect("a socket");
                stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
                return Some(Visitor { stream: BufReader::new(stream) });
            }
            let left = end.checked_duration_since(Instant::now())?;
            let milliseconds = u16::try_from(left.as_millis()).unwrap_or(u16::MAX);
            let mut poll = [nix::poll::PollFd::new(self.listener.as_fd(), nix::poll::PollFlags::POLLIN)];
            let _ = nix::poll::poll(&mut poll, milliseconds);
        }
    }
}

/// A daemon on the line, in the test.
pub struct Visitor {
    stream: BufReader<UnixStream>,
}

impl Visitor {
    /// The next line that it says; `None` when it is gone.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = self.stream.read_line(&mut line).expect("the daemon says something");
        (count > 0).then(|| line.trim_end().to_owned())
    }

    /// Its state, if that is what it says next (see [`Caller::tell_state`]).
    pub fn state(&mut self) -> State {
        let mut state = State::new();
        loop {
            let line = self.line().expect("the daemon tells its state");
            match line.split_once('\t') {
                Some((key, value)) => state.insert(key.to_owned(), value.to_owned()),
                None => return state,
            };
        }
    }

    /// Says a line to it.
    pub fn say(&mut self, line: &str) {
        writeln!(self.stream.get_mut(), "{line}").expect("the daemon listens");
    }

    /// Says a line to it, and hears its answer.
    pub fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.line().unwrap_or_else(|| "gone".to_owned())
    }
}

/// The same line, in the daemon.
pub struct Call {
    stream: BufReader<UnixStream>,
}

impl Call {
    pub fn to(path: &str) -> Self {
        Self { stream: BufReader::new(UnixStream::connect(path).expect("somebody waits for the call")) }
    }

    pub fn say(&mut self, line: &str) {
        writeln!(self.stream.get_mut(), "{line}").expect("somebody listens");
    }

    /// Waits for a line; `None` when the test has hung up, which is the sign to go.
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(count) if count > 0 => Some(line.trim_end().to_owned()),
            _ => None,
        }
    }

    /// Waits until the test hangs up.
    pub fn wait_for_the_end(&mut self) {
        while self.line().is_some() {}
    }

    /// Says what a state is; take it before calling, so that the call's own descriptor is not in it.
    pub fn tell_state(&mut self, state: &State) {
        for (key, value) in state {
            self.say(&format!("{key}\t{value}"));
        }
        self.say("end");
    }
}

/// What a process is, as far as a daemonizer could change it.
pub type State = BTreeMap<String, String>;

/// This process's state. `fd N` is where descriptor N leads, with its descriptor and status flags.
pub fn state() -> State {
    let mut state = State::new();
    let mut set = |key: &str, value: String| drop(state.insert(key.to_owned(), value));
    // SAFETY: none of these calls takes a pointer or can fail.
    let [pid, parent, group, session] = unsafe { [libc::getpid(), libc::getppid(), libc::getpgrp(), libc::getsid(0)] };
    set("pid", pid.to_string());
    set("parent", parent.to_string());
    set("group", group.to_string());
    set("session", session.to_string());
    set("terminal", stat_fields(pid).map_or("unknown".into(), |fields| fields[4].clone()));
    set("directory", env::current_dir().map_or("none".into(), |path| path.display().to_string()));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    for (key, name) in
        [("umask", "Umask"), ("blocked", "SigBlk"), ("ignored", "SigIgn"), ("caught", "SigCgt"), ("pending", "ShdPnd")]
    {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        set(key, line.unwrap_or_default().trim().to_owned());
    }
    for fd in open_fds() {
        let target =
            fs::read_link(format!("/proc/self/fd/{fd}")).map_or("none".into(), |path| path.display().to_string());
        // SAFETY: takes no pointers.
        let (descriptor, status) = unsafe { (libc::fcntl(fd, libc::F_GETFD), libc::fcntl(fd, libc::F_GETFL)) };
        set(&format!("fd {fd:05}"), format!("{target} {descriptor} {status:o}"));
    }
    state
}

/// The descriptors that are open in this process.
pub fn open_fds() -> Vec<i32> {
    let numbers: Vec<i32> = fs::read_dir("/proc/self/fd")
        .map(|entries| entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
        .unwrap_or_default();
    // The one that the list was read from is closed by now.
    // SAFETY: takes no pointers.
    let mut open: Vec<i32> = numbers.into_iter().filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0).collect();
    open.sort_unstable();
    open
}

/// What differs between two states, one line each; empty when nothing does.
pub fn differences(before: &State, after: &State) -> Vec<String> {
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differs = keys.into_iter().filter(|key| before.get(*key) != after.get(*key));
    differs.map(|key| format!("{key}: {:?} became {:?}", before.get(key), after.get(key))).collect()
}

/// Which process of a start: how many forks it is away from the caller.
pub const CALLER: usize = 0;
pub const LEADER: usize = 1;
pub const DAEMON: usize = 2;

/// A moment in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It is about to make that system call, the first of that number.
    Call(libc::c_long),
    /// It has just executed a program, of which no instruction has run.
    Executed,
    /// It never comes: run to the caller's end.
    Never,
}

/// Runs a command and all that it forks under ptrace(2), up to a moment. For helpers, since it waits for any child.
///
/// When the process that traces ends, what it traced runs on by itself.
pub struct Tracer {
    caller: i32,
    /// The role of every process known, and whether it has left the stop that every traced process begins with.
    processes: BTreeMap<i32, (usize, bool)>,
    stopped: Option<i32>,
    left_stopped: Vec<i32>,
}

impl Tracer {
    /// Starts the command, and stops it before its first instruction.
    #[allow(clippy::zombie_processes, reason = "run_until waits for it")]
    pub fn start(command: &mut Command) -> Self {
        use nix::sys::ptrace::{Options, setoptions, traceme};
        use std::os::unix::process::CommandExt;
        // SAFETY: ptrace is a bare system call.
        unsafe { command.pre_exec(|| Ok(traceme()?)) };
        let child = command.spawn().expect("the command can be started");
        let caller = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        let status = nix::sys::wait::waitpid(caller, None).expect("a child");
        assert!(matches!(status, nix::sys::wait::WaitStatus::Stopped(..)), "{status:?}");
        let forks = Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK | Options::PTRACE_O_TRACECLONE;
        setoptions(caller, forks | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_TRACESYSGOOD).expect("a tracee");
        let processes = BTreeMap::from([(caller.as_raw(), (CALLER, true))]);
        Self { caller: caller.as_raw(), processes, stopped: Some(caller.as_raw()), left_stopped: Vec::new() }
    }

    /// The caller's pid.
    pub fn caller(&self) -> i32 {
        self.caller
    }

    /// Lets everything run until the process of that role has come to that moment, and is stopped there: its pid. Or
    /// until the caller ends: how.
    pub fn run_until(&mut self, role: usize, moment: Moment) -> Result<i32, End> {
        use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
        if let Some(pid) = self.stopped.take() {
            Self::resume(nix::unistd::Pid::from_raw(pid), None);
        }
        loop {
            let (pid, here, signal) = match waitpid(None, Some(WaitPidFlag::__WALL)) {
                Ok(WaitStatus::Exited(pid, status)) if pid.as_raw() == self.caller => return Err(End::Exited(status)),
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid.as_raw() == self.caller => {
                    return Err(End::Killed(signal as i32));
                }
                Ok(WaitStatus::PtraceSyscall(pid)) => (pid, system_call(pid).map(Moment::Call), None),
                Ok(WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_EXEC)) => (pid, Some(Moment::Executed), None),
                Ok(WaitStatus::PtraceEvent(pid, ..)) => {
                    if let Some(child) = nix::sys::ptrace::getevent(pid).ok().and_then(|pid| i32::try_from(pid).ok()) {
                        let role = self.role(pid.as_raw()) + 1;
                        self.processes.entry(child).or_insert((role, false));
                    }
                    (pid, None, None)
                }
                Ok(WaitStatus::Stopped(pid, signal)) => (pid, None, self.first_stop(pid.as_raw()).then_some(signal)),
                Ok(_) | Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => panic!("the caller is gone without a word: {error}"),
            };
            if here == Some(moment) && self.role(pid.as_raw()) == role {
                self.stopped = Some(pid.as_raw());
                return Ok(pid.as_raw());
            }
            Self::resume(pid, signal);
        }
    }

    /// Lets everything run until the caller ends.
    pub fn run(&mut self) -> End {
        self.run_until(CALLER, Moment::Never).expect_err("an end")
    }

    /// Whatever runs, the process that is stopped now stays so until [`release`](Self::release).
    pub fn leave_stopped(&mut self) {
        self.left_stopped.extend(self.stopped.take());
    }

    /// Lets what is left run on by itself.
    pub fn release(mut self) {
        use nix::sys::signal::{Signal, kill};
        use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
        self.processes.remove(&self.caller);
        for pid in self.processes.keys().map(|pid| nix::unistd::Pid::from_raw(*pid)) {
            // Only a process that is stopped can be detached from. Ignored: it may be dead, which the wait tells.
            let _ = kill(pid, Signal::SIGSTOP);
            if self.left_stopped.contains(&pid.as_raw()) {
                Self::resume(pid, None);
            }
            loop {
                match waitpid(pid, Some(WaitPidFlag::__WALL)) {
                    Ok(WaitStatus::Stopped(_, Signal::SIGSTOP)) => {
                        let _ = nix::sys::ptrace::detach(pid, None);
                        // If that was the stop that every traced process begins with, another one comes.
                        let _ = kill(pid, Signal::SIGCONT);
                        break;
                    }
                    Ok(WaitStatus::Stopped(_, signal)) => Self::resume(pid, Some(signal)),
                    Ok(WaitStatus::PtraceSyscall(_) | WaitStatus::PtraceEvent(..)) => Self::resume(pid, None),
                    Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(nix::errno::Errno::ECHILD) => break,
                    Ok(_) | Err(_) => {}
                }
            }
        }
    }

    fn role(&self, pid: i32) -> usize {
        self.processes.get(&pid).map_or(usize::MAX, |process| process.0)
    }

    /// Whether a stop is for a signal; a new process's first one is ptrace's own. It may come before its parent's
    /// event, and the parent is there until then.
    fn first_stop(&mut self, pid: i32) -> bool {
        if !self.processes.contains_key(&pid) {
            let parent = stat_fields(pid).and_then(|fields| fields[1].parse().ok()).unwrap_or(0);
            let role = self.role(parent).saturating_add(1);
            self.processes.insert(pid, (role, false));
        }
        let process = self.processes.get_mut(&pid).expect("just seen");
        std::mem::replace(&mut process.1, true)
    }

    fn resume(pid: nix::unistd::Pid, signal: Option<nix::sys::signal::Signal>) {
        // Ignored: it may just have been killed, and the next wait tells.
        let _ = nix::sys::ptrace::syscall(pid, signal);
    }
}

/// The system call that a process in a syscall-stop is about to make; `None` when it has made it.
fn system_call(pid: nix::unistd::Pid) -> Option<libc::c_long> {
    const PTRACE_GET_SYSCALL_INFO: libc::c_long = 0x420e;
    // `struct ptrace_syscall_info`: op in the first byte, nr in the fourth word.
    let mut info = [0_u64; 16];
    // SAFETY: as many bytes can be written there.
    let size = unsafe {
        libc::syscall(libc::SYS_ptrace, PTRACE_GET_SYSCALL_INFO, pid.as_raw(), size_of_val(&info), info.as_mut_ptr())
    };
    let about_to_enter = size > 0 && info[0].to_ne_bytes()[0] == 1;
    about_to_enter.then(|| libc::c_long::try_from(info[3]).ok())?
}
