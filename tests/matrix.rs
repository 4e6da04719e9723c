//! The environment matrix: a start in every environment that a caller may be in, and what must come of it.
//!
//! A [`Cell`] is one environment. [`expected`] says, from the cell alone, what must happen there: the start succeeds, or
//! fails with exactly that step and errno. An *observer* (a helper, and a subreaper) forks a caller for each cell, which
//! makes the environment its own and detaches, and looks at caller and daemon from outside, through its own `/proc`.
//! They talk through shared memory, since no descriptor is sure to be left. After each cell no process may be.
//!
//! ```text
//! test ── observer ── caller ── leader ── daemon
//! test ── observer ── parent ── caller (process 1 of a namespace) ── leader ── daemon
//! ```
//!
//! `UNTTY_MATRIX=full` tries every cell instead of a choice, `UNTTY_MATRIX=NUMBER` that one, `UNTTY_MATRIX_SEED=NUMBER`
//! makes another choice.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]
#![allow(clippy::std_instead_of_core, reason = "tests have std")]
#![allow(
    clippy::multiple_unsafe_ops_per_block,
    clippy::undocumented_unsafe_blocks,
    reason = "tests: bare system calls"
)]

mod harness;

use harness::start::{
    become_ordinary, block_signals, disposition, filter, forget_the_tests_parents, has_children, mount, named,
    set_signals, skipped, unshare,
};
use harness::{End, PATIENCE, State, descendants, differences, helper, is_root, stat_fields};
use libc::{EINVAL, EMFILE, ENOSYS, ENXIO, EPERM, c_int};
use nix::sys::signal::{SigSet, Signal};
use std::cell::UnsafeCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Write, stdin};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{self, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, iter, mem, ptr, thread};
use untty::{Daemon, Process, Step};

fn main() {
    harness::main(
        named![
            a_group_leader_learns_the_truth_in_every_environment,
            a_session_leader_learns_the_truth_in_every_environment,
            process_1_learns_the_truth_in_every_environment,
            a_subreapers_child_learns_the_truth_in_every_environment,
            the_choice_has_every_environment_and_every_three_values_together,
            a_session_leader_does_get_a_terminal_that_way,
        ],
        &[("observer", observer), ("session_leader", session_leader)],
    );
}

// The cells.

/// An environment, and how the caller is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    close_range: CloseRange,
    proc: bool,
    /// Which of 0, 1 and 2 are open.
    streams: [bool; 3],
    limit: Limit,
    identity: Identity,
    terminal: bool,
    position: Position,
    ending: Ending,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CloseRange {
    Works,
    Fails(c_int),
}

/// RLIMIT_NOFILE, and what is open above 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    /// 1024; 3, 10 and 77.
    Normal,
    /// That number; nothing.
    Tiny(c_int),
    /// 16; 500 and 900, from when it was higher.
    Lowered,
    /// 16; all that it permits, but for so many.
    Exhausted(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    Root,
    User,
    /// A user who is root in a namespace of its own.
    UserNamespace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    GroupLeader,
    SessionLeader,
    /// The first process of a pid namespace. With a terminal it is a session leader, as in a container; without one it
    /// is in a session, and a group, from outside.
    Process1,
    /// Nothing of that; a child of a process to which the orphans go.
    SubreapersChild,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Exits,
    Returns,
}

const CLOSE_RANGES: [CloseRange; 4] =
    [CloseRange::Works, CloseRange::Fails(ENOSYS), CloseRange::Fails(EPERM), CloseRange::Fails(EINVAL)];
const LIMITS: [Limit; 11] = [
    Limit::Normal,
    Limit::Tiny(3),
    Limit::Tiny(4),
    Limit::Tiny(5),
    Limit::Tiny(6),
    Limit::Tiny(7),
    Limit::Tiny(8),
    Limit::Lowered,
    Limit::Exhausted(0),
    Limit::Exhausted(2),
    Limit::Exhausted(3),
];
const IDENTITIES: [Identity; 3] = [Identity::Root, Identity::User, Identity::UserNamespace];
const POSITIONS: [Position; 4] =
    [Position::GroupLeader, Position::SessionLeader, Position::Process1, Position::SubreapersChild];
const ENDINGS: [Ending; 2] = [Ending::Exits, Ending::Returns];

/// How many values each of a cell's fields has.
const SIZES: [usize; 8] = [CLOSE_RANGES.len(), 2, 8, LIMITS.len(), IDENTITIES.len(), 2, POSITIONS.len(), ENDINGS.len()];

impl Cell {
    fn count() -> usize {
        SIZES.iter().product()
    }

    /// The cell of that number.
    fn new(number: usize) -> Self {
        let [close_range, proc, streams, limit, identity, terminal, position, ending] = values(number);
        Self {
            close_range: CLOSE_RANGES[close_range],
            proc: proc == 0,
            streams: [0, 1, 2].map(|stream| streams & 1 << stream == 0),
            limit: LIMITS[limit],
            identity: IDENTITIES[identity],
            terminal: terminal == 0,
            position: POSITIONS[position],
            ending: ENDINGS[ending],
        }
    }

