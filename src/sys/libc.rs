//! The backend over the C library.
//!
//! The calls that a libc gives types or duties of its own (signal sets, its reserved signals, 64-bit times) go through
//! its `syscall`, with the kernel's types. So do, on 32-bit machines with such calls, those that see times or offsets.

pub use super::kernel::*;
use crate::error::Errno;
use core::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use core::mem::MaybeUninit;
use core::ptr;

pub use libc::{
    O_APPEND, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_EXCL, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_RDWR, O_WRONLY,
};

#[cfg(not(any(target_arch = "x86", target_arch = "arm")))]
use libc::{F_GETLK, F_SETLK, fcntl as fcntl64, flock as flock64};
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
use narrow::{F_GETLK64 as F_GETLK, F_SETLK64 as F_SETLK, fcntl as fcntl64, flock64, fstat64, lstat64, stat64};

// glibc has two of each on 32-bit machines, one of them for files below 2 GiB with small inode numbers.
#[cfg(not(all(target_env = "gnu", target_pointer_width = "32")))]
use libc::open as open64;
#[cfg(all(target_env = "gnu", target_pointer_width = "32"))]
use libc::open64;
#[cfg(not(any(all(target_env = "gnu", target_pointer_width = "32"), target_arch = "x86", target_arch = "arm")))]
use libc::{fstat as fstat64, lstat as lstat64, stat as stat64};
#[cfg(all(target_env = "gnu", target_pointer_width = "32", not(any(target_arch = "x86", target_arch = "arm"))))]
use libc::{fstat64, lstat64, stat64};

/// The kernel's own calls where a word has 32 bits, named as a C library's. For those of glibc, a file whose time does
/// not fit into 32 bits is EOVERFLOW, and before 2.28 it hands the kernel a structure with 32-bit offsets where that
/// wants 64. The kernel cuts times off, and nobody here looks at them.
#[cfg(any(target_arch = "x86", target_arch = "arm"))]
#[allow(non_camel_case_types, reason = "C's names")]
mod narrow {
    use core::ffi::{c_char, c_int, c_short};
    use core::mem::offset_of;

    pub(super) const F_GETLK64: c_int = 12;
    pub(super) const F_SETLK64: c_int = 13;

    /// The kernel's `struct stat64`, as far as anybody here asks; the rest is only room for it.
    #[repr(C)]
    pub(super) struct stat64 {
        pub(super) st_dev: u64,
        padding: [u32; 2],
        pub(super) st_mode: u32,
        pub(super) st_nlink: u32,
        pub(super) st_uid: u32,
        gid: u32,
        pub(super) st_rdev: u64,
        more_padding: u32,
        size: i64,
        block_size: u32,
        blocks: u64,
        times: [u32; 6],
        pub(super) st_ino: u64,
    }

    /// The kernel's `struct flock64`.
    #[repr(C)]
    pub(super) struct flock64 {
        pub(super) l_type: c_short,
        whence: c_short,
        start: i64,
        length: i64,
        pub(super) l_pid: c_int,
    }

    // Only the alignment of 64-bit numbers differs. The kernel's headers say the same: .ci/kernel-numbers.
    const _: () = {
        let x86 = cfg!(target_arch = "x86");
        assert!(size_of::<stat64>() == if x86 { 96 } else { 104 });
        assert!(offset_of!(stat64, st_mode) == 16 && offset_of!(stat64, st_nlink) == 20);
        assert!(offset_of!(stat64, st_uid) == 24 && offset_of!(stat64, st_rdev) == 32);
        assert!(offset_of!(stat64, st_ino) == if x86 { 88 } else { 96 });
        assert!(size_of::<flock64>() == if x86 { 24 } else { 32 });
        assert!(offset_of!(flock64, l_pid) == if x86 { 20 } else { 24 });
    };

    /// # Safety
    /// A struct stat64 can be written there.
    pub(super) unsafe fn fstat64(fd: c_int, stat: *mut stat64) -> c_int {
        // SAFETY: the caller's promise.
        unsafe { libc::syscall(libc::SYS_fstat64, fd, stat) }
    }

