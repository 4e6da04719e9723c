//! The command `untty COMMAND…`: starts a program as a daemon, in place of `nohup COMMAND &`.
//!
//! It has neither std nor an allocator and, with the raw backend, no C library either.

#![no_std]
#![no_main]

use core::ffi::{CStr, c_int};
use untty::{Daemon, Errno, Error, NotifySocket, Readiness, Stdio, Step, sys, text};

#[cfg(not(feature = "libc"))]
#[path = "../sys/memory.rs"]
mod memory;

/// The command line.
#[path = "untty/arguments.rs"]
mod arguments;
/// What the user is told.
#[path = "untty/messages.rs"]
mod messages;
/// Where the program is.
#[path = "untty/program.rs"]
mod program;
/// Who the user is.
#[path = "untty/users.rs"]
mod users;

use arguments::{Arguments, Request, Text};
use messages::{CANNOT_EXECUTE, End, NOT_FOUND, Told, UNTTY_FAILED, complain};
use program::{NO_SUCH_FILE, Program};

fn run(arguments: Arguments) -> c_int {
    let result = arguments::read(arguments).and_then(|request| match request.print {
        Some(text) => messages::print(text.as_bytes()),
        None => start(&request, arguments),
    });
    result.map_or_else(|Told(status)| status, |()| 0)
}

fn start(request: &Request, arguments: Arguments) -> Result<(), Told> {
    let command = arguments.get(request.command).unwrap_or_default();
    let keep = request.keep.get(..request.kept).unwrap_or_default();
    for fd in keep {
        refuse_closed(*fd, "options", b"a descriptor to keep is not open")?;
    }
    if request.print_pid {
        refuse_closed(sys::STDOUT, "print", b"standard output is closed")?;
    }
    let user = request.user.map(users::find).transpose()?;
    let mut program = Program::new(arguments, request.command);
    let supervised = request.if_supervised && untty::supervisor(program.environment()).is_some();
    if sys::getpid() == 1 && !supervised {
        return Err(process_1());
    }
    let socket = if request.notify && !supervised { Some(notify_socket(request)?) } else { None };
    let variable = socket.as_ref().map(notify_variable);
    if let Some(variable) = &variable {
        program.set_variable(variable.as_c_str().unwrap_or_default());
    }
    let mut daemon = as_daemon(request, keep).environment(program.environment());
    if let Some(user) = &user {
        daemon = daemon.user(user.uid, user.gid, user.groups());
    }
    if let Some(socket) = &socket {
        daemon = daemon.readiness(Readiness::Notify(socket));
    }
    let pid = launch(&daemon, request, command, program);
    let pid = pid.map_err(|error| explain(request, command, error, socket.as_ref()))?;
    if request.print_pid {
        messages::tell_pid(pid);
    }
    Ok(())
}

/// The end of process 1 of a pid namespace is the end of all others in it: pid_namespaces(7).
fn process_1() -> Told {
    const INVALID: Errno = Errno::new(22);
    let what = b"this is process 1, whose end would be the daemon's";
    complain(UNTTY_FAILED, Step::Setsid.name(), &[what], End::Errno(INVALID))
}

fn refuse_closed(fd: c_int, step: &str, what: &[u8]) -> Result<(), Told> {
    sys::fd_flags(fd).map(drop).map_err(|errno| complain(UNTTY_FAILED, step, &[what], End::Errno(errno)))
}

fn as_daemon<'a>(request: &'a Request, keep: &'a [c_int]) -> Daemon<'a> {
    let mut daemon = Daemon::new().keep(keep).hold_signals();
    if let Some(path) = request.input {
        daemon = daemon.stdin(Stdio::File(path));
    }
    if let Some(path) = request.output {
        daemon = daemon.stdout(Stdio::File(path)).stderr(Stdio::Stdout);
    }
    if let Some(path) = request.error {
        daemon = daemon.stderr(Stdio::File(path));
    }
    if let Some(path) = request.pid_file {
        daemon = daemon.pid_file(path);
    }
    if let Some(path) = request.root {
        daemon = daemon.root(path);
    }
    if let Some(path) = request.directory {
        daemon = daemon.directory(path);
    }
    if let Some(mask) = request.umask {
        daemon = daemon.umask(mask);
    }
    if let Some(time) = request.timeout {
        daemon = daemon.deadline(time);
    }
    if let Some(number) = request.ready_fd {
        daemon = daemon.readiness(Readiness::Newline(number));
    }
    if request.if_supervised {
        daemon = daemon.stay_if_supervised();
    }
    daemon
}

/// The socket on which COMMAND says that it is ready.
fn notify_socket(request: &Request) -> Result<NotifySocket, Told> {
    NotifySocket::new().map_err(|error| explain(request, c"", error, None))
}

/// Where COMMAND finds it.
fn notify_variable(socket: &NotifySocket) -> text::Text<128> {
    let mut variable = text::Text::new();
    variable.add(b"NOTIFY_SOCKET=").add(socket.name());
    variable
}

/// Starts COMMAND. In another root directory nobody can tell from outside where it is: links lead elsewhere there.
fn launch(daemon: &Daemon<'_>, request: &Request, command: Text, program: Program) -> Result<c_int, Error> {
    let found = match request.root {
        None => Some(program::find(command, program.environment()).map_err(|errno| Error::new(Step::Exec, errno))?),
        Some(_) => None,
    };
    let execute = || match &found {
        Some(path) => program.execute(path.as_c_str().unwrap_or_default()),
        None => program.execute_first(command),
    };
    // SAFETY: it executes, and no C library is in the process with the raw backend.
    unsafe { daemon.spawn_with(&execute) }
}

