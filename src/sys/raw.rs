//! The backend over raw system calls: no libc, no symbol from outside.
//!
//! aarch64 and riscv64 have only the modern calls (no `open`, `dup2`, `pipe`, `fork`, `poll`), so these are used
//! everywhere.

pub use super::kernel::*;
use crate::error::Errno;
use core::ffi::{CStr, c_int, c_uint, c_void};
use core::mem::{self, MaybeUninit};
use core::ptr;
use sc::syscall;

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
compile_error!("feature \"raw\" supports x86_64, aarch64 and riscv64; use feature \"libc\" on this architecture");

/// The kernel's flags for `open`.
pub const O_RDONLY: c_int = 0;
/// See [`O_RDONLY`].
pub const O_WRONLY: c_int = 0o1;
/// See [`O_RDONLY`].
pub const O_RDWR: c_int = 0o2;
/// See [`O_RDONLY`].
pub const O_CREAT: c_int = 0o100;
/// See [`O_RDONLY`].
pub const O_EXCL: c_int = 0o200;
/// See [`O_RDONLY`].
pub const O_NOCTTY: c_int = 0o400;
/// See [`O_RDONLY`].
pub const O_APPEND: c_int = 0o2000;
/// See [`O_RDONLY`].
pub const O_NONBLOCK: c_int = 0o4000;
/// See [`O_RDONLY`].
pub const O_CLOEXEC: c_int = 0o2_000_000;
/// See [`O_RDONLY`]. arm64 numbers it its own way.
pub const O_DIRECTORY: c_int = if cfg!(target_arch = "aarch64") { 0o40_000 } else { 0o200_000 };
/// See [`O_DIRECTORY`].
pub const O_NOFOLLOW: c_int = if cfg!(target_arch = "aarch64") { 0o100_000 } else { 0o400_000 };

/// No C library, so no signals that one keeps for itself.
pub const fn reserved_signals() -> SignalSet {
    0
}

const AT_FDCWD: c_int = -100;
const NO_FD: c_int = -1;
const F_GETFD: c_int = 1;
const F_SETFD: c_int = 2;
const F_SETFL: c_int = 4;
const F_GETLK: c_int = 5;
const F_SETLK: c_int = 6;
const F_OFD_GETLK: c_int = 36;
const F_RDLCK: i16 = 0;
const F_WRLCK: i16 = 1;
const F_UNLCK: i16 = 2;
const AT_SYMLINK_NOFOLLOW: c_int = 0x100;
const SOCK_DGRAM_FLAGS: c_int = 2 | O_CLOEXEC | O_NONBLOCK;
const SOL_SOCKET: c_int = 1;
const SO_PASSCRED: c_int = 16;
const RECEIVE_FLAGS: c_int = 0x40 | 0x20 | 0x4000_0000; // MSG_DONTWAIT, MSG_TRUNC, MSG_CMSG_CLOEXEC
const F_DUPFD_CLOEXEC: c_int = 1030;
const P_ALL: c_int = 0;
const P_PID: c_int = 1;
const P_PGID: c_int = 2;
const WNOHANG: c_int = 1;
const WEXITED: c_int = 4;
const WNOWAIT: c_int = 0x0100_0000;
const RLIMIT_NOFILE: c_int = 7;
const CLOCK_MONOTONIC: c_int = 1;
const PROT_READ_WRITE: c_int = 3;
const MAP_PRIVATE_ANONYMOUS: c_int = 0x22;

/// Tells a result from an error, which is negative. Every result is an int (a descriptor, a pid, a length, which is at
/// most 2 GiB); but an address, see `mmap`.
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "the kernel's result is an int")]
fn check(result: usize) -> Result<c_int, Errno> {
    let result = result as c_int;
    if result < 0 { Err(Errno::new(result.wrapping_neg())) } else { Ok(result) }
}

/// The same for a length.
fn check_length(result: usize) -> Result<usize, Errno> {
    check(result).map(|length| length.unsigned_abs() as usize)
}

/// `unshare(flags)`
pub fn unshare(flags: c_int) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { syscall!(UNSHARE, flags) }).map(drop)
}

