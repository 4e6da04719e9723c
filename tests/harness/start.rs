//! Starts of a daemon, by words: [`Start`] is the test's side, [`caller`] the helper that does what the words say (it
//! prepares itself, sets options, detaches or spawns) and calls with what came of it and whether it is as it was. Its
//! daemon calls too, tells its state, and obeys orders.

#![allow(
    clippy::multiple_unsafe_ops_per_block,
    clippy::undocumented_unsafe_blocks,
    reason = "tests: bare system calls"
)]

use super::{
    Call, End, Event, Meeting, PATIENCE, Scratch, State, Visitor, Warden, differences, helper, is_root, state,
};
use std::ffi::{CStr, CString, c_int};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{fs, process, ptr, thread};
use untty::{Daemon, Error, Handle, Process, Stdio, Step};

/// Functions with their names.
#[allow(unused_macros, reason = "not every test has them")]
macro_rules! named {
    ($($function:ident,)*) => { &[$((stringify!($function), $function)),*] };
}
#[allow(unused_imports, reason = "not every test has them")]
pub(crate) use named;

// The helper.

/// What a caller has been told to do, in its words.
pub struct Plan {
    pub meeting: String,
    pub daemon: Daemon<'static>,
    pub spawn: Option<Vec<CString>>,
    /// What the daemon does before it calls.
    pub first: Vec<String>,
    /// What the daemon does when it has told its state.
    pub then: Vec<String>,
    /// A limit of open descriptors during the call.
    pub descriptors: Option<u64>,
    /// A directory whose files belong to the state.
    pub watched: Option<String>,
    /// What this machine does not let it do.
    pub forbidden: Option<String>,
}

/// Does what its words say. See [`Plan::take`].
pub fn caller(arguments: &[String]) {
    let mut plan = Plan::new(&arguments[0]);
    forget_the_tests_parents();
    for word in &arguments[1..] {
        plan.take(word);
    }
    plan.perform();
}

/// Descriptors, ignored signals (a shell's background jobs ignore SIGINT) and a mask may come from far above the test.
pub fn forget_the_tests_parents() {
    for fd in super::open_fds().into_iter().filter(|fd| *fd > 2) {
        unsafe { libc::close(fd) };
    }
    set_signals("all", libc::SIG_DFL, 0);
    change_mask(libc::SIG_SETMASK, 0);
}

