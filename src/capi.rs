//! Every `extern "C"` item and C type: what `include/untty.h` declares. Comments with three slashes are written for C
//! programmers; they become that header.
//!
//! # Safety
//! For every function here, as everywhere in C: pointers are NULL or valid, and so are strings and lists behind them;
//! a handle is one that `untty_detach` was given. What detaching and closing descriptors ask for beyond that is said at
//! [`Daemon::detach`] and [`close_except`](crate::close_except), and in C terms at the functions.

use crate::credentials::Credentials;
use crate::environment::Environment;
use crate::error::{self, Errno, Error, Step};
use crate::handle::{Handle, Process};
use crate::handover::{Obstacle, Way};
use crate::options::{Daemon, LateFailure};
use crate::stdio::{self, Stdio};
use crate::supervisor::{self, Supervisor};
use crate::sys;
use crate::{classic, fds, pid_file};
use core::ffi::{CStr, c_char, c_int};
use core::mem::MaybeUninit;
use core::time::Duration;
use core::{mem, ptr, slice};

/// The caller does not exit when the daemon is ready: untty_detach returns the daemon's process id in it.
pub const UNTTY_RETURN_IN_CALLER: u32 = 1;
/// Leave signal dispositions, handlers and the signal mask as they are.
pub const UNTTY_KEEP_SIGNALS: u32 = 2;
/// The daemon takes the caller's memory over instead of getting a copy: in no time, however much there is, and with what
/// mlock has locked. Where that cannot be, two forks are made as always; untty_way tells.
///
/// Until untty_detach returns in the daemon (with UNTTY_KEEP_SIGNALS: until its handlers may run, just before), a failure is
/// returned in the caller as always. From then on the caller cannot return, since its stack is the daemon's: if the daemon
/// fails before it is ready, the caller calls options->on_late_failure and exits 1, or exits with the status of untty_fail.
/// While it waits, signals that it handles are held back.
pub const UNTTY_HANDOVER: u32 = 4;
/// Leave the working directory as it is; the member directory is not looked at.
pub const UNTTY_KEEP_DIRECTORY: u32 = 8;
/// Leave the umask as it is; the member umask is not looked at.
pub const UNTTY_KEEP_UMASK: u32 = 16;
/// Set the umask to the member umask instead of 027.
pub const UNTTY_SET_UMASK: u32 = 32;
/// Close nothing above 2; the member keep is not looked at.
pub const UNTTY_KEEP_DESCRIPTORS: u32 = 64;
/// Fork even if the caller has more threads. The daemon must then call only async-signal-safe functions.
pub const UNTTY_ACCEPT_THREADS: u32 = 128;
/// Where systemd, s6 or runit runs this very process as a service, fork nothing: it gets the state that was asked for
/// and untty_detach returns 0 in it. Streams that would go to /dev/null stay where they are, and so do the sockets of
/// untty_listen_fds. If it fails then (-1), the process may have been changed by the steps before, and should exit.
pub const UNTTY_STAY_IF_SUPERVISED: u32 = 256;
/// Become the user that the members uid, gid, groups and group_count say.
pub const UNTTY_SET_USER: u32 = 512;
/// Say nothing to a supervisor, whatever the environment says.
pub const UNTTY_IGNORE_SUPERVISOR: u32 = 1024;

const KNOWN_FLAGS: u32 = UNTTY_RETURN_IN_CALLER
    | UNTTY_KEEP_SIGNALS
    | UNTTY_KEEP_DIRECTORY
    | UNTTY_KEEP_UMASK
    | UNTTY_SET_UMASK
    | UNTTY_KEEP_DESCRIPTORS
    | UNTTY_ACCEPT_THREADS
    | UNTTY_STAY_IF_SUPERVISED
    | UNTTY_SET_USER
    | UNTTY_IGNORE_SUPERVISOR
    | UNTTY_HANDOVER;

/// The first of the descriptors that untty_listen_fds counts.
pub const UNTTY_LISTEN_FDS_START: c_int = 3;

/// untty_supervisor: systemd, for the system or for a user.
pub const UNTTY_SUPERVISOR_SYSTEMD: c_int = 1;
/// untty_supervisor: s6-supervise.
pub const UNTTY_SUPERVISOR_S6: c_int = 2;
/// untty_supervisor: runsv.
pub const UNTTY_SUPERVISOR_RUNIT: c_int = 3;

