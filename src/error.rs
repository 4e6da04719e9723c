//! What went wrong: [`Error`] is a [`Step`] and an [`Errno`], nothing else.

use crate::text::write_digits;
use core::fmt;
use core::num::NonZeroI32;

/// An error number of the kernel, as `errno(3)` lists them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(NonZeroI32);

impl Errno {
    /// The error with this number. (The lowest of all numbers has no negative, and counts as 0.)
    #[must_use]
    pub const fn new(number: i32) -> Self {
        // As the kernel returns it, below 0, so that a result that is an error or nothing is one register. What stands
        // for 0 is the one number that has no negative.
        match NonZeroI32::new(number.wrapping_neg()) {
            Some(negative) => Self(negative),
            None => Self(NonZeroI32::MIN),
        }
    }

    /// The number, as in C's `errno`.
    #[must_use]
    pub const fn number(self) -> i32 {
        if self.0.get() == i32::MIN { 0 } else { self.0.get().wrapping_neg() }
    }

    /// The symbolic name, such as `"ENOENT"`; `None` for a number that Linux does not use.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        errno_name(self.number())
    }

    pub(crate) const EPERM: Self = Self::new(1);
    pub(crate) const ENOENT: Self = Self::new(2);
    pub(crate) const ESRCH: Self = Self::new(3);
    pub(crate) const EINTR: Self = Self::new(4);
    #[cfg(feature = "capi")]
    pub(crate) const E2BIG: Self = Self::new(7);
    pub(crate) const EBADF: Self = Self::new(9);
    pub(crate) const ECHILD: Self = Self::new(10);
    pub(crate) const EAGAIN: Self = Self::new(11);
    pub(crate) const EACCES: Self = Self::new(13);
    pub(crate) const EFAULT: Self = Self::new(14);
    pub(crate) const EBUSY: Self = Self::new(16);
    pub(crate) const EEXIST: Self = Self::new(17);
    pub(crate) const ENODEV: Self = Self::new(19);
    pub(crate) const EISDIR: Self = Self::new(21);
    pub(crate) const EINVAL: Self = Self::new(22);
    pub(crate) const EMFILE: Self = Self::new(24);
    pub(crate) const EFBIG: Self = Self::new(27);
    pub(crate) const EMLINK: Self = Self::new(31);
    pub(crate) const EPIPE: Self = Self::new(32);
    pub(crate) const ENAMETOOLONG: Self = Self::new(36);
    pub(crate) const ELOOP: Self = Self::new(40);
    pub(crate) const EPROTO: Self = Self::new(71);
    /// There is no such call.
    pub(crate) const ENOSYS: Self = Self::new(38);
    pub(crate) const EAFNOSUPPORT: Self = Self::new(97);
    pub(crate) const ETIMEDOUT: Self = Self::new(110);
    pub(crate) const EALREADY: Self = Self::new(114);
}

impl fmt::Debug for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut result = Ok(());
        describe_errno(self.number(), &mut |piece| result = result.and_then(|()| formatter.write_str(piece)));
        result
    }
}

fn errno_name(number: i32) -> Option<&'static str> {
    nth(NAMES, b' ', number.wrapping_sub(1)).filter(|name| *name != "-")
}

/// Hands out the text of an error number piece by piece: formatting without `core::fmt`, whose code would outweigh the
/// library's.
pub(crate) fn describe_errno(number: i32, write: &mut dyn FnMut(&str)) {
    match errno_name(number) {
        Some(name) => write(name),
        None => {
            write("errno ");
            write_number(number, write);
        }
    }
}

/// Hands out a whole message in the same way.
pub(crate) fn describe(step: Step, number: i32, write: &mut dyn FnMut(&str)) {
    write(step.name());
    write(": ");
    write(Error::new(step, Errno::new(number)).what());
    write(": ");
    if step == Step::Fail {
        write("exit status ");
        write_number(number, write);
    } else {
        describe_errno(number, write);
    }
}