    /// # Safety
    /// The path is a valid string, and a struct stat64 can be written there.
    pub(super) unsafe fn stat64(path: *const c_char, stat: *mut stat64) -> c_int {
        // SAFETY: the caller's promise.
        unsafe { libc::syscall(libc::SYS_stat64, path, stat) }
    }

    /// # Safety
    /// The path is a valid string, and a struct stat64 can be written there.
    pub(super) unsafe fn lstat64(path: *const c_char, stat: *mut stat64) -> c_int {
        // SAFETY: the caller's promise.
        unsafe { libc::syscall(libc::SYS_lstat64, path, stat) }
    }

    /// # Safety
    /// The command is one for a struct flock64, which can be read there and, where the command says so, written.
    pub(super) unsafe fn fcntl(fd: c_int, command: c_int, lock: *const flock64) -> c_int {
        // SAFETY: the caller's promise.
        unsafe { libc::syscall(libc::SYS_fcntl64, fd, command, lock) }
    }
}

/// Signals that the C library keeps for itself (glibc: thread cancellation and setuid in all threads; musl: one more).
pub const fn reserved_signals() -> SignalSet {
    if cfg!(target_env = "musl") { 0b111 << 31 } else { 0b11 << 31 }
}

/// The C library's `errno`.
pub fn errno() -> Errno {
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
    check(unsafe { open64(path.as_ptr(), flags, mode) })
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

/// `dup3(old, new, flags)`
pub fn dup3(old: c_int, new: c_int, flags: c_int) -> Result<c_int, Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::dup3(old, new, flags) })
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

/// `fcntl(fd, F_SETFD, flags)`
pub fn set_fd_flags(fd: c_int, flags: c_int) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, flags) }).map(drop)
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

/// `pread(fd, buffer, 0)`: from the beginning.
pub fn pread(fd: c_int, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the buffer can be written for its whole length.
    let result = unsafe { libc::pread(fd, buffer.as_mut_ptr().cast::<c_void>(), buffer.len(), 0) };
    usize::try_from(result).map_err(|_| errno())
}

/// `pwrite(fd, buffer, offset)`
pub fn pwrite(fd: c_int, buffer: &[u8], offset: usize) -> Result<usize, Errno> {
    let offset = offset.try_into().map_err(|_| Errno::EINVAL)?;
    // SAFETY: the buffer can be read for its whole length.
    let result = unsafe { libc::pwrite(fd, buffer.as_ptr().cast::<c_void>(), buffer.len(), offset) };
    usize::try_from(result).map_err(|_| errno())
}

/// `writev(fd, pieces)`
pub fn writev(fd: c_int, pieces: &[Piece<'_>]) -> Result<usize, Errno> {
    let count = c_int::try_from(pieces.len()).map_err(|_| Errno::EINVAL)?;
    // SAFETY: a piece is a struct iovec, of memory that is borrowed as long as the piece.
    let result = unsafe { libc::writev(fd, pieces.as_ptr().cast::<libc::iovec>(), count) };
    usize::try_from(result).map_err(|_| errno())
}

/// `ftruncate(fd, length)`
pub fn ftruncate(fd: c_int, length: usize) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::ftruncate(fd, length.try_into().map_err(|_| Errno::EINVAL)?) }).map(drop)
}

/// `fchmod(fd, mode)`
pub fn fchmod(fd: c_int, mode: u32) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::fchmod(fd, mode) }).map(drop)
}

/// `unlink(path)`
pub fn unlink(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the path is a valid string.
    check(unsafe { libc::unlink(path.as_ptr()) }).map(drop)
}

/// `flock(fd, operation)`
pub fn flock(fd: c_int, operation: c_int) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::flock(fd, operation) }).map(drop)
}

/// `fcntl(fd, F_SETLK, F_RDLCK)`: a record lock on the whole file, shared, at once or not at all.
pub fn record_lock(fd: c_int) -> Result<(), Errno> {
    let lock = whole_file(libc::F_RDLCK);
    // SAFETY: a struct flock, which lives through the call.
    check(unsafe { fcntl64(fd, F_SETLK, &raw const lock) }).map(drop)
}

