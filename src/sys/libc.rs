//! The backend over the C library.
//!
//! The calls that a libc gives types or duties of its own (signal sets, its reserved signals, 64-bit times) go through
//! its `syscall`, with the kernel's types.

pub use super::kernel::*;
use crate::error::Errno;
use core::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use core::mem::MaybeUninit;
use core::ptr;

pub use libc::{
    O_APPEND, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY,
};

/// Signals that the C library keeps for itself (glibc: thread cancellation and setuid in all threads; musl: one more).
pub const fn reserved_signals() -> SignalSet {
    if cfg!(target_env = "musl") { 0b111 << 31 } else { 0b11 << 31 }
}

fn errno() -> Errno {
    // SAFETY: the C library's errno location is valid for the life of the calling thread.
    #[cfg(not(target_os = "android"))]
    let location = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    #[cfg(target_os = "android")]
    let location = unsafe { libc::__errno() };
    // SAFETY: the location is valid and this thread's own.
    Errno::new(unsafe { *location })
}

/// Sets the C library's `errno`, for the entries that promise it.
#[cfg(feature = "capi")]
pub fn set_errno(errno: Errno) {
    // SAFETY: the C library's errno location is valid for the life of the calling thread.
    #[cfg(not(target_os = "android"))]
    let location = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    #[cfg(target_os = "android")]
    let location = unsafe { libc::__errno() };
    // SAFETY: the location is valid and this thread's own.
    unsafe { *location = errno.number() };
}

fn check(result: c_int) -> Result<c_int, Errno> {
    if result < 0 { Err(errno()) } else { Ok(result) }
}

fn check_long(result: c_long) -> Result<usize, Errno> {
    usize::try_from(result).map_err(|_| errno())
}

/// `unshare(flags)`
pub fn unshare(flags: c_int) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::unshare(flags) }).map(drop)
}

/// `openat(AT_FDCWD, path, flags, mode)`
pub fn open(path: &CStr, flags: c_int, mode: c_uint) -> Result<c_int, Errno> {
    // SAFETY: the path is a valid string.
    check(unsafe { libc::open(path.as_ptr(), flags, mode) })
}

/// `close(fd)`
pub fn close(fd: c_int) -> Result<(), Errno> {
    // SAFETY: takes no pointers; whose descriptor it is, is the caller's business (the entries' contracts).
    check(unsafe { libc::close(fd) }).map(drop)
}

/// `close_range(first, last, 0)`
pub fn close_range(first: c_uint, last: c_uint) -> Result<(), Errno> {
    // SAFETY: takes no pointers; whose descriptors they are, is the caller's business.
    check_long(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }).map(drop)
}

/// `dup3(old, new, 0)`
pub fn dup3(old: c_int, new: c_int) -> Result<c_int, Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::dup3(old, new, 0) })
}

/// `fcntl(fd, F_DUPFD_CLOEXEC, lowest)`
pub fn dup_above(fd: c_int, lowest: c_int) -> Result<c_int, Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, lowest) })
}

/// `fcntl(fd, F_GETFD)`
pub fn fd_flags(fd: c_int) -> Result<c_int, Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::fcntl(fd, libc::F_GETFD) })
}

/// `fcntl(fd, F_SETFL, flags)`
pub fn set_status_flags(fd: c_int, flags: c_int) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::fcntl(fd, libc::F_SETFL, flags) }).map(drop)
}

/// `pipe2(O_CLOEXEC)`: the end to read, the end to write.
pub fn pipe() -> Result<(c_int, c_int), Errno> {
    let mut ends = [-1; 2];
    // SAFETY: two ints can be written there.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), O_CLOEXEC) })?;
    let [read_end, write_end] = ends;
    Ok((read_end, write_end))
}

/// `read(fd, buffer)`
pub fn read(fd: c_int, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the buffer can be written for its whole length.
    let result = unsafe { libc::read(fd, buffer.as_mut_ptr().cast::<c_void>(), buffer.len()) };
    usize::try_from(result).map_err(|_| errno())
}

