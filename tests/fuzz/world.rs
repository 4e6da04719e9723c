//! Where the C interface is fuzzed: the library, a directory whose every path has a known outcome, environments, memory
//! that ends at an unmapped page, and what must be the same after a failure.
//!
//! Shared by the libFuzzer targets (tests/fuzz/targets) and the replay (tests/fuzz_corpus.rs).

#![allow(dead_code, unreachable_pub, missing_docs, missing_debug_implementations, reason = "no target needs all of it")]

use std::ffi::{CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::{env, fs, process, ptr};

/// `struct untty_error`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    pub step: i32,
    pub errnum: i32,
}

/// `struct untty_handle`.
#[repr(C)]
pub struct Handle(pub [i32; 8]);

macro_rules! library {
    ($($name:ident($($argument:ty),*) -> $result:ty;)*) => {
        /// What `include/untty.h` declares.
        pub struct Library {
            $(pub $name: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        impl Library {
            /// The shared library at that path.
            pub fn load(path: &Path) -> Self {
                let path = CString::new(path.as_os_str().as_bytes()).unwrap();
                let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
                assert!(!library.is_null(), "{path:?} cannot be loaded");
                let function = |name: &str| {
                    let name = CString::new(name).unwrap();
                    let function = unsafe { libc::dlsym(library, name.as_ptr()) };
                    assert!(!function.is_null(), "there is no {name:?}");
                    function
                };
                // SAFETY: functions of these types, as the header says.
                Self { $($name: unsafe {
                    std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) -> $result>(
                        function(stringify!($name)),
                    )
                },)* }
            }

            /// The one that is in this program.
            #[cfg(feature = "capi")]
            pub fn linked() -> Self {
                unsafe extern "C" {
                    $(fn $name($(_: $argument),*) -> $result;)*
                }
                Self { $($name,)* }
            }
        }
    };
}

library! {
    untty_detach(*const c_void, *mut Handle, *mut Failure) -> c_int;
    untty_ready(*mut Handle, *mut Failure) -> c_int;
    untty_notify(*mut Handle, *const c_char, *mut Failure) -> c_int;
    untty_fail(*mut Handle, c_int) -> !;
    untty_pid_file_read(*const c_char, *mut Failure) -> c_int;
    untty_pid_file_remove(*const c_char, *mut Failure) -> c_int;
    untty_reopen_log(c_int, *const c_char, *mut Failure) -> c_int;
    untty_listen_fds(*const *const c_char) -> c_int;
    untty_supervisor(*const *const c_char) -> c_int;
    untty_daemon(c_int, c_int) -> c_int;
    untty_close_from(c_int) -> c_int;
    untty_close_except(c_int, *const c_int, usize) -> c_int;
    untty_step_name(c_int) -> *const c_char;
    untty_error_message(*const Failure, *mut c_char, usize) -> usize;
}

/// An input, read from its beginning; behind its end there are zeros.
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    pub fn take<const COUNT: usize>(&mut self) -> [u8; COUNT] {
        let mut taken = [0; COUNT];
        let count = COUNT.min(self.0.len());
        taken[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        taken
    }

    pub fn byte(&mut self) -> u8 {
        self.take::<1>()[0]
    }

    pub fn number(&mut self) -> i32 {
        i32::from_le_bytes(self.take())
    }

    pub fn word(&mut self) -> u32 {
        u32::from_le_bytes(self.take())
    }

    pub fn size(&mut self) -> usize {
        usize::try_from(u64::from_le_bytes(self.take())).unwrap_or(usize::MAX)
    }

    /// A text of a length that its first byte says, less what no C string has.
    pub fn text(&mut self) -> Vec<u8> {
        let count = usize::from(self.byte()).min(self.0.len());
        let (text, rest) = self.0.split_at(count);
        self.0 = rest;
        text.iter().copied().filter(|byte| *byte != 0).collect()
    }
}

/// What must come of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Works,
    Fails(c_int),
    /// It depends on the machine.
    Unknown,
}

use Answer::{Fails, Unknown, Works};

/// A path, and what must come of it: as standard input, as a log, as a pid file.
#[derive(Clone)]
pub struct Place {
    pub path: CString,
    pub input: Answer,
    pub log: Answer,
    pub pid_file: Answer,
    /// No file is there.
    pub is_free: bool,
}

impl Place {
    fn new(path: impl Into<Vec<u8>>, [input, log, pid_file]: [Answer; 3]) -> Self {
        Self { path: CString::new(path).unwrap(), input, log, pid_file, is_free: false }
    }