    /// Why there is no such cell for this user.
    fn impossible(self) -> Option<&'static str> {
        let namespaces = !self.proc || self.position == Position::Process1;
        match self.identity {
            Identity::Root if !is_root() => Some("an ordinary user is not root"),
            Identity::User if !is_root() && namespaces => {
                Some("an ordinary user gets into mount and pid namespaces only as root of a user namespace")
            }
            _ => None,
        }
    }

    /// How many numbers above 2 a descriptor can get.
    fn free_numbers(self) -> usize {
        match self.limit {
            Limit::Normal => 1024 - 3 - 3,
            Limit::Tiny(limit) => usize::try_from(limit).unwrap() - 3,
            Limit::Lowered => 16 - 3,
            Limit::Exhausted(left) => left,
        }
    }
}

/// The position of each field's value in its list.
fn values(number: usize) -> [usize; 8] {
    let mut rest = number;
    SIZES.map(|size| {
        let value = rest % size;
        rest /= size;
        value
    })
}

/// What must come of a start. Two things alone make a difference: what is open in the caller, since it opens
/// `/dev/null` and then the two ends of a pipe, none of them below 3; and whether its end would be everyone's.
fn expected(cell: Cell) -> Result<(), (Step, c_int)> {
    if cell.position == Position::Process1 && cell.ending == Ending::Exits {
        return Err((Step::Setsid, EINVAL));
    }
    // What gets a number below 3 is moved up from there: for the kernel, under a limit of 3, that is not to have no
    // number left but to ask for one that cannot be (fcntl(2), F_DUPFD).
    let asks_too_much = cell.limit == Limit::Tiny(3) && cell.streams != [true; 3];
    match cell.free_numbers() {
        0 if asks_too_much => Err((Step::Stdin, EINVAL)),
        0 => Err((Step::Stdin, EMFILE)),
        1 | 2 => Err((Step::Pipe, EMFILE)),
        _ => Ok(()),
    }
}

/// The state that the daemon must have, given its caller's before: what is not named here, is as it was there.
fn daemon_state(before: &State, parent: i32, session: &str) -> State {
    let null = fs::metadata("/dev/null").unwrap();
    let null = format!("{}:{} {:o}", null.dev(), null.ino(), libc::O_RDWR);
    let mut state = before.clone();
    state.retain(|key, _| !key.starts_with("fd "));
    let new = [
        ("parent", parent.to_string()),
        ("group", session.to_owned()),
        ("session", session.to_owned()),
        ("terminal", "0".to_owned()),
        ("directory", before["root"].clone()),
        ("Umask", "0027".to_owned()),
        ("SigBlk", "0000000000000000".to_owned()),
        ("SigIgn", "0000000000000000".to_owned()),
        ("SigCgt", "0000000000000000".to_owned()),
        ("fd 0", null.clone()),
        ("fd 1", null.clone()),
        ("fd 2", null),
    ];
    state.extend(new.map(|(key, value)| (key.to_owned(), value)));
    state
}

// The choice of cells.

/// The cells to try.
fn chosen() -> &'static [usize] {
    static CHOSEN: OnceLock<Vec<usize>> = OnceLock::new();
    CHOSEN.get_or_init(|| match env::var("UNTTY_MATRIX").as_deref() {
        Ok("full") => possible(),
        Ok(number) => vec![number.parse().expect("`full`, or a cell's number")],
        Err(_) => choice(seed()),
    })
}

fn seed() -> u64 {
    env::var("UNTTY_MATRIX_SEED").map_or(4, |seed| seed.parse().expect("a number"))
}

/// What a choice must have: every environment, whatever the limit's number and the ending; and any three fields, with
/// any value of each.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Feature {
    Environment([usize; 7]),
    Triple([(usize, usize); 3]),
}

fn features(number: usize) -> impl Iterator<Item = Feature> {
    let values = values(number);
    let [close_range, proc, streams, limit, identity, terminal, position, _] = values;
    let limit = LIMITS.iter().position(|it| mem::discriminant(it) == mem::discriminant(&LIMITS[limit])).unwrap();
    let environment = Feature::Environment([close_range, proc, streams, limit, identity, terminal, position]);
    let field = move |index: usize| (index, values[index]);
    let triples = (2..SIZES.len()).flat_map(move |c| {
        (1..c).flat_map(move |b| (0..b).map(move |a| Feature::Triple([field(a), field(b), field(c)])))
    });
    iter::once(environment).chain(triples)
}

/// Of the possible cells, in an order made by that seed, those that have a feature that none before has.
fn choice(seed: u64) -> Vec<usize> {
    let mut numbers = possible();
    let mut random = seed;
    for index in (1..numbers.len()).rev() {
        random = next_random(random);
        numbers.swap(index, usize::try_from(random >> 33).unwrap() % (index + 1));
    }
    let mut seen = BTreeSet::new();
    numbers.retain(|number| {
        let count = seen.len();
        seen.extend(features(*number));
        seen.len() > count
    });
    numbers
}

fn possible() -> Vec<usize> {
    (0..Cell::count()).filter(|number| Cell::new(*number).impossible().is_none()).collect()
}

/// Knuth's linear congruential generator, of which the high bits are good.
fn next_random(random: u64) -> u64 {
    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}

fn the_choice_has_every_environment_and_every_three_values_together() {
    let all: BTreeSet<Feature> = possible().into_iter().flat_map(features).collect();
    let chosen = choice(seed());
    assert_eq!(chosen.iter().copied().flat_map(features).collect::<BTreeSet<_>>(), all);
    let environments = all.iter().filter(|feature| matches!(feature, Feature::Environment(_))).count();
    println!(
        "matrix: {} of {} cells (seed {}) are every one of {environments} environments, and {} triples of values",
        chosen.len(),
        Cell::count(),
        seed(),
        all.len() - environments
    );
    let mut left_out: BTreeMap<&str, usize> = BTreeMap::new();
    for why in (0..Cell::count()).filter_map(|number| Cell::new(number).impossible()) {
        *left_out.entry(why).or_default() += 1;
    }
    left_out.iter().for_each(|(why, count)| skipped(&format!("{count} of {} cells: {why}", Cell::count())));
}

