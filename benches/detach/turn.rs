//! A turn: one start of one program, from its launch to the end of its daemon.

use crate::programs::Program;
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{process, ptr};

/// The program's memory, in MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Memory {
    pub(crate) resident: usize,
    /// What it has used and given back before it becomes a daemon, so that the caches are full of that: so they are in a
    /// program that has loaded as much and kept it.
    pub(crate) used: usize,
}

impl Memory {
    pub(crate) const NONE: Self = Self { resident: 0, used: 0 };
    pub(crate) const NONE_ANY_MORE: Self = Self { resident: 0, used: 1024 };
    pub(crate) const MOST: Self = Self { resident: 1024, used: 0 };
    pub(crate) const SIZES: [Self; 5] =
        [Self::NONE, Self { resident: 16, used: 0 }, Self { resident: 256, used: 0 }, Self::MOST, Self::NONE_ANY_MORE];
}

impl Display for Memory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{} MiB", self.resident);
        let text = if self.used == 0 { text } else { format!("{text} ({} MiB given back)", self.used) };
        formatter.pad(&text)
    }
}

/// `struct measured` of program.h. What a process of another address space writes is read as a whole, when it is done.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Shared {
    called: i64,
    running: i64,
    touched: i64,
    faults: i64,
    failed: i64,
    way: i32,
    daemon: i32,
    caller_gone: i32,
    complete: i32,
}

/// What a turn has brought to light. Times in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// From right before the call to the daemon's first act.
    pub(crate) running: i64,
    /// From right before the call to the caller's end.
    pub(crate) exit: i64,
    /// From the launch to the caller's end.
    pub(crate) launch: i64,
    /// Writing to every page, in the daemon, when the caller is gone.
    pub(crate) touch: i64,
    /// The minor faults of that.
    pub(crate) faults: i64,
    /// `untty_way`, where the program asks for it.
    pub(crate) way: i32,
}

pub(crate) struct Harness {
    /// A page of shared memory, and the path by which the programs open it.
    shared: *mut Shared,
    path: String,
    /// Where the programs are.
    programs: PathBuf,
    child_ended: SigSet,
}

/// Long enough for a machine that does a lot else.
const PATIENCE: Duration = Duration::from_secs(60);
const PAGE: u16 = 4096;

