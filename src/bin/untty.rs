//! The command `untty COMMAND…`: starts a program as a daemon, in place of `nohup COMMAND &`.
//!
//! It has neither std nor an allocator and, with the raw backend, no C library either. From top to bottom: reading the
//! arguments, finding the program, starting it, telling the user.

#![no_std]
#![no_main]

use core::ffi::{CStr, c_int};
use core::time::Duration;
use untty::{Daemon, Errno, Error, Stdio, Step, sys};

#[cfg(not(feature = "libc"))]
#[path = "../sys/memory.rs"]
mod memory;

/// Exit status: this command failed.
const UNTTY_FAILED: c_int = 125;
/// Exit status: the program was found but cannot be executed.
const CANNOT_EXECUTE: c_int = 126;
/// Exit status: there is no such program.
const NOT_FOUND: c_int = 127;

const HELP: &str = "\
Usage: untty [OPTION]... [--] COMMAND [ARG]...
Start COMMAND as a daemon, and exit when it runs: in a session of its own without a terminal,
with working directory /, umask 027, standard streams on /dev/null and no other descriptor open.

  -o, --output FILE       append standard output and error to FILE
  -e, --error FILE        append standard error to FILE
  -i, --input FILE        read standard input from FILE
  -C, --directory DIR     working directory
  -m, --umask OCTAL       umask, 0 to 777
  -k, --keep-fd N         keep descriptor N open; may be repeated
  -t, --timeout SECONDS   give up, and leave nothing, if COMMAND does not run by then
  -P, --print-pid         print the daemon's process id
  -h, --help              print this
  -V, --version           print the version

Exit status: 0 COMMAND runs; 125 untty failed; 126 COMMAND cannot be executed; 127 no such COMMAND.
";
const VERSION: &str = concat!("untty ", env!("CARGO_PKG_VERSION"), "\n");

/// The program's arguments and its environment, both ended by NULL.
#[derive(Clone, Copy)]
struct Arguments {
    argv: sys::StringArray,
    envp: sys::StringArray,
}

/// A string that lives as long as the process.
type Text = &'static CStr;