// What the processes of a cell tell the observer.

#[repr(C)]
struct Board {
    /// Something has happened.
    event: Semaphore,
    /// The caller may go on.
    caller: Semaphore,
    /// The daemon may go on.
    daemon: Semaphore,
    prepared: AtomicI32,
    /// The caller is back: a step and an errno, or 0 and the daemon's pid.
    back: AtomicI32,
    step: AtomicI32,
    number: AtomicI32,
    /// The caller found its dispositions changed.
    changed: AtomicI32,
    /// The caller has children.
    children: AtomicI32,
    /// How many children process 1 has reaped at its end.
    reaped: AtomicI32,
    /// The daemon has come to its program: its own pid.
    here: AtomicI32,
    /// What `ready` said: an errno, or 0.
    ready: AtomicI32,
    /// The daemon has tried to get a terminal, and these were the errnos: of `/dev/tty` before, of the terminal's
    /// opening, of `/dev/tty` after.
    tried: AtomicI32,
    tries: [AtomicI32; 3],
    /// Why it cannot go on: this machine does not permit it, or a panic.
    refused: AtomicI32,
    panicked: AtomicI32,
    length: AtomicUsize,
    text: UnsafeCell<[u8; 512]>,
}

/// It is made for more than one process, let alone threads.
unsafe impl Sync for Board {}

/// A process-shared semaphore.
struct Semaphore(UnsafeCell<libc::sem_t>);

impl Semaphore {
    fn post(&self) {
        assert_eq!(unsafe { libc::sem_post(self.0.get()) }, 0);
    }

    /// Whether it was posted in that time.
    fn wait(&self, patience: Duration) -> bool {
        let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + patience;
        let end = libc::timespec { tv_sec: end.as_secs().try_into().unwrap(), tv_nsec: end.subsec_nanos().into() };
        loop {
            match unsafe { libc::sem_timedwait(self.0.get(), &raw const end) } {
                0 => return true,
                _ if std::io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => {}
                _ => return false,
            }
        }
    }
}

impl Board {
    fn new() -> &'static Self {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        let memory = unsafe { libc::mmap(ptr::null_mut(), size_of::<Self>(), protection, flags, -1, 0) };
        assert_ne!(memory, libc::MAP_FAILED);
        unsafe { &*memory.cast() }
    }

    /// Wipes it, when no other process uses it.
    fn wipe(&self) {
        unsafe { ptr::from_ref(self).cast_mut().cast::<u8>().write_bytes(0, size_of::<Self>()) };
        for semaphore in [&self.event, &self.caller, &self.daemon] {
            assert_eq!(unsafe { libc::sem_init(semaphore.0.get(), 1, 0) }, 0);
        }
    }

    fn say(&self, what: &AtomicI32, text: &str) {
        let length = text.len().min(512);
        unsafe { ptr::copy_nonoverlapping(text.as_ptr(), self.text.get().cast(), length) };
        self.length.store(length, SeqCst);
        what.store(1, SeqCst);
        self.event.post();
    }

    fn text(&self) -> String {
        let text = unsafe { &*self.text.get() };
        String::from_utf8_lossy(&text[..self.length.load(SeqCst)]).into_owned()
    }
}

// The caller and the daemon.

/// What the forked process does: makes the environment its own, and starts. It ends here.
fn act(cell: Cell, board: &Board, source: c_int) -> ! {
    let acted = catch_unwind(AssertUnwindSafe(|| {
        if let Err(why) = prepare(cell, source) {
            board.say(&board.refused, &why);
            return;
        }
        board.prepared.store(1, SeqCst);
        board.event.post();
        if board.caller.wait(PATIENCE) {
            start(cell, board);
        }
    }));
    let panicked = acted.is_err();
    unsafe { libc::_exit(if panicked { 101 } else { 0 }) }
}

/// Makes the cell's environment this process's (or its child's, which then goes on here); or says why this machine does
/// not permit it.
fn prepare(cell: Cell, source: c_int) -> Result<(), String> {
    for fd in (3..100).filter(|fd| *fd != source) {
        unsafe { libc::close(fd) };
    }
    let mut namespaces = if cell.proc { 0 } else { libc::CLONE_NEWNS };
    if cell.position == Position::Process1 {
        namespaces |= libc::CLONE_NEWNS | libc::CLONE_NEWPID;
    }
    if cell.identity == Identity::UserNamespace {
        become_ordinary();
        // Who was root does not own its own files in /proc any more.
        nix::sys::prctl::set_dumpable(true).map_err(|error| error.to_string())?;
        unshare(namespaces)?;
    } else if namespaces != 0 {
        unshare(namespaces)?;
    }
    if cell.position == Position::Process1 {
        be_process_1();
    }
    match (cell.proc, cell.position) {
        (false, _) => mount("none", "/proc", Some("tmpfs"), 0)?,
        (true, Position::Process1) => mount("proc", "/proc", Some("proc"), 0)?,
        (true, _) => {}
    }
    if cell.identity == Identity::User {
        become_ordinary();
    }
    take_position(cell, source);
    open_streams(cell, source);
    set_descriptors(cell.limit);
    SigSet::empty().thread_set_mask().unwrap();
    block_signals(&format!("{} {}", libc::SIGUSR2, libc::SIGWINCH));
    if let CloseRange::Fails(errno) = cell.close_range {
        filter(&format!("close_range {errno}"), None);
    }
    match (close_nothing(), cell.close_range) {
        (0, CloseRange::Works) => Ok(()),
        (errno, CloseRange::Fails(wanted)) if errno == wanted => Ok(()),
        (errno, _) => Err(format!("close_range: errno {errno}")),
    }
}

