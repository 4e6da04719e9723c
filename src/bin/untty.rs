//! The command `untty COMMAND…`: starts a program as a daemon, in place of `nohup COMMAND &`.
//!
//! It has neither std nor an allocator and, with the raw backend, no C library either.

#![no_std]
#![no_main]

use core::ffi::{CStr, c_int};
use untty::sys::{self, exit};
use untty::{Daemon, Errno, Error, NotifySocket, Readiness, Stdio, Step};

#[cfg(not(feature = "libc"))]
#[path = "../sys/memory.rs"]
mod memory;

/// The command line.
#[path = "untty/arguments.rs"]
mod arguments;
/// Lines, paths and names.
#[path = "untty/buffer.rs"]
mod buffer;
/// What the user is told.
#[path = "untty/messages.rs"]
mod messages;
/// Where the program is.
#[path = "untty/program.rs"]
mod program;
/// What there is to know of a user.
#[path = "untty/user.rs"]
mod user;
/// Who the user is.
#[path = "untty/users.rs"]
mod users;

use arguments::{Arguments, Request};
use buffer::Buffer;
use messages::fail;
use program::Program;
use user::User;

fn run(arguments: Arguments) -> ! {
    let mut request = Request::new(arguments);
    request.read();
    match request.print {
        Some(text) => messages::print(text),
        None => start(&request, Program::new(arguments, request.command)),
    }
}

fn start(request: &Request, mut program: Program) -> ! {
    for fd in request.keep.iter().filter(|fd| **fd >= 0) {
        refuse_closed(*fd, "options: a descriptor to keep is not open");
    }
    if request.has(b'P') {
        refuse_closed(sys::STDOUT, "print: standard output is closed");
    }
    let mut user = User::new();
    if let Some(given) = request.value(b'u') {
        users::find(given, &mut user);
    }
    let supervised = request.has(b'S') && untty::supervisor(program.environment()).is_some();
    if sys::getpid() == 1 && !supervised {
        // The end of process 1 of a pid namespace is the end of all others in it: pid_namespaces(7).
        fail("setsid: this is process 1, whose end would be the daemon's", b"", INVALID);
    }
    let (mut variable, mut socket) = (Buffer::new(), None);
    if request.has(b'n') && !supervised {
        socket = Some(notify_socket(request, &mut program, &mut variable));
    }
    let mut daemon = as_daemon(request).environment(program.environment());
    if request.has(b'u') {
        daemon = daemon.user(user.uid, user.gid, user.groups());
    }
    if let Some(socket) = &socket {
        daemon = daemon.readiness(Readiness::Notify(socket));
    }
    let pid = launch(&daemon, request, program);
    let pid = pid.unwrap_or_else(|error| explain(request, error, socket.as_ref()));
    if request.has(b'P') {
        messages::print_pid(pid);
    }
    exit(0)
}

const NO_SUCH_FILE: Errno = Errno::new(2);
const EXISTS: Errno = Errno::new(17);
const INVALID: Errno = Errno::new(22);

fn refuse_closed(fd: c_int, what: &str) {
    if let Err(errno) = sys::fd_flags(fd) {
        fail(what, b"", errno);
    }
}

#[inline(never)] // smaller
fn as_daemon(request: &Request) -> Daemon<'_> {
    let mut daemon = Daemon::new().keep(&request.keep).hold_signals();
    if let Some(path) = request.value(b'i') {
        daemon = daemon.stdin(Stdio::File(path));
    }
    if let Some(path) = request.value(b'o') {
        daemon = daemon.stdout(Stdio::File(path)).stderr(Stdio::Stdout);
    }
    if let Some(path) = request.value(b'e') {
        daemon = daemon.stderr(Stdio::File(path));
    }
    if let Some(path) = request.value(b'p') {
        daemon = daemon.pid_file(path);
    }
    if let Some(path) = request.value(b'r') {
        daemon = daemon.root(path);
    }
    if let Some(path) = request.value(b'C') {
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
    if request.has(b'S') {
        daemon = daemon.stay_if_supervised();
    }
    daemon
}

