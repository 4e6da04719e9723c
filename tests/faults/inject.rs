//! The injector: runs a start under ptrace(2) and has one call of one process go wrong.
//!
//! A call's address is its number among the calls of its process, and the process is named by who forked it, so races
//! between processes do not move it. The injector is the subreaper of all that is started, sees every process end, and
//! holds those that say that they are complete ([`marker`]) until the whole tree has come to rest: everything is then
//! dead, held, or has not moved for a long time, which is a hang.

#![allow(clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "registers are both")]

use super::calls;
use super::look::{self, Look};
use crate::harness::End;
use nix::sys::ptrace;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{ForkResult, Pid};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// What the programs under test say to the injector: `prctl(MAGIC, WORD, a, b, 0)`, which is EINVAL without one.
pub mod marker {
    use std::ffi::c_long;

    const MAGIC: c_long = 0x756e_7474;
    /// From here on, calls count.
    pub const BEGIN: c_long = 1;
    /// This is the daemon, complete.
    pub const DAEMON: c_long = 2;
    /// The call has returned in the caller: the daemon's pid.
    pub const RETURNED: c_long = 3;
    /// The call has failed in the caller: step and errno.
    pub const FAILED: c_long = 4;
    /// From here on, calls do not count any more.
    pub const END: c_long = 5;
    /// The caller, which cannot return, has been told of a failure and is about to exit: step and errno.
    pub const LATE: c_long = 6;

    /// The word and its arguments, if that call is one.
    pub fn of(number: c_long, arguments: &[u64; 6]) -> Option<(c_long, [i32; 2])> {
        let [magic, word, first, second, ..] = arguments.map(|argument| argument as i64);
        let narrow = |value: i64| i32::try_from(value).unwrap_or(-1);
        (number == libc::SYS_prctl && magic == MAGIC).then(|| (word, [narrow(first), narrow(second)]))
    }

    /// Says that.
    pub fn say(word: c_long, first: i32, second: i32) {
        // SAFETY: the kernel knows no such operation; the injector takes numbers.
        unsafe { libc::syscall(libc::SYS_prctl, MAGIC, word, c_long::from(first), c_long::from(second), 0) };
    }
}

/// Which process of a start: how it descends from the caller. Its n-th child has n appended.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Role(Vec<u32>);

impl Role {
    pub fn caller() -> Self {
        Self::default()
    }

    fn child(&self, number: u32) -> Self {
        Self(self.0.iter().copied().chain([number]).collect())
    }

    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "caller" => Some(Self(vec![])),
            "leader" => Some(Self(vec![0])),
            "daemon" => Some(Self(vec![0, 0])),
            word => word
                .strip_prefix("process.")?
                .split('.')
                .map(|number| number.parse().ok())
                .collect::<Option<_>>()
                .map(Self),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [] => formatter.write_str("caller"),
            [0] => formatter.write_str("leader"),
            [0, 0] => formatter.write_str("daemon"),
            path => write!(formatter, "process.{}", path.iter().map(u32::to_string).collect::<Vec<_>>().join(".")),
        }
    }
}

impl fmt::Debug for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// The call is not made, and gives that errno. (A close is made all the same.)
    Errno(i32),
    /// The call is made for one byte, or for half of what it was to be.
    Short,
    /// Its process gets that signal just before.
    Signal(i32),
    /// Its process is stopped just before, and goes on when all others wait.
    Pause,
    /// Its process is stopped just before, for ever.
    Stop,
    /// Its process is held up, by nothing that it or others can see, until all others wait.
    Delay,
}

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    Once,
    /// That call, and all later ones of its kind in this process.
    Persistent,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Fault {
    pub role: Role,
    /// From 0.
    pub index: usize,
    /// The system call that is expected there.
    pub call: i64,
    pub what: What,
    pub extent: Extent,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            What::Errno(errno) => calls::errno_name(errno),
            What::Short => "short".to_owned(),
            What::Signal(signal) => calls::signal_name(signal),
            What::Pause => "pause".to_owned(),
            What::Stop => "stop".to_owned(),
            What::Delay => "delay".to_owned(),
        };
        let extent = if self.extent == Extent::Once { "once" } else { "persistent" };
        write!(formatter, "{} {} {} {what} {extent}", self.role, self.index, calls::name(self.call))
    }
}