/// Goes into a new pid namespace and starts `caller` there as its first process.
pub fn caller_as_pid_1(arguments: &[String]) {
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
    pub fn new(meeting: &str) -> Self {
        Self {
            meeting: meeting.to_owned(),
            daemon: if is_handover() { Daemon::new().handover().on_late_failure(late) } else { Daemon::new() },
            spawn: None,
            first: Vec::new(),
            then: Vec::new(),
            descriptors: None,
            watched: None,
            forbidden: None,
        }
    }

    pub fn take(&mut self, word: &str) {
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
            "handover" => self.daemon = daemon.handover(),
            "deadline" => self.daemon = daemon.deadline(Duration::from_millis(rest.parse().unwrap())),
            "pid_file" => self.daemon = daemon.pid_file(c(rest)),
            "root" => self.daemon = daemon.root(c(rest)),
            "user" => {
                let ids: Vec<u32> = rest.split(' ').map(|id| id.parse().unwrap()).collect();
                self.daemon = daemon.user(ids[0], ids[1], ids[2..].to_vec().leak());
            }
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
            "watch" => self.watched = Some(rest.to_owned()),
            "file_size" => set_limit(libc::RLIMIT_FSIZE, rest.parse().unwrap()),
            "processes" => self.or_forbidden(limit_processes(rest.parse().unwrap())),
            "no_cores" => set_limit(libc::RLIMIT_CORE, 0),
            "forbid" => filter(rest, None),
            "deadly" => filter(rest, Some(seccompiler::SeccompAction::KillProcess)),
            "thread" => start_thread(),
            "session" => drop(nix::unistd::setsid().unwrap()),
            "group" => nix::unistd::setpgid(nix::unistd::Pid::this(), nix::unistd::Pid::from_raw(0)).unwrap(),
            "subreaper" => nix::sys::prctl::set_child_subreaper(true).unwrap(),
            "ordinary" => become_ordinary(),
            "users" => self.or_forbidden(unshare(0)),
            "at_exit" => drop(unsafe { libc::atexit(say_exit) }),
            "tmpfs" => self.or_forbidden(mount_tmpfs(rest)),
            "fill" => drop(fs::write(rest, [b'x'; 1 << 16]).unwrap_err()),
            "write" => {
                let (path, text) = rest.split_once(' ').unwrap();
                fs::write(path, text).unwrap();
            }
            "read_only" => self.or_forbidden(mount_read_only(rest)),
            "no_dev" => self.or_forbidden(hide_dev()),
            "null" => self.or_forbidden(replace_null(rest)),
            "proc" => self.or_forbidden(mount("proc", "/proc", Some("proc"), 0)),
            _ => panic!("what is {word:?}?"),
        }
    }

    pub fn or_forbidden(&mut self, result: Result<(), String>) {
        self.forbidden = self.forbidden.take().or(result.err());
    }

    /// Detaches or spawns, and in the caller tells what came of it.
    pub fn perform(self) {
        if let Some(why) = self.forbidden {
            return answer(&self.meeting, &[format!("outcome skipped: {why}")], &State::new());
        }
        let state = || {
            let mut state = whole_state();
            state.extend(self.watched.iter().flat_map(|directory| files(directory)));
            state
        };
        let before = state();
        MEETING.set((self.meeting.clone(), Instant::now())).unwrap();
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
        let after = state();
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

/// With `UNTTY_HANDOVER` in the environment, every start asks for handover: the same tests, the same promise. Who is to return
/// in the caller, too, is forked all the same.
fn is_handover() -> bool {
    std::env::var_os("UNTTY_HANDOVER").is_some()
}

/// Where [`late`] calls, and since when the caller waits.
static MEETING: OnceLock<(String, Instant)> = OnceLock::new();

/// The caller calls, when the daemon has failed after it went on: on a stack that is large enough for it, which is more than
/// a signal handler may, but the daemons here die in no C library's function. The tests want an exit status of 0 then.
fn late(error: Error) {
    let (meeting, start) = MEETING.get().unwrap();
    let milliseconds = start.elapsed().as_millis();
    let lines = [format!("outcome {}", short(error)), format!("text {error}"), format!("milliseconds {milliseconds}")];
    thread::scope(|scope| scope.spawn(|| answer(meeting, &lines, &whole_state())).join().unwrap());
    process::exit(0);
}

/// What is in a directory: mode, inode, links, owner and content of every file.
pub fn files(directory: &str) -> State {
    let describe = |entry: fs::DirEntry| {
        let stat = entry.metadata().unwrap();
        let content = if stat.is_file() { fs::read(entry.path()).ok() } else { None };
        let content = content.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let (mode, inode, links, owner) = (stat.mode(), stat.ino(), stat.nlink(), stat.uid());
        (format!("file {}", entry.path().display()), format!("{mode:o} {inode} {links} {owner} {content:?}"))
    };
    fs::read_dir(directory).unwrap().map(|entry| describe(entry.unwrap())).collect()
}

/// The words for what the caller does with signals.
pub fn prepare(word: &str) {
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
pub fn short(error: Error) -> String {
    match error.step() {
        Step::Fail => format!("fail {}", error.errno().number()),
        step => format!("{} {}", step.name().replace(' ', "_"), error.errno()),
    }
}

pub fn spawn(daemon: &Daemon<'_>, words: &[CString]) -> Result<i32, Error> {
    let mut argv: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
    argv.push(ptr::null());
    let envp = [c"WITNESS=yes".as_ptr(), ptr::null()];
    // SAFETY: both arrays end with NULL and hold strings that live as long.
    unsafe { daemon.spawn(&words[0], argv.as_ptr(), envp.as_ptr()) }
}

/// The caller calls.
pub fn answer(meeting: &str, lines: &[String], state: &State) {
    let mut call = Call::to(meeting);
    call.say("caller");
    lines.iter().for_each(|line| call.say(line));
    call.tell_state(state);
    call.wait_for_the_end();
}

/// The daemon calls, and obeys until the test hangs up.
pub fn serve(meeting: &str, handle: Handle, first: &[String], then: &[String]) {
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
    listen(&mut call, &mut handle);
}

fn listen(call: &mut Call, handle: &mut Option<Handle>) {
    while let Some(order) = call.line() {
        match order.as_str() {
            "state" => call.tell_state(&super::state()),
            order => call.say(&obey(order, handle)),
        }
    }
}

/// Obeys one order; returns what came of it.
pub fn obey(order: &str, handle: &mut Option<Handle>) -> String {
    let (verb, rest) = order.split_once(' ').unwrap_or((order, ""));
    match verb {
        "ready" => match handle.as_mut().unwrap().ready() {
            Ok(()) => "ready".to_owned(),
            Err(error) => short(error),
        },
        "way" => format!("{:?}", handle.as_ref().unwrap().way()),
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
        "pid_file_descriptor" => format!("descriptor {}", handle.as_ref().unwrap().descriptors()[3]),
        "pid_file_read" => match untty::pid_file_read(c(rest)) {
            Ok(Some(pid)) => format!("process {pid}"),
            Ok(None) => "nobody".to_owned(),
            Err(error) => short(error),
        },
        "pid_file_remove" => match untty::pid_file_remove(c(rest)) {
            Ok(()) => "removed".to_owned(),
            Err(error) => short(error),
        },
        // SAFETY: it is to fail, and nobody uses the call's socket meanwhile.
        "detach" => match unsafe { Daemon::new().return_in_caller().pid_file(c(rest)).detach() } {
            Ok(_) => process::exit(9),
            Err(error) => short(error),
        },
        "mode" => format!("mode {}", unsafe { libc::fcntl(number(rest), libc::F_GETFL) } & libc::O_ACCMODE),
        "close_all" => {
            // But not the call.
            let is_file = |fd: &i32| {
                !fs::read_link(format!("/proc/self/fd/{fd}")).unwrap().display().to_string().starts_with("socket:")
            };
            let files: Vec<i32> = super::open_fds().into_iter().filter(is_file).collect();
            format!("closed {}", files.into_iter().filter(|fd| unsafe { libc::close(*fd) } == 0).count())
        }
        "read_file" => format!("{:?}", fs::read_to_string(rest)),
        "open" => match fs::File::options().write(true).open(rest) {
            Ok(_) => "opened".to_owned(),
            Err(error) => format!("errno {}", error.raw_os_error().unwrap()),
        },
        // It goes when the test hangs up on it.
        "child" => {
            let words: Vec<&str> = rest.split(' ').collect();
            format!("child {}", process::Command::new(words[0]).args(&words[1..]).spawn().unwrap().id())
        }
        "group" => format!("group {}", unsafe { libc::setpgid(0, 0) }),
        "session" => format!("session {}", unsafe { libc::setsid() } > 0),
        "wander" => format!("wandered {}", wander()),
        "regain" => regain(),
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

/// Goes into a group that a child of this process has made, and from there into a session of its own.
pub fn wander() -> bool {
    unsafe {
        let child = libc::fork();
        if child == 0 {
            loop {
                libc::pause();
            }
        }
        let moved = libc::setpgid(child, child) == 0 && libc::setpgid(0, child) == 0 && libc::getpgrp() == child;
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, ptr::null_mut(), 0) == child && moved && libc::setsid() > 0
    }
}

/// Tries to be root again in every way there is: what came of each.
fn regain() -> String {
    let (root, unchanged) = (0_u32, u32::MAX);
    let tries = [
        unsafe { libc::setgroups(1, &raw const root) },
        unsafe { libc::setresgid(root, root, root) },
        unsafe { libc::setresgid(unchanged, root, unchanged) },
        unsafe { libc::setgid(root) },
        unsafe { libc::setresuid(root, root, root) },
        unsafe { libc::setresuid(unchanged, root, unchanged) },
        unsafe { libc::setuid(root) },
        unsafe { libc::chroot(c"/".as_ptr()) },
    ];
    if tries.iter().all(|result| *result == -1) { "refused".to_owned() } else { format!("{tries:?}") }
}

/// What a spawned program does: it calls, tells its state, and obeys.
pub fn program(arguments: &[String]) {
    let state = state();
    let mut call = Call::to(&arguments[0]);
    call.say("program");
    call.tell_state(&state);
    call.say(&std::env::var("WITNESS").unwrap_or_default());
    call.say(&arguments[1..].join(" "));
    listen(&mut call, &mut None);
}

/// The state, and also every signal's disposition as the kernel keeps it, whether there are children, and who it is.
pub fn whole_state() -> State {
    let mut state = state();
    state.extend(who_is(unsafe { libc::getpid() }));
    for signal in 1..=64 {
        let (result, disposition) = disposition(signal);
        state.insert(format!("signal {signal:02}"), format!("{result} {disposition:x?}"));
    }
    state.insert("children".to_owned(), if has_children() { "some" } else { "none" }.to_owned());
    state
}

/// A signal's disposition, as the kernel keeps it.
pub fn disposition(signal: c_int) -> (libc::c_long, [usize; 8]) {
    let mut disposition = [0; 8];
    let none = ptr::null::<usize>();
    let result =
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, none, disposition.as_mut_ptr(), size_of::<u64>()) };
    (result, disposition)
}

/// Whether there are any, zombies too.
pub fn has_children() -> bool {
    let mut information = std::mem::MaybeUninit::<libc::siginfo_t>::uninit();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    unsafe { libc::waitid(libc::P_ALL, 0, information.as_mut_ptr(), options) == 0 }
}

/// User, groups, capabilities and root directory of a process.
pub fn who_is(pid: i32) -> State {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let wanted = ["Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapAmb", "NoNewPrivs"];
    let lines = status.lines().filter_map(|line| line.split_once(':')).filter(|line| wanted.contains(&line.0));
    // The colon: an empty list would be no line to the test.
    let mut state: State =
        lines.map(|(key, value)| (key.to_owned(), format!(":{}", value.trim().replace('\t', " ")))).collect();
    let root = fs::read_link(format!("/proc/{pid}/root"));
    state.insert("root".to_owned(), root.map_or("unknown".to_owned(), |path| path.display().to_string()));
    state
}

pub fn c(text: &str) -> &'static CStr {
    Box::leak(CString::new(text).unwrap().into_boxed_c_str())
}