    fn free(name: Vec<u8>) -> Self {
        Self { is_free: true, ..Self::new(name, [Fails(libc::ENOENT), Works, Works]) }
    }
}

pub struct World {
    pub library: Library,
    places: Vec<Place>,
    variables: Vec<(Vec<u8>, Option<Answer>)>,
    memory: Guarded,
    _kept: (fs::File, UnixDatagram),
}

/// Variables of which a start's fate may hang.
const OF_SUPERVISORS: [&str; 5] = ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "SYSTEMD_EXEC_PID", "INVOCATION_ID"];

impl World {
    /// In that directory, which is empty and becomes the working directory. For a process with one thread.
    pub fn new(library: Library, directory: &Path) -> Self {
        env::set_current_dir(directory).unwrap();
        for name in OF_SUPERVISORS {
            // SAFETY: there is one thread.
            unsafe { env::remove_var(name) };
        }
        let text = directory.to_str().unwrap();
        let kept = make_files();
        let places = places(text);
        Self { library, places, variables: variables(text), memory: Guarded::new(), _kept: kept }
    }

    /// The place that a byte means; 0 is NULL. The last one is a new file, of a name that the input says.
    pub fn place(&self, choice: u8, name: &[u8]) -> Option<Place> {
        let index = usize::from(choice) % (self.places.len() + 2);
        match (index, self.places.get(index.wrapping_sub(1))) {
            (0, _) => None,
            (_, Some(place)) => Some(place.clone()),
            (_, None) => {
                let kept = name.iter().map(|byte| if *byte == b'/' { b'_' } else { *byte }).take(250);
                Some(Place::free(b"any".iter().copied().chain(kept).collect()))
            }
        }
    }

    /// The environment that the input says, and what a connection to its supervisor must come to.
    pub fn environment(&self, bytes: &mut Bytes<'_>) -> (Environment, Answer) {
        let (mut strings, mut answer) = (Vec::new(), None);
        for _ in 0..bytes.byte() % 8 {
            let choice = usize::from(bytes.byte());
            let (string, connects) = match self.variables.get(choice % (self.variables.len() + 3)) {
                Some((string, connects)) => (string.clone(), *connects),
                None => match choice % 3 {
                    0 => any_variable(bytes.text()),
                    // unix(7): 108 bytes, with the NUL.
                    1 => socket_of_length(b'/', usize::from(bytes.byte()), 107, libc::ENOENT),
                    _ => socket_of_length(b'@', usize::from(bytes.byte()), 108, libc::ECONNREFUSED),
                },
            };
            // The first one counts.
            answer = answer.or(connects);
            strings.push(CString::new(string).unwrap());
        }
        (Environment::new(strings), answer.unwrap_or(Works))
    }

    /// The bytes, followed by an unmapped page, or, since structures are aligned, by fewer than 8 bytes that are not 0.
    pub fn before_the_gap(&self, bytes: &[u8]) -> *mut u8 {
        let room = bytes.len().next_multiple_of(8);
        let start = self.memory.end_of(room);
        unsafe { ptr::write_bytes(start, 0xff, room) };
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len()) };
        start
    }

    /// Exactly so many bytes to write to.
    pub fn room_before_the_gap(&self, count: usize) -> *mut u8 {
        self.memory.end_of(count)
    }
}

fn make_files() -> (fs::File, UnixDatagram) {
    use std::os::unix::fs::symlink;
    fs::write("file", "").unwrap();
    fs::create_dir("directory").unwrap();
    symlink("file", "link").unwrap();
    symlink("nowhere", "dangling").unwrap();
    symlink("loop", "loop").unwrap();
    fs::write("text", "words").unwrap();
    fs::write("stale", "2147483647\n").unwrap();
    fs::write("two", "").unwrap();
    fs::hard_link("two", "names").unwrap();
    assert_eq!(unsafe { libc::mkfifo(c"fifo".as_ptr(), 0o600) }, 0);
    // With a reader and a writer, so that nobody waits for one.
    let fifo = fs::File::options().read(true).write(true).open("fifo").unwrap();
    let socket = UnixDatagram::bind("notify").unwrap();
    socket.set_nonblocking(true).unwrap();
    (fifo, socket)
}