/// `openat(AT_FDCWD, path, flags, mode)`
pub fn open(path: &CStr, flags: c_int, mode: c_uint) -> Result<c_int, Errno> {
    // SAFETY: the path is a valid string.
    check(unsafe { syscall!(OPENAT, AT_FDCWD, path.as_ptr(), flags, mode) })
}

/// `close(fd)`
pub fn close(fd: c_int) -> Result<(), Errno> {
    // SAFETY: takes no pointers; whose descriptor it is, is the caller's business (the entries' contracts).
    check(unsafe { syscall!(CLOSE, fd) }).map(drop)
}

/// `close_range(first, last, 0)`
pub fn close_range(first: c_uint, last: c_uint) -> Result<(), Errno> {
    // SAFETY: takes no pointers; whose descriptors they are, is the caller's business.
    check(unsafe { syscall!(CLOSE_RANGE, first, last, 0) }).map(drop)
}

/// `dup3(old, new, flags)`
pub fn dup3(old: c_int, new: c_int, flags: c_int) -> Result<c_int, Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { syscall!(DUP3, old, new, flags) })
}

/// `fcntl(fd, F_DUPFD_CLOEXEC, lowest)`
pub fn dup_above(fd: c_int, lowest: c_int) -> Result<c_int, Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { syscall!(FCNTL, fd, F_DUPFD_CLOEXEC, lowest) })
}

/// `fcntl(fd, F_GETFD)`
pub fn fd_flags(fd: c_int) -> Result<c_int, Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { syscall!(FCNTL, fd, F_GETFD) })
}

/// `fcntl(fd, F_SETFD, flags)`
pub fn set_fd_flags(fd: c_int, flags: c_int) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { syscall!(FCNTL, fd, F_SETFD, flags) }).map(drop)
}

/// `fcntl(fd, F_SETFL, flags)`
pub fn set_status_flags(fd: c_int, flags: c_int) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { syscall!(FCNTL, fd, F_SETFL, flags) }).map(drop)
}

/// `pipe2(O_CLOEXEC)`: the end to read, the end to write.
pub fn pipe() -> Result<(c_int, c_int), Errno> {
    let mut ends = [-1; 2];
    // SAFETY: two ints can be written there.
    check(unsafe { syscall!(PIPE2, ends.as_mut_ptr(), O_CLOEXEC) })?;
    let [read_end, write_end] = ends;
    Ok((read_end, write_end))
}

/// `read(fd, buffer)`
pub fn read(fd: c_int, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the buffer can be written for its whole length.
    check_length(unsafe { syscall!(READ, fd, buffer.as_mut_ptr(), buffer.len()) })
}

/// `write(fd, buffer)`
pub fn write(fd: c_int, buffer: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the buffer can be read for its whole length.
    check_length(unsafe { syscall!(WRITE, fd, buffer.as_ptr(), buffer.len()) })
}

/// `pread64(fd, buffer, 0)`: from the beginning.
pub fn pread(fd: c_int, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the buffer can be written for its whole length.
    check_length(unsafe { syscall!(PREAD64, fd, buffer.as_mut_ptr(), buffer.len(), 0) })
}

/// `pwrite64(fd, buffer, offset)`
pub fn pwrite(fd: c_int, buffer: &[u8], offset: usize) -> Result<usize, Errno> {
    // SAFETY: the buffer can be read for its whole length.
    check_length(unsafe { syscall!(PWRITE64, fd, buffer.as_ptr(), buffer.len(), offset) })
}

/// `writev(fd, pieces)`
pub fn writev(fd: c_int, pieces: &[Piece<'_>]) -> Result<usize, Errno> {
    // SAFETY: a piece is a struct iovec, of memory that is borrowed as long as the piece.
    check_length(unsafe { syscall!(WRITEV, fd, pieces.as_ptr(), pieces.len()) })
}

/// `ftruncate(fd, length)`
pub fn ftruncate(fd: c_int, length: usize) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { syscall!(FTRUNCATE, fd, length) }).map(drop)
}

/// `fchmod(fd, mode)`
pub fn fchmod(fd: c_int, mode: u32) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { syscall!(FCHMOD, fd, mode) }).map(drop)
}

/// `unlinkat(AT_FDCWD, path, 0)`
pub fn unlink(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the path is a valid string.
    check(unsafe { syscall!(UNLINKAT, AT_FDCWD, path.as_ptr(), 0) }).map(drop)
}