impl Fault {
    /// Reads what [`Display`](fmt::Display) has written.
    pub fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [role, index, call, what, extent] = words.as_slice() else { return None };
        let what = match *what {
            "short" => What::Short,
            "pause" => What::Pause,
            "stop" => What::Stop,
            "delay" => What::Delay,
            name if name.starts_with("SIG") => What::Signal(calls::signal_number(name)?),
            name => What::Errno(calls::errno_number(name)?),
        };
        let extent = if *extent == "once" { Extent::Once } else { Extent::Persistent };
        Some(Self { role: Role::parse(role)?, index: index.parse().ok()?, call: calls::number(call)?, what, extent })
    }
}

/// Where the calls begin that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// Where the program says so.
    Marker,
    /// At the program's entry point: its dynamic loader is not under test.
    Entry,
}

/// What is started.
pub struct Program<'a> {
    pub words: &'a [String],
    pub environment: &'a [(String, String)],
    pub directory: &'a str,
    pub begin: Begin,
    /// Calls that fail in every process with that errno, as under a filter: what a fault meets.
    pub forbidden: &'a [(i64, i32)],
    /// What the caller does to itself before it executes the program.
    pub prepare: &'a dyn Fn(),
}

/// A call that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    pub number: i64,
    pub arguments: [u64; 6],
}

/// How the process that was started came to its end, or to rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ended(End),
    /// It says that the call has returned: the daemon's pid.
    Returned(i32),
    /// It says that the call has failed: step and errno.
    Failed(i32, i32),
    /// It says that it is the daemon.
    IsDaemon,
    /// It did not come to rest.
    Hangs,
}

/// A process that was there at the end, held or hanging.
#[derive(Debug)]
pub struct Present {
    pub role: Role,
    pub pid: i32,
    /// What it said that it is.
    pub word: Option<i64>,
    pub look: Look,
}

/// What came of a run.
#[derive(Debug)]
pub struct Record {
    pub outcome: Outcome,
    pub present: Vec<Present>,
    /// Who is dead, how, and whether it had executed a program.
    pub dead: Vec<(Role, i32, End, bool)>,
    /// What the caller was told when it could not return any more: step and errno.
    pub late: Option<(i32, i32)>,
    /// Every counted call of every process.
    pub made: BTreeMap<Role, Vec<Made>>,
    /// Whether the fault was met where it was expected.
    pub fired: bool,
    /// The caller when calls began to count, and when the call was back.
    pub before: Option<Look>,
    pub after: Option<Look>,
    /// Who else was alive when the caller had come to its end, or spoke; and how long that took.
    pub alive: Vec<(Role, String)>,
    pub took: Duration,
    /// Standard output and error.
    pub said: String,
    pub errors: String,
    /// Every pid's role.
    pub roles: BTreeMap<i32, Role>,
    /// What happened, for the replay of one fault.
    pub story: Vec<String>,
}

/// A process that is traced.
struct Tracee {
    role: Role,
    children: u32,
    made: usize,
    /// It runs a program that it has executed.
    executed: bool,
    held: Option<i64>,
    /// What its call shall return.
    answer: Option<i64>,
    /// The count that its call was meant to be made with.
    count: Option<u64>,
    dead: bool,
}

struct Injector<'a> {
    program: &'a Program<'a>,
    fault: Option<&'a Fault>,
    tracees: BTreeMap<i32, Tracee>,
    caller: i32,
    /// Who was last heard of.
    last: i32,
    begun: bool,
    calls: usize,
    entry: Option<(u64, i64)>,
    /// Who is held up, and by what.
    held_up: Option<(i32, What)>,
    held_up_since: Instant,
    record: Record,
    verbose: bool,
    start: Instant,
}

/// How long the others must be still before who is held up may go on.
const STILL: Duration = Duration::from_millis(15);
/// How long somebody is held up at most, when the others look for him again and again.
const LONG: Duration = Duration::from_millis(100);
/// How many calls all may make before that is a hang too.
const TOO_MANY: usize = 200_000;
/// How long all may be still before it is a hang: longer than any wait of ours.
const HANG: Duration = Duration::from_secs(8);

