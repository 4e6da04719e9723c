//! Fuzzing `untty_detach`: a block of options of any size with any bytes, flags and numbers. Pointers alone cannot be
//! any bytes; the input chooses them: NULL, or strings and lists of all kinds.
//!
//! What must come of it is told beforehand, from the header's words alone.

#![allow(dead_code, unreachable_pub, missing_docs, missing_debug_implementations, reason = "no target needs all of it")]

use crate::world::{Answer, Bytes, Environment, Failure, Handle, Place, Snapshot, World, assert_is_defined};
use std::ffi::{c_char, c_int, c_void};
use std::os::unix::fs::MetadataExt;
use std::{fs, mem, ptr};
use untty::Step;

/// `struct untty_stdio`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Stdio {
    kind: u32,
    fd: c_int,
    path: *const c_char,
}

/// `struct untty_options`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Options {
    size: usize,
    flags: u32,
    umask: u32,
    directory: *const c_char,
    streams: [Stdio; 3],
    keep: *const c_int,
    keep_count: usize,
    deadline_ms: u32,
    ready_fd: c_int,
    pid_file: *const c_char,
    root: *const c_char,
    groups: *const u32,
    group_count: usize,
    uid: u32,
    gid: u32,
    environment: *const *const c_char,
    on_late_failure: Option<extern "C" fn(*const c_void)>,
}

const KNOWN: usize = size_of::<Options>();
/// What every version has: size and flags.
const LEAST: usize = mem::offset_of!(Options, umask);
/// No structure will ever be larger than a page.
const MOST: usize = 4096;

const RETURN_IN_CALLER: u32 = 1;
const KEEP_DIRECTORY: u32 = 8;
const KEEP_UMASK: u32 = 16;
const SET_UMASK: u32 = 32;
const KEEP_DESCRIPTORS: u32 = 64;
const ACCEPT_THREADS: u32 = 128;
const STAY_IF_SUPERVISED: u32 = 256;
const SET_USER: u32 = 512;
const IGNORE_SUPERVISOR: u32 = 1024;
const FLAGS: u32 = 0x7ff;

const NULL: u32 = 0;
const INHERIT: u32 = 1;
const FD: u32 = 2;
const FILE: u32 = 3;
const CONSOLE: u32 = 4;
const STDOUT: u32 = 5;

const STREAMS: [Step; 3] = [Step::Stdin, Step::Stdout, Step::Stderr];

/// What must come of a start.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// Bad options: EINVAL, EFAULT, E2BIG, or any of them.
    Refused(Vec<c_int>),
    Fails(Step, c_int),
    /// It gets to the fork.
    Forks,
    /// It depends on the machine, but the options are good.
    Unknown,
}

/// One start, as the input wants it.
struct Start<'w> {
    world: &'w World,
    options: Options,
    /// What the library has to make of them, when it has seen the size.
    seen: Options,
    /// Where behind the members it knows something is not 0.
    beyond: Option<usize>,
    no_options: bool,
    with_handle: bool,
    with_error: bool,
    connects: Answer,
    directory: Option<Place>,
    root: Option<Place>,
    files: [Option<Place>; 3],
    pid_file: Option<Place>,
    keep: Vec<c_int>,
    groups: Vec<u32>,
    environment: Environment,
}

impl<'w> Start<'w> {
    fn read(world: &'w World, input: &[u8]) -> Self {
        let bytes = &mut Bytes(input);
        let [code, low, high, beyond, bits, ..] = bytes.take::<8>();
        let any_size = bytes.size();
        let mut options: Options = unsafe { mem::zeroed() };
        options.size = match code {
            0 => KNOWN,
            255 => any_size,
            _ => usize::from(u16::from_le_bytes([low, high])) % (MOST + 16),
        };
        let (files, [directory, pid_file, root, keep, groups, variables]) = read_numbers(&mut options, bytes);
        let name = bytes.text();
        let place = |choice| world.place(choice, &name);
        let keep_list = (0..bytes.byte()).map(|_| bytes.number()).collect();
        let group_list = (0..bytes.byte()).map(|_| bytes.word()).collect();
        let (environment, connects) = world.environment(bytes);
        let mut start = Self {
            world,
            options,
            seen: options,
            beyond: None,
            no_options: bits & 7 == 7,
            with_handle: bits & 8 != 0,
            with_error: bits & 16 == 0,
            connects,
            directory: place(directory),
            root: place(root),
            files: files.map(place),
            pid_file: place(pid_file),
            keep: keep_list,
            groups: group_list,
            environment,
        };
        start.point(keep != 0, groups != 0, variables != 0);
        start.seen = start.options.cut();
        if start.seen.environment.is_null() {
            start.connects = Answer::Works;
        }
        if (KNOWN + 1..=MOST).contains(&options.size) && beyond != 0 {
            start.beyond = Some(KNOWN + usize::from(beyond) * 16 % (options.size - KNOWN));
        }
        start
    }