/// `flock(fd, operation)`
pub fn flock(fd: c_int, operation: c_int) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { syscall!(FLOCK, fd, operation) }).map(drop)
}

/// The kernel's `struct flock`: from the first byte to wherever the last one will be.
#[derive(Default)]
#[repr(C)]
struct WholeFile {
    kind: i16,
    whence: i16,
    start: i64,
    length: i64,
    pid: c_int,
}

/// `fcntl(fd, F_SETLK, F_RDLCK)`: a record lock on the whole file, shared, at once or not at all.
pub fn record_lock(fd: c_int) -> Result<(), Errno> {
    let lock = WholeFile { kind: F_RDLCK, ..WholeFile::default() };
    // SAFETY: a struct flock, which lives through the call.
    check(unsafe { syscall!(FCNTL, fd, F_SETLK, &raw const lock) }).map(drop)
}

/// `fcntl(fd, F_GETLK, F_WRLCK)`: the process id that belongs to a record lock of another process; `None` without one.
pub fn record_lock_owner(fd: c_int) -> Result<Option<c_int>, Errno> {
    let mut lock = WholeFile { kind: F_WRLCK, ..WholeFile::default() };
    // SAFETY: a struct flock, which lives through the call.
    check(unsafe { syscall!(FCNTL, fd, F_GETLK, &raw mut lock) })?;
    Ok((lock.kind != F_UNLCK).then_some(lock.pid))
}

/// `fcntl(fd, F_OFD_GETLK, F_WRLCK)`: the process id that belongs to a record lock of any process, also this one.
pub fn any_record_lock_owner(fd: c_int) -> Result<Option<c_int>, Errno> {
    let mut lock = WholeFile { kind: F_WRLCK, ..WholeFile::default() };
    // SAFETY: a struct flock, which lives through the call.
    check(unsafe { syscall!(FCNTL, fd, F_OFD_GETLK, &raw mut lock) })?;
    Ok((lock.kind != F_UNLCK).then_some(lock.pid))
}

/// `getdents64(fd, buffer)`: how many bytes of the buffer it filled.
pub fn getdents64(fd: c_int, buffer: &mut [MaybeUninit<u8>]) -> Result<usize, Errno> {
    // SAFETY: the buffer can be written for its whole length.
    check_length(unsafe { syscall!(GETDENTS64, fd, buffer.as_mut_ptr(), buffer.len()) })
}

/// The kernel's `struct stat`, as far as anybody here asks; the rest is only room for it.
#[repr(C)]
struct KernelStat {
    dev: u64,
    ino: u64,
    #[cfg(target_arch = "x86_64")]
    nlink: u64,
    mode: u32,
    #[cfg(not(target_arch = "x86_64"))]
    nlink: u32,
    uid: u32,
    gid: u32,
    #[cfg(target_arch = "x86_64")]
    padding: u32,
    rdev: u64,
    rest: [u64; 13],
}

/// As `struct stat` is in `asm/stat.h`; .ci/kernel-numbers compares the same numbers with the headers.
const _: () = {
    let is_x86_64 = cfg!(target_arch = "x86_64");
    assert!(mem::offset_of!(KernelStat, dev) == 0 && mem::offset_of!(KernelStat, ino) == 8);
    assert!(mem::offset_of!(KernelStat, mode) == if is_x86_64 { 24 } else { 16 });
    assert!(mem::offset_of!(KernelStat, nlink) == if is_x86_64 { 16 } else { 20 });
    assert!(mem::offset_of!(KernelStat, uid) == if is_x86_64 { 28 } else { 24 });
    assert!(mem::offset_of!(KernelStat, rdev) == if is_x86_64 { 40 } else { 32 });
    assert!(size_of::<KernelStat>() >= 144);
};

/// `fstat(fd)`
pub fn fstat(fd: c_int) -> Result<Stat, Errno> {
    let mut stat = MaybeUninit::<KernelStat>::zeroed();
    // SAFETY: the kernel's structure can be written there; it is at most as large.
    check(unsafe { syscall!(FSTAT, fd, stat.as_mut_ptr()) })?;
    Ok(from_kernel(&stat))
}