impl Harness {
    pub(crate) fn new(programs: &Path) -> Self {
        // SAFETY: the name is a string.
        let fd = unsafe { libc::memfd_create(c"detach".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(fd >= 0, "memfd_create: {}", Errno::last());
        // SAFETY: takes no pointers.
        assert_eq!(unsafe { libc::ftruncate(fd, PAGE.into()) }, 0, "ftruncate: {}", Errno::last());
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, of a file of that length.
        let shared = unsafe { libc::mmap(ptr::null_mut(), PAGE.into(), protection, libc::MAP_SHARED, fd, 0) };
        assert_ne!(shared, libc::MAP_FAILED, "mmap: {}", Errno::last());
        // The daemons are this process's children in the end, so that it learns of their end and leaves none behind.
        nix::sys::prctl::set_child_subreaper(true).expect("a subreaper");
        let mut child_ended = SigSet::empty();
        child_ended.add(Signal::SIGCHLD);
        child_ended.thread_block().expect("a blocked signal");
        limit_descriptors();
        let path = format!("/proc/{}/fd/{fd}", process::id());
        Self { shared: shared.cast(), path, programs: programs.to_owned(), child_ended }
    }

    pub(crate) fn turn(&mut self, program: Program, memory: Memory) -> Result<Measured, String> {
        self.write(Shared::default());
        let mut command = Command::new(program.path(&self.programs));
        command.args([&self.path, &memory.resident.to_string(), &memory.used.to_string()]);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        let before = Instant::now();
        let mut caller = command.spawn().map_err(|error| error.to_string())?;
        let pid = Pid::from_raw(i32::try_from(caller.id()).expect("a pid"));
        let status = caller.wait().map_err(|error| error.to_string())?;
        let end = clock();
        let launch = before.elapsed();
        self.tell_that_the_caller_is_gone();
        self.reap(pid)?;
        let shared = self.read();
        if !status.success() || shared.complete == 0 {
            return Err(format!("the caller's {status}; the call returned {}", shared.failed));
        }
        Ok(Measured {
            running: shared.running - shared.called,
            exit: end - shared.called,
            launch: i64::try_from(launch.as_nanos()).expect("not for ever"),
            touch: shared.touched,
            faults: shared.faults,
            way: shared.way,
        })
    }

    fn read(&self) -> Shared {
        // SAFETY: the page is mapped; the programs are gone, or write words.
        unsafe { self.shared.read_volatile() }
    }

    fn write(&self, value: Shared) {
        // SAFETY: the page is mapped, and no program is there.
        unsafe { self.shared.write_volatile(value) }
    }

    /// The daemon waits for that with a futex.
    fn tell_that_the_caller_is_gone(&self) {
        // SAFETY: a member of what is mapped.
        let gone = unsafe { &raw mut (*self.shared).caller_gone };
        // SAFETY: as above; only this process writes it while there is a daemon.
        unsafe { gone.write_volatile(1) };
        // SAFETY: an aligned word that lives on.
        unsafe { libc::syscall(libc::SYS_futex, gone, libc::FUTEX_WAKE, i32::MAX, 0, 0, 0) };
    }

    /// Waits until no child is left.
    fn reap(&self, caller: Pid) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Err(Errno::ECHILD) => return Ok(()),
                Ok(WaitStatus::StillAlive) if Instant::now() > end => {
                    // Its number cannot be another's: it is a child that nobody has waited for.
                    let daemon = Pid::from_raw(self.read().daemon);
                    let killed = daemon.as_raw() > 0 && daemon != caller && kill(daemon, Signal::SIGKILL).is_ok();
                    return Err(format!("daemon {daemon} does not end; killed: {killed}"));
                }
                Ok(WaitStatus::StillAlive) => self.until_a_child_ends(),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn until_a_child_ends(&self) {
        let time = libc::timespec { tv_sec: 1, tv_nsec: 0 };
        // SAFETY: the set and the time live through the call; nobody wants to know more about the signal.
        unsafe { libc::sigtimedwait(self.child_ended.as_ref(), ptr::null_mut(), &raw const time) };
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`, as in program.c.
fn clock() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time can be written.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// What most systems give: some close every number up to the limit.
pub(crate) const DESCRIPTORS: u64 = 1024;

fn limit_descriptors() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS.min(hard), hard).expect("a lower limit");
}

/// Where and when the programs run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scheduling {
    /// As everything else: what is said of a machine that is busy otherwise, is of that.
    Usual,
    /// Before everything else, where that is allowed.
    First,
    /// And on one core: what is done by whom is as certain as can be, and no core has to be woken.
    FirstOnOneCore,
}

impl Scheduling {
    /// For this process and all that it starts from now on: whether it is allowed to go before others.
    pub(crate) fn apply(self) -> bool {
        let cores: Vec<_> = (0..CpuSet::count()).filter(|core| allowed().is_set(*core).unwrap_or(false)).collect();
        let cores = if self == Self::FirstOnOneCore { cores.split_at(cores.len() - 1).1 } else { &cores };
        let mut set = CpuSet::new();
        cores.iter().for_each(|core| set.set(*core).expect("a core"));
        sched_setaffinity(Pid::from_raw(0), &set).expect("cores");
        let first = self != Self::Usual;
        let parameters = libc::sched_param { sched_priority: first.into() };
        let policy = if first { libc::SCHED_FIFO } else { libc::SCHED_OTHER };
        // SAFETY: the parameters live through the call.
        unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) == 0 }
    }
}

/// The cores that this process had at first.
fn allowed() -> CpuSet {
    static ALLOWED: OnceLock<CpuSet> = OnceLock::new();
    *ALLOWED.get_or_init(|| sched_getaffinity(Pid::from_raw(0)).expect("cores"))
}

impl Display for Scheduling {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Usual => "scheduled as usual",
            Self::First => "before all other processes",
            Self::FirstOnOneCore => "before all other processes, on one core",
        })
    }
}