/// What went wrong, as the one line that is printed: `untty: STEP: what: ERRNO`.
struct Failure {
    status: c_int,
    step: &'static str,
    what: [&'static [u8]; 3],
    errno: Option<Errno>,
}

fn run(arguments: Arguments) -> c_int {
    let result = read(arguments).and_then(|request| match request.print {
        Some(text) => print(text.as_bytes()),
        None => start(&request, arguments),
    });
    match result {
        Ok(()) => 0,
        Err(failure) => {
            failure.tell();
            failure.status
        }
    }
}

// Reading the arguments.

/// What the user wants.
struct Request {
    /// A text instead of a daemon.
    print: Option<&'static str>,
    input: Option<Text>,
    output: Option<Text>,
    error: Option<Text>,
    directory: Option<Text>,
    umask: Option<u32>,
    keep: [c_int; Request::MOST_KEPT],
    kept: usize,
    timeout: Option<Duration>,
    print_pid: bool,
    /// COMMAND's index in the arguments.
    command: usize,
}

impl Request {
    const MOST_KEPT: usize = 64;
}

/// The options: a letter, a long name, and whether a value follows.
const OPTIONS: [(u8, &str, bool); 10] = [
    (b'o', "output", true),
    (b'e', "error", true),
    (b'i', "input", true),
    (b'C', "directory", true),
    (b'm', "umask", true),
    (b'k', "keep-fd", true),
    (b't', "timeout", true),
    (b'P', "print-pid", false),
    (b'h', "help", false),
    (b'V', "version", false),
];

impl Arguments {
    fn get(self, index: usize) -> Option<Text> {
        text(self.argv, index)
    }
}

/// The string at that index of an array; `None` at its end.
fn text(array: sys::StringArray, index: usize) -> Option<Text> {
    // SAFETY: nobody asks for more than the first index past the last string, where the NULL is.
    let string = unsafe { array.wrapping_add(index).read() };
    if string.is_null() {
        return None;
    }
    // SAFETY: the kernel gave the process valid strings, and nobody changes them while they are borrowed.
    Some(unsafe { CStr::from_ptr(string) })
}

/// Options come before COMMAND, as POSIX wants it: what follows COMMAND is its own.
fn read(arguments: Arguments) -> Result<Request, Failure> {
    let mut request = Request {
        print: None,
        input: None,
        output: None,
        error: None,
        directory: None,
        umask: None,
        keep: [-1; Request::MOST_KEPT],
        kept: 0,
        timeout: None,
        print_pid: false,
        command: 1,
    };
    if arguments.get(0).is_none() {
        return Err(misuse([b"there is not even a name in the arguments", b"", b""])); // execve(2) allows it, up to 5.17
    }
    while let Some(argument) = arguments.get(request.command) {
        let bytes = argument.to_bytes();
        match bytes {
            b"--" => {
                request.command += 1;
                break;
            }
            [b'-', b'-', ..] => read_long(&mut request, argument, arguments)?,
            [b'-', _, ..] => read_short(&mut request, argument, arguments)?,
            _ => break,
        }
        request.command += 1;
        if request.print.is_some() {
            return Ok(request);
        }
    }
    match arguments.get(request.command) {
        Some(_) => Ok(request),
        None => Err(misuse([b"COMMAND is missing", b"", b""])),
    }
}

/// `--name`, `--name=value` or `--name value`.
fn read_long(request: &mut Request, argument: Text, arguments: Arguments) -> Result<(), Failure> {
    let bytes = argument.to_bytes().get(2..).unwrap_or_default();
    let length = bytes.iter().position(|byte| *byte == b'=');
    let name = bytes.get(..length.unwrap_or(bytes.len())).unwrap_or_default();
    let Some((letter, _, takes_value)) = OPTIONS.iter().find(|option| option.1.as_bytes() == name) else {
        return Err(misuse([b"unknown option '", argument.to_bytes(), b"'"]));
    };
    let given = length.and_then(|length| rest(argument, 2 + length + 1));
    if !takes_value && given.is_some() {
        return Err(misuse([b"option '", argument.to_bytes(), b"' takes no value"]));
    }
    let value = if *takes_value { Some(given.map_or_else(|| next(request, argument, arguments), Ok)?) } else { None };
    set(request, *letter, value)
}

/// `-x`, `-xyz`, `-ovalue` or `-o value`.
fn read_short(request: &mut Request, argument: Text, arguments: Arguments) -> Result<(), Failure> {
    let bytes = argument.to_bytes();
    for (index, letter) in bytes.iter().enumerate().skip(1) {
        let Some((letter, _, takes_value)) = OPTIONS.iter().find(|option| option.0 == *letter) else {
            return Err(misuse([b"unknown option '", argument.to_bytes(), b"'"]));
        };
        if *takes_value {
            let attached = rest(argument, index + 1).filter(|value| !value.is_empty());
            let value = attached.map_or_else(|| next(request, argument, arguments), Ok)?;
            return set(request, *letter, Some(value));
        }
        set(request, *letter, None)?;
    }
    Ok(())
}

/// The string from that byte on.
fn rest(argument: Text, from: usize) -> Option<Text> {
    CStr::from_bytes_with_nul(argument.to_bytes_with_nul().get(from..)?).ok()
}

/// The argument after this one, which is an option's value.
fn next(request: &mut Request, option: Text, arguments: Arguments) -> Result<Text, Failure> {
    request.command += 1;
    arguments.get(request.command).ok_or(misuse([b"option '", option.to_bytes(), b"' needs a value"]))
}

/// Does what one option says.
fn set(request: &mut Request, letter: u8, value: Option<Text>) -> Result<(), Failure> {
    let bytes = value.map(CStr::to_bytes).unwrap_or_default();
    match letter {
        b'o' => request.output = value,
        b'e' => request.error = value,
        b'i' => request.input = value,
        b'C' => request.directory = value,
        b'm' => {
            let mask = number(bytes, 8).filter(|mask| *mask <= 0o777);
            request.umask = Some(mask.ok_or(misuse([b"not a umask from 0 to 777: '", bytes, b"'"]))?);
        }
        b'k' => {
            let fd = number(bytes, 10).and_then(|fd| c_int::try_from(fd).ok());
            let fd = fd.ok_or(misuse([b"not a descriptor: '", bytes, b"'"]))?;
            let place =
                request.keep.get_mut(request.kept).ok_or(misuse([b"more than 64 descriptors to keep", b"", b""]))?;
            *place = fd;
            request.kept += 1;
        }
        b't' => {
            let time = milliseconds(bytes).ok_or(misuse([b"not a number of seconds above 0: '", bytes, b"'"]))?;
            request.timeout = Some(time);
        }
        b'P' => request.print_pid = true,
        b'h' => request.print = Some(HELP),
        _ => request.print = Some(VERSION),
    }
    Ok(())
}

/// A number that is nothing but digits.
fn number(bytes: &[u8], base: u32) -> Option<u32> {
    if bytes.is_empty() {
        return None;
    }
    bytes
        .iter()
        .try_fold(0_u32, |number, byte| number.checked_mul(base)?.checked_add(char::from(*byte).to_digit(base)?))
}

/// Seconds, with up to three decimals.
fn milliseconds(bytes: &[u8]) -> Option<Duration> {
    let point = bytes.iter().position(|byte| *byte == b'.').unwrap_or(bytes.len());
    let seconds = number(bytes.get(..point)?, 10)?;
    let decimals = bytes.get(point + 1..).unwrap_or_default();
    let thousandths = match decimals.len() {
        0 if point == bytes.len() => 0,
        1 => number(decimals, 10)? * 100,
        2 => number(decimals, 10)? * 10,
        3 => number(decimals, 10)?,
        _ => return None,
    };
    let time = u64::from(seconds) * 1000 + u64::from(thousandths);
    (time > 0).then_some(Duration::from_millis(time))
}

// Finding the program.

/// A path with its NUL.
struct Path {
    bytes: [u8; Path::MOST],
    length: usize,
}

impl Path {
    /// `PATH_MAX`: the kernel takes no longer one.
    const MOST: usize = 4096;