/// `fstatfs(fd)`: the type of the file system.
pub fn file_system_type(fd: c_int) -> Result<usize, Errno> {
    let mut information = MaybeUninit::<[usize; 15]>::uninit(); // struct statfs, on all 64-bit architectures
    // SAFETY: the kernel's structure can be written there.
    check(unsafe { syscall!(FSTATFS, fd, information.as_mut_ptr()) })?;
    // SAFETY: fstatfs succeeded and has written the first word, which is the type.
    Ok(unsafe { information.as_ptr().cast::<usize>().read() })
}

/// `newfstatat(AT_FDCWD, path, 0)`
pub fn stat(path: &CStr) -> Result<Stat, Errno> {
    let mut stat = MaybeUninit::<KernelStat>::zeroed();
    // SAFETY: the path is a valid string; the kernel's structure can be written there.
    check(unsafe { syscall!(NEWFSTATAT, AT_FDCWD, path.as_ptr(), stat.as_mut_ptr(), 0) })?;
    Ok(from_kernel(&stat))
}

/// `newfstatat(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW)`: of a symbolic link, the link itself.
pub fn lstat(path: &CStr) -> Result<Stat, Errno> {
    let mut stat = MaybeUninit::<KernelStat>::zeroed();
    // SAFETY: the path is a valid string; the kernel's structure can be written there.
    check(unsafe { syscall!(NEWFSTATAT, AT_FDCWD, path.as_ptr(), stat.as_mut_ptr(), AT_SYMLINK_NOFOLLOW) })?;
    Ok(from_kernel(&stat))
}

#[allow(clippy::useless_conversion, reason = "a link count has 32 bits on some architectures")]
fn from_kernel(stat: &MaybeUninit<KernelStat>) -> Stat {
    // SAFETY: it was all zero, which is a KernelStat, before the kernel wrote one there.
    let stat = unsafe { stat.assume_init_ref() };
    Stat {
        mode: stat.mode,
        device: stat.rdev,
        identity: (stat.dev, stat.ino),
        links: stat.nlink.into(),
        owner: stat.uid,
    }
}

/// `faccessat(AT_FDCWD, path, mode)`
pub fn access(path: &CStr, mode: c_int) -> Result<(), Errno> {
    // SAFETY: the path is a valid string.
    check(unsafe { syscall!(FACCESSAT, AT_FDCWD, path.as_ptr(), mode) }).map(drop)
}

/// `getcwd(buffer)`: the length, with the final NUL.
pub fn getcwd(buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the buffer can be written for its whole length.
    let length = check_length(unsafe { syscall!(GETCWD, buffer.as_mut_ptr(), buffer.len()) })?;
    // A directory outside the root is "(unreachable)…" to the kernel and ENOENT to every libc.
    if buffer.first() == Some(&b'/') { Ok(length) } else { Err(Errno::ENOENT) }
}

/// `prlimit64(0, RLIMIT_NOFILE)`
pub fn descriptor_limit() -> Result<Limit, Errno> {
    let mut limit = [0_u64; 2];
    let new = ptr::null::<c_void>();
    // SAFETY: two 64-bit numbers can be written there.
    check(unsafe { syscall!(PRLIMIT64, 0, RLIMIT_NOFILE, new, limit.as_mut_ptr()) })?;
    let [soft, hard] = limit;
    Ok(Limit { soft, hard })
}

/// `mmap(length)`: anonymous, private memory that can be read and written.
pub fn mmap(length: usize) -> Result<*mut u8, Errno> {
    // SAFETY: a new mapping at an address that the kernel chooses touches no memory in use.
    let address = unsafe { syscall!(MMAP, 0, length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, NO_FD, 0) };
    // Errors are -4095 to -1, and no address.
    if address > usize::MAX - 4095 { check(address).map(|_| ptr::null_mut()) } else { Ok(address as *mut u8) }
}

/// `mprotect(address, length, PROT_NONE)`: nothing can be read or written there any more.
///
/// # Safety
/// Nothing may use that memory any more.
pub unsafe fn forbid(address: *mut u8, length: usize) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    check(unsafe { syscall!(MPROTECT, address, length, 0) }).map(drop)
}