/// Becomes the process that can do this: the subreaper of all that it starts. All of it stays on one processor, which
/// it mostly hands to and fro: that takes a tenth of the time.
pub fn prepare() {
    // SAFETY: all zero is a number of a processor.
    let mut processors: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let all = std::thread::available_parallelism().map_or(1, usize::from);
    // SAFETY: the set is ours.
    unsafe { libc::CPU_SET(std::process::id() as usize % all, &mut processors) };
    // SAFETY: as above. Ignored: it is faster only.
    let _ = unsafe { libc::sched_setaffinity(0, size_of_val(&processors), &raw const processors) };
    nix::sys::prctl::set_child_subreaper(true).expect("a subreaper");
    let mut child = SigSet::empty();
    child.add(Signal::SIGCHLD);
    child.thread_block().expect("a mask");
}

/// Runs the program, with that fault. When all has come to rest, something else may be looked at; nothing of it is left
/// afterwards.
pub fn run(program: &Program<'_>, fault: Option<&Fault>, verbose: bool, at_rest: &mut dyn FnMut()) -> Record {
    let (output, errors) = (memory_file(), memory_file());
    let caller = start(program, &output, &errors);
    let record = Record {
        outcome: Outcome::Hangs,
        present: vec![],
        dead: vec![],
        late: None,
        made: BTreeMap::new(),
        fired: false,
        before: None,
        after: None,
        alive: vec![],
        took: Duration::ZERO,
        said: String::new(),
        errors: String::new(),
        roles: BTreeMap::new(),
        story: vec![],
    };
    let mut injector = Injector {
        program,
        fault,
        tracees: BTreeMap::new(),
        caller,
        last: 0,
        begun: false,
        calls: 0,
        entry: None,
        held_up: None,
        held_up_since: Instant::now(),
        record,
        verbose,
        start: Instant::now(),
    };
    injector.know(caller, Role::caller());
    injector.watch();
    injector.look_at_all();
    at_rest();
    injector.end_all();
    let mut record = injector.record;
    record.said = text(&output);
    record.errors = text(&errors);
    record
}

fn memory_file() -> OwnedFd {
    nix::sys::memfd::memfd_create(c"said", nix::sys::memfd::MFdFlags::MFD_CLOEXEC).expect("memory")
}

