//! The command line, read as POSIX wants it: options come before COMMAND, and what follows COMMAND is its own.

use crate::messages::{End, Told, UNTTY_FAILED, complain};
use core::ffi::{CStr, c_int};
use core::time::Duration;
use untty::text::number;
use untty::{Errno, sys};

const HELP: &str = "\
Usage: untty [OPTION]... [--] COMMAND [ARG]...
Start COMMAND as a daemon, and exit when it runs: in a session of its own without a terminal,
with working directory /, umask 027, standard streams on /dev/null and no other descriptor open.

  -o, --output FILE       append standard output and error to FILE
  -e, --error FILE        append standard error to FILE
  -i, --input FILE        read standard input from FILE
  -p, --pid-file FILE     write the daemon's process id to FILE; refuse to start a second one
  -C, --directory DIR     working directory
  -r, --root DIR          root directory
  -m, --umask OCTAL       umask, 0 to 777
  -u, --user USER[:GROUP] run as that user, with all of the user's groups; names or numbers
  -k, --keep-fd N         keep descriptor N open; may be repeated
  -n, --notify            exit when COMMAND says READY=1 on NOTIFY_SOCKET
  -R, --ready-fd N        exit when COMMAND writes a newline to its descriptor N
  -t, --timeout SECONDS   give up, and leave nothing, if COMMAND does not run or is not ready by then
  -P, --print-pid         print the daemon's process id
  -S, --if-supervised     run by systemd, s6 or runit, become COMMAND without a fork
  -h, --help              print this
  -V, --version           print the version

Exit status: 0 COMMAND runs (-n, -R: and is ready); 125 untty failed; 126 COMMAND cannot be executed;
127 no such COMMAND.
";
const VERSION: &str = concat!("untty ", env!("CARGO_PKG_VERSION"), "\n");

/// The program's arguments and its environment, both ended by NULL.
#[derive(Clone, Copy)]
pub(crate) struct Arguments {
    pub(crate) argv: sys::StringArray,
    pub(crate) envp: sys::StringArray,
}

/// A string that lives as long as the process.
pub(crate) type Text = &'static CStr;

/// What the user wants.
pub(crate) struct Request {
    /// A text instead of a daemon.
    pub(crate) print: Option<&'static str>,
    pub(crate) input: Option<Text>,
    pub(crate) output: Option<Text>,
    pub(crate) error: Option<Text>,
    pub(crate) pid_file: Option<Text>,
    pub(crate) root: Option<Text>,
    pub(crate) directory: Option<Text>,
    pub(crate) umask: Option<u32>,
    pub(crate) user: Option<Text>,
    pub(crate) keep: [c_int; Request::MOST_KEPT],
    pub(crate) kept: usize,
    pub(crate) notify: bool,
    pub(crate) ready_fd: Option<c_int>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) print_pid: bool,
    pub(crate) if_supervised: bool,
    /// COMMAND's index in the arguments.
    pub(crate) command: usize,
}

impl Request {
    const MOST_KEPT: usize = 64;
    const NONE: Self = Self {
        print: None,
        input: None,
        output: None,
        error: None,
        pid_file: None,
        root: None,
        directory: None,
        umask: None,
        user: None,
        keep: [-1; Self::MOST_KEPT],
        kept: 0,
        notify: false,
        ready_fd: None,
        timeout: None,
        print_pid: false,
        if_supervised: false,
        command: 1,
    };
}

/// The options: a letter, a long name, and whether a value follows.
const OPTIONS: [(u8, &str, bool); 16] = [
    (b'o', "output", true),
    (b'e', "error", true),
    (b'i', "input", true),
    (b'p', "pid-file", true),
    (b'C', "directory", true),
    (b'r', "root", true),
    (b'm', "umask", true),
    (b'u', "user", true),
    (b'k', "keep-fd", true),
    (b'n', "notify", false),
    (b'R', "ready-fd", true),
    (b't', "timeout", true),
    (b'P', "print-pid", false),
    (b'S', "if-supervised", false),
    (b'h', "help", false),
    (b'V', "version", false),
];

impl Arguments {
    /// The argument at that index; `None` behind the last one.
    pub(crate) fn get(self, index: usize) -> Option<Text> {
        // SAFETY: nobody asks for more than the first index past the last string, where the NULL is.
        let string = unsafe { self.argv.wrapping_add(index).read() };
        if string.is_null() {
            return None;
        }
        // SAFETY: the kernel gave the process valid strings, and nobody changes them while they are borrowed.
        Some(unsafe { CStr::from_ptr(string) })
    }
}

pub(crate) fn misuse(what: &[&[u8]]) -> Told {
    const INVALID: Errno = Errno::new(22);
    complain(UNTTY_FAILED, "options", what, End::Errno(INVALID))
}