/// `munmap(address, length)`
///
/// # Safety
/// Nothing may use that memory any more.
pub unsafe fn munmap(address: *mut u8, length: usize) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    check(unsafe { syscall!(MUNMAP, address, length) }).map(drop)
}

/// `pselect6(nfds, readable, NULL, NULL, 0, NULL)`: polls, never waits.
///
/// The kernel reads and writes as much of the bitmap as it finds right, and answers EFAULT where it may not.
///
/// # Safety
/// Nothing else may be in the memory that follows the bitmap.
pub unsafe fn pselect6(nfds: c_int, readable: *mut BitmapWord) -> Result<usize, Errno> {
    let zero = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: the caller's promise for the bitmap; the time lives through the call.
    check_length(unsafe { syscall!(PSELECT6, nfds, readable, 0, 0, &raw const zero, 0) })
}

/// `nanosleep(time)`
pub fn nanosleep(time: &Timespec) -> Result<(), Errno> {
    // SAFETY: the time lives through the call; NULL means that nobody asks what would be left of it.
    check(unsafe { syscall!(NANOSLEEP, ptr::from_ref(time), 0) }).map(drop)
}

/// `ppoll(fds, timeout, mask)`: waits until one has something to tell, at most that long, with that signal mask.
pub fn ppoll(fds: &mut [PollFd], timeout: Option<Timespec>, mask: Option<SignalSet>) -> Result<usize, Errno> {
    let mut timeout = timeout;
    let timeout = timeout.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    let mask = mask.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: each pointer is NULL or to a value that lives through the call; the count and size are theirs.
    check_length(unsafe { syscall!(PPOLL, fds.as_mut_ptr(), fds.len(), timeout, mask, SIGNAL_SET_SIZE) })
}

/// `clone(SIGCHLD)`, which is `fork()`: 0 in the child.
///
/// # Safety
/// In the child of a threaded process only async-signal-safe calls may follow. A C library in the process is not told.
pub unsafe fn fork() -> Result<c_int, Errno> {
    // SAFETY: without CLONE_VM the child has its own copy of the memory, stack included.
    check(unsafe { syscall!(CLONE, SIGCHLD, 0, 0, 0, 0) })
}

/// `exit_group(status)`
pub fn exit(status: c_int) -> ! {
    loop {
        // SAFETY: ends the process; nothing runs after it.
        unsafe { syscall!(EXIT_GROUP, status) };
    }
}

/// `execve(path, argv, envp)`: returns only when it failed.
///
/// # Safety
/// Both arrays must end with NULL and hold valid strings.
pub unsafe fn execve(path: &CStr, argv: StringArray, envp: StringArray) -> Errno {
    // SAFETY: the path is a valid string; the arrays are the caller's promise.
    let result = check(unsafe { syscall!(EXECVE, path.as_ptr(), argv, envp) });
    result.err().unwrap_or(Errno::EPROTO)
}

/// `setsid()`: the new session's id.
pub fn setsid() -> Result<c_int, Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { syscall!(SETSID) })
}

/// `getsid(pid)`
pub fn getsid(pid: c_int) -> Result<c_int, Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { syscall!(GETSID, pid) })
}

/// `setpgid(pid, group)`
pub fn setpgid(pid: c_int, group: c_int) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { syscall!(SETPGID, pid, group) }).map(drop)
}

/// `getpid()`
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "a pid is an int and it cannot fail")]
pub fn getpid() -> c_int {
    // SAFETY: takes no pointers and cannot fail.
    unsafe { syscall!(GETPID) as c_int }
}

/// `getppid()`
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "a pid is an int and it cannot fail")]
pub fn getppid() -> c_int {
    // SAFETY: takes no pointers and cannot fail.
    unsafe { syscall!(GETPPID) as c_int }
}

/// `pidfd_open(pid, 0)`: a descriptor that becomes readable when that process ends; always close-on-exec.
pub fn pidfd_open(pid: c_int) -> Result<c_int, Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { syscall!(PIDFD_OPEN, pid, 0) })
}

/// `pidfd_send_signal(fd, signal)`
pub fn pidfd_send_signal(fd: c_int, signal: c_int) -> Result<(), Errno> {
    // SAFETY: takes no pointers but a NULL.
    check(unsafe { syscall!(PIDFD_SEND_SIGNAL, fd, signal, 0, 0) }).map(drop)
}