fn text(file: &OwnedFd) -> String {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

/// Forks the caller, which waits until it is traced and then executes the program.
fn start(program: &Program<'_>, output: &OwnedFd, errors: &OwnedFd) -> i32 {
    let words: Vec<CString> = program.words.iter().map(|word| CString::new(word.as_str()).expect("a word")).collect();
    let variables: Vec<CString> = program
        .environment
        .iter()
        .map(|(name, value)| CString::new(format!("{name}={value}")).expect("a variable"))
        .collect();
    let (go, gone) = nix::unistd::pipe().expect("a pipe");
    // SAFETY: this process has one thread.
    match unsafe { nix::unistd::fork() }.expect("a fork") {
        ForkResult::Child => {
            let _ = nix::unistd::read(&go, &mut [0]);
            let null = std::fs::File::open("/dev/null").expect("/dev/null");
            nix::unistd::dup2_stdin(&null).expect("standard input");
            nix::unistd::dup2_stdout(output).expect("standard output");
            nix::unistd::dup2_stderr(errors).expect("standard error");
            // SAFETY: nothing of this process's is used any more.
            unsafe { libc::close_range(3, u32::MAX, 0) };
            SigSet::empty().thread_set_mask().expect("a mask");
            std::env::set_current_dir(program.directory).expect("the directory");
            (program.prepare)();
            let _ = nix::unistd::execve(&words[0], &words, &variables);
            eprintln!("cannot execute {:?}", words[0]);
            // SAFETY: ends this process.
            unsafe { libc::_exit(120) }
        }
        ForkResult::Parent { child } => {
            use ptrace::Options;
            let options = Options::PTRACE_O_TRACEFORK
                | Options::PTRACE_O_TRACEVFORK
                | Options::PTRACE_O_TRACECLONE
                | Options::PTRACE_O_TRACEEXEC
                | Options::PTRACE_O_TRACESYSGOOD
                | Options::PTRACE_O_EXITKILL;
            ptrace::seize(child, options).expect("a tracee");
            nix::unistd::write(&gone, b"g").expect("the child waits");
            child.as_raw()
        }
    }
}

impl Injector<'_> {
    fn know(&mut self, pid: i32, role: Role) {
        self.record.roles.insert(pid, role.clone());
        let tracee =
            Tracee { role, children: 0, made: 0, executed: false, held: None, answer: None, count: None, dead: false };
        self.tracees.insert(pid, tracee);
    }

    fn tell(&mut self, pid: i32, what: impl FnOnce() -> String) {
        if self.verbose {
            let role = self.tracees.get(&pid).map_or_else(|| pid.to_string(), |tracee| tracee.role.to_string());
            let line = format!("{:8.3} ms {role}: {}", self.start.elapsed().as_secs_f64() * 1000.0, what());
            self.record.story.push(line);
        }
    }

    /// Lets all run until it has come to rest.
    fn watch(&mut self) {
        let mut still_since = Instant::now();
        while self.calls < TOO_MANY && !self.is_at_rest() {
            match self.next_event() {
                (0, _) => {
                    let patience = if self.held_up.is_some() { STILL } else { HANG };
                    if still_since.elapsed() >= patience && !self.go_on() {
                        return;
                    }
                    wait_for_a_child(patience);
                    continue;
                }
                (-1, _) => return, // nobody is left
                (pid, status) => {
                    self.last = pid;
                    self.handle(pid, status);
                }
            }
            still_since = Instant::now();
            if self.held_up_since.elapsed() >= LONG {
                self.go_on();
            }
        }
        if let Some(tracee) = self.tracees.get(&self.caller) {
            if tracee.held == Some(marker::DAEMON) {
                self.record.outcome = Outcome::IsDaemon;
            }
        }
    }

    /// The next that has happened, each in turn: who makes call after call must not hide another's end. 0 when nothing has,
    /// -1 when nobody is left.
    fn next_event(&self) -> (i32, i32) {
        let living = || self.tracees.iter().filter(|(_, tracee)| !tracee.dead).map(|(pid, _)| *pid);
        let in_turn = living().filter(|pid| *pid > self.last).chain(living().filter(|pid| *pid <= self.last));
        let mut status = 0;
        for pid in in_turn.chain([-1]) {
            // SAFETY: the status is ours.
            let found = unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL | libc::WNOHANG) };
            if found > 0 || pid == -1 {
                return (found, status);
            }
        }
        (0, status)
    }

    /// Everybody is dead, or held and not just being killed.
    fn is_at_rest(&self) -> bool {
        self.tracees.values().all(|tracee| tracee.dead || tracee.held.is_some())
            && self.tracees.iter().all(|(pid, tracee)| tracee.dead || look::is_stopped(*pid))
    }

    /// All are still: who is held up goes on. False if that is nobody.
    fn go_on(&mut self) -> bool {
        let Some((pid, what)) = self.held_up.take() else { return false };
        self.tell(pid, || "goes on".to_owned());
        if what == What::Pause {
            let _ = nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGCONT);
        } else {
            resume(pid, 0);
        }
        true
    }

    fn handle(&mut self, pid: i32, status: i32) {
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            let end = if libc::WIFEXITED(status) {
                End::Exited(libc::WEXITSTATUS(status))
            } else {
                End::Killed(libc::WTERMSIG(status))
            };
            return self.is_dead(pid, end);
        }
        if !libc::WIFSTOPPED(status) {
            return;
        }
        if !self.tracees.contains_key(&pid) {
            // It has come before its parent's word.
            let parent = look::parent(pid).unwrap_or(0);
            self.adopt(parent, pid);
        }
        let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
        match event {
            libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE => {
                if let Some(child) =
                    ptrace::getevent(Pid::from_raw(pid)).ok().and_then(|child| i32::try_from(child).ok())
                {
                    self.adopt(pid, child);
                }
                resume(pid, 0);
            }
            libc::PTRACE_EVENT_EXEC => self.has_executed(pid),
            // A new process, or one that has been stopped or goes on.
            libc::PTRACE_EVENT_STOP if signal == libc::SIGTRAP => resume(pid, 0),
            libc::PTRACE_EVENT_STOP => {
                self.tell(pid, || format!("is stopped by {}", calls::signal_name(signal)));
                listen(pid);
            }
            _ if signal == libc::SIGTRAP | 0x80 => self.is_at_call(pid),
            _ if signal == libc::SIGTRAP && self.entry.is_some() && pid == self.caller => self.has_entered(pid),
            _ => {
                self.tell(pid, || format!("gets {}", calls::signal_name(signal)));
                resume(pid, signal);
            }
        }
    }

    fn adopt(&mut self, parent: i32, child: i32) {
        if self.tracees.contains_key(&child) {
            return;
        }
        let Some(tracee) = self.tracees.get_mut(&parent) else { return self.know(child, Role(vec![99])) };
        let role = tracee.role.child(tracee.children);
        tracee.children += 1;
        self.know(child, role);
    }

    fn is_dead(&mut self, pid: i32, end: End) {
        self.tell(pid, || format!("{end:?}"));
        let Some(tracee) = self.tracees.get_mut(&pid) else { return };
        tracee.dead = true;
        let gone = (tracee.role.clone(), pid, end, tracee.executed);
        self.record.dead.push(gone);
        if pid == self.caller && self.record.outcome == Outcome::Hangs {
            self.record.outcome = Outcome::Ended(end);
            self.note_who_lives();
        }
        if self.held_up.is_some_and(|(held_up, _)| held_up == pid) {
            self.held_up = None;
        }
    }

    /// The caller has come to its end, or speaks.
    fn note_who_lives(&mut self) {
        let others = self.tracees.iter().filter(|(pid, tracee)| **pid != self.caller && !tracee.dead);
        let alive = others.filter_map(|(pid, tracee)| Some((tracee.role.clone(), look::living_state(*pid)?)));
        self.record.alive = alive.collect();
        self.record.took = self.start.elapsed();
    }

    fn has_executed(&mut self, pid: i32) {
        self.tell(pid, || "has executed a program".to_owned());
        if self.begun {
            if let Some(tracee) = self.tracees.get_mut(&pid) {
                tracee.executed = true;
            }
        } else if self.program.begin == Begin::Entry && pid == self.caller {
            // The loader runs by itself; a breakpoint tells that it is done.
            if let Some(entry) = look::entry_point(pid) {
                let address = std::ptr::with_exposed_provenance_mut(usize::try_from(entry).expect("an address"));
                let word = ptrace::read(Pid::from_raw(pid), address).expect("text");
                ptrace::write(Pid::from_raw(pid), address, word & !0xff | 0xcc).expect("text");
                self.entry = Some((entry, word));
                let _ = ptrace::cont(Pid::from_raw(pid), None);
                return;
            }
        }
        resume(pid, 0);
    }

    /// At the entry point.
    fn has_entered(&mut self, pid: i32) {
        let Some((entry, word)) = self.entry.take() else { return };
        let tracee = Pid::from_raw(pid);
        let address = std::ptr::with_exposed_provenance_mut(usize::try_from(entry).expect("an address"));
        ptrace::write(tracee, address, word).expect("text");
        let mut registers = ptrace::getregs(tracee).expect("registers");
        registers.rip = entry;
        ptrace::setregs(tracee, registers).expect("registers");
        self.begin(pid);
        resume(pid, 0);
    }

    fn begin(&mut self, pid: i32) {
        self.begun = true;
        self.record.before = Some(look::at(pid));
    }

    fn is_at_call(&mut self, pid: i32) {
        match stop_of(pid) {
            Some(Stop::Entry(made)) => {
                if let Some((word, values)) = marker::of(made.number, &made.arguments) {
                    return self.hears(pid, word, values);
                }
                let Some(tracee) = self.tracees.get_mut(&pid) else { return resume(pid, 0) };
                if self.begun && !tracee.executed {
                    let index = tracee.made;
                    tracee.made += 1;
                    self.calls += 1;
                    let role = tracee.role.clone();
                    self.record.made.entry(role.clone()).or_default().push(made);
                    self.tell(pid, || format!("[{index}] {}", calls::show(&made)));
                    return self.meets(pid, &role, index, made);
                }
                resume(pid, 0);
            }
            Some(Stop::Exit(result)) => {
                if let Some(count) = self.tracees.get_mut(&pid).and_then(|tracee| tracee.count.take()) {
                    set_count(pid, count);
                }
                let answer = self.tracees.get_mut(&pid).and_then(|tracee| tracee.answer.take());
                if let Some(answer) = answer {
                    set_result(pid, answer);
                    self.tell(pid, || format!("    = {answer}, injected"));
                } else if self.begun && self.tracees.get(&pid).is_some_and(|tracee| !tracee.executed) {
                    self.tell(pid, || format!("    = {result}"));
                }
                resume(pid, 0);
            }
            None => resume(pid, 0),
        }
    }

    fn hears(&mut self, pid: i32, word: i64, values: [i32; 2]) {
        self.tell(pid, || format!("says {word} {values:?}"));
        if word == marker::BEGIN {
            self.begin(pid);
            return resume(pid, 0);
        }
        if word == marker::END {
            self.begun = false;
            return resume(pid, 0);
        }
        if word == marker::LATE {
            self.record.late = (pid == self.caller).then_some((values[0], values[1]));
            return resume(pid, 0);
        }
        if pid == self.caller && (word == marker::RETURNED || word == marker::FAILED) {
            self.record.after = Some(look::at(pid));
            self.note_who_lives();
            self.record.outcome = if word == marker::RETURNED {
                Outcome::Returned(values[0])
            } else {
                Outcome::Failed(values[0], values[1])
            };
        }
        if let Some(tracee) = self.tracees.get_mut(&pid) {
            tracee.held = Some(word);
        }
    }

    /// A call that counts: what is wrong with it?
    fn meets(&mut self, pid: i32, role: &Role, index: usize, made: Made) {
        if let Some((_, errno)) = self.program.forbidden.iter().find(|forbidden| forbidden.0 == made.number) {
            return self.fail(pid, made, *errno);
        }
        let Some(fault) = self.fault.filter(|fault| fault.role == *role) else { return resume(pid, 0) };
        let again = self.record.fired && fault.extent == Extent::Persistent && made.number == fault.call;
        if index == fault.index && made.number == fault.call {
            self.record.fired = true;
        } else if !again || !repeats(fault.what, index - fault.index) {
            return resume(pid, 0);
        }
        match fault.what {
            What::Errno(errno) => self.fail(pid, made, errno),
            What::Short => {
                let count = if made.number == libc::SYS_getdents64 { made.arguments[2] / 2 } else { 1 };
                set_count(pid, count);
                if let Some(tracee) = self.tracees.get_mut(&pid) {
                    tracee.count = Some(made.arguments[2]);
                }
                resume(pid, 0);
            }
            What::Signal(signal) => {
                self.tell(pid, || format!("is sent {}", calls::signal_name(signal)));
                send(pid, signal);
                resume(pid, 0);
            }
            What::Pause | What::Stop => {
                self.tell(pid, || "is stopped".to_owned());
                send(pid, libc::SIGSTOP);
                if fault.what == What::Pause {
                    self.hold_up(pid, fault.what);
                }
                resume(pid, 0);
            }
            What::Delay => {
                self.tell(pid, || "is held up".to_owned());
                self.hold_up(pid, fault.what);
            }
        }
    }

    fn hold_up(&mut self, pid: i32, what: What) {
        self.held_up = Some((pid, what));
        self.held_up_since = Instant::now();
    }

    fn fail(&mut self, pid: i32, made: Made, errno: i32) {
        if made.number != libc::SYS_close {
            skip(pid);
        }
        if let Some(tracee) = self.tracees.get_mut(&pid) {
            tracee.answer = Some(i64::from(-errno));
        }
        resume(pid, 0);
    }

    /// Who is there at the end, and in what state.
    fn look_at_all(&mut self) {
        for (pid, tracee) in &self.tracees {
            if !tracee.dead {
                let present = Present { role: tracee.role.clone(), pid: *pid, word: tracee.held, look: look::at(*pid) };
                self.record.present.push(present);
            }
        }
    }

    /// Ends all that was started, until nothing is left.
    fn end_all(&mut self) {
        loop {
            for (pid, _) in self.tracees.iter().filter(|(_, tracee)| !tracee.dead) {
                let _ = nix::sys::signal::kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            let mut status = 0;
            // SAFETY: the status is ours.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL) };
            if pid < 0 {
                return;
            }
            if libc::WIFSTOPPED(status) {
                // Of a new process this is the first that is heard.
                if !self.tracees.contains_key(&pid) {
                    self.know(pid, Role(vec![99]));
                }
                resume(pid, 0);
            } else if let Some(tracee) = self.tracees.get_mut(&pid) {
                tracee.dead = true;
            }
        }
    }
}