/// `write(fd, buffer)`
pub fn write(fd: c_int, buffer: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the buffer can be read for its whole length.
    let result = unsafe { libc::write(fd, buffer.as_ptr().cast::<c_void>(), buffer.len()) };
    usize::try_from(result).map_err(|_| errno())
}

/// `getdents64(fd, buffer)`: how many bytes of the buffer it filled.
pub fn getdents64(fd: c_int, buffer: &mut [MaybeUninit<u8>]) -> Result<usize, Errno> {
    // SAFETY: the buffer can be written for its whole length.
    check_long(unsafe { libc::syscall(libc::SYS_getdents64, fd, buffer.as_mut_ptr(), buffer.len()) })
}

/// `fstat(fd)`
pub fn fstat(fd: c_int) -> Result<Stat, Errno> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: a struct stat can be written there.
    check(unsafe { libc::fstat(fd, stat.as_mut_ptr()) })?;
    // SAFETY: fstat succeeded and filled it.
    let stat = unsafe { stat.assume_init() };
    Ok(Stat { mode: stat.st_mode, device: stat.st_rdev })
}

/// `fstatfs(fd)`: the type of the file system.
pub fn file_system_type(fd: c_int) -> Result<usize, Errno> {
    let mut information = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: a struct statfs can be written there.
    check(unsafe { libc::fstatfs(fd, information.as_mut_ptr()) })?;
    // SAFETY: fstatfs succeeded and filled it.
    let information = unsafe { information.assume_init() };
    usize::try_from(information.f_type).map_err(|_| Errno::EINVAL)
}

/// `stat(path)`
pub fn stat(path: &CStr) -> Result<Stat, Errno> {
    let mut stat = MaybeUninit::<libc::stat>::uninit();
    // SAFETY: the path is a valid string, and a struct stat can be written there.
    check(unsafe { libc::stat(path.as_ptr(), stat.as_mut_ptr()) })?;
    // SAFETY: stat succeeded and filled it.
    let stat = unsafe { stat.assume_init() };
    Ok(Stat { mode: stat.st_mode, device: stat.st_rdev })
}

/// `access(path, mode)`
pub fn access(path: &CStr, mode: c_int) -> Result<(), Errno> {
    // SAFETY: the path is a valid string.
    check(unsafe { libc::access(path.as_ptr(), mode) }).map(drop)
}

/// `getcwd(buffer)`: the length, with the final NUL.
pub fn getcwd(buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the buffer can be written for its whole length.
    let result = unsafe { libc::getcwd(buffer.as_mut_ptr().cast::<c_char>(), buffer.len()) };
    if result.is_null() {
        return Err(errno());
    }
    Ok(buffer.iter().position(|byte| *byte == 0).map_or(buffer.len(), |nul| nul + 1))
}

/// `getrlimit(RLIMIT_NOFILE)`
pub fn descriptor_limit() -> Result<Limit, Errno> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a struct rlimit can be written there.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    #[allow(clippy::useless_conversion, reason = "rlim_t has 32 bits on some targets")]
    Ok(Limit { soft: limit.rlim_cur.into(), hard: limit.rlim_max.into() })
}

/// `mmap(length)`: anonymous, private memory that can be read and written.
pub fn mmap(length: usize) -> Result<*mut u8, Errno> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address that the kernel chooses touches no memory in use.
    let address = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED { Err(errno()) } else { Ok(address.cast::<u8>()) }
}

/// `mprotect(address, length, PROT_NONE)`: nothing can be read or written there any more.
///
/// # Safety
/// Nothing may use that memory any more.
pub unsafe fn forbid(address: *mut u8, length: usize) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    check(unsafe { libc::mprotect(address.cast::<c_void>(), length, libc::PROT_NONE) }).map(drop)
}

