//! Storms: very many starts at once, of all kinds, while there are too few processes, descriptors or bytes for them,
//! and signals and kills hit callers, leaders and daemons a thousand times a second. Whatever happens, no outcome is
//! false, and nothing is left: no zombie, no orphan, no leader, no half-made daemon.
//!
//! ```text
//! test ── warden ── storm ──┬── caller 0 ── leader ── daemon
//!                           ├── caller 1 ── leader ── daemon
//!                           └── …
//! ```
//!
//! The *storm* is a helper with one thread, and the subreaper of all: it starts the callers, sends the signals (so it
//! knows whom it has killed), reaps whatever ends, and judges. Every daemon looks at itself, and puts down in one line
//! of a common file that it is complete, or what is wrong with it, before it says that it is ready; then it goes, or
//! waits until it is let go.
//!
//! `UNTTY_STORM=1000` is the number of starts of each storm. `UNTTY_SEED=N` replays: the seed decides what every start
//! is and what it lacks, in which volleys they start, and the sequence of the signals, each with the place of its target
//! among those that are alive. When the kernel lets each process run is not the seed's to decide, so who is hit where
//! differs from run to run: the same weather, not the same lightning.

#![allow(
    clippy::multiple_unsafe_ops_per_block,
    clippy::undocumented_unsafe_blocks,
    reason = "tests: bare system calls"
)]
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests have std")]

mod harness;

use fastrand::Rng;
use harness::start::*;
use harness::{End, Event, PATIENCE, Scratch, Warden, descendants, end_of, stat_fields};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, OsStr};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};
use std::{env, fs, process, ptr, thread};
use untty::{Daemon, Handle, Process, Readiness, Stdio, Step};

fn main() {
    harness::main(
        named![
            every_outcome_is_true_under_signals_and_kills,
            every_outcome_is_true_when_a_user_may_have_too_few_processes,
            every_outcome_is_true_when_a_control_group_may_have_too_few_processes,
            every_outcome_is_true_with_too_few_descriptors,
            every_outcome_is_true_with_too_little_address_space,
            every_outcome_is_true_when_everything_is_short,
            a_seed_decides_every_start,
        ],
        named![storm, detacher, spawner, program,],
    );
}

fn every_outcome_is_true_under_signals_and_kills() {
    rage("calm", None);
}

fn every_outcome_is_true_when_a_user_may_have_too_few_processes() {
    rage("processes", None);
}

fn every_outcome_is_true_when_a_control_group_may_have_too_few_processes() {
    match Group::new() {
        Ok(group) => rage("group", Some(&group)),
        Err(why) => skipped(&why),
    }
}

fn every_outcome_is_true_with_too_few_descriptors() {
    rage("descriptors", None);
}

fn every_outcome_is_true_with_too_little_address_space() {
    rage("space", None);
}

fn every_outcome_is_true_when_everything_is_short() {
    rage("processes descriptors space", None);
}

fn a_seed_decides_every_start() {
    let plans = |seed| {
        let weather = Weather::of("processes descriptors space");
        (0..100).map(|number| format!("{:?}", Plan::of(seed, number, &weather))).collect::<Vec<_>>()
    };
    assert_eq!(plans(1), plans(1));
    assert_ne!(plans(1), plans(2));
}

// The test's side.

/// How many processes there may be at once where they are few.
const PROCESSES: usize = 64;
/// A storm that says nothing for so long hangs.
const LONGEST: Duration = Duration::from_secs(900);

fn starts() -> usize {
    env::var("UNTTY_STORM").map_or(150, |count| count.parse().expect("a number"))
}

fn seed() -> u64 {
    env::var("UNTTY_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().expect("a number"))
}

/// One storm, from beginning to end; in that control group.
fn rage(weather: &str, group: Option<&Group>) {
    let scratch = open_scratch();
    let (seed, count) = (seed(), starts());
    eprintln!("storm ({weather}): UNTTY_SEED={seed} UNTTY_STORM={count}");
    let mut command = Command::new(scratch.file("storms"));
    command.args(["helper", "storm", scratch.path().to_str().unwrap(), &seed.to_string(), weather, &count.to_string()]);
    command.args(group.map(|group| &group.0));
    command.env_clear().env("PATH", "/bin:/usr/bin");
    let mut warden = Warden::start(&command);
    let end = loop {
        match warden.try_next(LONGEST) {
            Some(Event::Caller(end)) => break Some(end),
            Some(_) => {}
            None => break None,
        }
    };
    if end.is_none() {
        panic!("it hangs; alive: {:?}; said: {:?}", warden.living(), warden.output());
    }
    let left = warden.rest();
    let said = warden.all_output();
    if let Some(why) = said.iter().find_map(|line| line.strip_prefix("skipped: ")) {
        return skipped(why);
    }
    said.iter().for_each(|line| eprintln!("storm ({weather}): {line}"));
    assert_eq!(end, Some(End::Exited(0)), "replay: UNTTY_SEED={seed} UNTTY_STORM={count}");
    assert_eq!(left, [], "orphans of the storm itself");
}

/// A directory for any user, with this binary and the command in it: the build may lie where others cannot go.
fn open_scratch() -> Scratch {
    let scratch = Scratch::new();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o777)).unwrap();
    // By another process: a file that is open to be written, also in a child that another test has just forked, cannot
    // be executed.
    let copy = |from: &OsStr, to: &str| {
        assert!(Command::new("cp").arg(from).arg(scratch.file(to)).status().unwrap().success());
    };
    copy(env::current_exe().unwrap().as_os_str(), "storms");
    copy(harness::untty().get_program(), "untty");
    scratch
}

/// A control group of its own (version 1 or 2), which may have few processes; removed in the end.
struct Group(PathBuf);

impl Group {
    /// In the directory that `UNTTY_CGROUP` names, or where this process is in the root group: everybody else's groups
    /// are left alone.
    fn new() -> Result<Self, String> {
        let mut places: Vec<PathBuf> = env::var_os("UNTTY_CGROUP").map(PathBuf::from).into_iter().collect();
        places.extend(root_groups());
        let mut why = "this process is not in the root control group, and UNTTY_CGROUP names no other".to_owned();
        for place in places {
            let group = place.join(format!("untty-{}", process::id()));
            if let Err(error) = fs::create_dir(&group) {
                why = format!("{}: {error}", group.display());
                continue;
            }
            let group = Self(group);
            let limit = group.0.join("pids.max");
            if limit.exists() {
                fs::write(&limit, PROCESSES.to_string()).unwrap();
                return Ok(group);
            }
            why = format!("{} has no pids controller", place.display());
        }
        Err(why)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // What has ended leaves its group a little later.
        let end = Instant::now() + PATIENCE;
        while fs::remove_dir(&self.0).is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY)) {
            if Instant::now() > end {
                eprintln!("{} cannot be removed", self.0.display());
                return;
            }
            thread::yield_now();
        }
    }
}