/// What `close_range` says where there is nothing to be closed: an errno, or 0.
fn close_nothing() -> c_int {
    let far = 1_u32 << 30;
    errno_of(unsafe { libc::syscall(libc::SYS_close_range, far, far, 0) } == 0)
}

fn errno_of(success: bool) -> c_int {
    if success { 0 } else { std::io::Error::last_os_error().raw_os_error().unwrap() }
}

/// Forks the first process of the pid namespace that was made, which goes on; the parent ends as that ends.
fn be_process_1() {
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "no fork");
    if child > 0 {
        let mut status = 0;
        unsafe {
            libc::waitpid(child, &raw mut status, 0);
            libc::_exit(if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 255 });
        }
    }
}

fn take_position(cell: Cell, terminal: c_int) {
    match (cell.position, cell.terminal) {
        (Position::GroupLeader, _) => assert_eq!(unsafe { libc::setpgid(0, 0) }, 0),
        (Position::SessionLeader, _) | (Position::Process1, true) => {
            nix::unistd::setsid().unwrap();
            if cell.terminal {
                assert_eq!(unsafe { libc::ioctl(terminal, libc::TIOCSCTTY, 0) }, 0, "a terminal of its own");
            }
        }
        (Position::Process1, false) | (Position::SubreapersChild, _) => {}
    }
}

/// Opens the standard streams that are to be open, from that descriptor, which goes.
fn open_streams(cell: Cell, source: c_int) {
    for (stream, open) in (0..).zip(cell.streams) {
        let done = unsafe { if open { libc::dup2(source, stream) == stream } else { libc::close(stream) == 0 } };
        assert!(done, "{stream}");
    }
    unsafe { libc::close(source) };
}

fn set_descriptors(limit: Limit) {
    let (highest, open): (u64, Vec<c_int>) = match limit {
        Limit::Normal => (1024, vec![3, 10, 77]),
        Limit::Tiny(limit) => (limit.try_into().unwrap(), vec![]),
        Limit::Lowered => (16, vec![500, 900]),
        Limit::Exhausted(left) => (16, (3..16).filter(|fd| ![5, 9, 15][..left].contains(fd)).collect()),
    };
    if !open.is_empty() {
        let file = unsafe { libc::open(c"/dev/zero".as_ptr(), libc::O_RDWR) };
        // By way of a number that is in nobody's way, since that may be any below 3, too.
        let high = unsafe { libc::fcntl(file, libc::F_DUPFD, 100) };
        unsafe { libc::close(file) };
        for fd in open {
            assert_eq!(unsafe { libc::dup3(high, fd, if fd % 2 == 0 { libc::O_CLOEXEC } else { 0 }) }, fd);
        }
        unsafe { libc::close(high) };
    }
    let limit = libc::rlimit { rlim_cur: highest, rlim_max: highest };
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}

/// Detaches, and tells what came of it.
fn start(cell: Cell, board: &Board) {
    let daemon = match cell.ending {
        Ending::Exits => Daemon::new(),
        Ending::Returns => Daemon::new().return_in_caller(),
    };
    let dispositions = || (1..=64).map(disposition).collect::<Vec<_>>();
    let before = dispositions();
    // SAFETY: there is one thread, and it uses no descriptor.
    match unsafe { daemon.detach() } {
        Ok(Process::Daemon(mut handle)) => {
            board.ready.store(handle.ready().err().map_or(0, |error| error.errno().number()), SeqCst);
            return be_daemon(board);
        }
        Ok(Process::Caller { daemon }) => board.number.store(daemon, SeqCst),
        Err(error) => {
            board.step.store(error.step().number(), SeqCst);
            board.number.store(error.errno().number(), SeqCst);
        }
    }
    board.changed.store((dispositions() != before).into(), SeqCst);
    board.children.store(has_children().into(), SeqCst);
    board.back.store(1, SeqCst);
    board.event.post();
    board.caller.wait(PATIENCE);
    if cell.position == Position::Process1 {
        while unsafe { libc::waitpid(-1, ptr::null_mut(), 0) } > 0 {
            board.reaped.fetch_add(1, SeqCst);
        }
    }
}

fn be_daemon(board: &Board) {
    board.here.store(nix::unistd::getpid().as_raw(), SeqCst);
    board.event.post();
    board.daemon.wait(PATIENCE);
    let _terminal = try_to_get_a_terminal(board);
    board.tried.store(1, SeqCst);
    board.event.post();
    board.daemon.wait(PATIENCE);
}

/// Opens a terminal that is nobody's, without O_NOCTTY: what makes it a session leader's own.
fn try_to_get_a_terminal(board: &Board) -> Option<(OwnedFd, File)> {
    let own_terminal = || File::open("/dev/tty").map_or_else(|error| error.raw_os_error().unwrap(), |_| 0);
    board.tries[0].store(own_terminal(), SeqCst);
    let terminal = new_terminal();
    board.tries[1].store(terminal.as_ref().map_or_else(|error| *error as c_int, |_| 0), SeqCst);
    board.tries[2].store(own_terminal(), SeqCst);
    terminal.ok()
}