/// A step of the sequence. The numbers are those of C's `enum untty_step`: permanent, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(i32)]
pub enum Step {
    /// Checking the options, before anything else happens.
    Options = 1,
    /// Refusing a caller with more than one thread.
    Threads = 2,
    /// Opening the daemon's standard input (in the caller) or putting it in place (in the daemon).
    Stdin = 3,
    /// The same for standard output.
    Stdout = 4,
    /// The same for standard error.
    Stderr = 5,
    /// Making the report pipe.
    Pipe = 6,
    /// The first fork.
    Fork = 7,
    /// `setsid`: a new session without a terminal. EINVAL: the caller, which would exit, is process 1 of a pid
    /// namespace; or its children are in another one than it is.
    Setsid = 8,
    /// The second fork.
    ForkAgain = 9,
    /// Blocking signals, or resetting them in the daemon.
    Signals = 10,
    /// Changing the working directory.
    Directory = 11,
    /// Setting the umask.
    Umask = 12,
    /// Closing the other descriptors.
    Close = 13,
    /// Reporting that the daemon is ready.
    Ready = 14,
    /// Waiting for the report: ESRCH when the daemon died without one, ETIMEDOUT at the deadline, EPERM when a daemon
    /// that shall be ended cannot be killed.
    Wait = 15,
    /// Executing a program in the daemon.
    Exec = 16,
    /// The daemon's program gave up by itself; [`Error::errno`] is then its exit status.
    Fail = 17,
    /// Changing the root directory.
    Root = 18,
    /// Opening, locking, writing, reading or removing the pid file: EEXIST when its daemon is running or being started.
    PidFile = 19,
    /// Giving up supplementary groups.
    Groups = 20,
    /// Giving up the group id.
    Gid = 21,
    /// Giving up the user id.
    Uid = 22,
    /// Proving that privileges are gone for good: EPERM when they are not.
    Privileges = 23,
    /// Telling the supervisor, or being told by the daemon's program.
    Notify = 24,
    /// Opening a log anew.
    Log = 25,
}

/// Each step's name, and what could not be done: in order, each with a NUL after it, which C wants behind a name. A table
/// of slices would be twice as large and need relocations.
const STEPS: &str = "\
options\0invalid options\0\
threads\0more than one thread is running\0\
stdin\0cannot open standard input or put it in place\0\
stdout\0cannot open standard output or put it in place\0\
stderr\0cannot open standard error or put it in place\0\
pipe\0cannot make the report pipe\0\
fork\0cannot fork\0\
setsid\0cannot start a new session\0\
fork again\0cannot fork a second time\0\
signals\0cannot block or reset signals\0\
chdir\0cannot change the working directory\0\
umask\0cannot set the umask\0\
close\0cannot close the other descriptors\0\
ready\0cannot report to the caller\0\
wait\0cannot wait for the daemon\0\
exec\0cannot execute the program\0\
fail\0the daemon gave up\0\
chroot\0cannot change the root directory\0\
pid file\0cannot use the pid file\0\
setgroups\0cannot give up supplementary groups\0\
setresgid\0cannot change the group id\0\
setresuid\0cannot change the user id\0\
privileges\0privileges are not gone for good\0\
notify\0cannot notify or be notified\0\
log\0cannot open the log anew\0\
";