/// untty_way: by two forks, which copy; or by none, where a supervised process stays what it is.
pub const UNTTY_WAY_FORKS: c_int = 0;
/// untty_way: by UNTTY_HANDOVER.
pub const UNTTY_WAY_HANDOVER: c_int = 1;
/// untty_way, and all that follow: by two forks, although UNTTY_HANDOVER was asked for. Nobody has written it for this
/// architecture.
pub const UNTTY_WAY_UNSUPPORTED: c_int = 2;
/// untty_way: UNTTY_RETURN_IN_CALLER, where both would go on in the same memory.
pub const UNTTY_WAY_RETURNS: c_int = 3;
/// untty_way: under valgrind.
pub const UNTTY_WAY_VALGRIND: c_int = 4;
/// untty_way: with a user shadow stack.
pub const UNTTY_WAY_SHADOW_STACK: c_int = 5;
/// untty_way: there are more threads, or another process has the same memory, or the kernel does not tell.
pub const UNTTY_WAY_SHARED: c_int = 6;
/// untty_way: the C library's copy of the thread's id was not found, as with musl.
pub const UNTTY_WAY_THREAD_ID: c_int = 7;
/// untty_way: the thread holds a robust mutex.
pub const UNTTY_WAY_ROBUST_MUTEX: c_int = 8;
/// untty_way: somebody else than the C library has registered rseq(2).
pub const UNTTY_WAY_RSEQ: c_int = 9;
/// untty_way: the kernel, or a filter, refuses such a clone.
pub const UNTTY_WAY_CLONE: c_int = 10;

/// /dev/null, checked to be the real device (ENODEV).
pub const UNTTY_STDIO_NULL: u32 = 0;
/// As it is in the caller.
pub const UNTTY_STDIO_INHERIT: u32 = 1;
/// The caller's descriptor fd.
pub const UNTTY_STDIO_FD: u32 = 2;
/// The file path, opened before the first fork. Standard input reads it (of a FIFO, it waits for a writer). Output and
/// error append to it, and create it with mode 0640; there, a symbolic link is an error (ELOOP), and so is a FIFO that
/// nobody reads (ENXIO).
pub const UNTTY_STDIO_FILE: u32 = 3;
/// /dev/console, without becoming a controlling terminal.
pub const UNTTY_STDIO_CONSOLE: u32 = 4;
/// For standard error only (else EINVAL): wherever standard output goes.
pub const UNTTY_STDIO_STDOUT: u32 = 5;

/// The steps of the sequence, as struct untty_error tells them. Numbers are permanent and never reused.
#[derive(Debug)]
#[repr(C)]
pub enum untty_step {
    /// Checking the options: EINVAL, EFAULT, E2BIG.
    UNTTY_STEP_OPTIONS = 1,
    /// Refusing more than one thread: EBUSY.
    UNTTY_STEP_THREADS = 2,
    /// Opening standard input, or putting it in place.
    UNTTY_STEP_STDIN = 3,
    /// The same for standard output.
    UNTTY_STEP_STDOUT = 4,
    /// The same for standard error.
    UNTTY_STEP_STDERR = 5,
    /// Making the report pipe.
    UNTTY_STEP_PIPE = 6,
    /// The first fork.
    UNTTY_STEP_FORK = 7,
    /// setsid; EINVAL: the caller, which would exit, is process 1 of a pid namespace, or its children are in another.
    UNTTY_STEP_SETSID = 8,
    /// The second fork.
    UNTTY_STEP_FORK_AGAIN = 9,
    /// Blocking signals, or resetting them in the daemon.
    UNTTY_STEP_SIGNALS = 10,
    /// chdir.
    UNTTY_STEP_DIRECTORY = 11,
    /// umask.
    UNTTY_STEP_UMASK = 12,
    /// Closing the other descriptors.
    UNTTY_STEP_CLOSE = 13,
    /// Telling the caller that the daemon is ready: EPIPE when the caller is gone.
    UNTTY_STEP_READY = 14,
    /// Waiting for the daemon: ESRCH when it died before it was ready, ETIMEDOUT at the deadline, EPERM when it could
    /// not be ended.
    UNTTY_STEP_WAIT = 15,
    /// Executing a program.
    UNTTY_STEP_EXEC = 16,
    /// The daemon called untty_fail; errnum is the exit status.
    UNTTY_STEP_FAIL = 17,
    /// chroot.
    UNTTY_STEP_ROOT = 18,
    /// The pid file: EEXIST when its daemon is running or being started; ELOOP, EMLINK, EISDIR, EINVAL when it is a
    /// symbolic link, has a second name, is a directory, is no regular file or holds something else; EPERM when it
    /// belongs to another user, or is not the caller's to be removed.
    UNTTY_STEP_PID_FILE = 19,
    /// setgroups.
    UNTTY_STEP_GROUPS = 20,
    /// setresgid.
    UNTTY_STEP_GID = 21,
    /// setresuid.
    UNTTY_STEP_UID = 22,
    /// Proving that privileges are gone for good: EPERM when they are not.
    UNTTY_STEP_PRIVILEGES = 23,
    /// Telling the supervisor.
    UNTTY_STEP_NOTIFY = 24,
    /// Opening a log anew.
    UNTTY_STEP_LOG = 25,
}