pub(crate) fn read(arguments: Arguments) -> Result<Request, Told> {
    let mut request = Request::NONE;
    if arguments.get(0).is_none() {
        return Err(misuse(&[b"there is not even a name in the arguments"])); // execve(2) allows it, up to 5.17
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
    if request.notify && request.ready_fd.is_some() {
        return Err(misuse(&[b"'--notify' and '--ready-fd' exclude each other"]));
    }
    if request.ready_fd.is_some_and(|fd| request.keep.contains(&fd)) {
        return Err(misuse(&[b"'--ready-fd' and '--keep-fd' name the same descriptor"]));
    }
    arguments.get(request.command).map(|_| request).ok_or_else(|| misuse(&[b"COMMAND is missing"]))
}

/// `--name`, `--name=value` or `--name value`.
fn read_long(request: &mut Request, argument: Text, arguments: Arguments) -> Result<(), Told> {
    let bytes = argument.to_bytes().get(2..).unwrap_or_default();
    let length = bytes.iter().position(|byte| *byte == b'=');
    let name = bytes.get(..length.unwrap_or(bytes.len())).unwrap_or_default();
    let Some((letter, _, takes_value)) = OPTIONS.iter().find(|option| option.1.as_bytes() == name) else {
        return Err(misuse(&[b"unknown option '", argument.to_bytes(), b"'"]));
    };
    let given = length.and_then(|length| rest(argument, 2 + length + 1));
    if !takes_value && given.is_some() {
        return Err(misuse(&[b"option '", argument.to_bytes(), b"' takes no value"]));
    }
    let value = if *takes_value { Some(given.map_or_else(|| next(request, argument, arguments), Ok)?) } else { None };
    set(request, *letter, value)
}

/// `-x`, `-xyz`, `-ovalue` or `-o value`.
fn read_short(request: &mut Request, argument: Text, arguments: Arguments) -> Result<(), Told> {
    let bytes = argument.to_bytes();
    for (index, letter) in bytes.iter().enumerate().skip(1) {
        let Some((letter, _, takes_value)) = OPTIONS.iter().find(|option| option.0 == *letter) else {
            return Err(misuse(&[b"unknown option '", argument.to_bytes(), b"'"]));
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
fn next(request: &mut Request, option: Text, arguments: Arguments) -> Result<Text, Told> {
    request.command += 1;
    arguments.get(request.command).ok_or_else(|| misuse(&[b"option '", option.to_bytes(), b"' needs a value"]))
}

/// Does what one option says.
fn set(request: &mut Request, letter: u8, value: Option<Text>) -> Result<(), Told> {
    let bytes = value.map(CStr::to_bytes).unwrap_or_default();
    match letter {
        b'o' => request.output = value,
        b'e' => request.error = value,
        b'i' => request.input = value,
        b'p' => request.pid_file = value,
        b'C' => request.directory = value,
        b'r' => request.root = value,
        b'u' => request.user = value,
        b'm' => {
            let mask = number(bytes, 8).and_then(|mask| u32::try_from(mask).ok()).filter(|mask| *mask <= 0o777);
            request.umask = Some(mask.ok_or_else(|| misuse(&[b"not a umask from 0 to 777: '", bytes, b"'"]))?);
        }
        b'k' => {
            let fd = descriptor(bytes, 0).ok_or_else(|| misuse(&[b"not a descriptor: '", bytes, b"'"]))?;
            let place = request.keep.get_mut(request.kept);
            *place.ok_or_else(|| misuse(&[b"more than 64 descriptors to keep"]))? = fd;
            request.kept += 1;
        }
        b'R' => {
            let fd = descriptor(bytes, 3).ok_or_else(|| misuse(&[b"not a descriptor from 3 on: '", bytes, b"'"]))?;
            request.ready_fd = Some(fd);
        }
        b't' => {
            let time = milliseconds(bytes);
            let time = time.ok_or_else(|| misuse(&[b"not a number of seconds above 0: '", bytes, b"'"]))?;
            request.timeout = Some(time);
        }
        b'n' => request.notify = true,
        b'P' => request.print_pid = true,
        b'S' => request.if_supervised = true,
        b'h' => request.print = Some(HELP),
        _ => request.print = Some(VERSION),
    }
    Ok(())
}

fn descriptor(bytes: &[u8], lowest: c_int) -> Option<c_int> {
    number(bytes, 10).and_then(|fd| c_int::try_from(fd).ok()).filter(|fd| *fd >= lowest)
}

/// Seconds, with up to three decimals.
fn milliseconds(bytes: &[u8]) -> Option<Duration> {
    let point = bytes.iter().position(|byte| *byte == b'.').unwrap_or(bytes.len());
    let seconds = number(bytes.get(..point)?, 10).filter(|seconds| *seconds <= u32::MAX.into())?;
    let decimals = bytes.get(point + 1..).unwrap_or_default();
    let thousandths = match decimals.len() {
        0 if point == bytes.len() => 0,
        1 => number(decimals, 10)? * 100,
        2 => number(decimals, 10)? * 10,
        3 => number(decimals, 10)?,
        _ => return None,
    };
    let time = seconds * 1000 + thousandths;
    (time > 0).then_some(Duration::from_millis(time))
}