/// No kernel interrupts a call for ever without a signal, and none says for ever that there is nothing.
fn repeats(what: What, since: usize) -> bool {
    const SOME: usize = 8;
    !matches!(what, What::Errno(libc::EINTR | libc::EAGAIN)) || since < SOME
}

fn wait_for_a_child(patience: Duration) {
    let mut child = SigSet::empty();
    child.add(Signal::SIGCHLD);
    let time = libc::timespec { tv_sec: patience.as_secs() as i64, tv_nsec: patience.subsec_nanos().into() };
    // SAFETY: the set and the time are ours.
    unsafe { libc::sigtimedwait(child.as_ref(), std::ptr::null_mut(), &raw const time) };
}

fn resume(pid: i32, signal: i32) {
    // SAFETY: no memory is touched. Ignored: it may just have been killed, and the next wait tells.
    let _ = unsafe { libc::ptrace(libc::PTRACE_SYSCALL, pid, 0, signal) };
}

/// Stays stopped, until it is continued.
fn listen(pid: i32) {
    // SAFETY: no memory is touched. Ignored as above.
    let _ = unsafe { libc::ptrace(libc::PTRACE_LISTEN, pid, 0, 0) };
}

fn send(pid: i32, signal: i32) {
    // SAFETY: no memory is touched.
    unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, signal) };
}