/// Where the control groups are mounted of whose hierarchy this process is in the root group.
fn root_groups() -> Vec<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut places = Vec::new();
    for controllers in own.lines().filter_map(|line| line.strip_suffix(":/")?.split_once(':')).map(|it| it.1) {
        let wanted = |words: &Vec<&str>| match controllers {
            "" => words[2] == "cgroup2",
            _ => words[2] == "cgroup" && controllers.split(',').all(|name| words[3].split(',').any(|it| it == name)),
        };
        let mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        places.extend(mounts.filter(wanted).map(|words| PathBuf::from(words[1])));
    }
    places
}

// What the seed decides.

/// What is short, and where.
#[derive(Debug)]
struct Weather {
    /// Processes of the user.
    processes: bool,
    /// Processes of the control group.
    group: bool,
    descriptors: bool,
    space: bool,
}

impl Weather {
    fn of(words: &str) -> Self {
        let has = |word: &str| words.split(' ').any(|it| it == word);
        Self { processes: has("processes"), group: has("group"), descriptors: has("descriptors"), space: has("space") }
    }

    fn has_few_processes(&self) -> bool {
        self.processes || self.group
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The command.
    Command,
    /// The command, with `-n`.
    Notify,
    /// The command, with `-R`.
    Newline(i32),
    /// A program that detaches; its caller exits.
    Detach,
    /// The same, with return_in_caller.
    DetachAndReturn,
    /// A program that spawns another one.
    Spawn,
    /// The same, and waits for its newline.
    SpawnNewline(i32),
}

/// One start.
#[derive(Debug)]
struct Plan {
    number: usize,
    kind: Kind,
    /// The name of its pid file, and whether other starts have the same.
    pid_file: Option<(String, bool)>,
    has_log: bool,
    /// In milliseconds.
    timeout: Option<u64>,
    /// Whether the daemon waits until it is let go.
    stays: bool,
    descriptors: Option<u64>,
    /// In bytes; for a program, on top of what it has already.
    space: Option<u64>,
}

impl Plan {
    fn of(seed: u64, number: usize, weather: &Weather) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut rng = Rng::with_seed(rng.u64(..).wrapping_add(number as u64));
        let descriptor = rng.i32(3..10);
        let kinds = [
            Kind::Command,
            Kind::Command,
            Kind::Notify,
            Kind::Newline(descriptor),
            Kind::Detach,
            Kind::DetachAndReturn,
            Kind::Spawn,
            Kind::SpawnNewline(descriptor),
        ];
        let kind = kinds[rng.usize(..kinds.len())];
        let pid_file = match rng.u8(..8) {
            0..4 => None,
            4..7 => Some((format!("{number}.pid"), false)),
            _ => Some((format!("shared-{}.pid", rng.u8(..3)), true)),
        };
        let timeout = match rng.u8(..8) {
            0..5 => None,
            5..7 => Some(60_000),
            _ => Some(rng.u64(1..500)),
        };
        let space = rng.u64(1..80) << 18;
        Self {
            number,
            kind,
            pid_file,
            has_log: rng.u8(..4) == 0,
            timeout,
            stays: rng.bool(),
            descriptors: weather.descriptors.then(|| rng.u64(3..9)),
            space: weather.space.then_some(space),
        }
    }

    fn is_command(&self) -> bool {
        matches!(self.kind, Kind::Command | Kind::Notify | Kind::Newline(_))
    }
}

/// What every process of a storm is told by its arguments: where, and which plan.
struct Site {
    directory: String,
    seed: String,
    weather: String,
}

impl Site {
    fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.directory)
    }

    fn plan(&self, number: usize) -> Plan {
        Plan::of(self.seed.parse().unwrap(), number, &Weather::of(&self.weather))
    }

    /// This binary, as one of its helpers, for that start.
    fn helper(&self, name: &str, number: usize) -> Vec<String> {
        let words =
            ["helper", name, &self.directory, &self.seed, &self.weather, &number.to_string()].map(str::to_owned);
        [vec![self.file("storms")], words.to_vec()].concat()
    }

    /// Of a helper's arguments.
    fn of(arguments: &[String]) -> (Self, usize) {
        let [directory, seed, weather] = [0, 1, 2].map(|at| arguments[at].clone());
        (Self { directory, seed, weather }, arguments[3].parse().unwrap())
    }

    /// The caller of a start.
    fn caller(&self, plan: &Plan) -> Vec<String> {
        match plan.kind {
            Kind::Detach | Kind::DetachAndReturn => return self.helper("detacher", plan.number),
            Kind::Spawn | Kind::SpawnNewline(_) => return self.helper("spawner", plan.number),
            _ => {}
        }
        let mut words = vec![self.file("untty"), "-P".to_owned()];
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        if let Some((name, _)) = &plan.pid_file {
            option("-p", self.file(name));
        }
        if plan.has_log {
            option("-o", self.log(plan));
        }
        if let Some(milliseconds) = plan.timeout {
            option("-t", format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000));
        }
        match plan.kind {
            Kind::Newline(number) => option("-R", number.to_string()),
            Kind::Notify => words.push("-n".to_owned()),
            _ => {}
        }
        words.push("--".to_owned());
        words.extend(self.helper("program", plan.number));
        words
    }

    fn log(&self, plan: &Plan) -> String {
        self.file(&format!("{}.log", plan.number))
    }

    /// The same for those that use the library.
    fn daemon(&self, plan: &Plan) -> Daemon<'static> {
        let mut daemon = Daemon::new();
        if let Some((name, _)) = &plan.pid_file {
            daemon = daemon.pid_file(c(&self.file(name)));
        }
        if plan.has_log {
            daemon = daemon.stdout(Stdio::File(c(&self.log(plan)))).stderr(Stdio::Stdout);
        }
        if let Some(milliseconds) = plan.timeout {
            daemon = daemon.deadline(Duration::from_millis(milliseconds));
        }
        match plan.kind {
            Kind::DetachAndReturn => daemon.return_in_caller(),
            Kind::SpawnNewline(number) => daemon.readiness(Readiness::Newline(number)),
            _ => daemon,
        }
    }
}

// Callers that use the library, and the daemons.

/// The exit status of a caller that uses the library.
const FAILED: i32 = 70;

/// Detaches.
fn detacher(arguments: &[String]) {
    let (site, number) = Site::of(arguments);
    let plan = site.plan(number);
    let daemon = site.daemon(&plan);
    impoverish(&plan);
    // SAFETY: one thread, and no descriptor that gets closed is used.
    match unsafe { daemon.detach() } {
        Ok(Process::Daemon(handle)) => serve(&site, &plan, Some(handle)),
        Ok(Process::Caller { daemon }) => succeed(daemon),
        Err(error) => fail(error),
    }
}