/// `fcntl(fd, F_GETLK, F_WRLCK)`: the process id that belongs to a record lock of another process; `None` without one.
pub fn record_lock_owner(fd: c_int) -> Result<Option<c_int>, Errno> {
    let mut lock = whole_file(libc::F_WRLCK);
    // SAFETY: a struct flock, which lives through the call.
    check(unsafe { fcntl64(fd, F_GETLK, &raw mut lock) })?;
    Ok((c_int::from(lock.l_type) != UNLOCKED).then_some(lock.l_pid))
}

/// `fcntl(fd, F_OFD_GETLK, F_WRLCK)`: the process id that belongs to a record lock of any process, also this one.
pub fn any_record_lock_owner(fd: c_int) -> Result<Option<c_int>, Errno> {
    let mut lock = whole_file(libc::F_WRLCK);
    // SAFETY: a struct flock, which lives through the call.
    check(unsafe { fcntl64(fd, F_OFD_GETLK, &raw mut lock) })?;
    Ok((c_int::from(lock.l_type) != UNLOCKED).then_some(lock.l_pid))
}

/// The same number everywhere; its structure is that of the C library's `F_GETLK`, where offsets have 64 bits.
const F_OFD_GETLK: c_int = 36;

#[allow(clippy::unnecessary_cast, reason = "the constants are of other types on other targets")]
const UNLOCKED: c_int = libc::F_UNLCK as c_int;

/// From the first byte to wherever the last one will be.
#[allow(clippy::unnecessary_cast, clippy::cast_possible_truncation, reason = "types differ between targets; 0 to 2")]
fn whole_file(kind: c_int) -> flock64 {
    // SAFETY: all zero is a struct flock.
    let mut lock = unsafe { MaybeUninit::<flock64>::zeroed().assume_init() };
    lock.l_type = kind as libc::c_short;
    lock
}

/// `getdents64(fd, buffer)`: how many bytes of the buffer it filled.
pub fn getdents64(fd: c_int, buffer: &mut [MaybeUninit<u8>]) -> Result<usize, Errno> {
    // SAFETY: the buffer can be written for its whole length.
    check_long(unsafe { libc::syscall(libc::SYS_getdents64, fd, buffer.as_mut_ptr(), buffer.len()) })
}

/// `fstat(fd)`
pub fn fstat(fd: c_int) -> Result<Stat, Errno> {
    let mut stat = MaybeUninit::<stat64>::uninit();
    // SAFETY: a struct stat can be written there.
    check(unsafe { fstat64(fd, stat.as_mut_ptr()) })?;
    // SAFETY: fstat succeeded and filled it.
    Ok(from_libc(&unsafe { stat.assume_init() }))
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
    let mut stat = MaybeUninit::<stat64>::uninit();
    // SAFETY: the path is a valid string, and a struct stat can be written there.
    check(unsafe { stat64(path.as_ptr(), stat.as_mut_ptr()) })?;
    // SAFETY: stat succeeded and filled it.
    Ok(from_libc(&unsafe { stat.assume_init() }))
}

/// `lstat(path)`: of a symbolic link, the link itself.
pub fn lstat(path: &CStr) -> Result<Stat, Errno> {
    let mut stat = MaybeUninit::<stat64>::uninit();
    // SAFETY: the path is a valid string, and a struct stat can be written there.
    check(unsafe { lstat64(path.as_ptr(), stat.as_mut_ptr()) })?;
    // SAFETY: lstat succeeded and filled it.
    Ok(from_libc(&unsafe { stat.assume_init() }))
}

