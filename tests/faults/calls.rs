//! What can go wrong with a call: the errnos of its man page, what any call can give, signals and stops. And what cannot,
//! with the reason.

use super::inject::{Extent, Fault, Made, Role, What};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::str::FromStr;
use syscalls::Sysno;

pub fn name(number: i64) -> String {
    let sysno = usize::try_from(number).ok().and_then(Sysno::new);
    sysno.map_or_else(|| number.to_string(), |sysno| sysno.name().to_owned())
}

pub fn number(name: &str) -> Option<i64> {
    Sysno::from_str(name).ok().map(|sysno| i64::from(sysno.id()))
}

pub fn errno_name(errno: i32) -> String {
    format!("{:?}", Errno::from_raw(errno))
}

pub fn errno_number(name: &str) -> Option<i32> {
    (1..134).find(|number| errno_name(*number) == name)
}

pub fn signal_name(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |signal| signal.as_str().to_owned())
}

pub fn signal_number(name: &str) -> Option<i32> {
    Signal::from_str(name).ok().map(|signal| signal as i32)
}

/// A call as a line.
pub fn show(made: &Made) -> String {
    let arguments: Vec<String> = made.arguments.iter().map(|argument| format!("{:x}", argument)).collect();
    format!("{}({})", name(made.number), arguments.join(", "))
}

/// What a filter (`seccomp(2)`), a signal or a machine at its end can make of any call.
const OF_ANY: &str = "ENOSYS EPERM EINTR EIO ENOMEM EAGAIN";