/// Spawns.
fn spawner(arguments: &[String]) {
    let (site, number) = Site::of(arguments);
    let plan = site.plan(number);
    let daemon = site.daemon(&plan);
    let words: Vec<CString> = strings(site.helper("program", number));
    let argv = pointers(&words);
    let environment = strings(vec![format!("{MARK}={}", env::var(MARK).unwrap())]);
    let envp = pointers(&environment);
    impoverish(&plan);
    // SAFETY: both arrays end with NULL and hold strings that live as long.
    match unsafe { daemon.spawn(&words[0], argv.as_ptr(), envp.as_ptr()) } {
        Ok(daemon) => succeed(daemon),
        Err(error) => fail(error),
    }
}

fn succeed(daemon: i32) {
    println!("{daemon}");
    has_no_child();
}

fn fail(error: untty::Error) -> ! {
    eprintln!("{error}");
    has_no_child();
    process::exit(FAILED);
}

/// It had none before, so it has none afterwards, not even a zombie.
fn has_no_child() {
    if unsafe { libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG) } != -1 {
        eprintln!("a child is left");
    }
}

/// Takes from this process what its start is to lack.
fn impoverish(plan: &Plan) {
    let size = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = size.split(' ').next().unwrap().parse().unwrap();
    if let Some(count) = plan.descriptors {
        set_limit(libc::RLIMIT_NOFILE, count);
    }
    if let Some(bytes) = plan.space {
        set_limit(libc::RLIMIT_AS, pages * 4096 + bytes);
    }
}

/// The program that was spawned.
fn program(arguments: &[String]) {
    let (site, number) = Site::of(arguments);
    serve(&site, &site.plan(number), None);
}

/// The daemon: puts down what it is, says that it is ready, and goes or stays.
fn serve(site: &Site, plan: &Plan, handle: Option<Handle>) {
    // What it needs for itself is not what is tried here.
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    set_limit(libc::RLIMIT_NOFILE, limit.rlim_max);
    let wrong = wrongs(site, plan, handle.as_ref());
    let verdict = if wrong.is_empty() { "complete".to_owned() } else { format!("WRONG {}", wrong.join("; ")) };
    put_down(site, plan, &verdict);
    if !say_ready(plan.kind, handle) {
        put_down(site, plan, "alone");
    }
    if plan.stays {
        let gate = fs::File::open(site.file("gate")).unwrap();
        while unsafe { libc::flock(gate.as_raw_fd(), libc::LOCK_SH) } != 0 {}
    }
    process::exit(0);
}

/// One line, in one write.
fn put_down(site: &Site, plan: &Plan, what: &str) {
    let mut file = fs::File::options().append(true).open(site.file("book")).unwrap();
    let began = begin_of(own_pid());
    file.write_all(format!("{} {} {began} {what}\n", plan.number, process::id()).as_bytes()).unwrap();
}

/// False when nobody is there any more to hear it.
fn say_ready(kind: Kind, handle: Option<Handle>) -> bool {
    match kind {
        Kind::Command | Kind::Spawn => true,
        Kind::Detach | Kind::DetachAndReturn => match handle.unwrap().ready() {
            Ok(()) => true,
            Err(error) => {
                assert_eq!((error.step(), error.errno().number()), (Step::Ready, libc::EPIPE));
                false
            }
        },
        Kind::Newline(number) | Kind::SpawnNewline(number) => {
            let newline = b"\n";
            unsafe { libc::write(number, newline.as_ptr().cast(), 1) == 1 }
        }
        Kind::Notify => {
            let name = env::var("NOTIFY_SOCKET").unwrap();
            let address = SocketAddr::from_abstract_name(name.strip_prefix('@').unwrap()).unwrap();
            UnixDatagram::unbound().unwrap().send_to_addr(b"READY=1", &address).is_ok()
        }
    }
}

/// What is not as it has to be in this daemon.
fn wrongs(site: &Site, plan: &Plan, handle: Option<&Handle>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |what: &str, is: String, expected: String| {
        if is != expected {
            wrong.push(format!("{what}: {is} instead of {expected}"));
        }
    };
    let own = own_pid();
    let stat = stat_fields(own).unwrap();
    let session: i32 = stat[3].parse().unwrap();
    expect("leads its session", (session == own).to_string(), "false".to_owned());
    expect("group", stat[2].clone(), session.to_string());
    expect("has left the storm's session", (session != storms_session()).to_string(), "true".to_owned());
    expect("terminal", stat[4].clone(), "0".to_owned());
    expect("directory", env::current_dir().unwrap().display().to_string(), "/".to_owned());
    if handle.is_some() {
        // The leader is gone; elsewhere it may just be going.
        expect("parent", stat[1].clone(), storm_pid().to_string());
    }
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t")).unwrap();
    expect("umask", field("Umask").to_owned(), "0027".to_owned());
    expect("blocked", field("SigBlk").to_owned(), format!("{:016x}", 0));
    // Every Rust program ignores SIGPIPE, when it begins.
    let pipe = if handle.is_some() { 0 } else { 1 << (libc::SIGPIPE - 1) };
    expect("ignored", field("SigIgn").to_owned(), format!("{pipe:016x}"));
    let target =
        |fd: i32| fs::read_link(format!("/proc/self/fd/{fd}")).map_or("none".to_owned(), |it| it.display().to_string());
    let out = if plan.has_log { site.log(plan) } else { "/dev/null".to_owned() };
    expect("stdin", target(0), "/dev/null".to_owned());
    expect("stdout", target(1), out.clone());
    expect("stderr", target(2), out);
    let mut others: Vec<String> = (3..1024).filter(|fd| is_open(*fd)).map(target).collect();
    let is_pipe = |path: &str| path.starts_with("pipe:");
    let pipes = others.iter().filter(|path| is_pipe(path)).count();
    let promised = handle.is_some() || matches!(plan.kind, Kind::Newline(_) | Kind::SpawnNewline(_));
    expect("pipes", pipes.to_string(), u8::from(promised).to_string());
    if let Kind::Newline(fd) | Kind::SpawnNewline(fd) = plan.kind {
        expect("promise", is_pipe(&target(fd)).to_string(), "true".to_owned());
    }
    others.retain(|path| !is_pipe(path));
    let file: Vec<String> = plan.pid_file.iter().map(|(name, _)| site.file(name)).collect();
    expect("other files", format!("{others:?}"), format!("{file:?}"));
    for path in &file {
        // By the descriptor that holds it: to close another one would give the file up.
        let mut text = [0_u8; 32];
        let holds = (3..1024).find(|fd| target(*fd) == *path).unwrap_or(-1);
        let length = unsafe { libc::pread(holds, text.as_mut_ptr().cast(), text.len(), 0) };
        let text = &text[..usize::try_from(length).unwrap_or(0)];
        expect("pid file", String::from_utf8_lossy(text).into_owned(), format!("{own}\n"));
    }
    wrong
}