/// The members are of other widths on other targets.
#[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "true on some targets only")]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the kernel's numbers, unsigned everywhere")]
fn from_libc(stat: &stat64) -> Stat {
    Stat {
        mode: stat.st_mode as u32,
        device: stat.st_rdev as u64,
        identity: (stat.st_dev as u64, stat.st_ino as u64),
        links: stat.st_nlink as u64,
        owner: stat.st_uid,
    }
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

/// `nanosleep(time)`
pub fn nanosleep(time: &Timespec) -> Result<(), Errno> {
    // SAFETY: the time lives through the call; NULL means that nobody asks what would be left of it.
    check_long(unsafe { libc::syscall(libc::SYS_nanosleep, ptr::from_ref(time), 0) }).map(drop)
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

/// `pidfd_send_signal(fd, signal)`
pub fn pidfd_send_signal(fd: c_int, signal: c_int) -> Result<(), Errno> {
    let none = ptr::null::<c_void>();
    // SAFETY: takes no pointers but a NULL.
    check_long(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, none, 0) }).map(drop)
}

/// `kill(pid, signal)`
pub fn kill(pid: c_int, signal: c_int) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// `waitid(P_PID, pid, WEXITED)`: waits until that child has ended, and reaps it.
pub fn wait_and_reap(pid: c_int) -> Result<(), Errno> {
    waitid(libc::P_PID, pid, libc::WEXITED)
}

/// `waitid(P_PID, pid, WEXITED | WNOHANG)`: reaps that child if it has ended, and tells how.
pub fn reap(pid: c_int) -> Result<Option<End>, Errno> {
    let mut information = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: a siginfo_t can be written there.
    check(unsafe {
        libc::waitid(libc::P_PID, pid.unsigned_abs(), information.as_mut_ptr(), libc::WEXITED | libc::WNOHANG)
    })?;
    // SAFETY: all zero is a siginfo_t, and so is what waitid has written.
    let information = unsafe { information.assume_init() };
    // SAFETY: what waitid tells of is a child, and its si_status is there; all zero is one too.
    let status = unsafe { information.si_status() };
    Ok((information.si_signo != 0).then_some(End::new(information.si_code, status)))
}

/// `waitid(P_PID, pid, WEXITED | WNOHANG | WNOWAIT)`: ECHILD when there is no such child, alive or dead.
pub fn is_child(pid: c_int) -> Result<(), Errno> {
    waitid(libc::P_PID, pid, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
}

/// `waitid(P_ALL, WEXITED | WNOHANG | WNOWAIT)`: ECHILD when there is no child at all, alive or dead.
pub fn has_children() -> Result<(), Errno> {
    waitid(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT)
}

/// `waitid(P_PGID, group, WEXITED | WNOHANG)`: reaps a child of that process group, if one has ended.
pub fn reap_one_of_group(group: c_int) -> Result<(), Errno> {
    waitid(libc::P_PGID, group, libc::WEXITED | libc::WNOHANG)
}

fn waitid(kind: libc::idtype_t, id: c_int, options: c_int) -> Result<(), Errno> {
    // NULL would do for Linux, but not for POSIX, nor for valgrind.
    let mut nobody_looks = MaybeUninit::<libc::siginfo_t>::uninit();
    // SAFETY: a siginfo_t can be written there.
    check(unsafe { libc::waitid(kind, id.unsigned_abs(), nobody_looks.as_mut_ptr(), options) }).map(drop)
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

/// `rt_sigtimedwait(set, NULL, 0)`: takes a pending signal of that set; EAGAIN when there is none.
pub fn drop_pending_signal(set: SignalSet) -> Result<(), Errno> {
    let zero = Timespec { seconds: 0, nanoseconds: 0 };
    let nobody = ptr::null_mut::<libc::siginfo_t>();
    // SAFETY: the set and the time live through the call; NULL means that nobody asks more of it.
    let taken =
        unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &raw const set, nobody, &raw const zero, SIGNAL_SET_SIZE) };
    check_long(taken).map(drop)
}

/// `rt_sigtimedwait(set, info, 0)`: takes one pending signal of the set away, never waits; the process that has sent
/// it.
pub fn take_pending_signal(set: SignalSet) -> Result<c_int, Errno> {
    let zero = Timespec { seconds: 0, nanoseconds: 0 };
    let mut information = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: the set and the time live through the call, and a siginfo_t can be written there.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_rt_sigtimedwait,
            &raw const set,
            information.as_mut_ptr(),
            &raw const zero,
            SIGNAL_SET_SIZE,
        )
    })?;
    // SAFETY: all zero is a siginfo_t, and so is what was written.
    let information = unsafe { information.assume_init() };
    // SAFETY: where no process has sent it, this is some other number.
    Ok(unsafe { information.si_pid() })
}