/// The socket on which COMMAND says that it is ready, and the variable by which it finds it.
fn notify_socket(request: &Request, program: &mut Program, variable: &mut Buffer) -> NotifySocket {
    let socket = NotifySocket::new().unwrap_or_else(|error| explain(request, error, None));
    variable.add(program::NOTIFY_SOCKET).add(socket.name());
    program.set_notify_socket(variable.as_c_str().unwrap_or_default());
    socket
}

/// Starts COMMAND. In another root directory nobody can tell from outside where it is: links lead elsewhere there.
#[inline(never)] // smaller: the large things in a frame make all else in it far away
fn launch(daemon: &Daemon<'_>, request: &Request, program: Program) -> Result<c_int, Error> {
    let (mut name, mut path) = (request.name, Buffer::new());
    if !request.has(b'r') {
        program.find(name, &mut path).map_err(|errno| Error::new(Step::Exec, errno))?;
        name = path.as_c_str().unwrap_or_default();
    }
    let execute = || program.execute_first(name);
    // SAFETY: it executes, and no C library is in the process with the raw backend.
    unsafe { daemon.spawn_with(&execute) }
}

/// Fails with an error of the library, and the name of what the user gave.
fn explain(request: &Request, error: Error, socket: Option<&NotifySocket>) -> ! {
    let (step, errno) = (error.step(), error.errno());
    let given = match step {
        Step::Exec | Step::Fail => Some(request.name),
        Step::Notify => socket.map(|_| request.name),
        Step::Stderr if !request.has(b'e') => request.value(b'o'),
        _ => request.value(option_of(step)),
    };
    let not_given: &[u8] = match step {
        Step::Stdin | Step::Stdout | Step::Stderr => b"/dev/null",
        _ => error.what().as_bytes(),
    };
    let story: &[u8] = match step {
        Step::Fail => b" ended before it was ready",
        Step::Notify if given.is_some() => b" gave up",
        _ => b"",
    };
    let mut line = Buffer::new();
    line.add(b"untty: ").add(step.name().as_bytes()).add(b": ");
    line.add(given.map_or(not_given, CStr::to_bytes)).add(story);
    if step == Step::PidFile {
        explain_pid_file(&mut line, given.unwrap_or_default(), error);
    }
    if let Some(status) = socket.map(NotifySocket::status).filter(|status| !status.bytes().is_empty()) {
        line.add(b" (").add(status.bytes()).add(b")");
    }
    match step {
        Step::Fail => messages::tell(&mut line, b": exit status ", None, errno.number()),
        _ => messages::tell(&mut line, b": ", errno.name(), errno.number()),
    }
    exit(match (step, errno) {
        (Step::Exec, NO_SUCH_FILE) => messages::NOT_FOUND,
        (Step::Exec, _) => messages::CANNOT_EXECUTE,
        _ => messages::UNTTY_FAILED,
    })
}

/// The option that names what a step works with.
#[inline(never)] // smaller
fn option_of(step: Step) -> u8 {
    match step {
        Step::Stdin => b'i',
        Step::Stdout => b'o',
        Step::Stderr => b'e',
        Step::Root => b'r',
        Step::Directory => b'C',
        Step::PidFile => b'p',
        Step::Groups | Step::Gid | Step::Uid => b'u',
        _ => 0,
    }
}

/// Of a daemon that runs already, its process id too.
fn explain_pid_file(line: &mut Buffer, path: &CStr, error: Error) {
    let owner = if error.errno() == EXISTS { untty::pid_file_read(path) } else { Ok(None) };
    match owner {
        Ok(Some(pid)) => line.add(b": already running, process ").add_number(pid.unsigned_abs()),
        _ => line.add(b": ").add(error.what().as_bytes()),
    };
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
    use super::{Arguments, run};
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
        run(Arguments { argv, envp: argv.wrapping_add(argc + 1) })
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

#[cfg(not(untty_panic_handler))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(messages::UNTTY_FAILED)
}

/// As it is installed: no path panics, and this proves it, as in the library.
#[cfg(untty_panic_handler)]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn untty_has_a_path_that_panics() -> !;
    }
    // SAFETY: never reached, because never linked.
    unsafe { untty_has_a_path_that_panics() }
}