fn is_open(fd: i32) -> bool {
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// The variable by which the processes of a storm are known: the storm's pid, its session, and the start's number.
const MARK: &str = "UNTTY_STORM_START";

fn mark() -> Vec<i32> {
    env::var(MARK).unwrap().split(' ').map(number).collect()
}

fn storm_pid() -> i32 {
    mark()[0]
}

fn storms_session() -> i32 {
    mark()[1]
}

fn strings(words: Vec<String>) -> Vec<CString> {
    words.into_iter().map(|word| CString::new(word).unwrap()).collect()
}

fn pointers(words: &[CString]) -> Vec<*const libc::c_char> {
    words.iter().map(|word| word.as_ptr()).chain([ptr::null()]).collect()
}

// The storm.

/// `DIRECTORY SEED WEATHER COUNT [GROUP]`
fn storm(arguments: &[String]) {
    let (site, count) = Site::of(arguments);
    let group = arguments.get(4);
    forget_the_tests_parents();
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    set_limit(libc::RLIMIT_CORE, 0);
    let weather = Weather::of(&site.weather);
    if weather.processes {
        if let Err(why) = limit_processes(PROCESSES as u64) {
            return println!("skipped: {why}");
        }
    }
    let mut storm = Storm::new(site, weather, count, group);
    storm.rage();
    storm.calm_down();
    storm.let_go();
    storm.judge();
    storm.tell();
    process::exit(i32::from(!storm.wrongs.is_empty()));
}

struct Storm {
    site: Site,
    weather: Weather,
    plans: Vec<Plan>,
    /// For volleys and signals.
    rng: Rng,
    procs: Option<fs::File>,
    gate: fs::File,
    mark: String,
    /// Those who run, and their starts.
    callers: BTreeMap<i32, usize>,
    /// Whom others have left to it, and their starts.
    left: BTreeMap<i32, usize>,
    /// Each caller that has ended, and how.
    pids: BTreeMap<usize, i32>,
    outcomes: BTreeMap<usize, End>,
    /// The starts whose callers were killed before the sequence was done.
    cut_short: BTreeSet<usize>,
    /// The daemons that a signal was to end before they execute their program.
    doomed: BTreeSet<(usize, i32)>,
    /// The daemon of each start that succeeded.
    daemons: BTreeMap<usize, i32>,
    /// The others that it has reaped.
    orphans: Vec<Orphan>,
    /// How many of these were reaped for certain before each caller.
    before: BTreeMap<usize, usize>,
    /// The signals that it has sent to each.
    sent: BTreeMap<(usize, i32), Vec<i32>>,
    /// Those who are stopped, until when.
    stopped: Vec<(Instant, usize, i32)>,
    began: Instant,
    raged: Duration,
    signals: u128,
    unborn: usize,
    wrongs: Vec<String>,
}

/// Signals, and how often each is chosen. Those that end nobody come more often, so that some live to tell.
const SIGNALS: [(i32, u32); 16] = [
    (libc::SIGWINCH, 6),
    (libc::SIGCHLD, 6),
    (libc::SIGURG, 4),
    (libc::SIGCONT, 4),
    (libc::SIGSTOP, 6),
    (libc::SIGTSTP, 2),
    (libc::SIGTERM, 1),
    (libc::SIGHUP, 1),
    (libc::SIGINT, 1),
    (libc::SIGQUIT, 1),
    (libc::SIGALRM, 1),
    (libc::SIGUSR1, 1),
    (libc::SIGPIPE, 1),
    (libc::SIGIO, 1),
    (64, 1),
    (libc::SIGKILL, 4),
];

/// Those that can end a process.
const DEADLY: [i32; 10] = [
    libc::SIGTERM,
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGALRM,
    libc::SIGUSR1,
    libc::SIGPIPE,
    libc::SIGIO,
    64,
    libc::SIGKILL,
];

/// Among whom a target is chosen: the one of that index, and from there so many generations down.
#[derive(Clone, Copy)]
enum Whom {
    /// The callers that have a leader.
    Starting,
    /// All callers; most wait for the processor, and have not begun.
    Caller,
    /// Those who have been left to the storm.
    Left,
}

/// A blow, as the seed decides it.
struct Blow {
    signal: i32,
    whom: Whom,
    index: usize,
    depth: usize,
    milliseconds: u64,
}

impl Blow {
    fn next(rng: &mut Rng) -> Self {
        let weights: u32 = SIGNALS.iter().map(|it| it.1).sum();
        let mut ticket = rng.u32(..weights);
        let mut signal = 0;
        for (number, weight) in SIGNALS {
            if ticket < weight {
                signal = number;
                break;
            }
            ticket -= weight;
        }
        Self {
            signal,
            whom: [Whom::Starting, Whom::Starting, Whom::Caller, Whom::Left][rng.usize(..4)],
            index: rng.usize(..),
            depth: rng.usize(..3),
            milliseconds: rng.u64(1..50),
        }
    }
}

/// What the daemons of each start have put down.
type Book = BTreeMap<usize, Vec<Entry>>;

struct Entry {
    pid: i32,
    /// When it began. Numbers come again; number and time together do not.
    began: String,
    verdict: String,
}

/// Somebody who had been left to the storm, and has ended.
#[derive(Clone, Debug)]
struct Orphan {
    pid: i32,
    began: String,
    /// If that was seen before.
    start: Option<usize>,
    end: End,
}

impl Storm {
    fn new(site: Site, weather: Weather, count: usize, group: Option<&String>) -> Self {
        let seed = site.seed.parse().unwrap();
        let plans = (0..count).map(|number| Plan::of(seed, number, &weather)).collect();
        let procs = group.map(|group| fs::File::options().write(true).open(format!("{group}/cgroup.procs")).unwrap());
        fs::File::create(site.file("book")).unwrap();
        let gate = fs::File::create(site.file("gate")).unwrap();
        assert_eq!(unsafe { libc::flock(gate.as_raw_fd(), libc::LOCK_EX) }, 0);
        let mark = format!("{} {}", process::id(), unsafe { libc::getsid(0) });
        Self {
            site,
            weather,
            plans,
            rng: Rng::with_seed(seed),
            procs,
            gate,
            mark,
            callers: BTreeMap::new(),
            left: BTreeMap::new(),
            pids: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            cut_short: BTreeSet::new(),
            doomed: BTreeSet::new(),
            daemons: BTreeMap::new(),
            orphans: Vec::new(),
            before: BTreeMap::new(),
            sent: BTreeMap::new(),
            stopped: Vec::new(),
            began: Instant::now(),
            raged: Duration::ZERO,
            signals: 0,
            unborn: 0,
            wrongs: Vec::new(),
        }
    }

    /// All starts, and the signals, until every caller has ended.
    fn rage(&mut self) {
        let mut next = 0;
        self.began = Instant::now();
        let end = self.began + LONGEST / 2;
        while next < self.plans.len() || !self.callers.is_empty() {
            if next < self.plans.len() && self.callers.len() < self.few() / 4 {
                let rest = self.plans.len() - next;
                let size = if self.weather.has_few_processes() { self.rng.usize(1..=self.few() / 2) } else { rest };
                next += self.volley(next, size.min(rest));
            }
            self.see_who_is_left();
            self.blow();
            self.thin_out();
            self.reap();
            if Instant::now() > end {
                self.hangs("callers do not end");
                break;
            }
            thread::sleep(Duration::from_millis(1)); // the pace of the signals
        }
        self.raged = self.began.elapsed();
    }

    /// How many processes may run at once: the callers alone must not use them up.
    fn few(&self) -> usize {
        if self.weather.has_few_processes() { PROCESSES } else { usize::MAX }
    }

    /// That many callers at one gate, which then opens; how many there are.
    fn volley(&mut self, first: usize, size: usize) -> usize {
        let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
        for number in first..first + size {
            let words = strings(self.site.caller(&self.plans[number]));
            let (argv, environment) = (pointers(&words), strings(vec![format!("{MARK}={} {number}", self.mark)]));
            let envp = pointers(&environment);
            let [out, err] = ["out", "err"].map(|name| c(&self.site.file(&format!("{number}.{name}"))));
            match unsafe { libc::fork() } {
                0 => {
                    unsafe { libc::close(write.as_raw_fd()) };
                    self.become_caller(&self.plans[number], read.as_raw_fd(), out, err);
                    unsafe { libc::execve(argv[0], argv.as_ptr(), envp.as_ptr()) };
                    unsafe { libc::_exit(UNBORN) };
                }
                -1 => {
                    // So many are there already. One must go, or there will never be room.
                    self.unborn += 1;
                    self.kill_one();
                    return number - first;
                }
                pid => drop(self.callers.insert(pid, number)),
            }
        }
        size
    }

    /// In the child: waits at the gate, and becomes what the plan says.
    fn become_caller(&self, plan: &Plan, gate: i32, out: &CStr, err: &CStr) {
        let flags = libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND;
        unsafe {
            // However many there are, the storm must get through.
            libc::setpriority(libc::PRIO_PROCESS, 0, 19);
            libc::read(gate, [0_u8].as_mut_ptr().cast(), 1);
            if let Some(procs) = &self.procs {
                libc::write(procs.as_raw_fd(), c"0".as_ptr().cast(), 1);
            }
            libc::dup2(libc::open(c"/dev/null".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC), 0);
            libc::dup2(libc::open(out.as_ptr(), flags | libc::O_CLOEXEC, 0o666), 1);
            libc::dup2(libc::open(err.as_ptr(), flags | libc::O_CLOEXEC, 0o666), 2);
            // No daemon may have it.
            libc::dup2(0, INHERITED);
        }
        if plan.is_command() {
            plan.descriptors.iter().for_each(|count| set_limit(libc::RLIMIT_NOFILE, *count));
            plan.space.iter().for_each(|bytes| set_limit(libc::RLIMIT_AS, *bytes));
        }
    }

    /// The signals that are due.
    fn blow(&mut self) {
        const MOST: usize = 50;
        let now = Instant::now();
        let (due, stopped) = self.stopped.iter().partition(|it| it.0 <= now);
        self.stopped = stopped;
        for (_, number, pid) in due {
            self.send(number, pid, libc::SIGCONT);
        }
        for _ in 0..MOST {
            if self.signals >= self.began.elapsed().as_millis() {
                break;
            }
            let blow = Blow::next(&mut self.rng);
            let Some((number, pid)) = self.target(&blow) else { continue };
            if !self.send(number, pid, blow.signal) {
                continue;
            }
            self.signals += 1;
            if is_unfinished(self.plans[number].kind, pid) && is_doomed(pid, blow.signal) {
                self.doomed.insert((number, pid));
            }
            if [libc::SIGSTOP, libc::SIGTSTP].contains(&blow.signal) {
                self.stopped.push((now + Duration::from_millis(blow.milliseconds), number, pid));
            }
        }
    }

    fn target(&self, blow: &Blow) -> Option<(usize, i32)> {
        let whom = match blow.whom {
            Whom::Left => &self.left,
            _ if self.callers.is_empty() => &self.left,
            _ => &self.callers,
        };
        let mut from_there = whom.keys().cycle().skip(blow.index % whom.len().max(1)).take(whom.len()).copied();
        let mut pid = match blow.whom {
            Whom::Starting => from_there.find(|pid| !children(pid.unsigned_abs()).is_empty())?,
            _ => from_there.next()?,
        };
        for _ in 0..blow.depth {
            pid = children(pid.unsigned_abs()).first().copied().unwrap_or(pid);
        }
        Some((self.start_of(pid)?, pid))
    }

    /// The start that a process belongs to.
    fn start_of(&self, pid: i32) -> Option<usize> {
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let prefix = format!("{MARK}={} ", self.mark);
        // Of a process that ends just now, one may get a part.
        let mut whole = environment.split_inclusive(|byte| *byte == 0).filter_map(|it| it.strip_suffix(&[0]));
        let number = whole.find_map(|it| it.strip_prefix(prefix.as_bytes()))?;
        std::str::from_utf8(number).ok()?.parse().ok()
    }

    /// Sends a signal to a process of that start, and notes it before. True when it was sent.
    fn send(&mut self, number: usize, pid: i32, signal: i32) -> bool {
        // By a descriptor: what has the number by now may be another process.
        let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let descriptor = i32::try_from(descriptor).unwrap();
        let owned = (descriptor >= 0).then(|| unsafe { OwnedFd::from_raw_fd(descriptor) });
        if self.start_of(pid) != Some(number) {
            return false;
        }
        self.sent.entry((number, pid)).or_default().push(signal);
        let none = ptr::null::<libc::siginfo_t>();
        match owned {
            Some(process) => unsafe {
                libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), signal, none, 0) == 0
            },
            None => unsafe { libc::kill(pid, signal) == 0 }, // before Linux 5.3
        }
    }

    /// Who has come to the storm since it looked last. What it has not reaped keeps its number.
    fn see_who_is_left(&mut self) {
        for pid in children(process::id()) {
            if !self.callers.contains_key(&pid) && !self.left.contains_key(&pid) {
                self.start_of(pid).map(|number| self.left.insert(pid, number));
            }
        }
    }

    /// Where processes are few, most daemons must not stay, or there would be no room for a start to go far.
    fn thin_out(&mut self) {
        if self.weather.has_few_processes() && self.left.len() > self.few() / 3 {
            self.kill_one();
        }
    }

    /// Kills one that has been left to the storm.
    fn kill_one(&mut self) {
        let index = self.rng.usize(..) % self.left.len().max(1);
        if let Some((pid, number)) = self.left.iter().nth(index).map(|(pid, number)| (*pid, *number)) {
            self.send(number, pid, libc::SIGKILL);
        }
    }

    /// Reaps all that has ended; false when there are no children left. What a caller's end claims must be true now.
    fn reap(&mut self) -> bool {
        let mut ended = BTreeMap::new();
        let before = self.orphans.len();
        let has_children = loop {
            let (pid, began) = match next_that_ended() {
                Some(0) => break true,
                Some(pid) => (pid, begin_of(pid)),
                None => break false,
            };
            let mut status = 0;
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
            let end = end_of(ExitStatus::from_raw(status));
            if let Some(number) = self.callers.remove(&pid) {
                self.pids.insert(number, pid);
                self.before.insert(number, before);
                ended.insert(number, end);
            } else {
                let start = self.left.remove(&pid);
                self.orphans.push(Orphan { pid, began, start, end });
            }
        };
        if !ended.is_empty() {
            self.look_around(&ended);
            self.outcomes.extend(ended);
        }
        has_children
    }

    /// Of a start that is over there is its daemon, if it is a success, and nothing else.
    fn look_around(&mut self, ended: &BTreeMap<usize, End>) {
        let book = self.book();
        let daemons = ended.iter().filter(|it| *it.1 == End::Exited(0));
        let daemons: Vec<_> = daemons.filter_map(|(number, _)| Some((*number, self.daemon(*number, &book)?))).collect();
        self.daemons.extend(daemons);
        self.see_who_is_left();
        for (pid, number) in self.left.clone() {
            match ended.get(&number) {
                Some(End::Exited(_)) => self.look_at(pid, number),
                Some(End::Killed(signal)) => self.look_at_the_unfinished(pid, number, *signal),
                None => {}
            }
        }
    }

    /// Signals are blocked until the sequence is done: only SIGKILL can end a caller before.
    fn look_at_the_unfinished(&mut self, pid: i32, number: usize, signal: i32) {
        let mut todo = vec![pid];
        while let Some(pid) = todo.pop() {
            todo.extend(children(pid.unsigned_abs()));
            if is_unfinished(self.plans[number].kind, pid) && !is_dying(pid) {
                self.cut_short.insert(number);
                if signal != libc::SIGKILL {
                    self.wrong(number, &format!("its caller was killed by {signal}, and there is {}", describe(pid)));
                }
            }
        }
    }

    fn look_at(&mut self, pid: i32, number: usize) {
        let mut todo = vec![pid];
        while let Some(pid) = todo.pop() {
            todo.extend(children(pid.unsigned_abs()));
            if self.daemons.get(&number) != Some(&pid) && !is_dying(pid) {
                self.wrong(number, &format!("is there when its caller has ended: {}", describe(pid)));
            }
        }
    }

    /// The daemon of a start that succeeded: as the caller has told, or as it has put down itself where it tells nobody.
    fn daemon(&self, number: usize, book: &Book) -> Option<i32> {
        if self.plans[number].kind == Kind::Detach {
            return Some(book.get(&number)?[0].pid);
        }
        let told = fs::read_to_string(self.site.file(&format!("{number}.out"))).unwrap_or_default();
        told.strip_suffix('\n').and_then(|pid| pid.parse().ok())
    }

    fn book(&self) -> Book {
        let mut book = Book::new();
        let text = fs::read_to_string(self.site.file("book")).unwrap();
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let [start, pid, began, verdict] = line.splitn(4, ' ').collect::<Vec<_>>()[..] else { panic!("{line:?}") };
            let entry = Entry { pid: number(pid), began: began.to_owned(), verdict: verdict.to_owned() };
            book.entry(start.parse().unwrap()).or_default().push(entry);
        }
        book
    }

    fn book_says(&self, number: usize, what: &str) -> bool {
        self.book().get(&number).is_some_and(|lines| lines.iter().any(|line| line.verdict == what))
    }

    fn wrong(&mut self, number: usize, what: &str) {
        let plan = &self.plans[number];
        let sent: Vec<_> = self.sent.iter().filter(|it| it.0.0 == number).map(|it| (it.0.1, it.1)).collect();
        self.wrongs.push(format!(
            "WRONG: {plan:?}: {what}; caller: {:?}; sent: {sent:?}; said: {:?}",
            self.outcomes.get(&number),
            self.said(number),
        ));
    }

    fn said(&self, number: usize) -> String {
        fs::read_to_string(self.site.file(&format!("{number}.err"))).unwrap_or_default()
    }

    fn hangs(&mut self, what: &str) {
        let living: Vec<String> = descendants(own_pid()).into_iter().map(describe).collect();
        self.wrongs.push(format!("WRONG: {what}: {}", living.join(", ")));
    }

    /// Waits until nobody is left but daemons that wait to be let go, and looks at these.
    fn calm_down(&mut self) {
        for (_, number, pid) in std::mem::take(&mut self.stopped) {
            self.send(number, pid, libc::SIGCONT);
        }
        let end = Instant::now() + PATIENCE;
        loop {
            self.reap();
            let book = self.book();
            let living = descendants(own_pid());
            let strangers = living.iter().filter(|pid| !self.may_stay(**pid, &book)).count();
            let is_here = |number: usize, pid: i32| living.contains(&pid) && self.start_of(pid) == Some(number);
            let unwritten = self.daemons.iter().filter(|(number, _)| !book.contains_key(number));
            let late = unwritten.filter(|(number, pid)| is_here(**number, **pid)).count();
            if strangers == 0 && late == 0 {
                return self.look_at_those_who_stay(&living);
            }
            if Instant::now() > end {
                return self.hangs("these are left, and are no complete daemons of a start that succeeded");
            }
            thread::sleep(Duration::from_millis(1)); // others need the processor
        }
    }

    /// Whether that is a complete daemon of a start that has succeeded or of one whose caller was killed.
    fn may_stay(&self, pid: i32, book: &Book) -> bool {
        let Some(number) = self.start_of(pid) else { return false };
        let is_in_the_book = book.get(&number).is_some_and(|lines| lines.iter().any(|line| line.pid == pid));
        let may = match self.outcomes.get(&number) {
            Some(End::Exited(0)) => self.daemons.get(&number) == Some(&pid),
            Some(End::Killed(_)) => true,
            _ => false,
        };
        may && is_in_the_book && self.plans[number].stays
    }

    fn look_at_those_who_stay(&mut self, living: &[i32]) {
        let mut seen = BTreeSet::new();
        for pid in living {
            let Some(number) = self.start_of(*pid) else { continue };
            let outcome = self.outcomes[&number];
            if !seen.insert(number) {
                self.wrong(number, "has two daemons");
            }
            let Some(stat) = stat_fields(*pid) else { continue };
            if stat[1] != process::id().to_string() {
                self.wrong(number, &format!("its daemon has another parent: {}", describe(*pid)));
            }
            if self.cut_short.contains(&number) && !self.has_struck(number, &[self.pids[&number], *pid]) {
                self.wrong(number, "a daemon has stayed whose caller was killed before the sequence was done");
            }
            let alone = self.book_says(number, "alone");
            if alone
                && is_program_waited_for(self.plans[number].kind)
                && !self.has_struck(number, &[self.pids[&number], *pid])
            {
                self.wrong(number, "a daemon that nobody waits for any more has stayed");
            }
            let Some((name, _)) = &self.plans[number].pid_file else { continue };
            let owner = untty::pid_file_read(c(&self.site.file(name)));
            if owner != Ok(Some(*pid)) {
                self.wrong(number, &format!("the pid file of {pid} ({outcome:?}) is {owner:?}"));
            }
        }
    }

    /// Lets all go that wait for it, until there is no child left.
    fn let_go(&mut self) {
        assert_eq!(unsafe { libc::flock(self.gate.as_raw_fd(), libc::LOCK_UN) }, 0);
        let end = Instant::now() + PATIENCE;
        while self.reap() {
            if Instant::now() > end {
                return self.hangs("these do not go");
            }
            thread::sleep(Duration::from_millis(1)); // others need the processor
        }
    }

    /// Whether the kernel may have ended a process of that start, or not have let it begin, for lack of memory.
    fn is_starved(&self, plan: &Plan) -> bool {
        plan.space.is_some()
    }

    fn judge(&mut self) {
        let book = self.book();
        for (number, outcome) in self.outcomes.clone() {
            let lines = book.get(&number).map_or(&[][..], Vec::as_slice);
            if let Some(what) = self.objection(number, outcome, lines) {
                self.wrong(number, &what);
            }
        }
        for orphan in self.orphans.clone() {
            // The library kills what shall not stay, with SIGKILL only.
            let End::Killed(signal) = orphan.end else { continue };
            let sent = self.sent.iter().any(|(to, signals)| to.1 == orphan.pid && signals.contains(&signal));
            if !sent && signal != libc::SIGKILL && !self.weather.space {
                self.wrongs.push(format!("WRONG: a signal that nobody has sent: {orphan:?}"));
            }
        }
        let is_hopeless = self.weather.descriptors && self.weather.space;
        if !is_hopeless && !self.outcomes.values().any(|end| *end == End::Exited(0)) {
            self.wrongs.push("WRONG: not one daemon".to_owned());
        }
    }

    /// What is false about the outcome of a start, if anything is.
    fn objection(&self, number: usize, outcome: End, lines: &[Entry]) -> Option<String> {
        let plan = &self.plans[number];
        let complete: Vec<i32> = lines.iter().filter(|it| it.verdict == "complete").map(|it| it.pid).collect();
        if let Some(entry) = lines.iter().find(|it| it.verdict.starts_with("WRONG")) {
            return Some(format!("daemon {}: {}", entry.pid, entry.verdict));
        }
        if complete.len() > 1 {
            return Some(format!("daemons {complete:?}"));
        }
        match outcome {
            End::Exited(0) => self.objection_to_success(plan, &complete, lines),
            End::Exited(status) => self.objection_to_failure(plan, status),
            End::Killed(signal) => {
                let sent = self.was_sent(number, self.pids[&number], signal);
                (!sent && !self.is_starved(plan)).then(|| format!("killed by {signal}, which nobody has sent"))
            }
        }
    }

    fn was_sent(&self, number: usize, pid: i32, signal: i32) -> bool {
        self.sent.get(&(number, pid)).is_some_and(|signals| signals.contains(&signal))
    }

    /// Whether the storm may have ended a process of that start, other than these.
    fn has_struck(&self, number: usize, but: &[i32]) -> bool {
        let mut sent = self.sent.iter().filter(|(to, _)| to.0 == number && !but.contains(&to.1));
        sent.any(|(_, signals)| signals.iter().any(|signal| DEADLY.contains(signal)))
    }

    fn objection_to_success(&self, plan: &Plan, complete: &[i32], lines: &[Entry]) -> Option<String> {
        if !self.said(plan.number).is_empty() {
            return Some("a success that complains".to_owned());
        }
        if lines.iter().any(|it| it.verdict == "alone") {
            return Some("its daemon was not heard".to_owned());
        }
        let Some(pid) = self.daemons.get(&plan.number).copied() else {
            return Some("a success without a daemon".to_owned());
        };
        if self.doomed.contains(&(plan.number, pid)) {
            return Some(format!("{pid} cannot have executed its program"));
        }
        if complete.iter().any(|it| *it != pid) {
            return Some(format!("{pid} is not its daemon, but {complete:?}"));
        }
        let is_it = |orphan: &&Orphan| match lines.first() {
            Some(entry) => (orphan.pid, &orphan.began) == (pid, &entry.began),
            None => orphan.pid == pid && orphan.start.is_none_or(|start| start == plan.number),
        };
        let ends: Vec<End> = self.orphans.iter().filter(is_it).map(|orphan| orphan.end).collect();
        // Who has gone at once after it was ready, may have had its leader for a parent still.
        if ends.is_empty() && is_program_waited_for(plan.kind) && complete == [pid] {
            return None;
        }
        // A program that was executed, but could not be loaded or not begin, counts as executed.
        let starved = self.is_starved(plan) && !is_waited_for(plan.kind);
        let is_right = |end: &End| match *end {
            End::Exited(0) if complete == [pid] => true,
            End::Killed(signal) if self.was_sent(plan.number, pid, signal) => {
                complete == [pid] || !is_waited_for(plan.kind)
            }
            _ => starved,
        };
        (!ends.iter().any(is_right)).then(|| format!("its daemon {pid}: {ends:?}, {complete:?}"))
    }

    fn objection_to_failure(&self, plan: &Plan, status: i32) -> Option<String> {
        let said = self.said(plan.number);
        if status == UNBORN && self.is_starved(plan) {
            return None;
        }
        let statuses: &[i32] = if plan.is_command() { &[125, 126, 127] } else { &[FAILED] };
        if !statuses.contains(&status) && (plan.is_command() || !self.is_starved(plan)) {
            return Some(format!("status {status}"));
        }
        if said.lines().count() != 1 || !said.ends_with('\n') {
            return Some("not one line".to_owned());
        }
        if let Some((name, false)) = &plan.pid_file {
            let text = fs::read_to_string(self.site.file(name));
            if text.is_ok_and(|text| !self.died_slowly(plan.number, text.trim_end())) {
                return Some("its pid file is left".to_owned());
            }
        }
        (!self.is_explained(plan, said.trim_end())).then(|| "for no reason".to_owned())
    }

    /// Whether that daemon was perhaps still dying when its caller ended, which waits a second for it and then leaves
    /// alone what it holds.
    fn died_slowly(&self, number: usize, pid: &str) -> bool {
        let later = self.orphans.iter().skip(self.before[&number]);
        let mut killed = later.filter(|orphan| orphan.end == End::Killed(libc::SIGKILL));
        killed.any(|orphan| orphan.pid.to_string() == pid && orphan.start.is_none_or(|start| start == number))
    }

    /// Whether there was a reason for a failure to be that one.
    fn is_explained(&self, plan: &Plan, said: &str) -> bool {
        let hit = self.has_struck(plan.number, &[self.pids[&plan.number]]);
        // The dynamic linker cannot open or map the C library: the command has not begun.
        if said.contains("error while loading shared libraries") {
            return plan.descriptors.is_some() || plan.space.is_some();
        }
        let (about, reason) = said.rsplit_once(": ").unwrap_or_default();
        match reason {
            "ESRCH" => (hit || self.is_starved(plan)) && about.contains("wait: the daemon died before it was ready"),
            "ETIMEDOUT" => plan.timeout.is_some(),
            "EEXIST" => plan.pid_file.as_ref().is_some_and(|it| it.1) && about.contains("pid file: "),
            "EMFILE" | "EBADF" => plan.descriptors.is_some(),
            "EAGAIN" => self.weather.has_few_processes() && about.contains("fork"),
            "ENOMEM" => self.is_starved(plan),
            _ => about.contains("ended before it was ready") && self.is_starved(plan),
        }
    }

    fn tell(&self) {
        let count = |is: &dyn Fn(&End) -> bool| self.outcomes.values().filter(|end| is(end)).count();
        println!(
            "{} starts: {} daemons, {} failures, {} callers killed, {} of them before the sequence was done, {} daemons \
             doomed, {} alone; {} signals in {:.1} s; {} forks of its own refused",
            self.outcomes.len(),
            count(&|end| *end == End::Exited(0)),
            count(&|end| matches!(end, End::Exited(1..))),
            count(&|end| matches!(end, End::Killed(_))),
            self.cut_short.len(),
            self.doomed.len(),
            self.book().values().flatten().filter(|line| line.verdict == "alone").count(),
            self.signals,
            self.raged.as_secs_f32(),
            self.unborn,
        );
        let mut failures: BTreeMap<String, usize> = BTreeMap::new();
        for (number, end) in &self.outcomes {
            if let End::Exited(1..) = end {
                *failures.entry(self.said(*number).trim_end().replace(&self.site.directory, "…")).or_default() += 1;
            }
        }
        failures.iter().for_each(|(line, count)| println!("{count:5} {line}"));
        self.wrongs.iter().for_each(|wrong| println!("{wrong}"));
    }
}