/// Why there is no daemon.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct untty_error {
    /// The step that failed: an enum untty_step.
    pub step: i32,
    /// Its error number, as in errno.
    pub errnum: i32,
}

impl untty_error {
    pub(crate) const fn of(error: Error) -> Self {
        Self { step: error.step().number(), errnum: error.errno().number() }
    }
}

/// Where one of the daemon's standard streams goes. All zero: /dev/null.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct untty_stdio {
    /// One of the UNTTY_STDIO_ constants.
    pub kind: u32,
    /// For UNTTY_STDIO_FD.
    pub fd: c_int,
    /// For UNTTY_STDIO_FILE.
    pub path: *const c_char,
}

/// How to become a daemon. Begin with UNTTY_OPTIONS_INIT and change what you need: everything zero is the safe default.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct untty_options {
    /// sizeof(struct untty_options), so that the structure can grow: a smaller one, of an older program, is served, and
    /// a larger one is refused (E2BIG) if it holds anything that this library does not know.
    pub size: usize,
    /// UNTTY_RETURN_IN_CALLER and its like, or-ed together.
    pub flags: u32,
    /// With UNTTY_SET_UMASK: the daemon's umask, 0 to 0777. Otherwise it is 027.
    pub umask: u32,
    /// The daemon's working directory; NULL: "/".
    pub directory: *const c_char,
    /// The daemon's standard input.
    pub input: untty_stdio,
    /// The daemon's standard output.
    pub output: untty_stdio,
    /// The daemon's standard error.
    pub error: untty_stdio,
    /// Descriptors that stay open, in any order; numbers that are not open do no harm.
    pub keep: *const c_int,
    /// How many.
    pub keep_count: usize,
    /// How long the caller waits for the daemon to be ready, in milliseconds; then the start is ended and fails with
    /// ETIMEDOUT. 0: as long as the daemon lives.
    pub deadline_ms: u32,
    /// A descriptor above 2 on which untty_ready writes a newline, and closes it, as s6-supervise wants it; 0: none.
    pub ready_fd: c_int,
    /// The pid file, for one daemon at a time; NULL: none. It is opened and locked in the caller, written by the daemon
    /// before untty_detach is done, and locked as long as the daemon lives.
    pub pid_file: *const c_char,
    /// The daemon's root directory, in which the working directory then lies; NULL: the caller's. All files above are
    /// opened before.
    pub root: *const c_char,
    /// With UNTTY_SET_USER: the supplementary groups; none of these four is looked at without it, and all are zero.
    pub groups: *const u32,
    /// How many; 0 empties the list.
    pub group_count: usize,
    /// With UNTTY_SET_USER: real, effective and saved user id; not -1.
    pub uid: u32,
    /// The same for the group id.
    pub gid: u32,
    /// Where to look for a supervisor; NULL: the C library's environ. A library built without libc knows no environ,
    /// and finds none then.
    pub environment: *const *const c_char,
    /// With UNTTY_HANDOVER: called in the caller before it exits 1, because the daemon, which had gone on already, has
    /// failed before it was ready, and is gone; NULL: nothing. It runs on a stack of a few kilobytes and in the memory that
    /// the daemon has left, so it may only do what a signal handler may: signal-safety(7). If the daemon could not be
    /// ended (UNTTY_STEP_WAIT, EPERM), it still has that memory.
    pub on_late_failure: Option<unsafe extern "C" fn(error: *const untty_error)>,
}

/// What the daemon holds until it is ready. Do not look inside, do not copy it.
#[derive(Debug)]
#[repr(C)]
pub struct untty_handle {
    #[doc(hidden)]
    pub private_members: [i32; 8],
}

/// Turns the calling process into a daemon.
///
/// Returns 0 in the daemon. On failure it returns -1 in the caller, which is as it was before, with *error filled, and
/// no other process is left. On success the caller exits 0 when the daemon is ready (with _exit: no atexit handlers,
/// nothing flushed); with UNTTY_RETURN_IN_CALLER it returns the daemon's process id (> 0) instead, as fork does.
///
/// With a handle, the daemon is ready when it calls untty_ready, and the caller waits for that. With NULL it is ready
/// at once. error may be NULL.
///
/// The calling process must have only one thread. Descriptors above 2 that are not in options->keep are closed:
/// whatever owns one (a FILE, a database, a socket) must not be used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn untty_detach(
    options: *const untty_options,
    handle: *mut untty_handle,
    error: *mut untty_error,
) -> c_int {
    // SAFETY: our caller's promises are theirs.
    let result = unsafe { detach(options, handle) };
    // SAFETY: NULL or valid.
    unsafe { answer(result, error) }
}