impl Step {
    /// The step with this number, if there is one.
    #[must_use]
    pub const fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            1 => Self::Options,
            2 => Self::Threads,
            3 => Self::Stdin,
            4 => Self::Stdout,
            5 => Self::Stderr,
            6 => Self::Pipe,
            7 => Self::Fork,
            8 => Self::Setsid,
            9 => Self::ForkAgain,
            10 => Self::Signals,
            11 => Self::Directory,
            12 => Self::Umask,
            13 => Self::Close,
            14 => Self::Ready,
            15 => Self::Wait,
            16 => Self::Exec,
            17 => Self::Fail,
            18 => Self::Root,
            19 => Self::PidFile,
            20 => Self::Groups,
            21 => Self::Gid,
            22 => Self::Uid,
            23 => Self::Privileges,
            24 => Self::Notify,
            25 => Self::Log,
            _ => return None,
        })
    }

    /// The permanent number, as in C's `enum untty_step`.
    #[must_use]
    pub const fn number(self) -> i32 {
        self as i32
    }

    /// The short name that begins every message, such as `"setsid"`. In memory, a NUL follows it.
    #[must_use]
    pub fn name(self) -> &'static str {
        nth(STEPS, b'\0', self.number() * 2 - 2).unwrap_or_default()
    }

    /// What could not be done.
    fn what(self) -> &'static str {
        nth(STEPS, b'\0', self.number() * 2 - 1).unwrap_or_default()
    }
}

/// That piece of a list, counted from 0, in which one such byte follows each of them.
fn nth(list: &'static str, end: u8, index: i32) -> Option<&'static str> {
    // Not str::split, which the compiler cannot prove never to panic.
    let mut start = 0;
    let mut count = 0;
    for (at, byte) in list.bytes().enumerate() {
        if byte == end {
            if count == index {
                return list.get(start..at);
            }
            count += 1;
            start = at + 1;
        }
    }
    None
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Why there is no daemon: the step that failed, and its error number.
///
/// Its text is one line, `STEP: what: ERRNO`, for example `setsid: cannot start a new session: EPERM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct Error {
    step: Step,
    errno: Errno,
}

impl Error {
    /// For who extends the sequence: the command in this package.
    #[doc(hidden)]
    pub const fn new(step: Step, errno: Errno) -> Self {
        Self { step, errno }
    }

    /// For `map_err`: turns the errno of a call into the error of the step that made it.
    pub(crate) const fn at(step: Step) -> impl Fn(Errno) -> Self + Copy {
        move |errno| Self { step, errno }
    }

    /// The step that failed.
    #[must_use]
    pub const fn step(self) -> Step {
        self.step
    }

    /// The error number of that step. For [`Step::Fail`] alone it is the exit status that the daemon chose.
    #[must_use]
    pub const fn errno(self) -> Errno {
        self.errno
    }

    /// What could not be done, in words, such as `"cannot start a new session"`.
    #[must_use]
    pub fn what(self) -> &'static str {
        match (self.step, self.errno) {
            (Step::Wait, Errno::ESRCH) => "the daemon died before it was ready",
            (Step::Wait, Errno::ETIMEDOUT) => "the daemon was not ready in time and was ended",
            (Step::Wait, Errno::EPERM) => "the daemon could not be ended",
            (Step::PidFile, Errno::EEXIST) => "already running or being started",
            (Step::PidFile, Errno::EINVAL) => "not a pid file",
            _ => self.step.what(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut result = Ok(());
        let mut write = |piece: &str| result = result.and_then(|()| formatter.write_str(piece));
        describe(self.step, self.errno.number(), &mut write);
        result
    }
}

impl core::error::Error for Error {}

/// Writes a number in decimal, digit by digit.
fn write_number(number: i32, write: &mut dyn FnMut(&str)) {
    if number < 0 {
        write("-");
    }
    write_digits(number.unsigned_abs().into(), write);
}

/// Linux's names in order, from 1 (`asm-generic/errno.h`, which every supported architecture shares), each with a space
/// after it: a table of slices would be three times as large and need relocations.
const NAMES: &str = "EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK \
EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE \
EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP - ENOMSG EIDRM ECHRNG EL2NSYNC EL3HLT EL3RST ELNRNG \
EUNATCH ENOCSI EL2HLT EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT - EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG \
EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG ELIBACC ELIBBAD \
ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART ESTRPIPE EUSERS ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT \
EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH \
ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN \
EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL EISNAM EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE \
ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON ";