    /// The pointers, and counts that are true of what they point to.
    fn point(&mut self, to_keep: bool, to_groups: bool, to_environment: bool) {
        let path = |place: &Option<Place>| place.as_ref().map_or(ptr::null(), |place| place.path.as_ptr());
        let options = &mut self.options;
        options.directory = path(&self.directory);
        options.pid_file = path(&self.pid_file);
        options.root = path(&self.root);
        options.streams.iter_mut().zip(&self.files).for_each(|(stream, place)| stream.path = path(place));
        if to_keep {
            options.keep = self.keep.as_ptr();
            options.keep_count = count(options.keep_count, self.keep.len());
        }
        if to_groups {
            options.groups = self.groups.as_ptr();
            options.group_count = count(options.group_count, self.groups.len());
        }
        if to_environment {
            options.environment = self.environment.as_ptr();
        }
    }

    /// Whether this very process would become the daemon.
    fn stays(&self) -> bool {
        let wanted = self.is_good() && self.has(STAY_IF_SUPERVISED);
        wanted && unsafe { (self.world.library.untty_supervisor)(self.seen.environment) } != 0
    }

    fn is_good(&self) -> bool {
        self.refusals().is_empty()
    }

    fn has(&self, flag: u32) -> bool {
        self.seen.flags & flag != 0
    }

    /// Everything that is wrong with the options.
    fn refusals(&self) -> Vec<c_int> {
        let (size, seen) = (self.options.size, &self.seen);
        let early = [
            (self.no_options, libc::EFAULT),
            (size < LEAST, libc::EINVAL),
            (size > MOST || self.beyond.is_some(), libc::E2BIG),
        ];
        if let Some((_, errno)) = early.into_iter().find(|(wrong, _)| *wrong) {
            return vec![errno];
        }
        let user = seen.uid != 0 || seen.gid != 0 || seen.group_count != 0 || !seen.groups.is_null();
        let keep_count = if self.has(KEEP_DESCRIPTORS) { 0 } else { seen.keep_count };
        let group_count = if self.has(SET_USER) { seen.group_count } else { 0 };
        let groups = &self.groups[..group_count.min(self.groups.len())];
        let ids = [seen.uid, seen.gid].into_iter().chain(groups.iter().copied().filter(|_| !seen.groups.is_null()));
        let mut wrong = vec![
            (seen.flags & !FLAGS != 0, libc::EINVAL),
            (self.has(KEEP_UMASK) && self.has(SET_UMASK), libc::EINVAL),
            (self.has(SET_UMASK) && seen.umask > 0o777, libc::EINVAL),
            (user && !self.has(SET_USER), libc::EINVAL),
            (self.has(SET_USER) && size < mem::offset_of!(Options, environment), libc::EINVAL),
            (self.has(SET_USER) && ids.into_iter().any(|id| id == u32::MAX), libc::EINVAL),
            (keep_count != 0 && seen.keep.is_null(), libc::EFAULT),
            (group_count != 0 && seen.groups.is_null(), libc::EFAULT),
            (keep_count > most() && !seen.keep.is_null(), libc::EINVAL),
            (group_count > most() && !seen.groups.is_null(), libc::EINVAL),
            (seen.ready_fd != 0 && seen.ready_fd <= 2, libc::EINVAL),
        ];
        for stream in &seen.streams {
            wrong.push((stream.kind > STDOUT, libc::EINVAL));
            wrong.push((stream.kind == FILE && stream.path.is_null(), libc::EFAULT));
        }
        wrong.into_iter().filter(|(wrong, _)| *wrong).map(|(_, errno)| errno).collect()
    }