pub fn octal(text: &str) -> u32 {
    u32::from_str_radix(text, 8).unwrap()
}

pub fn number(text: &str) -> i32 {
    text.parse().unwrap()
}

pub fn stdio(text: &str) -> Stdio<'static> {
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
pub fn signals(list: &str) -> Vec<c_int> {
    match list {
        "all" => (1..=64).filter(|signal| ![libc::SIGKILL, libc::SIGSTOP].contains(signal)).collect(),
        list => list.split(' ').map(number).collect(),
    }
}

pub fn set_signals(list: &str, handler: usize, flags: c_int) {
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

pub fn block_signals(list: &str) {
    change_mask(libc::SIG_BLOCK, signals(list).into_iter().fold(0, |set, signal| set | 1 << (signal - 1)));
}

pub fn change_mask(how: c_int, set: u64) {
    let none = ptr::null::<u64>();
    assert_eq!(unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const set, none, size_of::<u64>()) }, 0);
}

/// A handler that says, on standard error, that it ran.
pub extern "C" fn say_signal(_: c_int) {
    let text = "handled\n";
    unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
}

/// A handler that takes every child away, as many programs have one.
pub extern "C" fn reap(_: c_int) {
    while unsafe { libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG) } > 0 {}
}

pub extern "C" fn say_exit() {
    let text = "at exit\n";
    unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
}