    /// Puts pieces together; `None` when that gets too long.
    fn join(pieces: [&[u8]; 3]) -> Option<Self> {
        let mut path = Self { bytes: [0; Self::MOST], length: 0 };
        for byte in pieces.into_iter().flatten() {
            *path.bytes.get_mut(path.length)? = *byte;
            path.length += 1;
        }
        (path.length < Self::MOST).then_some(path)
    }

    fn as_c_str(&self) -> &CStr {
        self.bytes.get(..=self.length).and_then(|bytes| CStr::from_bytes_with_nul(bytes).ok()).unwrap_or_default()
    }
}

/// The program's absolute path: found now, because it is executed in another directory.
fn find(command: Text, envp: sys::StringArray) -> Result<Path, Errno> {
    let name = command.to_bytes();
    if name.is_empty() {
        return Err(NO_SUCH_FILE);
    }
    if name.contains(&b'/') {
        let path = absolute(b"", name)?;
        return executable(&path).map(|()| path);
    }
    let mut worst = NO_SUCH_FILE;
    if name.len() > NAME_MAX {
        return Err(TOO_LONG);
    }
    for directory in variable(b"PATH=", envp).unwrap_or(DEFAULT_PATH).split(|byte| *byte == b':') {
        // An element that makes too long a path, or is relative to a directory that is gone, hides nothing behind it.
        let Ok(path) = absolute(directory, name) else { continue };
        match executable(&path) {
            Ok(()) => return Ok(path),
            // As execvp does it: what is there but may not be executed is the better story.
            Err(errno) if errno != NO_SUCH_FILE && errno != NOT_A_DIRECTORY => worst = errno,
            Err(_) => {}
        }
    }
    Err(worst)
}

const NO_SUCH_FILE: Errno = Errno::new(2);
const NOT_EXECUTABLE: Errno = Errno::new(8);
const BAD_DESCRIPTOR: Errno = Errno::new(9);
const NO_ACCESS: Errno = Errno::new(13);
const NOT_A_DIRECTORY: Errno = Errno::new(20);
const INVALID: Errno = Errno::new(22);
const TOO_LONG: Errno = Errno::new(36);

/// What a file's name can be long, on any file system.
const NAME_MAX: usize = 255;

/// Where execvp looks when PATH is not set.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// The path of a name in a directory; of an empty one, which is the current directory, and of a relative one too.
fn absolute(directory: &[u8], name: &[u8]) -> Result<Path, Errno> {
    let separator: &[u8] = if directory.is_empty() { b"" } else { b"/" };
    let path = Path::join([directory, separator, name]).ok_or(TOO_LONG)?;
    if path.bytes.first() == Some(&b'/') {
        return Ok(path);
    }
    let mut current = [0; Path::MOST];
    let length = sys::getcwd(&mut current)?.saturating_sub(1);
    let relative = path.bytes.get(..path.length).unwrap_or_default();
    Path::join([current.get(..length).unwrap_or_default(), b"/", relative]).ok_or(TOO_LONG)
}

fn executable(path: &Path) -> Result<(), Errno> {
    if sys::stat(path.as_c_str())?.mode & sys::S_IFMT != sys::S_IFREG {
        return Err(NO_ACCESS);
    }
    sys::access(path.as_c_str(), sys::X_OK)
}

/// A variable of the environment, named with its `=`.
fn variable(name: &[u8], envp: sys::StringArray) -> Option<&'static [u8]> {
    (0..).map_while(|index| text(envp, index)).find_map(|entry| entry.to_bytes().strip_prefix(name))
}