/// `munmap(address, length)`
///
/// # Safety
/// Nothing may use that memory any more.
pub unsafe fn munmap(address: *mut u8, length: usize) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    check(unsafe { libc::munmap(address.cast::<c_void>(), length) }).map(drop)
}

/// `pselect6(nfds, readable, NULL, NULL, 0, NULL)`: polls, never waits.
///
/// The kernel reads and writes as much of the bitmap as it finds right, and answers EFAULT where it may not.
///
/// # Safety
/// Nothing else may be in the memory that follows the bitmap.
pub unsafe fn pselect6(nfds: c_int, readable: *mut BitmapWord) -> Result<usize, Errno> {
    let zero = Timespec { seconds: 0, nanoseconds: 0 };
    let none = ptr::null::<c_void>();
    // SAFETY: the caller's promise for the bitmap; the time lives through the call.
    check_long(unsafe { libc::syscall(libc::SYS_pselect6, nfds, readable, none, none, &raw const zero, none) })
}

/// `ppoll(fds, timeout, mask)`: waits until one has something to tell, at most that long, with that signal mask.
pub fn ppoll(fds: &mut [PollFd], timeout: Option<Timespec>, mask: Option<SignalSet>) -> Result<usize, Errno> {
    let mut timeout = timeout;
    let timeout = timeout.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    let mask = mask.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: each pointer is NULL or to a value that lives through the call; the count and size are theirs.
    check_long(unsafe { libc::syscall(libc::SYS_ppoll, fds.as_mut_ptr(), fds.len(), timeout, mask, SIGNAL_SET_SIZE) })
}

/// `fork()`: 0 in the child.
///
/// # Safety
/// In the child of a threaded process only async-signal-safe calls may follow.
pub unsafe fn fork() -> Result<c_int, Errno> {
    // SAFETY: the caller's promise.
    check(unsafe { libc::fork() })
}

/// `_exit(status)`
pub fn exit(status: c_int) -> ! {
    // SAFETY: ends the process; nothing runs after it, no atexit handler either.
    unsafe { libc::_exit(status) }
}

/// `execve(path, argv, envp)`: returns only when it failed.
///
/// # Safety
/// Both arrays must end with NULL and hold valid strings.
pub unsafe fn execve(path: &CStr, argv: StringArray, envp: StringArray) -> Errno {
    // SAFETY: the path is a valid string; the arrays are the caller's promise.
    unsafe { libc::execve(path.as_ptr(), argv, envp) };
    errno()
}

/// `setsid()`: the new session's id.
pub fn setsid() -> Result<c_int, Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::setsid() })
}

/// `getsid(pid)`
pub fn getsid(pid: c_int) -> Result<c_int, Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::getsid(pid) })
}

/// `setpgid(pid, group)`
pub fn setpgid(pid: c_int, group: c_int) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::setpgid(pid, group) }).map(drop)
}

/// `getpid()`
pub fn getpid() -> c_int {
    // SAFETY: takes no pointers and cannot fail.
    unsafe { libc::getpid() }
}

/// `getppid()`
pub fn getppid() -> c_int {
    // SAFETY: takes no pointers and cannot fail.
    unsafe { libc::getppid() }
}