/// `chdir(path)`
pub fn chdir(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the path is a valid string.
    check(unsafe { libc::chdir(path.as_ptr()) }).map(drop)
}

/// `chroot(path)`
pub fn chroot(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the path is a valid string.
    check(unsafe { libc::chroot(path.as_ptr()) }).map(drop)
}

/// `setgroups(groups)`
pub fn setgroups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: that many can be read.
    #[allow(clippy::useless_conversion, reason = "an int on some targets")]
    check(unsafe { libc::setgroups(groups.len().try_into().map_err(|_| Errno::EINVAL)?, groups.as_ptr()) }).map(drop)
}

/// `getgroups(count, groups)`: how many there are; with a count of 0, nothing is written.
///
/// # Safety
/// That many can be written there.
pub unsafe fn getgroups(count: c_int, groups: *mut u32) -> Result<usize, Errno> {
    // SAFETY: the caller's promise.
    check(unsafe { libc::getgroups(count, groups) }).and_then(|count| usize::try_from(count).map_err(|_| Errno::EINVAL))
}

/// `setresgid(real, effective, saved)`: 32-bit ids on every machine.
pub fn setresgid(real: u32, effective: u32, saved: u32) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::setresgid(real, effective, saved) }).map(drop)
}

/// `setresuid(real, effective, saved)`: 32-bit ids on every machine.
pub fn setresuid(real: u32, effective: u32, saved: u32) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::setresuid(real, effective, saved) }).map(drop)
}

/// `getresgid()`: real, effective, saved.
pub fn getresgid() -> Result<[u32; 3], Errno> {
    let [mut real, mut effective, mut saved] = [NO_ID; 3];
    // SAFETY: three ids can be written there.
    check(unsafe { libc::getresgid(&raw mut real, &raw mut effective, &raw mut saved) })?;
    Ok([real, effective, saved])
}

/// `getresuid()`: real, effective, saved.
pub fn getresuid() -> Result<[u32; 3], Errno> {
    let [mut real, mut effective, mut saved] = [NO_ID; 3];
    // SAFETY: three ids can be written there.
    check(unsafe { libc::getresuid(&raw mut real, &raw mut effective, &raw mut saved) })?;
    Ok([real, effective, saved])
}

/// `capget()`: this thread's effective, permitted and inheritable capabilities.
pub fn capget() -> Result<[CapabilitySet; 3], Errno> {
    // All ones, so that a call that writes nothing does not look like none.
    let mut data = [[u32::MAX; 3]; 2];
    let mut header = CAPABILITY_HEADER;
    // SAFETY: header and data are of the version that the header names.
    check_long(unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr()) })?;
    Ok(capabilities(data))
}

/// `capset()`: no effective, permitted or inheritable capability any more.
pub fn capset_none() -> Result<(), Errno> {
    let data = [[0_u32; 3]; 2];
    let mut header = CAPABILITY_HEADER;
    // SAFETY: header and data are of the version that the header names.
    check_long(unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), data.as_ptr()) }).map(drop)
}

/// `signalfd4(-1, set, SFD_CLOEXEC)`: a descriptor that is readable while a blocked signal of the set is pending.
pub fn signalfd(set: SignalSet) -> Result<c_int, Errno> {
    let new: c_int = -1;
    // SAFETY: the set lives through the call and is as large as said.
    check_long(unsafe { libc::syscall(libc::SYS_signalfd4, new, &raw const set, SIGNAL_SET_SIZE, libc::SFD_CLOEXEC) })
        .and_then(|fd| c_int::try_from(fd).map_err(|_| Errno::EINVAL))
}