fn places(directory: &str) -> Vec<Place> {
    let nowhere = |errno| [Fails(errno); 3];
    let long = format!("./{}file", "./".repeat(2044)); // 4094 bytes; no more than 4095 are taken
    vec![
        Place::new("file", [Works; 3]),
        Place::new(format!("{directory}/file"), [Works; 3]),
        Place::free(b"new".to_vec()),
        Place::new("directory", [Works, Fails(libc::EISDIR), Fails(libc::EISDIR)]),
        Place::new("link", [Works, Fails(libc::ELOOP), Fails(libc::ELOOP)]),
        Place::new("dangling", [Fails(libc::ENOENT), Fails(libc::ELOOP), Fails(libc::ELOOP)]),
        Place::new("loop", nowhere(libc::ELOOP)),
        Place::new("fifo", [Works, Works, Fails(libc::EINVAL)]),
        Place::new("text", [Works, Works, Fails(libc::EINVAL)]),
        Place::new("stale", [Works; 3]),
        Place::new("two", [Works, Works, Fails(libc::EMLINK)]),
        Place::new("/dev/null", [Works, Works, Fails(libc::EINVAL)]),
        Place::new("/dev/tty", [Unknown; 3]),
        Place::new("", nowhere(libc::ENOENT)),
        Place::new("missing/file", nowhere(libc::ENOENT)),
        Place::new("file/file", nowhere(libc::ENOTDIR)),
        Place::new("/", [Works, Fails(libc::EISDIR), Fails(libc::EISDIR)]),
        Place::new(long, [Works; 3]),
        Place::new("x".repeat(256), nowhere(libc::ENAMETOOLONG)),
        Place::new("./".repeat(5000), nowhere(libc::ENAMETOOLONG)),
    ]
}

/// Variables, and of a supervisor's socket what a connection to it must come to.
fn variables(directory: &str) -> Vec<(Vec<u8>, Option<Answer>)> {
    let pid = process::id();
    let socket = |name: &str, answer| (format!("NOTIFY_SOCKET={name}").into_bytes(), Some(answer));
    let other = |text: String| (text.into_bytes(), None);
    vec![
        socket(&format!("{directory}/notify"), Works),
        socket(&format!("{directory}/missing"), Fails(libc::ENOENT)),
        socket(&format!("{directory}/file"), Fails(libc::ECONNREFUSED)),
        socket("", Works),
        socket("@", Fails(libc::EAFNOSUPPORT)),
        socket("vsock:2:1234", Fails(libc::EAFNOSUPPORT)),
        socket("notify", Fails(libc::EAFNOSUPPORT)),
        other("NOTIFY_SOCKET".into()),
        other("NOTIFY_SOCKETS=/".into()),
        other(String::new()),
        other("=".into()),
        other(format!("LISTEN_PID={pid}")),
        other("LISTEN_FDS=2".into()),
        other("LISTEN_FDS=2147483647".into()),
        other("LISTEN_FDS=99999999999999999999".into()),
        other(format!("SYSTEMD_EXEC_PID={pid}")),
        other("SYSTEMD_EXEC_PID=1".into()),
        other("INVOCATION_ID=0".into()),
    ]
}

/// It may be a socket's name by chance, or rather because the fuzzer has found out.
fn any_variable(text: Vec<u8>) -> (Vec<u8>, Option<Answer>) {
    let is_socket = text.starts_with(b"NOTIFY_SOCKET=");
    (text, is_socket.then_some(Unknown))
}

fn socket_of_length(first: u8, length: usize, most: usize, errno: c_int) -> (Vec<u8>, Option<Answer>) {
    let name: Vec<u8> = std::iter::once(first).chain(std::iter::repeat_n(b'x', length)).collect();
    let answer = match name.len() {
        1 if first == b'@' => Fails(libc::EAFNOSUPPORT),
        1 => Unknown, // the root directory, which others must not even try
        taken if taken > most => Fails(libc::ENAMETOOLONG),
        _ => Fails(errno),
    };
    ([b"NOTIFY_SOCKET=".as_slice(), &name].concat(), Some(answer))
}

/// As `execve(2)` takes it.
pub struct Environment {
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Environment {
    fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        Self { _strings: strings, pointers }
    }

    pub fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}

/// Memory that ends at an unmapped page.
struct Guarded {
    end: *mut u8,
}

impl Guarded {
    const SIZE: usize = 1 << 17;