/// The daemon is ready: the caller exits 0, or returns the daemon's process id. Before that, ready_fd gets its newline,
/// and the caller tells a supervisor that the environment named (NOTIFY_SOCKET) READY=1 and MAINPID=; if it cannot be
/// told, the start fails in the caller and this daemon is ended. A process that stays because it is supervised tells it
/// by itself.
///
/// Returns 0, or -1 with *error filled. UNTTY_STEP_NOTIFY: ready_fd, or a supervised process's supervisor, could not be
/// told; a caller still waits. UNTTY_STEP_READY with EPIPE: the caller was killed while it waited, and nobody was told
/// that the daemon runs; whether it should, is yours to decide. EALREADY: this was said before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn untty_ready(handle: *mut untty_handle, error: *mut untty_error) -> c_int {
    // SAFETY: NULL or valid.
    let result = match unsafe { load(handle) } {
        Ok((stored, mut ours)) => {
            let result = ours.ready();
            *stored = untty_handle::of(&ours);
            result
        }
        Err(errno) => Err(Error::new(Step::Ready, errno)),
    };
    // SAFETY: NULL or valid.
    unsafe { answer(result.map(|()| 0), error) }
}

/// Sends the supervisor a message of the protocol of sd_notify(3), at any time after untty_detach: "STATUS=...",
/// "STOPPING=1", "WATCHDOG=1", "RELOADING=1" (to which the monotonic time is added, as the protocol wants it), several
/// of them with a newline between.
///
/// Returns 1 when it was sent, 0 when the environment named no supervisor, -1 with *error filled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn untty_notify(
    handle: *mut untty_handle,
    state: *const c_char,
    error: *mut untty_error,
) -> c_int {
    // SAFETY: NULL or valid.
    let handle = unsafe { load(handle) };
    // SAFETY: NULL or valid.
    let result = match (handle, unsafe { string(state) }) {
        (Ok((_, ours)), Ok(state)) => ours.notify(state.to_bytes()),
        (Err(errno), _) | (_, Err(errno)) => Err(Error::new(Step::Notify, errno)),
    };
    // SAFETY: NULL or valid.
    unsafe { answer(result.map(c_int::from), error) }
}

/// How the daemon came to be: one of the UNTTY_WAY_ constants. -1 if the handle is NULL or was not filled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn untty_way(handle: *const untty_handle) -> c_int {
    // SAFETY: NULL or valid, and only read.
    unsafe { load(handle.cast_mut()) }.map_or(-1, |(_, ours)| ours.way)
}

/// There will be no daemon: ends this process with _exit, and the waiting caller with that exit status, 1 to 255.
/// A status of 0 would claim success and becomes 1. Never returns.
///
/// With UNTTY_RETURN_IN_CALLER the caller's untty_detach fails with UNTTY_STEP_FAIL, and errnum is the status.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn untty_fail(handle: *mut untty_handle, exit_status: c_int) -> ! {
    // SAFETY: NULL or valid.
    match unsafe { load(handle) } {
        Ok((_, ours)) => ours.fail(exit_status),
        Err(_) => sys::exit(if exit_status & 0xff == 0 { 1 } else { exit_status }),
    }
}

/// The process id of the live daemon that owns a pid file; 0 when there is none. The kernel, which knows the lock
/// on the file, and the file's text have to agree on it. Also for the daemon itself, which must not open and close its
/// pid file by other means: that would take its lock away (fcntl(2)).
///
/// -1 with *error filled when it cannot be told; ESRCH: held, but not by the process that it names: its owner
/// lives in another pid namespace, or a stranger has locked it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn untty_pid_file_read(path: *const c_char, error: *mut untty_error) -> c_int {
    // SAFETY: NULL or valid.
    let path = unsafe { string(path) }.map_err(Error::at(Step::PidFile));
    let result = path.and_then(pid_file::read).map(|pid| pid.unwrap_or(0));
    // SAFETY: NULL or valid.
    unsafe { answer(result, error) }
}

/// Removes the pid file that this process owns; call it last, since another daemon may start from then on. The path is
/// looked up in the daemon's root and working directory.
///
/// Returns 0, or -1 with *error filled. EPERM: it is not this process's. EACCES: who has given up privileges often may
/// not remove a file; that does no harm, because a file that nobody holds is taken over by the next start.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn untty_pid_file_remove(path: *const c_char, error: *mut untty_error) -> c_int {
    // SAFETY: NULL or valid.
    let path = unsafe { string(path) }.map_err(Error::at(Step::PidFile));
    // SAFETY: NULL or valid.
    unsafe { answer(path.and_then(pid_file::remove).map(|()| 0), error) }
}

