//! What both backends share: the kernel's own types and the numbers that are the same on every architecture.
//!
//! Layouts are the kernel's, not a libc's, so that both backends hand the same bytes to the same calls.

use core::ffi::{c_char, c_int, c_long, c_ulong};
use core::marker::PhantomData;

/// A descriptor of standard input, output or error.
pub const STDIN: c_int = 0;
/// See [`STDIN`].
pub const STDOUT: c_int = 1;
/// See [`STDIN`].
pub const STDERR: c_int = 2;

/// The highest signal number.
pub const SIGNAL_MAX: c_int = 64;

/// A signal set, as `rt_sigprocmask` takes it: bit n-1 is signal n.
pub type SignalSet = u64;

/// A NULL-terminated array of strings, as `execve` takes it.
pub type StringArray = *const *const c_char;

/// What a signal does: the kernel's `struct sigaction`, kept whole so that it can be put back as it was.
///
/// Its first word is the handler on every architecture here; the order of the rest differs, and no one looks at it.
/// Six words are enough for each of them.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Disposition(pub [usize; 6]);

impl Disposition {
    /// `SIG_DFL`, no flags, empty mask.
    pub const DEFAULT: Self = Self([0; 6]);
    /// `SIG_IGN`, no flags, empty mask.
    pub const IGNORE: Self = Self([1, 0, 0, 0, 0, 0]);

    /// True for a function.
    #[must_use]
    pub fn is_handler(&self) -> bool {
        self.0.first().is_some_and(|handler| *handler > 1)
    }

    /// True for `SIG_IGN`.
    #[must_use]
    pub fn is_ignore(&self) -> bool {
        self.0.first() == Some(&1)
    }
}

/// `struct pollfd`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct PollFd {
    /// The descriptor.
    pub fd: c_int,
    /// What to wait for.
    pub events: i16,
    /// What happened.
    pub revents: i16,
}

/// The kernel's old `struct timespec`, whose members are as wide as a word.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Timespec {
    /// Seconds.
    pub seconds: c_long,
    /// Nanoseconds, below 1,000,000,000.
    pub nanoseconds: c_long,
}

/// `struct rlimit`.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// The limit in force.
    pub soft: u64,
    /// How far it can be raised.
    pub hard: u64,
}

/// What `fstat`, `stat` and `lstat` tell, as far as anybody here asks.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// Type and permissions.
    pub mode: u32,
    /// Which device a device file stands for (its major and minor number, encoded as the kernel does).
    pub device: u64,
    /// The device that the file lies on, and its number there: the same for the same file.
    pub identity: (u64, u64),
    /// How many names it has.
    pub links: u64,
    /// Whose it is.
    pub owner: u32,
}

/// Permitted, effective or inheritable capabilities: bit n is capability n (`capabilities(7)`).
pub type CapabilitySet = u64;

/// What `capget` and `capset` want first: `_LINUX_CAPABILITY_VERSION_3`, and 0 for the calling thread. In memory that can
/// be written, because a kernel that knows another version says so there (`capget(2)`); qemu-user insists.
pub(super) const CAPABILITY_HEADER: [u32; 2] = [0x2008_0522, 0];

/// Effective, permitted and inheritable, from two rows of these, the lower 32 bits first.
pub(super) const fn capabilities([low, high]: [[u32; 3]; 2]) -> [CapabilitySet; 3] {
    const fn join(low: u32, high: u32) -> CapabilitySet {
        (high as CapabilitySet) << u32::BITS | low as CapabilitySet
    }
    let ([effective, permitted, inheritable], [more_effective, more_permitted, more_inheritable]) = (low, high);
    [join(effective, more_effective), join(permitted, more_permitted), join(inheritable, more_inheritable)]
}

/// The address of a socket in the file system or in the abstract namespace: `struct sockaddr_un`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct UnixAddress {
    /// `AF_UNIX`.
    pub family: u16,
    /// The path and a NUL; or a NUL and the abstract name.
    pub path: [u8; 108],
}