    fn fate(&self) -> Fate {
        let refusals = self.refusals();
        if !refusals.is_empty() {
            return Fate::Refused(refusals);
        }
        if !self.has(ACCEPT_THREADS) && fs::read_dir("/proc/self/task").unwrap().count() > 1 {
            return Fate::Fails(Step::Threads, libc::EBUSY);
        }
        let mut stages = Vec::new();
        for (step, stream) in STREAMS.into_iter().zip(&self.seen.streams) {
            stages.push((step, if stream.kind == FD { is_open(stream.fd) } else { Answer::Works }));
        }
        let ready_fd = if self.seen.ready_fd == 0 { Answer::Works } else { is_open(self.seen.ready_fd) };
        stages.push((Step::Notify, ready_fd));
        stages.push((Step::PidFile, self.pid_file().map_or(Answer::Works, |place| place.pid_file)));
        for (index, step) in STREAMS.into_iter().enumerate() {
            stages.push((step, self.opens(index)));
        }
        stages.push((Step::Notify, if self.has(IGNORE_SUPERVISOR) { Answer::Works } else { self.connects }));
        stages.into_iter().find_map(|(step, answer)| after(step, answer)).unwrap_or(Fate::Forks)
    }

    fn pid_file(&self) -> Option<&Place> {
        self.pid_file.as_ref().filter(|_| !self.seen.pid_file.is_null())
    }

    fn log(&self, index: usize) -> Option<&Place> {
        self.files[index].as_ref().filter(|_| index > 0 && self.seen.streams[index].kind == FILE)
    }

    fn opens(&self, index: usize) -> Answer {
        match (self.seen.streams[index].kind, &self.files[index]) {
            (FILE, Some(place)) if index == 0 => {
                // The pid file is made before.
                let made = self.pid_file().is_some_and(|pid_file| pid_file.is_free && pid_file.path == place.path);
                if made { Answer::Works } else { place.input }
            }
            (FILE, Some(place)) => place.log,
            (CONSOLE, _) => Answer::Unknown,
            (STDOUT, _) if index < 2 => Answer::Fails(libc::EINVAL),
            (NULL | INHERIT | FD | STDOUT, _) => Answer::Works,
            _ => Answer::Unknown,
        }
    }

    /// Calls `untty_detach`.
    fn perform(&self, handle: &mut Handle) -> (c_int, Failure) {
        let size = self.options.size;
        let mut block = vec![0; if size > MOST { size_of::<usize>() } else { size.max(size_of::<usize>()) }];
        let options = unsafe { std::slice::from_raw_parts((&raw const self.options).cast::<u8>(), KNOWN) };
        block.iter_mut().zip(options).for_each(|(to, from)| *to = *from);
        if let Some(beyond) = self.beyond {
            block[beyond] = 0x80;
        }
        let mut failure = Failure { step: -7, errnum: -7 };
        let options = if self.no_options { ptr::null() } else { self.world.before_the_gap(&block).cast::<c_void>() };
        let handle = if self.with_handle { ptr::from_mut(handle) } else { ptr::null_mut() };
        let error = if self.with_error { &raw mut failure } else { ptr::null_mut() };
        (unsafe { (self.world.library.untty_detach)(options, handle, error) }, failure)
    }

    /// What must be true of a failure.
    fn judge(&self, fate: &Fate, failure: Failure, before: &Snapshot) {
        if !self.with_error {
            assert_eq!(failure, Failure { step: -7, errnum: -7 });
        } else {
            assert_is_defined(failure);
            let is = |step: Step, errno: c_int| failure == Failure { step: step.number(), errnum: errno };
            match fate {
                Fate::Refused(errnos) => {
                    assert!(errnos.iter().any(|errno| is(Step::Options, *errno)), "{failure:?} instead of {fate:?}");
                }
                Fate::Fails(step, errno) => assert!(is(*step, *errno), "{failure:?} instead of {fate:?}"),
                Fate::Forks | Fate::Unknown => {
                    assert!(failure.step > Step::Threads.number(), "{failure:?} instead of {fate:?}");
                }
            }
        }
        self.take_away_new_files();
        assert_eq!(Snapshot::take(), *before, "{failure:?}");
    }

    /// A log may exist afterwards, empty; nothing else may.
    fn take_away_new_files(&self) {
        for place in (1..3).filter_map(|index| self.log(index)).filter(|place| place.is_free) {
            let name = place.path.to_str().map_or_else(|_| os(&place.path), Into::into);
            if let Ok(stat) = fs::symlink_metadata(&name) {
                assert!(stat.is_file() && stat.size() == 0, "{name:?}: {stat:?}");
                fs::remove_file(&name).unwrap();
            }
        }
    }
}