/// The errnos of the man pages.
const OF_MAN_PAGES: &[(&str, &str)] = &[
    ("access", "EACCES EFAULT ELOOP ENAMETOOLONG ENOENT ENOTDIR EROFS EINVAL ETXTBSY"),
    ("arch_prctl", "EFAULT EINVAL ENODEV"),
    ("bind", "EACCES EADDRINUSE EBADF EINVAL ENOTSOCK EADDRNOTAVAIL EFAULT ELOOP ENAMETOOLONG ENOENT ENOTDIR EROFS"),
    ("capget", "EFAULT EINVAL ESRCH"),
    ("capset", "EFAULT EINVAL ESRCH"),
    ("chdir", "EACCES EFAULT ELOOP ENAMETOOLONG ENOENT ENOTDIR"),
    ("chroot", "EACCES EFAULT ELOOP ENAMETOOLONG ENOENT ENOTDIR"),
    ("clock_gettime", "EACCES EFAULT EINVAL ENODEV EOPNOTSUPP"),
    ("clock_nanosleep", "EFAULT EINVAL EOPNOTSUPP"),
    ("clone", "EINVAL ENOSPC EUSERS"),
    ("clone3", "EINVAL ENOSPC EUSERS EACCES EBUSY EEXIST EOPNOTSUPP"),
    ("close", "EBADF ENOSPC EDQUOT"),
    ("close_range", "EINVAL EMFILE"),
    (
        "connect",
        "EACCES EADDRINUSE EADDRNOTAVAIL EAFNOSUPPORT EALREADY EBADF ECONNREFUSED EFAULT EINPROGRESS EISCONN \
         ENETUNREACH ENOTSOCK EPROTOTYPE ETIMEDOUT ENOENT",
    ),
    ("dup2", "EBADF EBUSY EMFILE"),
    ("dup3", "EBADF EBUSY EINVAL EMFILE"),
    (
        "execve",
        "E2BIG EACCES EFAULT EINVAL EISDIR ELIBBAD ELOOP EMFILE ENAMETOOLONG ENFILE ENOENT ENOEXEC ENOTDIR ETXTBSY",
    ),
    ("faccessat", "EACCES EBADF EFAULT EINVAL ELOOP ENAMETOOLONG ENOENT ENOTDIR EROFS"),
    ("faccessat2", "EACCES EBADF EFAULT EINVAL ELOOP ENAMETOOLONG ENOENT ENOTDIR EROFS"),
    ("fchmod", "EBADF EROFS EACCES EFAULT ELOOP ENAMETOOLONG ENOENT ENOTDIR"),
    ("fcntl", "EACCES EBADF EBUSY EDEADLK EFAULT EINVAL EMFILE ENOLCK ENOTDIR"),
    ("flock", "EBADF EINVAL ENOLCK"),
    ("fork", ""),
    ("fstat", "EACCES EBADF EFAULT EINVAL ELOOP ENAMETOOLONG ENOENT ENOTDIR EOVERFLOW"),
    ("fstatfs", "EACCES EBADF EFAULT ELOOP ENAMETOOLONG ENOENT ENOTDIR EOVERFLOW"),
    ("ftruncate", "EACCES EFAULT EFBIG EINVAL EISDIR ELOOP ENAMETOOLONG ENOENT ENOTDIR EROFS ETXTBSY EBADF"),
    ("get_robust_list", "EFAULT EINVAL ESRCH"),
    ("getcwd", "EACCES EFAULT EINVAL ENAMETOOLONG ENOENT ERANGE"),
    ("getdents64", "EBADF EFAULT EINVAL ENOENT ENOTDIR"),
    ("getgroups", "EFAULT EINVAL"),
    ("getresgid", "EFAULT"),
    ("getresuid", "EFAULT"),
    ("getsid", "ESRCH"),
    ("getsockname", "EBADF EFAULT EINVAL ENOBUFS ENOTSOCK"),
    ("kill", "EINVAL"),
    ("lseek", "EBADF EINVAL ENXIO EOVERFLOW ESPIPE"),
    ("mmap", "EACCES EBADF EEXIST EINVAL ENFILE ENODEV EOVERFLOW ETXTBSY"),
    ("mprotect", "EACCES EFAULT EINVAL"),
    ("munmap", "EINVAL"),
    ("nanosleep", "EFAULT EINVAL"),
    ("newfstatat", "EACCES EBADF EFAULT EINVAL ELOOP ENAMETOOLONG ENOENT ENOTDIR EOVERFLOW"),
    (
        "open",
        "EACCES EBUSY EDQUOT EEXIST EFAULT EFBIG EINVAL EISDIR ELOOP EMFILE ENAMETOOLONG ENFILE ENODEV ENOENT ENOSPC \
         ENOTDIR ENXIO EOPNOTSUPP EOVERFLOW EROFS ETXTBSY",
    ),
    (
        "openat",
        "EACCES EBADF EBUSY EDQUOT EEXIST EFAULT EFBIG EINVAL EISDIR ELOOP EMFILE ENAMETOOLONG ENFILE ENODEV ENOENT \
         ENOSPC ENOTDIR ENXIO EOPNOTSUPP EOVERFLOW EROFS ETXTBSY",
    ),
    ("pidfd_open", "EINVAL EMFILE ENFILE ENODEV"),
    ("pidfd_send_signal", "EBADF EINVAL"),
    ("pipe", "EFAULT EMFILE ENFILE"),
    ("pipe2", "EFAULT EINVAL EMFILE ENFILE"),
    ("poll", "EFAULT EINVAL"),
    ("ppoll", "EFAULT EINVAL"),
    ("prctl", "EACCES EBADF EBUSY EFAULT EINVAL ENODEV ENXIO EOPNOTSUPP EOVERFLOW"),
    ("pread64", "EBADF EFAULT EINVAL EISDIR ENXIO EOVERFLOW ESPIPE"),
    ("prlimit64", "EFAULT EINVAL ESRCH"),
    ("pselect6", "EBADF EINVAL"),
    ("pwrite64", "EBADF EDESTADDRREQ EDQUOT EFAULT EFBIG EINVAL ENOSPC EPIPE ENXIO EOVERFLOW ESPIPE"),
    ("read", "EBADF EFAULT EINVAL EISDIR"),
    ("recvmsg", "EBADF ECONNREFUSED EFAULT EINVAL ENOTCONN ENOTSOCK"),
    ("rseq", "EBUSY EFAULT EINVAL"),
    ("rt_sigaction", "EFAULT EINVAL"),
    ("rt_sigpending", "EFAULT"),
    ("rt_sigprocmask", "EFAULT EINVAL"),
    ("rt_sigtimedwait", "EINVAL"),
    ("sendto", "EACCES EBADF ECONNREFUSED ECONNRESET EFAULT EINVAL EMSGSIZE ENOBUFS ENOTCONN ENOTSOCK EPIPE"),
    ("set_robust_list", "EFAULT EINVAL ESRCH"),
    ("setgid", "EINVAL"),
    ("setgroups", "EFAULT EINVAL"),
    ("setpgid", "EINVAL ESRCH"),
    ("setresgid", "EINVAL"),
    ("setresuid", "EINVAL"),
    ("setsid", ""),
    ("setsockopt", "EBADF EFAULT EINVAL ENOPROTOOPT ENOTSOCK"),
    ("setuid", "EINVAL"),
    ("sigaltstack", "EFAULT EINVAL"),
    ("signalfd4", "EBADF EINVAL EMFILE ENFILE ENODEV"),
    ("socket", "EACCES EAFNOSUPPORT EINVAL EMFILE ENFILE ENOBUFS EPROTONOSUPPORT"),
    ("stat", "EACCES EBADF EFAULT ELOOP ENAMETOOLONG ENOENT ENOTDIR EOVERFLOW"),
    ("statx", "EACCES EBADF EFAULT EINVAL ELOOP ENAMETOOLONG ENOENT ENOTDIR"),
    ("unlink", "EACCES EBUSY EFAULT EISDIR ELOOP ENAMETOOLONG ENOENT ENOTDIR EROFS"),
    ("unlinkat", "EACCES EBUSY EFAULT EISDIR ELOOP ENAMETOOLONG ENOENT ENOTDIR EROFS EBADF EINVAL"),
    ("unshare", "EINVAL ENOSPC EUSERS"),
    ("wait4", "ECHILD EINVAL"),
    ("waitid", "ECHILD EINVAL"),
    ("write", "EBADF EDESTADDRREQ EDQUOT EFAULT EFBIG EINVAL ENOSPC EPIPE"),
    ("writev", "EBADF EDESTADDRREQ EDQUOT EFAULT EFBIG EINVAL ENOSPC EPIPE ECONNREFUSED ENOTCONN EMSGSIZE ENOBUFS"),
];