/// Who has sent a message: `struct ucred`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Sender {
    /// Its process id, as this process's pid namespace has it.
    pub pid: c_int,
    /// Its user id.
    pub uid: u32,
    /// Its group id.
    pub gid: u32,
}

/// A `struct cmsghdr` with room for a [`Sender`], and what it then holds.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct SenderMessage {
    /// `cmsg_len`; glibc and the kernel have a word there.
    pub length: usize,
    /// `cmsg_level`.
    pub level: c_int,
    /// `cmsg_type`.
    pub kind: c_int,
    /// The data.
    pub sender: Sender,
    /// Alignment.
    pub padding: c_int,
}

/// A piece of memory to write: `struct iovec`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Piece<'a> {
    start: *const u8,
    length: usize,
    memory: PhantomData<&'a [u8]>,
}

impl<'a> Piece<'a> {
    /// The piece with these bytes.
    #[must_use]
    pub const fn of(bytes: &'a [u8]) -> Self {
        Self { start: bytes.as_ptr(), length: bytes.len(), memory: PhantomData }
    }
}

/// How a child has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit status.
    Exited(c_int),
    /// By a signal.
    Killed,
}

impl End {
    /// From `si_code` and `si_status` of `waitid(2)`.
    #[must_use]
    pub const fn new(code: c_int, status: c_int) -> Self {
        const CLD_EXITED: c_int = 1;
        if code == CLD_EXITED { Self::Exited(status) } else { Self::Killed }
    }
}

/// `POLLIN`.
pub const POLLIN: i16 = 1;
/// `POLLOUT`.
pub const POLLOUT: i16 = 4;
/// `POLLERR`: of the end of a pipe to write, nobody reads.
pub const POLLERR: i16 = 8;
/// `AF_UNIX`.
pub const AF_UNIX: u16 = 1;
/// `FD_CLOEXEC`.
pub const FD_CLOEXEC: c_int = 1;
/// For `flock`: exclusive, at once or not at all.
pub const LOCK_EX_NB: c_int = 2 | 4;
/// For `flock`: not any more.
pub const LOCK_UN: c_int = 8;
/// The group or user id that means "leave it as it is".
pub const NO_ID: u32 = u32::MAX;
/// The type bits of a mode.
pub const S_IFMT: u32 = 0o170_000;
/// The type of a character device.
pub const S_IFCHR: u32 = 0o020_000;
/// The type of a directory.
pub const S_IFDIR: u32 = 0o040_000;
/// The type of a symbolic link.
pub const S_IFLNK: u32 = 0o120_000;
/// The type of a regular file.
pub const S_IFREG: u32 = 0o100_000;
/// For `access`: may it be executed?
pub const X_OK: c_int = 1;
/// `SIG_BLOCK`.
pub const SIG_BLOCK: c_int = 0;
/// `SIG_SETMASK`.
pub const SIG_SETMASK: c_int = 2;
/// The size that the kernel wants to be told of a signal set.
pub const SIGNAL_SET_SIZE: usize = size_of::<SignalSet>();

/// `SIGHUP`.
pub const SIGHUP: c_int = 1;
/// `SIGINT`.
pub const SIGINT: c_int = 2;
/// `SIGQUIT`.
pub const SIGQUIT: c_int = 3;
/// `SIGKILL`.
pub const SIGKILL: c_int = 9;
/// `SIGPIPE`.
pub const SIGPIPE: c_int = 13;
/// `SIGCHLD`.
pub const SIGCHLD: c_int = 17;
/// `SIGCONT`.
pub const SIGCONT: c_int = 18;
/// `SIGSTOP`.
pub const SIGSTOP: c_int = 19;
/// `SIGTSTP`.
pub const SIGTSTP: c_int = 20;
/// `SIGTTIN`.
pub const SIGTTIN: c_int = 21;
/// `SIGTTOU`.
pub const SIGTTOU: c_int = 22;
/// `SIGXFSZ`.
pub const SIGXFSZ: c_int = 25;

/// `CLONE_THREAD`, for `unshare`.
pub const CLONE_THREAD: c_int = 0x0001_0000;

/// A word of the bitmap that `pselect6` takes.
pub type BitmapWord = c_ulong;