/// Both ends of a new terminal. It becomes that of a session leader that has none.
fn new_terminal() -> nix::Result<(OwnedFd, File)> {
    use nix::fcntl::OFlag;
    let master = nix::pty::posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC)?;
    nix::pty::unlockpt(&master)?;
    let path = nix::pty::ptsname_r(&master)?;
    let slave = nix::fcntl::open(path.as_str(), OFlag::O_RDWR | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())?;
    Ok((master.into(), slave.into()))
}

// The observer.

/// What came of a cell.
enum Verdict {
    Kept,
    Broken(Vec<String>),
    Skipped(String),
}

/// Tries the cells whose numbers it reads, and tells how each went. Argument: whether its session has a terminal.
fn observer(arguments: &[String]) {
    const ENOUGH: usize = 10;
    let observer = Observer::new(arguments[0] == "true");
    let mut broken = 0;
    for number in stdin().lines().map(|line| line.unwrap().parse().unwrap()) {
        let cell = Cell::new(number);
        match observer.try_cell(cell) {
            Verdict::Kept => println!("kept {}", expected(cell).is_ok()),
            Verdict::Skipped(why) => println!("skipped {why}"),
            Verdict::Broken(problems) => {
                broken += 1;
                problems.iter().for_each(|problem| println!("broken {number} {cell:?}: {problem}"));
            }
        }
        if broken == ENOUGH {
            // Each may cost a minute.
            return println!("broken The rest was not tried.");
        }
    }
}

struct Observer {
    pid: i32,
    board: &'static Board,
    /// A terminal that is this session's, or nobody's, or no terminal.
    source: File,
    _master: Option<OwnedFd>,
}

impl Observer {
    /// What a caller has for inheritance: a session, a directory, a umask, signals.
    fn new(terminal: bool) -> Self {
        forget_the_tests_parents();
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).unwrap(); // so that nothing goes on without the test
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        nix::unistd::setsid().unwrap();
        env::set_current_dir(env::temp_dir()).unwrap();
        let board = Board::new();
        let pid = process::id();
        std::panic::set_hook(Box::new(move |panic| match process::id() {
            it if it == pid => eprintln!("{panic}"),
            _ => board.say(&board.panicked, &panic.to_string()),
        }));
        unsafe { libc::umask(0o022) };
        set_signals(&format!("{} {} {}", libc::SIGHUP, libc::SIGPIPE, libc::SIGTTOU), libc::SIG_IGN, 0);
        set_signals(&format!("{} {}", libc::SIGTERM, libc::SIGUSR1), handler as *const () as usize, libc::SA_RESTART);
        block_signals(&libc::SIGCHLD.to_string());
        let (master, source) = if terminal {
            let (master, slave) = new_terminal().expect("a terminal");
            (Some(master), slave)
        } else {
            (None, File::options().read(true).write(true).open("/dev/zero").unwrap())
        };
        Self { pid: nix::unistd::getpid().as_raw(), board, source, _master: master }
    }

    fn try_cell(&self, cell: Cell) -> Verdict {
        self.board.wipe();
        let own = cell.terminal && [Position::SessionLeader, Position::Process1].contains(&cell.position);
        let own = own.then(|| {
            use nix::fcntl::OFlag;
            let master = nix::pty::posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).unwrap();
            nix::pty::unlockpt(&master).unwrap();
            let slave = File::options().read(true).write(true).open(nix::pty::ptsname_r(&master).unwrap()).unwrap();
            (master, slave)
        });
        let source = own.as_ref().map_or(&self.source, |(_, slave)| slave).as_raw_fd();
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "no fork");
        if child == 0 {
            act(cell, self.board, source);
        }
        let mut trial = Trial { observer: self, cell, board: self.board, child, caller: child, problems: Vec::new() };
        trial.run()
    }
}

extern "C" fn handler(_: c_int) {}

/// One cell, tried.
struct Trial<'a> {
    observer: &'a Observer,
    cell: Cell,
    board: &'a Board,
    /// The observer's child: the caller, or the parent of process 1.
    child: i32,
    caller: i32,
    problems: Vec<String>,
}