// Starting it.

fn start(request: &Request, arguments: Arguments) -> Result<(), Failure> {
    let command = arguments.get(request.command).unwrap_or_default();
    let keep = request.keep.get(..request.kept).unwrap_or_default();
    if keep.iter().any(|fd| sys::fd_flags(*fd).is_err()) {
        return Err(failure("options", b"a descriptor to keep is not open", BAD_DESCRIPTOR));
    }
    if request.print_pid && sys::fd_flags(sys::STDOUT).is_err() {
        return Err(failure("print", b"standard output is closed", BAD_DESCRIPTOR));
    }
    let path = find(command, arguments.envp).map_err(|errno| not_executed(command, errno))?;
    let daemon = as_daemon(request, keep);
    // SAFETY: the arguments go on to their NULL, as does the environment.
    let argv = unsafe { arguments.argv.add(request.command) };
    // SAFETY: both arrays are the kernel's own, and no C library is in the process with the raw backend.
    let started = match unsafe { daemon.spawn(path.as_c_str(), argv, arguments.envp) } {
        Err(error) if error.step() == Step::Exec && error.errno() == NOT_EXECUTABLE => {
            start_script(&daemon, &path, request.command, arguments)
        }
        result => result,
    };
    let pid = started.map_err(|error| explain(request, command, error))?;
    if request.print_pid {
        tell_pid(pid);
    }
    Ok(())
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
    if let Some(path) = request.directory {
        daemon = daemon.directory(path);
    }
    if let Some(mask) = request.umask {
        daemon = daemon.umask(mask);
    }
    if let Some(time) = request.timeout {
        daemon = daemon.deadline(time);
    }
    daemon
}

/// A file that is executable but no program the kernel knows is a script for the shell, to execvp and so to nohup.
fn start_script(daemon: &Daemon<'_>, path: &Path, command: usize, arguments: Arguments) -> Result<c_int, Error> {
    const SHELL: &CStr = c"/bin/sh";
    // "sh", the script, its arguments: one more than there are, and our own name is before them.
    let argv = arguments.argv.cast_mut();
    // SAFETY: COMMAND's index is at least 1, so both places are in the array, and nobody else looks at them any more.
    let argv = unsafe { argv.add(command - 1) };
    // SAFETY: as above.
    unsafe { argv.write(SHELL.as_ptr()) };
    // SAFETY: as above.
    unsafe { argv.wrapping_add(1).write(path.as_c_str().as_ptr()) };
    // SAFETY: the array still ends with NULL; the strings in it live through the call.
    unsafe { daemon.spawn(SHELL, argv.cast_const(), arguments.envp) }
}

// Telling the user.