/// A child that has ended, and is not reaped; 0 if there is none, nothing if there are no children.
fn next_that_ended() -> Option<i32> {
    let mut information: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    let result = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut information, options) };
    (result == 0).then(|| unsafe { information.si_pid() })
}

/// When a process began, in the kernel's ticks.
fn begin_of(pid: i32) -> String {
    stat_fields(pid).map_or_else(String::new, |stat| stat[19].clone())
}

fn own_pid() -> i32 {
    i32::try_from(process::id()).unwrap()
}

/// A descriptor that every caller has; above most limits.
const INHERITED: i32 = 77;

/// The exit status of a caller that never came to be.
const UNBORN: i32 = 99;

/// Whether the caller waits for more than the program's being executed.
fn is_waited_for(kind: Kind) -> bool {
    !matches!(kind, Kind::Command | Kind::Spawn)
}

/// Whether the leader stays until the program is ready.
fn is_program_waited_for(kind: Kind) -> bool {
    matches!(kind, Kind::Notify | Kind::Newline(_) | Kind::SpawnNewline(_))
}

/// The children of a process, in the order in which they came.
fn children(pid: u32) -> Vec<i32> {
    let mut text = String::new();
    let file = fs::File::open(format!("/proc/{pid}/task/{pid}/children"));
    // Ignored: it may be gone.
    let _ = file.and_then(|mut file| file.read_to_string(&mut text));
    text.split_whitespace().map(number).collect()
}