    fn new() -> Self {
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let start = unsafe { libc::mmap(ptr::null_mut(), 2 * Self::SIZE, protection, flags, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        let end = start.cast::<u8>().wrapping_add(Self::SIZE);
        assert_eq!(unsafe { libc::munmap(end.cast(), Self::SIZE) }, 0);
        // Nothing else may be mapped there.
        let held = unsafe { libc::mmap(end.cast(), Self::SIZE, libc::PROT_NONE, flags | libc::MAP_FIXED, -1, 0) };
        assert_eq!(held, end.cast());
        Self { end }
    }

    fn end_of(&self, count: usize) -> *mut u8 {
        assert!(count <= Self::SIZE);
        self.end.wrapping_sub(count)
    }
}

/// What must be the same after a failure.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    fds: Vec<(c_int, c_int, c_int)>,
    mask: u64,
    umask: u32,
    directory: (u64, u64),
    session: [c_int; 2],
    files: Vec<(Vec<u8>, [u64; 5])>,
    has_children: bool,
}

impl Snapshot {
    pub fn take() -> Self {
        let mut mask = 0_u64;
        let none = ptr::null::<u64>();
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, 0, none, &raw mut mask, size_of::<u64>()) };
        let umask = unsafe { libc::umask(0) };
        unsafe { libc::umask(umask) };
        let here = fs::metadata(".").unwrap();
        let session = unsafe { [libc::getsid(0), libc::getpgrp()] };
        let mut information = std::mem::MaybeUninit::<libc::siginfo_t>::uninit();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        let has_children = unsafe { libc::waitid(libc::P_ALL, 0, information.as_mut_ptr(), options) } == 0;
        let directory = (here.dev(), here.ino());
        Self { fds: fds(), mask, umask, directory, session, files: files(), has_children }
    }
}

/// The descriptors, with their flags and where the file is.
fn fds() -> Vec<(c_int, c_int, c_int)> {
    let numbers: Vec<c_int> = fs::read_dir("/proc/self/fd")
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap())
        .collect();
    let flags = |fd| unsafe { (fd, libc::fcntl(fd, libc::F_GETFD), libc::fcntl(fd, libc::F_GETFL)) };
    // Without the one that the list was read from.
    let mut fds: Vec<_> = numbers.into_iter().map(flags).filter(|(_, flags, _)| *flags >= 0).collect();
    fds.sort_unstable();
    fds
}

/// The working directory's files.
fn files() -> Vec<(Vec<u8>, [u64; 5])> {
    let describe = |entry: fs::DirEntry| {
        let stat = entry.metadata().unwrap();
        let numbers = [stat.ino(), stat.mode().into(), stat.nlink(), stat.size(), stat.uid().into()];
        (entry.file_name().as_bytes().to_vec(), numbers)
    };
    let mut files: Vec<_> = fs::read_dir(".").unwrap().map(|entry| describe(entry.unwrap())).collect();
    files.sort();
    files
}

/// From now on no fork succeeds in this process: it fails with EAGAIN. (What shares memory is no fork.)
pub fn forbid_forks() {
    use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule};
    let shares = u64::try_from(libc::CLONE_VM).unwrap();
    let copies =
        SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(shares), 0).expect("a condition");
    let mut rules = vec![(libc::SYS_clone, vec![SeccompRule::new(vec![copies]).expect("a rule")])];
    #[cfg(target_arch = "x86_64")]
    rules.extend([(libc::SYS_fork, Vec::new()), (libc::SYS_vfork, Vec::new())]);
    apply(rules, libc::EAGAIN);
    // Its flags are in memory, which no filter sees. Without it, everybody uses the older call.
    apply(vec![(libc::SYS_clone3, Vec::new())], libc::ENOSYS);

    fn apply(rules: Vec<(libc::c_long, Vec<SeccompRule>)>, errno: c_int) {
        let action = SeccompAction::Errno(errno.unsigned_abs());
        let arch = env::consts::ARCH.try_into().expect("an architecture");
        let filter = SeccompFilter::new(rules.into_iter().collect(), SeccompAction::Allow, action, arch);
        let program: seccompiler::BpfProgram = filter.expect("a filter").try_into().expect("a program");
        seccompiler::apply_filter(&program).expect("a filter");
    }
}

/// Errors as they may be: a step of the header, and an errno with a name; a status where the daemon gave up.
pub fn assert_is_defined(failure: Failure) {
    let step = untty::Step::from_number(failure.step);
    let named = untty::Errno::new(failure.errnum).name().is_some();
    let is_status = step == Some(untty::Step::Fail) && (1..256).contains(&failure.errnum);
    assert!(step.is_some() && (named || is_status), "no defined error: {failure:?}");
}