/// An error of the library, with the name of what the user gave.
fn explain(request: &Request, command: Text, error: Error, socket: Option<&NotifySocket>) -> Told {
    let (step, errno) = (error.step(), error.errno());
    let name = command.to_bytes();
    let status = socket.map(NotifySocket::status).unwrap_or_default();
    let [before, said, behind]: [&[u8]; 3] =
        if status.bytes().is_empty() { [b""; 3] } else { [b" (", status.bytes(), b")"] };
    let given = match step {
        Step::Exec => {
            let status = if errno == NO_SUCH_FILE { NOT_FOUND } else { CANNOT_EXECUTE };
            return complain(status, step.name(), &[name], End::Errno(errno));
        }
        Step::Fail => {
            let what = [name, b" ended before it was ready", before, said, behind];
            return complain(UNTTY_FAILED, step.name(), &what, End::ExitStatus(errno.number()));
        }
        Step::Notify if socket.is_some() => {
            let what = [name, b" gave up", before, said, behind];
            return complain(UNTTY_FAILED, step.name(), &what, End::Errno(errno));
        }
        Step::PidFile => return explain_pid_file(request, error),
        Step::Stdin => request.input.or(Some(c"/dev/null")),
        Step::Stdout => request.output.or(Some(c"/dev/null")),
        Step::Stderr => request.error.or(request.output).or(Some(c"/dev/null")),
        Step::Root => request.root,
        Step::Directory => request.directory,
        Step::Groups | Step::Gid | Step::Uid => request.user,
        _ => None,
    };
    let what = given.map_or(error.what().as_bytes(), CStr::to_bytes);
    complain(UNTTY_FAILED, step.name(), &[what, before, said, behind], End::Errno(errno))
}

/// Of a daemon that runs already, its process id too.
fn explain_pid_file(request: &Request, error: Error) -> Told {
    const EXISTS: Errno = Errno::new(17);
    let path = request.pid_file.unwrap_or_default();
    let owner = if error.errno() == EXISTS { untty::pid_file_read(path) } else { Ok(None) };
    let mut process = text::Text::<64>::new();
    if let Ok(Some(pid)) = owner {
        process.add(b": already running, process ").add_number(pid.unsigned_abs().into());
    } else {
        process.add(b": ").add(error.what().as_bytes());
    }
    complain(UNTTY_FAILED, error.step().name(), &[path.to_bytes(), process.bytes()], End::Errno(error.errno()))
}

// Where it begins.

// The libc crate links the C library only if nobody has asked it to rely on std for that; who else is in the build
// (the tests' dependencies) must not decide.
#[cfg(feature = "libc")]
#[link(name = "c")]
unsafe extern "C" {}

/// With the C library: its start files call this.
#[cfg(feature = "libc")]
#[unsafe(no_mangle)]
extern "C" fn main(_: c_int, argv: sys::StringArray, envp: sys::StringArray) -> c_int {
    run(Arguments { argv, envp })
}

/// Without one: the kernel begins here, with the arguments on the stack.
#[cfg(not(feature = "libc"))]
mod start_file {
    use super::{Arguments, run, sys};
    use core::ffi::c_char;

    #[cfg(target_arch = "x86_64")]
    core::arch::global_asm!(
        ".globl _start",
        "_start:",
        "xor ebp, ebp",  // the outermost frame (psABI, 3.4.1)
        "mov rdi, rsp",  // argc, argv, NULL, envp, NULL
        "and rsp, -16",  // calls are made with an aligned stack
        "call {begin}",
        "ud2",
        begin = sym begin,
    );

    #[cfg(target_arch = "aarch64")]
    core::arch::global_asm!(
        ".globl _start",
        "_start:",
        "mov x29, xzr",
        "mov x30, xzr",
        "mov x0, sp", // argc, argv, NULL, envp, NULL; the kernel aligns it
        "b {begin}",
        begin = sym begin,
    );

    #[cfg(target_arch = "riscv64")]
    core::arch::global_asm!(
        ".globl _start",
        "_start:",
        ".option push",
        ".option norelax",
        "lla gp, __global_pointer$",
        ".option pop",
        "mv a0, sp", // argc, argv, NULL, envp, NULL; the kernel aligns it
        "tail {begin}",
        begin = sym begin,
    );

    extern "C" fn begin(stack: *const usize) -> ! {
        // SAFETY: the first word is argc.
        let argc = unsafe { *stack };
        let argv = stack.wrapping_add(1).cast::<*const c_char>();
        sys::exit(run(Arguments { argv, envp: argv.wrapping_add(argc + 1) }))
    }
}

/// Nothing unwinds here, but the precompiled core, if little of it is optimised away, asks for who would handle it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// The same, for the tables that 32-bit ARM's code always comes with (EHABI, 10.2).
#[cfg(target_arch = "arm")]
#[unsafe(no_mangle)]
extern "C" fn __aeabi_unwind_cpp_pr0() {}

/// See [`__aeabi_unwind_cpp_pr0`].
#[cfg(target_arch = "arm")]
#[unsafe(no_mangle)]
extern "C" fn __aeabi_unwind_cpp_pr1() {}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::exit(UNTTY_FAILED)
}