impl Trial<'_> {
    fn run(&mut self) -> Verdict {
        let is_prepared = self.wait_until("the caller is prepared", |board| board.prepared.load(SeqCst) == 1);
        if self.board.refused.load(SeqCst) == 1 {
            let ends = self.rest();
            self.demand(ends == BTreeMap::from([(self.child, End::Exited(0))]), || format!("{ends:?}"));
            return self.verdict(Some(self.board.text()));
        }
        if is_prepared {
            self.observe();
        }
        let living = below(self.observer.pid);
        if !self.problems.is_empty() {
            kill_all(&living);
        }
        self.rest();
        self.verdict(None)
    }

    fn verdict(&mut self, skipped: Option<String>) -> Verdict {
        if self.board.panicked.load(SeqCst) == 1 {
            self.problems.push(self.board.text());
        }
        match (skipped, self.problems.is_empty()) {
            (_, false) => Verdict::Broken(mem::take(&mut self.problems)),
            (Some(why), true) => Verdict::Skipped(why),
            (None, true) => Verdict::Kept,
        }
    }

    fn demand(&mut self, is: bool, problem: impl FnOnce() -> String) {
        if !is {
            self.problems.push(problem());
        }
    }

    /// Whether that comes true, before the child dies and in good time.
    fn wait_until(&mut self, what: &str, is: impl Fn(&Board) -> bool) -> bool {
        const LOOK: Duration = Duration::from_millis(100);
        for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
            let happened = self.board.event.wait(LOOK);
            if is(self.board) {
                return true;
            }
            if self.board.refused.load(SeqCst) + self.board.panicked.load(SeqCst) > 0 {
                return false;
            }
            if !happened && self.is_over() && !is(self.board) {
                break;
            }
        }
        self.problems.push(format!("never: {what}"));
        false
    }

    /// Whether nobody is left but the child, which has ended and is not reaped.
    fn is_over(&self) -> bool {
        let is_dead = stat_fields(self.child).is_none_or(|fields| fields[0] == "Z");
        is_dead && below(self.observer.pid).iter().all(|pid| *pid == self.child)
    }

    /// Lets the caller start, and checks all that comes of it.
    fn observe(&mut self) {
        if self.cell.position == Position::Process1 {
            self.caller = children(self.child)[0];
        }
        let before = snapshot(self.caller);
        self.check_arrangement(&before);
        self.board.caller.post();
        match expected(self.cell) {
            Ok(()) => self.expect_a_daemon(&before),
            Err((step, errno)) => self.expect_an_error(&before, step, errno),
        }
    }

    /// That the test has done what the cell says.
    fn check_arrangement(&mut self, before: &State) {
        let (cell, caller, me) = (self.cell, self.caller.to_string(), self.observer.pid.to_string());
        let (group, session) = match cell.position {
            Position::GroupLeader => (&caller, &me),
            Position::SessionLeader => (&caller, &caller),
            Position::Process1 if cell.terminal => (&caller, &caller),
            _ => (&me, &me),
        };
        let open = [0, 1, 2].map(|stream| before.contains_key(&format!("fd {stream}")));
        let above =
            before.keys().filter(|key| key.starts_with("fd ")).count() - open.iter().filter(|open| **open).count();
        let highest = match cell.limit {
            Limit::Normal => 3,
            Limit::Tiny(_) => 0,
            Limit::Lowered => 2,
            Limit::Exhausted(left) => 13 - left,
        };
        let user: Vec<&str> = before["Uid"].split('\t').collect();
        let mapped = fs::read_to_string(format!("/proc/{caller}/uid_map")).unwrap_or_default();
        let own_map = fs::read_to_string("/proc/self/uid_map").unwrap();
        let truths = [
            (before["group"] == *group && before["session"] == *session, "position"),
            ((before["terminal"] != "0") == cell.terminal, "terminal"),
            (open == cell.streams && above == highest, "descriptors"),
            (Path::new(&format!("/proc/{caller}/root/proc/version")).exists() == cell.proc, "/proc"),
            ((user[0] == "0") == (cell.identity == Identity::Root), "user"),
            ((mapped != own_map) == (cell.identity == Identity::UserNamespace), "user namespace"),
            (before["NSpid"].ends_with("\t1") == (cell.position == Position::Process1), "process 1"),
            (before["CapEff"] == "0000000000000000" || cell.identity != Identity::User, "capabilities"),
        ];
        for (is, what) in truths {
            self.demand(is, || format!("the test has not arranged: {what}: {before:?}"));
        }
    }

    fn expect_an_error(&mut self, before: &State, step: Step, errno: c_int) {
        if !self.wait_until("the caller is back", |board| board.back.load(SeqCst) == 1) {
            return;
        }
        let error = (self.board.step.load(SeqCst), self.board.number.load(SeqCst));
        self.demand(error == (step.number(), errno), || {
            format!("expected {step} {errno}, not {:?} {}", Step::from_number(error.0), error.1)
        });
        self.check_the_caller(before);
        self.check_who_lives(&[self.child, self.caller]);
        self.board.caller.post();
        self.check_the_ends(&[self.child], 0);
    }

    fn expect_a_daemon(&mut self, before: &State) {
        let returns = self.cell.ending == Ending::Returns;
        let settled = |board: &Board| {
            let is_back = board.back.load(SeqCst) == 1;
            board.here.load(SeqCst) != 0 && (is_back || !returns) || board.step.load(SeqCst) != 0 && is_back
        };
        if !self.wait_until("the daemon is there", settled) {
            return;
        }
        let number = self.board.number.load(SeqCst);
        if let Some(step) = Step::from_number(self.board.step.load(SeqCst)) {
            self.problems.push(format!("expected a daemon, not {step} {number}"));
            return;
        }
        let ended = if returns { None } else { self.wait_for(self.child) };
        if returns {
            self.check_the_caller(before);
            let here = self.board.here.load(SeqCst);
            self.demand(number == here, || format!("the daemon is {here}, not {number}"));
        } else {
            self.demand(ended == Some(End::Exited(0)), || format!("the caller's end: {ended:?}"));
        }
        let callers: &[i32] = if returns { &[self.child, self.caller] } else { &[] };
        let others = below(self.observer.pid).into_iter().filter(|pid| !callers.contains(pid));
        let [daemon] = others.collect::<Vec<_>>()[..] else {
            self.problems.push(format!("{:?} are there", below(self.observer.pid)));
            return;
        };
        self.check_the_daemon(daemon, before);
        self.check_who_lives(&[callers, &[daemon]].concat());
        self.board.daemon.post();
        self.board.caller.post();
        let mut ends = vec![daemon];
        if self.cell.position == Position::Process1 {
            ends.clear();
        }
        ends.extend(callers.first());
        self.check_the_ends(&ends, 1);
    }

    /// It is as it was.
    fn check_the_caller(&mut self, before: &State) {
        let after = snapshot(self.caller);
        self.problems.extend(differences(before, &after).iter().map(|line| format!("caller: {line}")));
        let has_daemon = self.cell.position == Position::Process1 && self.board.step.load(SeqCst) == 0;
        let children = self.board.children.load(SeqCst) == 1;
        self.demand(children == has_daemon, || format!("the caller has children: {children}"));
        self.demand(self.board.changed.load(SeqCst) == 0, || "a disposition of the caller's is changed".to_owned());
    }

    fn check_the_daemon(&mut self, daemon: i32, before: &State) {
        let parent = if self.cell.position == Position::Process1 { self.caller } else { self.observer.pid };
        let state = snapshot(daemon);
        let session = state["session"].clone();
        let wanted = daemon_state(before, parent, &session);
        let same = |key: &str| key != "NSpid";
        let (mut wanted, mut seen) = (wanted, state);
        wanted.retain(|key, _| same(key));
        seen.retain(|key, _| same(key));
        self.problems.extend(differences(&wanted, &seen).iter().map(|line| format!("daemon: {line}")));
        let foreign = ![daemon, self.caller, self.child, self.observer.pid].contains(&session.parse().unwrap());
        self.demand(foreign, || format!("the session {session} is not the daemon's own"));
        self.demand(stat_fields(session.parse().unwrap()).is_none(), || format!("the leader {session} is alive"));
        let ready = self.board.ready.load(SeqCst);
        self.demand(ready == 0, || format!("ready: {ready}"));

        self.board.daemon.post();
        if self.wait_until("the daemon has tried", |board| board.tried.load(SeqCst) == 1) {
            let tries = [0, 1, 2].map(|index| self.board.tries[index].load(SeqCst));
            self.demand(tries == [ENXIO, 0, ENXIO], || format!("terminal: {tries:?}"));
            let terminal = stat_fields(daemon).map(|fields| fields[4].clone());
            self.demand(terminal.as_deref() == Some("0"), || format!("the daemon's terminal: {terminal:?}"));
        }
    }

    fn check_who_lives(&mut self, wanted: &[i32]) {
        let living: BTreeSet<i32> = below(self.observer.pid).into_iter().collect();
        self.demand(living == wanted.iter().copied().collect(), || format!("{living:?} are there, not {wanted:?}"));
    }

    /// All that is left ends well, and nobody else was there to be reaped.
    fn check_the_ends(&mut self, pids: &[i32], of_process_1: i32) {
        let ends = self.rest();
        let wanted: BTreeMap<i32, End> = pids.iter().map(|pid| (*pid, End::Exited(0))).collect();
        self.demand(ends == wanted, || format!("ends: {ends:?}, not {wanted:?}"));
        if self.cell.position == Position::Process1 {
            let reaped = self.board.reaped.load(SeqCst);
            self.demand(reaped == of_process_1, || format!("process 1 has reaped {reaped}"));
        }
    }

    /// Waits for the end of a child.
    fn wait_for(&mut self, child: i32) -> Option<End> {
        loop {
            match reap(child) {
                Some((_, end)) => return Some(end),
                None if !child_has_ended() => return None,
                None => {}
            }
        }
    }

    /// Waits until there are no children left, and tells how they ended.
    fn rest(&mut self) -> BTreeMap<i32, End> {
        let mut ends = BTreeMap::new();
        while has_children() {
            match reap(-1) {
                Some((pid, end)) => drop(ends.insert(pid, end)),
                None if !child_has_ended() => {
                    let left = below(self.observer.pid);
                    self.problems.push(format!("left: {left:?}"));
                    kill_all(&left);
                }
                None => {}
            }
        }
        ends
    }
}