/// Faults that are left out, because no kernel can produce them: a call (or `*`), errnos (or `*`), and why.
const IMPOSSIBLE: &[(&str, &str, &str)] = &[
    ("exit", "*", "it does not return"),
    ("exit_group", "*", "it does not return"),
    ("rt_sigreturn", "*", "it returns to where the signal came"),
    ("restart_syscall", "*", "the kernel's own: its call has been met before"),
    ("getpid", "*", "always successful (POSIX reserves no value for an error)"),
    ("getppid", "*", "always successful"),
    ("gettid", "*", "always successful"),
    ("getuid", "*", "always successful"),
    ("geteuid", "*", "always successful"),
    ("getgid", "*", "always successful"),
    ("getegid", "*", "always successful"),
    ("set_tid_address", "*", "always successful"),
    ("umask", "*", "always successful"),
    ("pidfd_open", "ESRCH", "the daemon is there until it is reaped, and its death is met by killing it"),
    ("close", "ENOSYS EPERM ENOMEM EAGAIN EBADF", "what was open is closed, whatever else is told"),
    ("brk", "*", "it returns the break, as it then is"),
    ("flock", "EAGAIN", "that is another start's lock, and a new file is then that one's"),
    ("execve", "ENOEXEC", "that is a file which is no program: a script, and given to the shell"),
    ("setpgid", "EACCES", "that is the evidence of an exec, which only the kernel has"),
    ("unshare", "EINVAL", "that is the evidence of threads, which only the kernel has"),
    ("waitid", "ECHILD", "the leader is a child until it is reaped (SIGCHLD ignored is a kind of start of its own)"),
    ("wait4", "ECHILD", "as waitid"),
    ("kill", "ESRCH", "the leader is there until it is reaped"),
    ("pidfd_send_signal", "ESRCH", "as kill"),
];