enum Stop {
    Entry(Made),
    Exit(i64),
}

/// In what a process in a system call's stop is.
fn stop_of(pid: i32) -> Option<Stop> {
    // SAFETY: numbers; all zero is one of them.
    let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
    // SAFETY: as many bytes can be written there.
    unsafe { libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, pid, size_of_val(&info), &raw mut info) };
    match info.op {
        libc::PTRACE_SYSCALL_INFO_ENTRY => {
            // SAFETY: the kernel has filled the member that the operation names.
            let entry = unsafe { info.u.entry };
            Some(Stop::Entry(Made { number: entry.nr as i64, arguments: entry.args }))
        }
        // SAFETY: as above.
        libc::PTRACE_SYSCALL_INFO_EXIT => Some(Stop::Exit(unsafe { info.u.exit.sval })),
        _ => None,
    }
}

// What depends on the machine.

/// The call is not made.
fn skip(pid: i32) {
    change(pid, |registers| registers.orig_rax = u64::MAX);
}

fn set_result(pid: i32, result: i64) {
    change(pid, |registers| registers.rax = result as u64);
}

/// The third argument. Whoever makes calls by itself relies on it to be the same afterwards.
fn set_count(pid: i32, count: u64) {
    change(pid, |registers| registers.rdx = count);
}

fn change(pid: i32, how: impl FnOnce(&mut libc::user_regs_struct)) {
    // Ignored: it may just have been killed, and the next wait tells.
    if let Ok(mut registers) = ptrace::getregs(Pid::from_raw(pid)) {
        how(&mut registers);
        let _ = ptrace::setregs(Pid::from_raw(pid), registers);
    }
}