/// `kill(pid, signal)`
pub fn kill(pid: c_int, signal: c_int) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { syscall!(KILL, pid, signal) }).map(drop)
}

/// `waitid(P_PID, pid, WEXITED)`: waits until that child has ended, and reaps it.
pub fn wait_and_reap(pid: c_int) -> Result<(), Errno> {
    waitid(P_PID, pid, WEXITED)
}

/// `waitid(P_PID, pid, WEXITED | WNOHANG)`: reaps that child if it has ended, and tells how.
pub fn reap(pid: c_int) -> Result<Option<End>, Errno> {
    // siginfo_t, 128 bytes: si_signo, si_errno, si_code, padding, si_pid, si_uid, si_status.
    let mut information = [0_i32; 32];
    // SAFETY: a siginfo_t can be written there; NULL means that nobody wants the resource usage.
    check(unsafe { syscall!(WAITID, P_PID, pid, information.as_mut_ptr(), WEXITED | WNOHANG, 0) })?;
    let [signal, _, code, _, _, _, status, ..] = information;
    Ok((signal != 0).then_some(End::new(code, status)))
}

/// `waitid(P_PID, pid, WEXITED | WNOHANG | WNOWAIT)`: ECHILD when there is no such child, alive or dead.
pub fn is_child(pid: c_int) -> Result<(), Errno> {
    waitid(P_PID, pid, WEXITED | WNOHANG | WNOWAIT)
}

/// `waitid(P_ALL, WEXITED | WNOHANG | WNOWAIT)`: ECHILD when there is no child at all, alive or dead.
pub fn has_children() -> Result<(), Errno> {
    waitid(P_ALL, 0, WEXITED | WNOHANG | WNOWAIT)
}

/// `waitid(P_PGID, group, WEXITED | WNOHANG)`: reaps a child of that process group, if one has ended.
pub fn reap_one_of_group(group: c_int) -> Result<(), Errno> {
    waitid(P_PGID, group, WEXITED | WNOHANG)
}

fn waitid(kind: c_int, id: c_int, options: c_int) -> Result<(), Errno> {
    // NULL would do for Linux, but not for POSIX, nor for valgrind. siginfo_t has 128 bytes.
    let mut nobody_looks = MaybeUninit::<[u64; 16]>::uninit();
    // SAFETY: a siginfo_t can be written there; NULL means that nobody wants the resource usage.
    check(unsafe { syscall!(WAITID, kind, id, nobody_looks.as_mut_ptr(), options, 0) }).map(drop)
}

/// `rt_sigaction(signal, new)`: the disposition that it had.
///
/// # Safety
/// A new disposition must be DEFAULT, IGNORE or what an earlier call returned for that signal.
pub unsafe fn rt_sigaction(signal: c_int, new: Option<&Disposition>) -> Result<Disposition, Errno> {
    let mut old = Disposition::DEFAULT;
    let new = new.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: both are NULL or at least as large as the kernel's structure; what it does is the caller's promise.
    check(unsafe { syscall!(RT_SIGACTION, signal, new, &raw mut old, SIGNAL_SET_SIZE) })?;
    Ok(old)
}

/// `rt_sigprocmask(how, set)`: the mask that was in force.
pub fn rt_sigprocmask(how: c_int, set: SignalSet) -> Result<SignalSet, Errno> {
    let mut old: SignalSet = 0;
    // SAFETY: both sets live through the call and are as large as said.
    check(unsafe { syscall!(RT_SIGPROCMASK, how, &raw const set, &raw mut old, SIGNAL_SET_SIZE) })?;
    Ok(old)
}

/// `rt_sigpending()`
pub fn rt_sigpending() -> Result<SignalSet, Errno> {
    let mut set: SignalSet = 0;
    // SAFETY: the set can be written and is as large as said.
    check(unsafe { syscall!(RT_SIGPENDING, &raw mut set, SIGNAL_SET_SIZE) })?;
    Ok(set)
}

/// `rt_sigtimedwait(set, NULL, 0)`: takes a pending signal of that set; EAGAIN when there is none.
pub fn drop_pending_signal(set: SignalSet) -> Result<(), Errno> {
    let zero = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: the set and the time live through the call; NULL means that nobody asks more of it.
    check(unsafe { syscall!(RT_SIGTIMEDWAIT, &raw const set, 0, &raw const zero, SIGNAL_SET_SIZE) }).map(drop)
}