/// Reads and writes that can be short.
const DIVISIBLE: &[&str] = &["read", "write", "pread64", "pwrite64", "getdents64"];

/// Calls that can wait, or that a file system may let wait (FUSE, NFS): only they can be interrupted, and that must not
/// change an outcome. That others are, is a filter's word, and told as any errno is.
const INTERRUPTIBLE: &str = "access chdir chroot clock_nanosleep close connect dup2 dup3 execve faccessat faccessat2 \
                             fchmod fcntl flock fstat fstatfs lstat stat statx ftruncate getcwd getdents64 nanosleep newfstatat open openat poll ppoll pread64 \
                             pselect6 pwrite64 read recvmsg rt_sigtimedwait sendto unlink unlinkat wait4 waitid write writev";

/// Whether a signal can end that call before it is done.
pub fn can_be_interrupted(made: &Made) -> bool {
    const LOCKS: [i32; 5] = [libc::F_GETLK, libc::F_SETLK, libc::F_SETLKW, libc::F_OFD_GETLK, libc::F_OFD_SETLK];
    let name = name(made.number);
    let is_lock = LOCKS.iter().any(|lock| u64::from(lock.unsigned_abs()) == made.arguments[1]);
    INTERRUPTIBLE.split_whitespace().any(|known| known == name) && (name != "fcntl" || is_lock)
}

const SIGNALS: &[i32] = &[libc::SIGKILL, libc::SIGTERM, libc::SIGHUP, libc::SIGINT, libc::SIGALRM, libc::SIGPIPE];

/// The errnos that a call can give.
fn errnos(call: &str) -> Vec<i32> {
    let impossible: Vec<&str> =
        IMPOSSIBLE.iter().filter(|line| line.0 == call).flat_map(|line| line.1.split(' ')).collect();
    if impossible.contains(&"*") {
        return vec![];
    }
    let own = OF_MAN_PAGES.iter().find(|line| line.0 == call).map_or("", |line| line.1);
    let mut errnos: Vec<i32> = own
        .split_whitespace()
        .chain(OF_ANY.split(' '))
        .filter(|name| !impossible.contains(name))
        .map(|name| errno_number(name).unwrap_or_else(|| panic!("{name} is no errno")))
        .collect();
    errnos.sort_unstable();
    errnos.dedup();
    errnos
}

/// The table says what there is.
pub fn is_sound() -> bool {
    OF_MAN_PAGES.iter().all(|(call, _)| number(call).is_some() && errnos(call).len() > 1)
}

/// Every fault of a recorded start. Whoever stops for ever is waited for by nobody without a deadline.
pub fn faults(made: &BTreeMap<Role, Vec<Made>>, has_deadline: bool) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (role, calls) in made {
        for (index, call) in calls.iter().enumerate() {
            let name = name(call.number);
            let mut add = |what, extent| {
                faults.push(Fault { role: role.clone(), index, call: call.number, what, extent });
            };
            for errno in errnos(&name) {
                add(What::Errno(errno), Extent::Once);
                add(What::Errno(errno), Extent::Persistent);
            }
            if DIVISIBLE.contains(&name.as_str()) && call.arguments[2] > 1 {
                add(What::Short, Extent::Once);
                if name != "getdents64" {
                    add(What::Short, Extent::Persistent);
                }
            }
            for signal in SIGNALS {
                add(What::Signal(*signal), Extent::Once);
            }
            add(What::Pause, Extent::Once);
            add(What::Delay, Extent::Once);
            if has_deadline && *role != Role::caller() {
                add(What::Stop, Extent::Once);
            }
        }
    }
    faults
}

/// What is left out, and why: for the report.
pub fn left_out() -> impl Iterator<Item = String> {
    IMPOSSIBLE.iter().map(|(call, errnos, why)| format!("{call} {errnos}: {why}"))
}