/// The environment, as far as this backend knows one: the C library's `environ`.
pub fn environment() -> Option<StringArray> {
    unsafe extern "C" {
        static environ: StringArray;
    }
    // SAFETY: the C library's variable. Who changes it meanwhile has a race with every getenv() too.
    Some(unsafe { (&raw const environ).read() }).filter(|strings| !strings.is_null())
}

/// `socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)`
pub fn datagram_socket() -> Result<c_int, Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0) })
}

/// `connect(fd, address)`
pub fn connect(fd: c_int, address: &UnixAddress, length: u32) -> Result<(), Errno> {
    // SAFETY: an address, at least as long as said.
    check(unsafe { libc::connect(fd, ptr::from_ref(address).cast::<libc::sockaddr>(), length) }).map(drop)
}

/// `bind(fd, address)`
pub fn bind(fd: c_int, address: &UnixAddress, length: u32) -> Result<(), Errno> {
    // SAFETY: an address, at least as long as said.
    check(unsafe { libc::bind(fd, ptr::from_ref(address).cast::<libc::sockaddr>(), length) }).map(drop)
}

/// `getsockname(fd)`: the length of the address.
pub fn getsockname(fd: c_int, address: &mut UnixAddress) -> Result<u32, Errno> {
    #[allow(clippy::cast_possible_truncation, reason = "110")]
    let mut length = size_of::<UnixAddress>() as libc::socklen_t;
    // SAFETY: an address of that length can be written there.
    check(unsafe { libc::getsockname(fd, ptr::from_mut(address).cast::<libc::sockaddr>(), &raw mut length) })?;
    Ok(length)
}

/// `setsockopt(fd, SOL_SOCKET, SO_PASSCRED, 1)`: every message comes with its sender.
pub fn pass_senders(fd: c_int) -> Result<(), Errno> {
    let on: c_int = 1;
    let (value, length) = ((&raw const on).cast::<c_void>(), size_of::<c_int>());
    #[allow(clippy::cast_possible_truncation, reason = "4")]
    // SAFETY: an int, which lives through the call.
    check(unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_PASSCRED, value, length as libc::socklen_t) })
        .map(drop)
}

/// `recvmsg(fd, MSG_DONTWAIT | MSG_TRUNC)`: the message's length, also if that is more than there is room for, and its
/// sender. Descriptors that come with it are closed.
pub fn receive(fd: c_int, buffer: &mut [u8], sender: &mut SenderMessage) -> Result<usize, Errno> {
    let mut piece = libc::iovec { iov_base: buffer.as_mut_ptr().cast::<c_void>(), iov_len: buffer.len() };
    // SAFETY: all zero is a struct msghdr.
    let mut message = unsafe { MaybeUninit::<libc::msghdr>::zeroed().assume_init() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = ptr::from_mut(sender).cast::<c_void>();
    #[allow(clippy::unnecessary_cast, clippy::cast_possible_truncation, reason = "types differ between targets")]
    {
        message.msg_controllen = size_of::<SenderMessage>() as _;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: every pointer in the message is to memory of the length given, which lives through the call.
    let result = unsafe { libc::recvmsg(fd, &raw mut message, flags) };
    usize::try_from(result).map_err(|_| errno())
}

/// `umask(mask)`: the mask that was in force.
pub fn umask(mask: c_uint) -> Result<c_uint, Errno> {
    // POSIX knows no error, but a filter may invent one, which libc's umask does not look for.
    // SAFETY: takes no pointers.
    let old = check_long(unsafe { libc::syscall(libc::SYS_umask, mask) })?;
    c_uint::try_from(old).map_err(|_| Errno::EINVAL)
}

/// `clock_gettime(CLOCK_MONOTONIC)`, in microseconds.
pub fn clock_microseconds() -> Result<u64, Errno> {
    let mut now = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: a struct timespec can be written there.
    check(unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr()) })?;
    // SAFETY: clock_gettime succeeded and filled it.
    let now = unsafe { now.assume_init() };
    #[expect(clippy::cast_sign_loss, reason = "the monotonic clock counts from boot")]
    Ok(now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000)
}