/// `pidfd_open(pid, 0)`: a descriptor that becomes readable when that process ends; always close-on-exec.
pub fn pidfd_open(pid: c_int) -> Result<c_int, Errno> {
    // SAFETY: takes no pointers.
    check_long(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
        .and_then(|fd| c_int::try_from(fd).map_err(|_| Errno::EINVAL))
}

/// `kill(pid, signal)`
pub fn kill(pid: c_int, signal: c_int) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// `waitid(P_PID, pid, WEXITED)`: waits until that child has ended, and reaps it.
pub fn wait_and_reap(pid: c_int) -> Result<(), Errno> {
    waitid(libc::P_PID, pid, libc::WEXITED).map(drop)
}

/// `waitid(P_PID, pid, WEXITED | WNOHANG | WNOWAIT)`: ECHILD when there is no such child, alive or dead.
pub fn is_child(pid: c_int) -> Result<(), Errno> {
    waitid(libc::P_PID, pid, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT).map(drop)
}

/// `waitid(P_ALL, WEXITED | WNOHANG | WNOWAIT)`: ECHILD when there is no child at all, alive or dead.
pub fn has_children() -> Result<(), Errno> {
    waitid(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT).map(drop)
}

/// `waitid(P_PGID, group, WEXITED | WNOHANG)`: whether a dead child of that process group was there to be reaped.
pub fn reap_one_of_group(group: c_int) -> Result<bool, Errno> {
    waitid(libc::P_PGID, group, libc::WEXITED | libc::WNOHANG)
}

fn waitid(kind: libc::idtype_t, id: c_int, options: c_int) -> Result<bool, Errno> {
    let mut information = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: a siginfo_t can be written there.
    check(unsafe { libc::waitid(kind, id.unsigned_abs(), information.as_mut_ptr(), options) })?;
    // SAFETY: all zero is a siginfo_t, and so is what waitid has written.
    let information = unsafe { information.assume_init() };
    Ok(information.si_signo != 0)
}

/// `rt_sigaction(signal, new)`: the disposition that it had.
///
/// # Safety
/// A new disposition must be DEFAULT, IGNORE or what an earlier call returned for that signal.
pub unsafe fn rt_sigaction(signal: c_int, new: Option<&Disposition>) -> Result<Disposition, Errno> {
    let mut old = Disposition::DEFAULT;
    let new = new.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: both are NULL or at least as large as the kernel's structure; what it does is the caller's promise.
    check_long(unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, new, &raw mut old, SIGNAL_SET_SIZE) })?;
    Ok(old)
}

/// `rt_sigprocmask(how, set)`: the mask that was in force.
pub fn rt_sigprocmask(how: c_int, set: SignalSet) -> Result<SignalSet, Errno> {
    let mut old: SignalSet = 0;
    // SAFETY: both sets live through the call and are as large as said.
    check_long(unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const set, &raw mut old, SIGNAL_SET_SIZE) })?;
    Ok(old)
}

/// `rt_sigpending()`
pub fn rt_sigpending() -> Result<SignalSet, Errno> {
    let mut set: SignalSet = 0;
    // SAFETY: the set can be written and is as large as said.
    check_long(unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut set, SIGNAL_SET_SIZE) })?;
    Ok(set)
}

/// `rt_sigtimedwait(set, NULL, 0)`: takes one pending signal of the set away, never waits.
pub fn take_pending_signal(set: SignalSet) -> Result<usize, Errno> {
    let zero = Timespec { seconds: 0, nanoseconds: 0 };
    let none = ptr::null::<c_void>();
    // SAFETY: the set and the time live through the call.
    check_long(unsafe {
        libc::syscall(libc::SYS_rt_sigtimedwait, &raw const set, none, &raw const zero, SIGNAL_SET_SIZE)
    })
}

/// `chdir(path)`
pub fn chdir(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the path is a valid string.
    check(unsafe { libc::chdir(path.as_ptr()) }).map(drop)
}

/// `umask(mask)`: the mask that was in force.
pub fn umask(mask: c_uint) -> Result<c_uint, Errno> {
    // POSIX knows no error, but a filter may invent one, which libc's umask does not look for.
    // SAFETY: takes no pointers.
    let old = check_long(unsafe { libc::syscall(libc::SYS_umask, mask) })?;
    c_uint::try_from(old).map_err(|_| Errno::EINVAL)
}

/// `clock_gettime(CLOCK_MONOTONIC)`, in milliseconds.
pub fn clock_milliseconds() -> Result<u64, Errno> {
    let mut now = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: a struct timespec can be written there.
    check(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr()) })?;
    // SAFETY: clock_gettime succeeded and filled it.
    let now = unsafe { now.assume_init() };
    #[expect(clippy::cast_sign_loss, reason = "the monotonic clock counts from boot")]
    Ok(now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000)
}