/// Opens a log by its path once more and puts it in the place of fd, which is never closed meanwhile: for logrotate(8),
/// which has given the old file another name. Opened as UNTTY_STDIO_FILE says; fd's close-on-exec flag stays.
///
/// Async-signal-safe, so a handler of SIGHUP may call it; it may change errno. Where two descriptors lead to the log,
/// each is reopened by itself. Returns 0, or -1 with *error filled, and fd is as it was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn untty_reopen_log(fd: c_int, path: *const c_char, error: *mut untty_error) -> c_int {
    // SAFETY: NULL or valid.
    let path = unsafe { string(path) }.map_err(Error::at(Step::Log));
    // SAFETY: NULL or valid.
    unsafe { answer(path.and_then(|path| stdio::reopen_log(fd, path)).map(|()| 0), error) }
}

/// How many sockets the supervisor has opened for this very process (socket activation: LISTEN_FDS and LISTEN_PID):
/// they are the descriptors from UNTTY_LISTEN_FDS_START on. To be asked before untty_detach, after which the process is
/// another one; put them in options->keep. environment is as in struct untty_options.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn untty_listen_fds(environment: *const *const c_char) -> c_int {
    // SAFETY: NULL or valid.
    let fds = supervisor::listen_fds(unsafe { as_environment(environment) });
    fds.end - fds.start
}

/// Who runs this very process as a service: one of the UNTTY_SUPERVISOR_ constants, or 0. environment is as in struct
/// untty_options.
///
/// The evidence: systemd has set SYSTEMD_EXEC_PID to this process's id (or, before version 248, INVOCATION_ID is set
/// and the parent is named systemd); the parent is s6-supervise, or runsv. A parent's name is read from /proc.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn untty_supervisor(environment: *const *const c_char) -> c_int {
    // SAFETY: NULL or valid.
    match supervisor::supervisor(unsafe { as_environment(environment) }) {
        Some(Supervisor::Systemd) => UNTTY_SUPERVISOR_SYSTEMD,
        Some(Supervisor::S6) => UNTTY_SUPERVISOR_S6,
        Some(Supervisor::Runit) => UNTTY_SUPERVISOR_RUNIT,
        None => 0,
    }
}

/// A drop-in for daemon(3) that forks twice and tells the truth.
///
/// Like daemon(3) it changes the directory to "/" unless nochdir, puts standard input, output and error on /dev/null
/// unless noclose, and leaves everything else alone: it closes nothing above 2, leaves umask, signal mask and handlers
/// as they are, and accepts threads. Unlike it, the caller exits 0 only when all of that has been done.
///
/// Returns 0 in the daemon. On failure, in the caller: -1 with errno set; in a library built without libc, -errno.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn untty_daemon(nochdir: c_int, noclose: c_int) -> c_int {
    match classic::detach(nochdir != 0, noclose != 0) {
        Ok(()) => 0,
        Err(errno) => fail_as_libc_does(errno),
    }
}

/// Closes every descriptor from lowest up; a negative number counts as 0. Returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn untty_close_from(lowest: c_int) -> c_int {
    fds::close_except(lowest, &[], &[]);
    0
}

/// Closes every descriptor from lowest up, except the count ones in keep: in any order, repeated, negative or not open,
/// as they come. Needs no free descriptor, no /proc and no new kernel.
///
/// Returns 0. If keep is NULL and count is not 0 (EFAULT), or count is more than memory can hold (EINVAL), nothing is
/// closed, and it returns -1 with errno set; in a library built without libc, -errno.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn untty_close_except(lowest: c_int, keep: *const c_int, count: usize) -> c_int {
    // SAFETY: NULL or valid.
    match unsafe { list(keep, count) } {
        Ok(keep) => {
            fds::close_except(lowest, keep, &[]);
            0
        }
        Err(errno) => fail_as_libc_does(errno),
    }
}

/// The name of a step, such as "setsid"; "unknown" for a number that is none. Never NULL, never to be freed.
#[unsafe(no_mangle)]
pub extern "C" fn untty_step_name(step: c_int) -> *const c_char {
    Step::from_number(step).map_or("unknown\0", Step::name).as_ptr().cast()
}

/// Writes one line, "STEP: what: ERRNO", such as "setsid: cannot start a new session: EPERM".
///
/// As snprintf: at most size bytes are written, the last of them a NUL, and the whole text's length without the NUL is
/// returned. buffer may be NULL if size is 0. A NULL error, or one that is all zero, gives "no error".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn untty_error_message(error: *const untty_error, buffer: *mut c_char, size: usize) -> usize {
    // SAFETY: NULL or valid.
    let error = unsafe { error.as_ref() }.copied().unwrap_or_default();
    let room = if buffer.is_null() { 0 } else { size.min(isize::MAX.unsigned_abs()) };
    let start = if room == 0 { ptr::dangling_mut() } else { buffer.cast::<MaybeUninit<c_char>>() };
    // SAFETY: that many bytes can be written, and nobody reads them before they are.
    let buffer = unsafe { slice::from_raw_parts_mut(start, room) };
    let mut length = 0;
    let mut write = |piece: &str| {
        for byte in piece.bytes() {
            if let Some(place) = buffer.get_mut(length) {
                place.write(c_char::from_ne_bytes([byte]));
            }
            length += 1;
        }
    };
    match (Step::from_number(error.step), error.step) {
        (Some(step), _) => error::describe(step, error.errnum, &mut write),
        (None, 0) => write("no error"),
        (None, _) => {
            write("unknown step: ");
            error::describe_errno(error.errnum, &mut write);
        }
    }
    let last = room.saturating_sub(1).min(length);
    if let Some(end) = buffer.get_mut(last) {
        end.write(0);
    }
    length
}