/// `rt_sigtimedwait(set, info, 0)`: takes one pending signal of the set away, never waits; the process that has sent
/// it.
pub fn take_pending_signal(set: SignalSet) -> Result<c_int, Errno> {
    let zero = Timespec { seconds: 0, nanoseconds: 0 };
    // siginfo_t, 128 bytes: si_signo, si_errno, si_code, padding, si_pid.
    let mut information = [0_i32; 32];
    // SAFETY: the set and the time live through the call, and a siginfo_t can be written there.
    check(unsafe {
        syscall!(RT_SIGTIMEDWAIT, &raw const set, information.as_mut_ptr(), &raw const zero, SIGNAL_SET_SIZE)
    })?;
    let [_, _, _, _, sender, ..] = information;
    Ok(sender)
}

/// `chdir(path)`
pub fn chdir(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the path is a valid string.
    check(unsafe { syscall!(CHDIR, path.as_ptr()) }).map(drop)
}

/// `chroot(path)`
pub fn chroot(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the path is a valid string.
    check(unsafe { syscall!(CHROOT, path.as_ptr()) }).map(drop)
}

/// `setgroups(groups)`
pub fn setgroups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: that many can be read.
    check(unsafe { syscall!(SETGROUPS, groups.len(), groups.as_ptr()) }).map(drop)
}

/// `getgroups(count, groups)`: how many there are; with a count of 0, nothing is written.
///
/// # Safety
/// That many can be written there.
pub unsafe fn getgroups(count: c_int, groups: *mut u32) -> Result<usize, Errno> {
    // SAFETY: the caller's promise.
    check_length(unsafe { syscall!(GETGROUPS, count, groups) })
}

/// `setresgid(real, effective, saved)`: 32-bit ids on every machine.
pub fn setresgid(real: u32, effective: u32, saved: u32) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { syscall!(SETRESGID, real, effective, saved) }).map(drop)
}

/// `setresuid(real, effective, saved)`: 32-bit ids on every machine.
pub fn setresuid(real: u32, effective: u32, saved: u32) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { syscall!(SETRESUID, real, effective, saved) }).map(drop)
}

/// `getresgid()`: real, effective, saved.
pub fn getresgid() -> Result<[u32; 3], Errno> {
    let [mut real, mut effective, mut saved] = [NO_ID; 3];
    // SAFETY: three ids can be written there.
    check(unsafe { syscall!(GETRESGID, &raw mut real, &raw mut effective, &raw mut saved) })?;
    Ok([real, effective, saved])
}

/// `getresuid()`: real, effective, saved.
pub fn getresuid() -> Result<[u32; 3], Errno> {
    let [mut real, mut effective, mut saved] = [NO_ID; 3];
    // SAFETY: three ids can be written there.
    check(unsafe { syscall!(GETRESUID, &raw mut real, &raw mut effective, &raw mut saved) })?;
    Ok([real, effective, saved])
}

/// `capget()`: this thread's effective, permitted and inheritable capabilities.
pub fn capget() -> Result<[CapabilitySet; 3], Errno> {
    // All ones, so that a call that writes nothing does not look like none.
    let mut data = [[u32::MAX; 3]; 2];
    let mut header = CAPABILITY_HEADER;
    // SAFETY: header and data are of the version that the header names.
    check(unsafe { syscall!(CAPGET, header.as_mut_ptr(), data.as_mut_ptr()) })?;
    Ok(capabilities(data))
}

/// `capset()`: no effective, permitted or inheritable capability any more.
pub fn capset_none() -> Result<(), Errno> {
    let data = [[0_u32; 3]; 2];
    let mut header = CAPABILITY_HEADER;
    // SAFETY: header and data are of the version that the header names.
    check(unsafe { syscall!(CAPSET, header.as_mut_ptr(), data.as_ptr()) }).map(drop)
}