fn failure(step: &'static str, what: &'static [u8], errno: Errno) -> Failure {
    Failure { status: UNTTY_FAILED, step, what: [what, b"", b""], errno: Some(errno) }
}

fn misuse(what: [&'static [u8]; 3]) -> Failure {
    Failure { status: UNTTY_FAILED, step: "options", what, errno: Some(INVALID) }
}

fn not_executed(command: Text, errno: Errno) -> Failure {
    let status = if errno == NO_SUCH_FILE { NOT_FOUND } else { CANNOT_EXECUTE };
    Failure { status, step: Step::Exec.name(), what: [command.to_bytes(), b"", b""], errno: Some(errno) }
}

/// An error of the library, with the name of what the user gave.
fn explain(request: &Request, command: Text, error: Error) -> Failure {
    let given = match error.step() {
        Step::Exec => return not_executed(command, error.errno()),
        Step::Stdin => request.input,
        Step::Stdout => request.output,
        Step::Stderr => request.error.or(request.output),
        Step::Directory => request.directory,
        _ => None,
    };
    let what = match given {
        Some(text) => text.to_bytes(),
        None if matches!(error.step(), Step::Stdin | Step::Stdout | Step::Stderr) => b"/dev/null",
        None => error.what().as_bytes(),
    };
    failure(error.step().name(), what, error.errno())
}

impl Failure {
    /// One line, in one write.
    fn tell(&self) {
        let mut line = Line::new();
        line.add(b"untty: ");
        line.add(self.step.as_bytes());
        line.add(b": ");
        self.what.iter().for_each(|piece| line.add(piece));
        line.length = line.length.min(Line::MOST - 64); // whatever the name, the errno is told
        if let Some(errno) = self.errno {
            line.add(b": ");
            line.add_errno(errno);
        }
        line.end();
        // Ignored: there is nowhere else to complain.
        let _ = write_all(sys::STDERR, line.bytes());
    }
}

/// The daemon runs, so whatever happens here, the status is 0 (SIGPIPE is blocked, as all signals are by now); but its
/// process id must not be lost.
fn tell_pid(pid: c_int) {
    let mut line = Line::new();
    line.add_number(pid.unsigned_abs());
    line.end();
    if let Err(errno) = write_all(sys::STDOUT, line.bytes()) {
        let mut line = Line::new();
        line.add(b"untty: print: the daemon runs, but its process id cannot be printed: ");
        line.add_number(pid.unsigned_abs());
        line.add(b": ");
        line.add_errno(errno);
        line.end();
        // Ignored: there is nowhere else to complain.
        let _ = write_all(sys::STDERR, line.bytes());
    }
}

fn print(text: &[u8]) -> Result<(), Failure> {
    write_all(sys::STDOUT, text).map_err(|errno| failure("print", b"cannot write to standard output", errno))
}

fn write_all(fd: c_int, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match sys::write(fd, bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(errno) if errno == INTERRUPTED => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

const INTERRUPTED: Errno = Errno::new(4);

/// A line of text; what does not fit is cut, never the line's end.
struct Line {
    bytes: [u8; Line::MOST],
    length: usize,
}

impl Line {
    const MOST: usize = 5120;

    fn new() -> Self {
        Self { bytes: [0; Self::MOST], length: 0 }
    }

    /// Control characters become `?`, so that a strange name cannot make it two lines.
    fn add(&mut self, piece: &[u8]) {
        for byte in piece {
            self.put(if byte.is_ascii_control() { b'?' } else { *byte });
        }
    }

    fn add_number(&mut self, number: u32) {
        if number > 9 {
            self.add_number(number / 10);
        }
        self.put(b"0123456789".get((number % 10) as usize).copied().unwrap_or_default());
    }

    fn add_errno(&mut self, errno: Errno) {
        match errno.name() {
            Some(name) => self.add(name.as_bytes()),
            None => self.add_number(errno.number().unsigned_abs()),
        }
    }

    fn put(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    fn end(&mut self) {
        self.length = self.length.min(Self::MOST - 1);
        self.put(b'\n');
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
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

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    sys::exit(UNTTY_FAILED)
}