fn os(path: &std::ffi::CStr) -> std::ffi::OsString {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(path.to_bytes()).to_owned()
}

impl Options {
    /// What a library sees that believes the size: the words that are wholly there. Size and flags always are.
    fn cut(&self) -> Self {
        let mut seen: Self = unsafe { mem::zeroed() };
        let words = self.size.min(KNOWN) / size_of::<usize>() * size_of::<usize>();
        unsafe { ptr::copy_nonoverlapping(ptr::from_ref(self).cast::<u8>(), (&raw mut seen).cast(), words) };
        seen.flags = self.flags;
        seen
    }
}

/// The members that are numbers, which may be any; and what shall be pointed to: by the streams, and by the others.
fn read_numbers(options: &mut Options, bytes: &mut Bytes<'_>) -> ([u8; 3], [u8; 6]) {
    options.flags = bytes.word();
    options.umask = bytes.word();
    let mut files = [0; 3];
    for (stream, file) in options.streams.iter_mut().zip(&mut files) {
        stream.kind = bytes.word();
        stream.fd = bytes.number();
        *file = bytes.byte();
    }
    options.keep_count = bytes.size();
    options.group_count = bytes.size();
    options.deadline_ms = bytes.word();
    options.ready_fd = bytes.number();
    options.uid = bytes.word();
    options.gid = bytes.word();
    (files, bytes.take())
}

/// More than memory can hold.
const fn most() -> usize {
    isize::MAX.unsigned_abs() / size_of::<c_int>()
}

/// A count that is true, or so large that it cannot be.
fn count(any: usize, length: usize) -> usize {
    if any > most() { any } else { any % (length + 1) }
}

fn is_open(fd: c_int) -> Answer {
    if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 { Answer::Fails(libc::EBADF) } else { Answer::Works }
}

fn after(step: Step, answer: Answer) -> Option<Fate> {
    match answer {
        Answer::Works => None,
        Answer::Fails(errno) => Some(Fate::Fails(step, errno)),
        Answer::Unknown => Some(Fate::Unknown),
    }
}

/// One input, in a process in which no fork succeeds: every start fails, and nothing has changed. The step at which it
/// failed; 0 when there was none.
pub fn fuzz(world: &World, input: &[u8]) -> i32 {
    let start = Start::read(world, input);
    if start.stays() {
        return 0; // it would succeed, and change this process
    }
    let before = Snapshot::take();
    let fate = match start.fate() {
        Fate::Forks => Fate::Fails(Step::Fork, libc::EAGAIN),
        fate => fate,
    };
    let (result, failure) = start.perform(&mut Handle([-9; 8]));
    assert_eq!(result, -1, "{fate:?}");
    start.judge(&fate, failure, &before);
    failure.step
}

/// How a process that has performed an input ends, if it does not end as a caller ends.
pub const FAILED: c_int = 10;
pub const RETURNED: c_int = 11;
pub const TIMED_OUT: c_int = 12;
pub const DAEMON: c_int = 42;
pub const GAVE_UP: c_int = 43;

/// One input, really performed: the daemon exits with [`DAEMON`], a caller that goes on with what came of it.
pub fn perform(world: &World, input: &[u8]) -> c_int {
    let start = Start::read(world, input);
    let stays = start.stays();
    let (before, fate) = (Snapshot::take(), start.fate());
    let mut handle = Handle([-9; 8]);
    let (result, failure) = start.perform(&mut handle);
    match result {
        0 => {
            assert!(matches!(fate, Fate::Forks | Fate::Unknown), "a daemon instead of {fate:?}");
            let mut error = Failure { step: 0, errnum: 0 };
            if start.with_handle && unsafe { (world.library.untty_ready)(&raw mut handle, &raw mut error) } < 0 {
                assert_is_defined(error);
                unsafe { (world.library.untty_fail)(&raw mut handle, GAVE_UP) }
            }
            DAEMON
        }
        -1 => {
            // A supervised process has been changed by the steps before.
            if !stays {
                start.judge(&fate, failure, &before);
            }
            let late = Failure { step: Step::Wait.number(), errnum: libc::ETIMEDOUT };
            if failure == late { TIMED_OUT } else { FAILED }
        }
        _ => {
            assert!(result > 0 && start.has(RETURN_IN_CALLER), "{result}");
            assert!(matches!(fate, Fate::Forks | Fate::Unknown), "process {result} instead of {fate:?}");
            RETURNED
        }
    }
}