/// `signalfd4(-1, set, SFD_CLOEXEC)`: a descriptor that is readable while a blocked signal of the set is pending.
pub fn signalfd(set: SignalSet) -> Result<c_int, Errno> {
    // SAFETY: the set lives through the call and is as large as said.
    check(unsafe { syscall!(SIGNALFD4, NO_FD, &raw const set, SIGNAL_SET_SIZE, O_CLOEXEC) })
}

/// The environment, as far as this backend knows one: without a C library, nobody has kept it.
pub fn environment() -> Option<StringArray> {
    None
}

/// `socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)`
pub fn datagram_socket() -> Result<c_int, Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { syscall!(SOCKET, c_int::from(AF_UNIX), SOCK_DGRAM_FLAGS, 0) })
}

/// `connect(fd, address)`
pub fn connect(fd: c_int, address: &UnixAddress, length: u32) -> Result<(), Errno> {
    // SAFETY: an address, at least as long as said.
    check(unsafe { syscall!(CONNECT, fd, ptr::from_ref(address), length) }).map(drop)
}

/// `bind(fd, address)`
pub fn bind(fd: c_int, address: &UnixAddress, length: u32) -> Result<(), Errno> {
    // SAFETY: an address, at least as long as said.
    check(unsafe { syscall!(BIND, fd, ptr::from_ref(address), length) }).map(drop)
}

/// `getsockname(fd)`: the length of the address.
pub fn getsockname(fd: c_int, address: &mut UnixAddress) -> Result<u32, Errno> {
    #[expect(clippy::cast_possible_truncation, reason = "110")]
    let mut length = size_of::<UnixAddress>() as u32;
    // SAFETY: an address of that length can be written there.
    check(unsafe { syscall!(GETSOCKNAME, fd, ptr::from_mut(address), &raw mut length) })?;
    Ok(length)
}

/// `setsockopt(fd, SOL_SOCKET, SO_PASSCRED, 1)`: every message comes with its sender.
pub fn pass_senders(fd: c_int) -> Result<(), Errno> {
    let on: c_int = 1;
    // SAFETY: an int, which lives through the call.
    check(unsafe { syscall!(SETSOCKOPT, fd, SOL_SOCKET, SO_PASSCRED, &raw const on, size_of::<c_int>()) }).map(drop)
}

/// A `struct iovec` to be filled.
#[repr(C)]
struct Room(*mut u8, usize);

/// The kernel's `struct user_msghdr`.
#[repr(C)]
struct MessageHeader {
    name: *mut c_void,
    name_length: c_int,
    pieces: *mut Room,
    piece_count: usize,
    control: *mut SenderMessage,
    control_length: usize,
    flags: c_uint,
}

/// `recvmsg(fd, MSG_DONTWAIT | MSG_TRUNC)`: the message's length, also if that is more than there is room for, and its
/// sender. Descriptors that come with it are closed.
pub fn receive(fd: c_int, buffer: &mut [u8], sender: &mut SenderMessage) -> Result<usize, Errno> {
    let mut piece = Room(buffer.as_mut_ptr(), buffer.len());
    let mut message = MessageHeader {
        name: ptr::null_mut(),
        name_length: 0,
        pieces: &raw mut piece,
        piece_count: 1,
        control: ptr::from_mut(sender),
        control_length: size_of::<SenderMessage>(),
        flags: 0,
    };
    // SAFETY: every pointer in the message is to memory of the length given, which lives through the call.
    check_length(unsafe { syscall!(RECVMSG, fd, &raw mut message, RECEIVE_FLAGS) })
}

/// `umask(mask)`: the mask that was in force.
pub fn umask(mask: c_uint) -> Result<c_uint, Errno> {
    // SAFETY: takes no pointers.
    // POSIX knows no error, but a filter may invent one.
    check(unsafe { syscall!(UMASK, mask) }).map(c_int::unsigned_abs)
}

/// `clock_gettime(CLOCK_MONOTONIC)`, in microseconds.
pub fn clock_microseconds() -> Result<u64, Errno> {
    let mut now = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: a struct timespec can be written there.
    check(unsafe { syscall!(CLOCK_GETTIME, CLOCK_MONOTONIC, &raw mut now) })?;
    #[expect(clippy::cast_sign_loss, reason = "the monotonic clock counts from boot")]
    Ok(now.seconds as u64 * 1_000_000 + now.nanoseconds as u64 / 1000)
}