fn kill_all(pids: &[i32]) {
    for pid in pids {
        unsafe { libc::kill(*pid, libc::SIGKILL) };
    }
}

/// Reaps that child, or any (-1), if it has ended.
fn reap(child: i32) -> Option<(i32, End)> {
    let mut status = 0;
    let pid = unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) };
    let end = if libc::WIFEXITED(status) {
        End::Exited(libc::WEXITSTATUS(status))
    } else {
        End::Killed(libc::WTERMSIG(status))
    };
    (pid > 0).then_some((pid, end))
}

/// Waits for a SIGCHLD, which is blocked; false if none comes in good time.
fn child_has_ended() -> bool {
    let mut set: libc::sigset_t = unsafe { mem::zeroed() };
    let patience = libc::timespec { tv_sec: PATIENCE.as_secs().try_into().unwrap(), tv_nsec: 0 };
    unsafe {
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        libc::sigtimedwait(&raw const set, ptr::null_mut(), &raw const patience) == libc::SIGCHLD
    }
}

/// The children of a process with one thread, zombies too where the kernel lists them.
fn children(pid: i32) -> Vec<i32> {
    match fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) {
        Ok(list) => list.split_whitespace().map(|child| child.parse().unwrap()).collect(),
        Err(_) => descendants(pid).into_iter().filter(|child| parent(*child) == Some(pid)).collect(),
    }
}

fn parent(pid: i32) -> Option<i32> {
    stat_fields(pid)?[1].parse().ok()
}