/// The library's version, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn untty_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// # Safety
/// As for `untty_detach`.
unsafe fn detach(options: *const untty_options, handle: *mut untty_handle) -> Result<c_int, Error> {
    // SAFETY: all zero is a valid one.
    let mut known = unsafe { MaybeUninit::<untty_options>::zeroed().assume_init() };
    // SAFETY: as above.
    unsafe { read_options(options, &mut known) }.map_err(Error::at(Step::Options))?;
    let mut daemon = Daemon::new();
    // SAFETY: as above.
    unsafe { as_daemon(&known, &mut daemon) }.map_err(Error::at(Step::Options))?;
    // SAFETY: as above.
    let process = unsafe { daemon.detach_as(handle.is_null()) }?;
    let ours = match process {
        Process::Caller { daemon } => return Ok(daemon),
        Process::Daemon(ours) => ours,
    };
    // SAFETY: NULL or valid.
    if let Some(handle) = unsafe { handle.as_mut() } {
        *handle = untty_handle::of(&ours);
    } else if ours.supervisor >= 0 {
        // It has been told, and without a handle nobody can tell it more.
        drop(fds::Fd::take(ours.supervisor));
    }
    Ok(0)
}

/// Marks a handle that `untty_detach` has filled, so that a zeroed one is not taken for descriptor 0.
const HANDLE_IS_FILLED: i32 = 0x7574_7479;

impl untty_handle {
    fn of(ours: &Handle) -> Self {
        let [report, supervisor, ready_fd, pid_file] = ours.descriptors();
        let (ready, way) = (i32::from(ours.is_ready()), ours.way);
        Self { private_members: [report, HANDLE_IS_FILLED, supervisor, ready_fd, pid_file, ready, way, 0] }
    }
}

/// What is in a handle, and where to put it back.
///
/// # Safety
/// NULL or valid.
unsafe fn load<'a>(handle: *mut untty_handle) -> Result<(&'a mut untty_handle, Handle), Errno> {
    // SAFETY: NULL or valid.
    let handle = unsafe { handle.as_mut() }.ok_or(Errno::EFAULT)?;
    let [report, filled, supervisor, ready_fd, pid_file, ready, way, _] = handle.private_members;
    if filled != HANDLE_IS_FILLED {
        return Err(Errno::EINVAL);
    }
    let mut ours = Handle::from_descriptors([report, supervisor, ready_fd, pid_file]);
    (ours.ready, ours.way) = (ready != 0, way);
    Ok((handle, ours))
}

/// The result, or -1 and the error.
///
/// # Safety
/// NULL or valid.
unsafe fn answer(result: Result<c_int, Error>, error: *mut untty_error) -> c_int {
    match result {
        Ok(result) => result,
        Err(failure) => {
            // SAFETY: NULL or valid.
            if let Some(error) = unsafe { error.as_mut() } {
                *error = untty_error::of(failure);
            }
            -1
        }
    }
}

/// # Safety
/// NULL or valid.
unsafe fn string<'a>(string: *const c_char) -> Result<&'a CStr, Errno> {
    // SAFETY: not NULL, so valid.
    if string.is_null() { Err(Errno::EFAULT) } else { Ok(unsafe { CStr::from_ptr(string) }) }
}

/// # Safety
/// NULL or valid.
unsafe fn as_environment(strings: *const *const c_char) -> Environment {
    // SAFETY: not NULL, so valid.
    if strings.is_null() { Environment::own() } else { unsafe { Environment::from_raw(strings) } }
}

fn fail_as_libc_does(errno: Errno) -> c_int {
    #[cfg(feature = "libc")]
    {
        sys::set_errno(errno);
        -1
    }
    #[cfg(not(feature = "libc"))]
    {
        -errno.number()
    }
}

/// # Safety
/// NULL, or that many can be read.
unsafe fn list<'a, T>(list: *const T, count: usize) -> Result<&'a [T], Errno> {
    if count == 0 {
        return Ok(&[]);
    }
    if list.is_null() {
        return Err(Errno::EFAULT);
    }
    if count > isize::MAX.unsigned_abs() / size_of::<T>() {
        return Err(Errno::EINVAL);
    }
    // SAFETY: not NULL, so that many can be read.
    Ok(unsafe { slice::from_raw_parts(list, count) })
}

