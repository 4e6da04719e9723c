//! The two ways in: this process goes on as the daemon, or another program does.

use crate::after::{Execute, Return};
use crate::error::{Errno, Error};
use crate::handle::Process;
use crate::options::Daemon;
use crate::sys::{self, StringArray};
use core::ffi::CStr;

impl Daemon<'_> {
    /// `detach()`—turns the calling process into a daemon.
    ///
    /// Returns in the daemon, and exits 0 in the caller (with `_exit(2)`: no atexit handlers, no flushing) once the
    /// daemon is [ready](crate::Handle::ready). With [`return_in_caller`](Self::return_in_caller) it returns in both.
    ///
    /// If the daemon calls [`Handle::fail`](crate::Handle::fail), the caller exits with that status; with
    /// `return_in_caller` it gets the error [`Step::Fail`](crate::Step::Fail) with the status for an errno.
    ///
    /// # Errors
    /// In the caller, which is then as it was, and no other process is left: the step that failed and its errno. A
    /// daemon that dies before it is ready is ([`Step::Wait`](crate::Step::Wait), ESRCH). A log that did not exist may
    /// now exist, empty.
    ///
    /// # Safety
    /// The caller must ensure that
    /// - no descriptor above 2 that is not in [`keep`](Self::keep) is used in the daemon afterwards: owners such as
    ///   `std::fs::File`, a runtime's poller or a C library's stream must be gone or never be touched or dropped again;
    /// - nothing that is tied to the process id, to a thread or to the terminal is relied on afterwards: other threads
    ///   do not exist in the daemon, and neither do timers, record locks or pending signals;
    /// - with [`accept_threads`](Self::accept_threads), the daemon calls only async-signal-safe functions if there were
    ///   other threads;
    /// - with feature `raw`, no C library is in the process that would have to know of the forks (see the crate's page);
    /// - with [`handover`](Self::handover), nothing needs the handlers of `pthread_atfork`, no library is just being loaded,
    ///   and no breakpoint or return probe is set (see [the rationale](crate::handover_rationale)).
    ///
    /// # Notes
    /// Signals are blocked in the caller until the sequence is done, and then have their usual meaning while the
    /// daemon gets ready. A caller that one of them ends leaves the daemon running; the daemon learns it from
    /// [`Handle::ready`](crate::Handle::ready) (EPIPE). A caller that is killed (SIGKILL) before the sequence is done
    /// leaves no daemon. A caller that handles SIGCHLD, and has other children or waits for the daemon to get ready,
    /// gets one for the leader.
    ///
    /// # References
    /// `daemon(7)`, `fork(2)`, `setsid(2)`, `credentials(7)`; POSIX.1-2024, General Terminal Interface, 11.1.3.
    pub unsafe fn detach(&self) -> Result<Process, Error> {
        self.start(&Return { is_ready: false })
    }

    /// As [`detach`](Self::detach), but the daemon may be ready when the sequence is done: one whose caller was killed
    /// meanwhile then ends, since nobody was told of it.
    ///
    /// # Safety
    /// As for `detach`.
    #[cfg(feature = "capi")]
    pub(crate) unsafe fn detach_as(&self, is_ready: bool) -> Result<Process, Error> {
        self.start(&Return { is_ready })
    }

    /// `spawn(program, argv, envp)`—starts a program as a daemon and returns its process id.
    ///
    /// The daemon executes `program` (a path; nothing is searched) with `execve(2)`. The caller returns when that has
    /// been done, and never exits (but see [`handover`](Self::handover)). It may have threads: nothing but this library's
    /// code runs in the forked processes.
    ///
    /// # Errors
    /// As for [`detach`](Self::detach), and ([`Step::Exec`](crate::Step::Exec), errno) when the program cannot be
    /// executed. A daemon that is killed just before it executes the program is a failure too.
    ///
    /// # Safety
    /// Both arrays must end with NULL and hold valid C strings. With feature `raw`, no C library is in the process.
    ///
    /// # Notes
    /// The leader stays until the outcome is known: it alone can tell an exec from a death (`setpgid(2)`, EACCES). A
    /// program that the kernel kills while it loads it (no memory for its segments) counts as executed. If the caller
    /// ends, by whatever signal, before the leader has told it the outcome, the daemon is killed too.
    ///
    /// With a [readiness](Self::readiness) to wait for, a program that ends before is an error:
    /// ([`Step::Fail`](crate::Step::Fail), its exit status) or ([`Step::Wait`](crate::Step::Wait), ESRCH), and
    /// ([`Step::Notify`](crate::Step::Notify), errno) if it had told an `ERRNO=`.
    pub unsafe fn spawn(&self, program: &CStr, argv: StringArray, envp: StringArray) -> Result<i32, Error> {
        // SAFETY: the caller's promise.
        let execute = || unsafe { sys::execve(program, argv, envp) };
        // SAFETY: an execve, and nothing else.
        unsafe { self.spawn_with(&execute) }
    }

    /// `spawn_with(execute)`—as [`spawn`](Self::spawn), but that function executes the program: it may try one after
    /// the other, in the daemon's root and working directory. It returns the errno of its failure,
    /// and after EINTR it is called again.
    ///
    /// # Errors
    /// As for `spawn`.
    ///
    /// # Safety
    /// As for `spawn`; and the function may only make calls that are async-signal-safe, and must leave descriptors and
    /// signals alone. With [`handover`](Self::handover) what it writes, it writes into the caller's memory.
    pub unsafe fn spawn_with(&self, execute: &dyn Fn() -> Errno) -> Result<i32, Error> {
        match self.return_in_caller().accept_threads().start(&Execute(execute))? {
            Process::Caller { daemon } => Ok(daemon),
            Process::Daemon(_) => sys::exit(1), // the daemon has executed the program or exited
        }
    }
}