/// All processes below this one.
fn below(pid: i32) -> Vec<i32> {
    let mut found = children(pid);
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        found.extend(children(*pid));
        next += 1;
    }
    found
}

/// What a process is, seen from outside. `fd N` is the file, by its device and inode, and how it is open.
fn snapshot(pid: i32) -> State {
    const LINES: [&str; 17] = [
        "Umask",
        "Uid",
        "Gid",
        "Groups",
        "NSpid",
        "Threads",
        "SigPnd",
        "ShdPnd",
        "SigBlk",
        "SigIgn",
        "SigCgt",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
    ];
    let mut state = State::new();
    let mut set = |key: &str, value: String| drop(state.insert(key.to_owned(), value));
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    for (key, value) in status.lines().filter_map(|line| line.split_once(':')) {
        if LINES.contains(&key) || key.starts_with("Seccomp") {
            set(key, value.trim().to_owned());
        }
    }
    if let Some(fields) = stat_fields(pid) {
        for (key, index) in [("parent", 1), ("group", 2), ("session", 3), ("terminal", 4)] {
            set(key, fields[index].clone());
        }
    }
    let file =
        |path: &str| fs::metadata(path).map_or("none".to_owned(), |file| format!("{}:{}", file.dev(), file.ino()));
    set("directory", file(&format!("/proc/{pid}/cwd")));
    set("root", file(&format!("/proc/{pid}/root")));
    set("limits", fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default());
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let fd = entry.file_name().into_string().unwrap();
        let information = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
        let flags = information.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or("0").trim();
        let flags = i32::from_str_radix(flags, 8).unwrap() & FLAGS;
        set(&format!("fd {fd}"), format!("{} {flags:o}", file(&format!("/proc/{pid}/fd/{fd}"))));
    }
    state
}

/// The flags of an open file that matter.
const FLAGS: c_int = libc::O_ACCMODE | libc::O_APPEND | libc::O_NONBLOCK | libc::O_CLOEXEC;

// The tests.

fn a_group_leader_learns_the_truth_in_every_environment() {
    learns_the_truth(Position::GroupLeader);
}

fn a_session_leader_learns_the_truth_in_every_environment() {
    learns_the_truth(Position::SessionLeader);
}

fn process_1_learns_the_truth_in_every_environment() {
    learns_the_truth(Position::Process1);
}

fn a_subreapers_child_learns_the_truth_in_every_environment() {
    learns_the_truth(Position::SubreapersChild);
}

/// What observers have told.
#[derive(Default)]
struct Tally {
    succeeded: usize,
    failed: usize,
    skipped: BTreeMap<String, usize>,
    broken: Vec<String>,
}

impl Tally {
    fn add(&mut self, line: &str) {
        let (verb, rest) = line.split_once(' ').unwrap();
        match (verb, rest) {
            ("kept", "true") => self.succeeded += 1,
            ("kept", _) => self.failed += 1,
            ("skipped", why) => *self.skipped.entry(why.to_owned()).or_default() += 1,
            _ => self.broken.push(rest.to_owned()),
        }
    }
}

fn learns_the_truth(position: Position) {
    let outputs = thread::scope(|scope| {
        let observers = [true, false].map(|terminal| scope.spawn(move || observe(position, terminal)));
        observers.map(|observer| observer.join().unwrap())
    });
    let mut tally = Tally::default();
    for output in &outputs {
        String::from_utf8_lossy(&output.stdout).lines().for_each(|line| tally.add(line));
    }
    let Tally { succeeded, failed, skipped: skips, broken } = tally;
    let (ran, count) = (succeeded + failed, skips.values().sum::<usize>());
    println!(
        "matrix: {position:?}: {ran} cells kept the promise ({succeeded} daemons, {failed} errors), {count} skipped"
    );
    skips.iter().for_each(|(why, count)| skipped(&format!("{count} cells of {position:?}: {why}")));
    assert!(outputs.iter().all(|output| output.status.success()), "an observer failed");
    assert!(broken.is_empty(), "{} problems:\n{}", broken.len(), broken.join("\n"));
}

/// Has an observer try the cells of that kind.
fn observe(position: Position, terminal: bool) -> Output {
    let of_that_kind = |cell: Cell| cell.position == position && cell.terminal == terminal;
    let numbers = chosen().iter().filter(|number| of_that_kind(Cell::new(**number)));
    let mut observer = helper("observer");
    for name in ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID"] {
        observer.env_remove(name);
    }
    let observer = observer.arg(terminal.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut observer = observer.spawn().unwrap();
    let mut input = observer.stdin.take().unwrap();
    let numbers: String = numbers.map(|number| format!("{number}\n")).collect();
    thread::scope(|scope| {
        // Ignored: an observer that does not read it all, says why.
        scope.spawn(move || drop(input.write_all(numbers.as_bytes())));
        observer.wait_with_output().unwrap()
    })
}

/// The control: what no daemon can do, a session leader can.
fn a_session_leader_does_get_a_terminal_that_way() {
    let (status, output, _) = harness::run(&mut helper("session_leader"));
    assert!(status.success());
    assert_eq!(output.trim(), format!("{:?}", [ENXIO, 0, 0]));
}

fn session_leader(_: &[String]) {
    nix::unistd::setsid().unwrap();
    let board = Board::new();
    board.wipe();
    let terminal = try_to_get_a_terminal(board);
    println!("{:?}", [0, 1, 2].map(|index| board.tries[index].load(SeqCst)));
    process::exit(if terminal.is_some() { 0 } else { 1 });
}