/// Whether that process will never run again: it is dead or has been killed.
fn is_dying(pid: i32) -> bool {
    const EXITING: u64 = 4; // PF_EXITING
    let end = Instant::now() + PATIENCE;
    loop {
        let Some(stat) = stat_fields(pid) else { return true };
        let pending = ["SigPnd", "ShdPnd"].iter().any(|name| has_signal(pid, name, libc::SIGKILL));
        if pending || ["Z", "X"].contains(&stat[0].as_str()) || stat[6].parse::<u64>().unwrap() & EXITING != 0 {
            return true;
        }
        // What runs may have taken the signal already; what waits has none.
        if stat[0] != "R" || Instant::now() > end {
            return false;
        }
        thread::yield_now();
    }
}

/// Whether that process, the leader's child or not yet a leader, has still to execute its program.
fn is_unfinished(kind: Kind, pid: i32) -> bool {
    let is_leader = stat_fields(pid).is_none_or(|stat| stat[3] == pid.to_string());
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<&str> = line.split('\0').collect();
    // While it is executed, it has no words.
    let waits = match kind {
        Kind::Command | Kind::Notify | Kind::Newline(_) => words[0].ends_with("/untty"),
        Kind::Spawn | Kind::SpawnNewline(_) => words.get(2) == Some(&"spawner"),
        Kind::Detach | Kind::DetachAndReturn => false,
    };
    waits && !is_leader
}

/// Whether that signal waits for that process to unblock it, and is its end then. The terminal's are forgotten before.
fn is_doomed(pid: i32, signal: i32) -> bool {
    [libc::SIGTERM, libc::SIGALRM, libc::SIGUSR1, libc::SIGIO].contains(&signal)
        && ["ShdPnd", "SigBlk"].iter().all(|name| has_signal(pid, name, signal))
}

/// Whether a set of signals of that process has that one.
fn has_signal(pid: i32, name: &str, signal: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    set.and_then(|set| u64::from_str_radix(set, 16).ok()).is_some_and(|set| set & 1 << (signal - 1) != 0)
}

fn describe(pid: i32) -> String {
    let stat = stat_fields(pid).map_or_else(Vec::new, |stat| stat[..4].to_vec());
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default().replace('\0', " ");
    let wait = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    format!("{pid} ({} {wait}: {line})", stat.join(" "))
}