/// Takes the options of an older or newer program, as openat2(2) does with its `struct open_how`.
///
/// # Safety
/// NULL, or valid for as many bytes as it says.
unsafe fn read_options(options: *const untty_options, known: &mut untty_options) -> Result<(), Errno> {
    const KNOWN: usize = size_of::<untty_options>();
    /// What every version has: size and flags.
    const LEAST: usize = size_of::<usize>() + size_of::<u32>();
    /// No structure of ours will ever be larger than a page, so a larger one is garbage.
    const MOST: usize = 4096;
    if options.is_null() {
        return Err(Errno::EFAULT);
    }
    // SAFETY: valid at least for its size.
    let size = unsafe { options.cast::<usize>().read() };
    if size < LEAST {
        return Err(Errno::EINVAL);
    }
    if size > MOST {
        return Err(Errno::E2BIG);
    }
    // SAFETY: valid for as many bytes as it says.
    let given = unsafe { slice::from_raw_parts(options.cast::<u8>(), size) };
    if given.iter().skip(KNOWN).any(|byte| *byte != 0) {
        return Err(Errno::E2BIG);
    }
    // A member that is only half there is not there.
    let whole = (size - size % size_of::<usize>()).clamp(LEAST, KNOWN);
    // SAFETY: that many bytes can be read there, and written here; they are of integers and raw pointers.
    unsafe { ptr::copy_nonoverlapping(options.cast::<u8>(), ptr::from_mut(known).cast(), whole) };
    Ok(())
}

/// # Safety
/// The strings and the list are NULL or valid as long as the options.
#[inline(never)] // not on the stack of what follows
unsafe fn as_daemon<'a>(options: &'a untty_options, daemon: &mut Daemon<'a>) -> Result<(), Errno> {
    let has = |flag: u32| options.flags & flag != 0;
    let two_umasks = has(UNTTY_KEEP_UMASK) && has(UNTTY_SET_UMASK);
    // Who forgets the flag would stay root.
    let user = options.uid != 0 || options.gid != 0 || options.group_count != 0 || !options.groups.is_null();
    // So would an older program that cannot say who it wants to be.
    let has_user = options.size >= mem::offset_of!(untty_options, environment);
    let wants_user = has(UNTTY_SET_USER);
    if options.flags & !KNOWN_FLAGS != 0 || two_umasks || user && !wants_user || wants_user && !has_user {
        return Err(Errno::EINVAL);
    }
    // SAFETY: NULL or valid.
    let optional = |path: *const c_char| (!path.is_null()).then(|| unsafe { CStr::from_ptr(path) });
    daemon.return_in_caller = has(UNTTY_RETURN_IN_CALLER);
    daemon.reset_signals = !has(UNTTY_KEEP_SIGNALS);
    daemon.close_descriptors = !has(UNTTY_KEEP_DESCRIPTORS);
    daemon.accept_threads = has(UNTTY_ACCEPT_THREADS);
    daemon.stay_if_supervised = has(UNTTY_STAY_IF_SUPERVISED);
    daemon.tell_supervisor = !has(UNTTY_IGNORE_SUPERVISOR);
    daemon.handover = has(UNTTY_HANDOVER);
    daemon.on_late_failure = options.on_late_failure.map(LateFailure::C);
    for (to, from) in daemon.streams.iter_mut().zip([&options.input, &options.output, &options.error]) {
        // SAFETY: NULL or valid.
        *to = unsafe { as_stdio(from) }?;
    }
    if has(UNTTY_KEEP_DIRECTORY) {
        daemon.directory = None;
    } else if !options.directory.is_null() {
        daemon.directory = optional(options.directory);
    }
    if has(UNTTY_KEEP_UMASK) {
        daemon.umask = None;
    } else if has(UNTTY_SET_UMASK) {
        daemon.umask = Some(options.umask);
    }
    if daemon.close_descriptors {
        // SAFETY: NULL or valid.
        daemon.keep = unsafe { list(options.keep, options.keep_count) }?;
    }
    daemon.deadline = Some(Duration::from_millis(options.deadline_ms.into())).filter(|time| !time.is_zero());
    daemon.ready_fd = Some(options.ready_fd).filter(|fd| *fd != 0);
    daemon.pid_file = optional(options.pid_file);
    daemon.root = optional(options.root);
    if wants_user {
        // SAFETY: NULL or valid.
        let groups = unsafe { list(options.groups, options.group_count) }?;
        daemon.credentials = Some(Credentials { uid: options.uid, gid: options.gid, groups });
    }
    if !options.environment.is_null() {
        // SAFETY: valid.
        daemon.environment = Some(unsafe { Environment::from_raw(options.environment) });
    }
    Ok(())
}

