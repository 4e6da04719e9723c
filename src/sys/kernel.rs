//! What both backends share: the kernel's own types and the numbers that are the same on every architecture.
//!
//! Layouts are the kernel's, not a libc's, so that both backends hand the same bytes to the same calls.

use core::ffi::{c_char, c_int, c_long, c_ulong};

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
/// Eight words are more than any of them needs.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Disposition(pub [usize; 8]);

impl Disposition {
    /// `SIG_DFL`, no flags, empty mask.
    pub const DEFAULT: Self = Self([0; 8]);
    /// `SIG_IGN`, no flags, empty mask.
    pub const IGNORE: Self = Self([1, 0, 0, 0, 0, 0, 0, 0]);

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

/// What `fstat` and `stat` tell, as far as anybody here asks.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// Type and permissions.
    pub mode: u32,
    /// Which device a device file stands for (its major and minor number, encoded as the kernel does).
    pub device: u64,
}

/// `POLLIN`.
pub const POLLIN: i16 = 1;
/// The type bits of a mode.
pub const S_IFMT: u32 = 0o170_000;
/// The type of a character device.
pub const S_IFCHR: u32 = 0o020_000;
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
/// `SIGSTOP`.
pub const SIGSTOP: c_int = 19;
/// `SIGTSTP`.
pub const SIGTSTP: c_int = 20;
/// `SIGTTIN`.
pub const SIGTTIN: c_int = 21;
/// `SIGTTOU`.
pub const SIGTTOU: c_int = 22;

/// `CLONE_THREAD`, for `unshare`.
pub const CLONE_THREAD: c_int = 0x0001_0000;

/// A word of the bitmap that `pselect6` takes.
pub type BitmapWord = c_ulong;