/// `FD PATH`: opens the file at that number.
pub fn open_at(rest: &str) {
    let (fd, path) = rest.split_once(' ').unwrap();
    let file = fs::File::options().read(true).write(true).create(true).truncate(false).open(path).unwrap();
    assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), number(fd)) }, number(fd));
    if file.as_raw_fd() == number(fd) {
        unsafe { libc::fcntl(number(fd), libc::F_SETFD, 0) };
        std::mem::forget(file);
    }
}

pub fn get_limit(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    assert_eq!(unsafe { libc::getrlimit(resource, &raw mut limit) }, 0);
    limit.rlim_cur
}

pub fn set_limit(resource: libc::__rlimit_resource_t, value: u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    assert_eq!(unsafe { libc::getrlimit(resource, &raw mut limit) }, 0);
    limit.rlim_cur = value;
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const limit) }, 0);
}

/// `SYSCALL ERRNO [CONDITION]…` or, for what kills, `SYSCALL [CONDITION]…`. A condition is `ARGUMENT=VALUE` or `!=`.
pub fn filter(rest: &str, deadly: Option<seccompiler::SeccompAction>) {
    use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule};
    let mut words = rest.split(' ');
    let calls: &[libc::c_long] = match words.next().unwrap() {
        #[cfg(target_arch = "x86_64")]
        "fork" => &[libc::SYS_clone, libc::SYS_clone3, libc::SYS_fork, libc::SYS_vfork],
        #[cfg(not(target_arch = "x86_64"))]
        "fork" => &[libc::SYS_clone, libc::SYS_clone3],
        "unshare" => &[libc::SYS_unshare],
        "kill" => &[libc::SYS_kill],
        "pidfd_open" => &[libc::SYS_pidfd_open],
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
        "fchmod" => &[libc::SYS_fchmod],
        "fcntl" => &[libc::SYS_fcntl],
        "flock" => &[libc::SYS_flock],
        "ftruncate" => &[libc::SYS_ftruncate],
        #[cfg(target_arch = "x86_64")]
        "unlink" => &[libc::SYS_unlink, libc::SYS_unlinkat],
        #[cfg(not(target_arch = "x86_64"))]
        "unlink" => &[libc::SYS_unlinkat],
        "pread" => &[libc::SYS_pread64],
        "pwrite" => &[libc::SYS_pwrite64],
        "chroot" => &[libc::SYS_chroot],
        "setgroups" => &[libc::SYS_setgroups],
        "getgroups" => &[libc::SYS_getgroups],
        "setresgid" => &[libc::SYS_setresgid],
        "getresgid" => &[libc::SYS_getresgid],
        "setresuid" => &[libc::SYS_setresuid],
        "getresuid" => &[libc::SYS_getresuid],
        "capset" => &[libc::SYS_capset],
        "capget" => &[libc::SYS_capget],
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
pub fn start_thread() {
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
pub fn become_ordinary() {
    if is_root() {
        let user = 100_000 + process::id();
        nix::unistd::setgroups(&[]).unwrap();
        nix::unistd::setresgid(user.into(), user.into(), user.into()).unwrap();
        nix::unistd::setresuid(user.into(), user.into(), user.into()).unwrap();
    }
}

/// Lets its user have that many processes, of which it is one: as a user of its own, or as one in a namespace.
pub fn limit_processes(count: u64) -> Result<(), String> {
    if is_root() {
        become_ordinary();
    } else {
        unshare(0)?;
    }
    set_limit(libc::RLIMIT_NPROC, count);
    Ok(())
}

/// Goes into new namespaces; without root's powers also into one of users, where it has them.
pub fn unshare(namespaces: c_int) -> Result<(), String> {
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

pub fn mount(source: &str, target: &str, kind: Option<&str>, flags: libc::c_ulong) -> Result<(), String> {
    let flags = nix::mount::MsFlags::from_bits_retain(flags);
    nix::mount::mount(Some(source), target, kind, flags, None::<&str>)
        .map_err(|error| format!("mount {target}: {error}"))
}

pub fn mount_read_only(path: &str) -> Result<(), String> {
    unshare(libc::CLONE_NEWNS)?;
    mount(path, path, None, libc::MS_BIND)?;
    mount(path, path, None, libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY)
}

/// `SIZE PATH`: an empty file system of that size.
pub fn mount_tmpfs(rest: &str) -> Result<(), String> {
    let (size, path) = rest.split_once(' ').unwrap();
    unshare(libc::CLONE_NEWNS)?;
    let options = format!("size={size},mode=777");
    nix::mount::mount(Some("none"), path, Some("tmpfs"), nix::mount::MsFlags::empty(), Some(options.as_str()))
        .map_err(|error| format!("mount {path}: {error}"))
}

pub fn hide_dev() -> Result<(), String> {
    unshare(libc::CLONE_NEWNS)?;
    mount("none", "/dev", Some("tmpfs"), 0)
}

pub fn replace_null(with: &str) -> Result<(), String> {
    unshare(libc::CLONE_NEWNS)?;
    mount(with, "/dev/null", None, libc::MS_BIND)
}

// The test's side.

/// One start of a daemon, under a warden.
pub struct Start {
    pub warden: Warden,
    pub meeting: Meeting,
    pub _scratch: Scratch,
    /// Who has called, and was not wanted yet.
    pub waiting: Vec<(String, Visitor)>,
    pub caller: Option<End>,
    pub orphans: Vec<(i32, End)>,
}

/// What the caller says when it is back.
pub struct Answer {
    /// `daemon PID`, or the error's step and errno.
    pub outcome: String,
    /// The error's text.
    pub text: String,
    pub milliseconds: u128,
    /// What is not as it was before the call.
    pub differences: Vec<String>,
    pub state: State,
    /// It goes when this is dropped.
    pub _line: Visitor,
}

/// A daemon on the line.
pub struct Running {
    /// Its state when its code first ran.
    pub state: State,
    pub pid: i32,
    /// Its end of the report pipe.
    pub report: String,
    pub line: Visitor,
}

/// A spawned program on the line.
pub struct Spawned {
    pub state: State,
    pub environment: String,
    pub arguments: String,
    pub line: Visitor,
}

/// A program that calls, tells its state, and obeys.
pub fn program_that_calls(meeting: &str) -> [String; 4] {
    let binary = std::env::current_exe().unwrap().display().to_string();
    [binary, "helper".to_owned(), "program".to_owned(), meeting.to_owned()]
}

/// Arguments; PROGRAM is one that calls.
pub fn expanded(words: &[&str], meeting: &str) -> Vec<String> {
    let expand = |word: &&str| match *word {
        "PROGRAM" => program_that_calls(meeting).to_vec(),
        word => vec![word.to_owned()],
    };
    words.iter().flat_map(expand).collect()
}

/// A directory of its own, into which anybody can look.
pub fn scratch() -> Scratch {
    let scratch = Scratch::new();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    scratch
}

impl Start {
    pub fn with(words: &[&str]) -> Self {
        Self::of("caller", words)
    }

    pub fn of(name: &str, words: &[&str]) -> Self {
        Self::by(|meeting| {
            let mut command = helper(name);
            // A program to spawn that calls.
            let words = words.iter().map(|word| word.replace("PROGRAM", &program_that_calls(meeting).join(" ")));
            command.arg(meeting).args(words);
            command
        })
    }

    /// The command `untty`, with these [`expanded`] arguments.
    pub fn untty(words: &[&str]) -> Self {
        Self::by(|meeting| {
            let mut command = super::untty();
            command.args(expanded(words, meeting));
            command
        })
    }

    /// The same, after a shell has done something.
    pub fn untty_after(something: &str, words: &[&str]) -> Self {
        Self::by(|meeting| {
            let mut shell = process::Command::new("/bin/sh");
            shell.args(["-c", &format!("{something}; exec \"$@\""), "sh"]).arg(super::untty().get_program());
            shell.args(expanded(words, meeting));
            shell
        })
    }

    /// What that makes, given the meeting's path.
    pub fn by(command: impl FnOnce(&str) -> process::Command) -> Self {
        let scratch = scratch();
        let meeting = Meeting::new(&scratch);
        fs::set_permissions(meeting.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let warden = Warden::start(&command(meeting.path()));
        Self { warden, meeting, _scratch: scratch, waiting: Vec::new(), caller: None, orphans: Vec::new() }
    }

    /// The call of the one with that role.
    pub fn call(&mut self, role: &str) -> Visitor {
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
    pub fn called(&mut self, role: &str) -> Option<Visitor> {
        let index = self.waiting.iter().position(|visitor| visitor.0 == role)?;
        Some(self.waiting.remove(index).1)
    }

    pub fn daemon(&mut self) -> Running {
        let mut line = self.call("daemon");
        let state = line.state();
        let report = line.line().unwrap().strip_prefix("report ").unwrap().to_owned();
        Running { pid: state["pid"].parse().unwrap(), state, report, line }
    }

    /// The daemon's call; or nothing, when its caller has said that this machine does not permit it.
    pub fn daemon_or_skipped(&mut self) -> Option<Running> {
        let mut line = self.meeting.daemon();
        let role = line.line().unwrap_or_default();
        let is_caller = role == "caller";
        self.waiting.push((role, line));
        if is_caller && self.answer().skipped() { None } else { Some(self.daemon()) }
    }

    pub fn program(&mut self) -> Spawned {
        let mut line = self.call("program");
        let state = line.state();
        let mut next = || line.line().expect("the program says it all");
        Spawned { state, environment: next(), arguments: next(), line }
    }

    pub fn answer(&mut self) -> Answer {
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
    pub fn caller(&mut self) -> End {
        while self.caller.is_none() {
            self.next();
        }
        self.caller.unwrap()
    }

    /// Waits until the process of that pid, left behind, has ended.
    pub fn orphan(&mut self, pid: i32) -> End {
        loop {
            if let Some(orphan) = self.orphans.iter().find(|orphan| orphan.0 == pid) {
                return orphan.1;
            }
            assert!(self.next(), "{pid} was never seen");
        }
    }

    /// Waits until no process is left, and says how those ended that had been left behind.
    pub fn rest(&mut self) -> Vec<(i32, End)> {
        while self.next() {}
        self.orphans.clone()
    }

    /// Waits for the next thing that happens, and notes it; false when there is nothing left that could.
    pub fn next(&mut self) -> bool {
        match self.warden.next() {
            Event::Caller(end) => self.caller = Some(end),
            Event::Orphan(pid, end) => self.orphans.push((pid, end)),
            Event::None => return false,
        }
        true
    }

    /// The pid of the caller that waits for this daemon.
    pub fn caller_of(&self, daemon: &Running) -> i32 {
        let others: Vec<i32> = self.warden.living().into_iter().filter(|pid| *pid != daemon.pid).collect();
        assert_eq!(others.len(), 1, "the caller, and no leader");
        others[0]
    }

    /// Asserts that nothing of a failed start is left. The dying are waited for: they can do nothing any more.
    pub fn only_the_caller_lives(&self) {
        until("the caller alone", || self.warden.living().len() == 1);
    }
}

impl Running {
    pub fn order(&mut self, order: &str) -> String {
        self.line.ask(order)
    }

    pub fn ready(&mut self) {
        assert_eq!(self.order("ready"), "ready");
    }

    pub fn state_now(&mut self) -> State {
        self.line.say("state");
        self.line.state()
    }
}

impl Answer {
    /// Whether this machine does not let the test do what it needs; says so.
    pub fn skipped(&self) -> bool {
        let why = self.outcome.strip_prefix("skipped: ");
        if let Some(why) = why {
            skipped(why);
        }
        why.is_some()
    }
}

pub fn skipped(why: &str) {
    eprintln!("SKIPPED, because this machine does not permit it: {why}");
}

/// Waits until something is true that nothing tells of.
pub fn until(what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "never: {what}");
        thread::yield_now();
    }
}

/// Waits until a process waits: the caller, for its daemon.
pub fn until_it_waits(pid: i32) {
    until("it waits", || super::stat_fields(pid).is_some_and(|fields| fields[0] == "S"));
}

pub fn kill(pid: i32, signal: c_int) {
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

/// Descriptor, target, descriptor flags and status flags (those that matter) of all that is open, sockets of the calls
/// left out.
pub fn open_files(state: &State) -> Vec<(i32, String, i32, i32)> {
    const STATUS: i32 = libc::O_ACCMODE | libc::O_APPEND | libc::O_NONBLOCK;
    let files = state.iter().filter_map(|(key, value)| {
        let fd = number(key.strip_prefix("fd ")?);
        let mut words = value.rsplitn(3, ' ');
        let (status, flags, target) = (words.next()?, words.next()?, words.next()?);
        Some((fd, target.to_owned(), number(flags), i32::from_str_radix(status, 8).unwrap() & STATUS))
    });
    files.filter(|file| !file.1.starts_with("socket:")).collect()
}

pub fn targets(state: &State) -> Vec<(i32, String)> {
    open_files(state).into_iter().map(|(fd, target, ..)| (fd, target)).collect()
}

/// The targets of standard input, output and error.
pub fn streams(state: &State) -> Vec<String> {
    targets(state).into_iter().filter(|file| file.0 <= 2).map(|file| file.1).collect()
}

/// The signals in a mask as `/proc` shows it.
pub fn set(mask: &str) -> Vec<i32> {
    let mask = u64::from_str_radix(mask, 16).unwrap();
    (1..=64).filter(|signal| mask & 1 << (signal - 1) != 0).collect()
}

/// Starts a daemon that gets ready as it should, and ends it: the state in which its code began.
pub fn state_of(words: &[&str]) -> State {
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
pub fn fails(words: &[&str], expected: &str) -> bool {
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