/// # Safety
/// The path is NULL or valid as long as the options.
unsafe fn as_stdio(stdio: &untty_stdio) -> Result<Stdio<'_>, Errno> {
    match stdio.kind {
        UNTTY_STDIO_NULL => Ok(Stdio::Null),
        UNTTY_STDIO_INHERIT => Ok(Stdio::Inherit),
        UNTTY_STDIO_FD => Ok(Stdio::Fd(stdio.fd)),
        UNTTY_STDIO_FILE if stdio.path.is_null() => Err(Errno::EFAULT),
        // SAFETY: valid.
        UNTTY_STDIO_FILE => Ok(Stdio::File(unsafe { CStr::from_ptr(stdio.path) })),
        UNTTY_STDIO_CONSOLE => Ok(Stdio::Console),
        UNTTY_STDIO_STDOUT => Ok(Stdio::Stdout),
        _ => Err(Errno::EINVAL),
    }
}

/// The C numbers are the Rust ones.
const _: () = {
    assert!(UNTTY_LISTEN_FDS_START == supervisor::FIRST_LISTENED);
    assert!(UNTTY_WAY_FORKS == Way::Forks.number());
    assert!(UNTTY_WAY_HANDOVER == Way::Handover.number());
    assert!(UNTTY_WAY_UNSUPPORTED == Obstacle::Unsupported as i32);
    assert!(UNTTY_WAY_RETURNS == Obstacle::Returns as i32);
    assert!(UNTTY_WAY_VALGRIND == Obstacle::Valgrind as i32);
    assert!(UNTTY_WAY_SHADOW_STACK == Obstacle::ShadowStack as i32);
    assert!(UNTTY_WAY_SHARED == Obstacle::Shared as i32);
    assert!(UNTTY_WAY_THREAD_ID == Obstacle::ThreadId as i32);
    assert!(UNTTY_WAY_ROBUST_MUTEX == Obstacle::RobustMutex as i32);
    assert!(UNTTY_WAY_RSEQ == Obstacle::Rseq as i32);
    assert!(UNTTY_WAY_CLONE == Obstacle::Clone as i32);
    assert!(untty_step::UNTTY_STEP_OPTIONS as i32 == Step::Options.number());
    assert!(untty_step::UNTTY_STEP_THREADS as i32 == Step::Threads.number());
    assert!(untty_step::UNTTY_STEP_STDIN as i32 == Step::Stdin.number());
    assert!(untty_step::UNTTY_STEP_STDOUT as i32 == Step::Stdout.number());
    assert!(untty_step::UNTTY_STEP_STDERR as i32 == Step::Stderr.number());
    assert!(untty_step::UNTTY_STEP_PIPE as i32 == Step::Pipe.number());
    assert!(untty_step::UNTTY_STEP_FORK as i32 == Step::Fork.number());
    assert!(untty_step::UNTTY_STEP_SETSID as i32 == Step::Setsid.number());
    assert!(untty_step::UNTTY_STEP_FORK_AGAIN as i32 == Step::ForkAgain.number());
    assert!(untty_step::UNTTY_STEP_SIGNALS as i32 == Step::Signals.number());
    assert!(untty_step::UNTTY_STEP_DIRECTORY as i32 == Step::Directory.number());
    assert!(untty_step::UNTTY_STEP_UMASK as i32 == Step::Umask.number());
    assert!(untty_step::UNTTY_STEP_CLOSE as i32 == Step::Close.number());
    assert!(untty_step::UNTTY_STEP_READY as i32 == Step::Ready.number());
    assert!(untty_step::UNTTY_STEP_WAIT as i32 == Step::Wait.number());
    assert!(untty_step::UNTTY_STEP_EXEC as i32 == Step::Exec.number());
    assert!(untty_step::UNTTY_STEP_FAIL as i32 == Step::Fail.number());
    assert!(untty_step::UNTTY_STEP_ROOT as i32 == Step::Root.number());
    assert!(untty_step::UNTTY_STEP_PID_FILE as i32 == Step::PidFile.number());
    assert!(untty_step::UNTTY_STEP_GROUPS as i32 == Step::Groups.number());
    assert!(untty_step::UNTTY_STEP_GID as i32 == Step::Gid.number());
    assert!(untty_step::UNTTY_STEP_UID as i32 == Step::Uid.number());
    assert!(untty_step::UNTTY_STEP_PRIVILEGES as i32 == Step::Privileges.number());
    assert!(untty_step::UNTTY_STEP_NOTIFY as i32 == Step::Notify.number());
    assert!(untty_step::UNTTY_STEP_LOG as i32 == Step::Log.number());
};
