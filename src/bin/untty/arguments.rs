//! The command line, read as POSIX wants it: options come before COMMAND, and what follows COMMAND is its own.

use crate::buffer::split;
use crate::messages::misuse;
use core::ffi::{CStr, c_char, c_int};
use core::ptr;
use core::time::Duration;
use untty::sys;
use untty::text::number;

/// What is printed is what is understood: a line that begins with a space is an option, `  -x, --name  what it does`, and
/// a value follows if just one space does.
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
    arguments: Arguments,
    /// The one that is being read.
    argument: Text,
    /// COMMAND's index in the arguments; until that is known, the index of the argument that is being read.
    pub(crate) command: usize,
    /// COMMAND.
    pub(crate) name: Text,
    /// A text instead of a daemon.
    pub(crate) print: Option<&'static str>,
    pub(crate) umask: Option<u32>,
    pub(crate) ready_fd: Option<c_int>,
    pub(crate) timeout: Option<Duration>,
    /// The descriptors to keep, and -1 where there is room.
    pub(crate) keep: [c_int; 64],
    /// By letter, the values of the options that were given; of one that takes none, an empty one.
    values: [*const c_char; 128],
}

impl Arguments {
    /// The argument at that index; `None` behind the last one.
    pub(crate) fn get(self, index: usize) -> Option<Text> {
        // SAFETY: nobody asks for more than the first index past the last string, where the NULL is.
        string(unsafe { self.argv.wrapping_add(index).read() })
    }
}

/// The string that is there, if there is one.
fn string(string: *const c_char) -> Option<Text> {
    // SAFETY: the kernel gave the process valid strings, and nobody changes them while they are borrowed.
    (!string.is_null()).then(|| unsafe { CStr::from_ptr(string) })
}

impl Request {
    pub(crate) const fn new(arguments: Arguments) -> Self {
        Self {
            arguments,
            command: 1,
            argument: c"",
            name: c"",
            print: None,
            umask: None,
            ready_fd: None,
            timeout: None,
            keep: [-1; 64],
            values: [ptr::null(); 128],
        }
    }

    /// The value of the option with that letter, if it was given.
    pub(crate) fn value(&self, letter: u8) -> Option<Text> {
        string(*self.values.get(usize::from(letter))?)
    }

    /// Whether the option with that letter was given.
    pub(crate) fn has(&self, letter: u8) -> bool {
        self.value(letter).is_some()
    }

    /// Reads the arguments.
    pub(crate) fn read(&mut self) {
        if self.arguments.get(0).is_none() {
            misuse("there is not even a name in the arguments", b""); // execve(2) allows it, up to 5.17
        }
        while let Some(argument) = self.arguments.get(self.command) {
            self.argument = argument;
            match argument.to_bytes() {
                b"--" => {
                    self.command += 1;
                    break;
                }
                [b'-', b'-', ..] => self.read_long(),
                [b'-', _, ..] => self.read_short(),
                _ => break,
            }
            self.command += 1;
            if self.print.is_some() {
                return;
            }
        }
        self.check();
    }

    /// Whether it can be done.
    fn check(&mut self) {
        if self.has(b'n') && self.has(b'R') {
            misuse("'--notify' and '--ready-fd' exclude each other", b"");
        }
        if self.keep.iter().any(|fd| self.ready_fd == Some(*fd)) {
            misuse("'--ready-fd' and '--keep-fd' name the same descriptor", b"");
        }
        let Some(name) = self.arguments.get(self.command) else { misuse("COMMAND is missing", b"") };
        self.name = name;
    }

    /// `--name`, `--name=value` or `--name value`.
    fn read_long(&mut self) {
        let bytes = self.argument.to_bytes();
        let (name, attached) = split(bytes, b'=');
        let attached = (!attached.is_empty()).then(|| rest(self.argument, name.len() + 1));
        let takes_value = self.read_option(name, attached);
        if attached.is_some() && !takes_value {
            misuse("option '%' takes no value", bytes);
        }
    }

    /// `-x`, `-xyz`, `-ovalue` or `-o value`.
    fn read_short(&mut self) {
        for (index, letter) in self.argument.to_bytes().iter().enumerate().skip(1) {
            let attached = Some(rest(self.argument, index + 1)).filter(|value| !value.is_empty());
            if self.read_option(&[*letter], attached) {
                break;
            }
        }
    }

    /// Reads an option, and tells whether it takes a value: what is attached or, if nothing is, the next argument.
    fn read_option(&mut self, name: &[u8], attached: Option<Text>) -> bool {
        let bytes = self.argument.to_bytes();
        let Some((letter, takes_value)) = find(name) else { misuse("unknown option '%'", bytes) };
        let value = match attached {
            _ if !takes_value => c"",
            Some(value) => value,
            None => {
                self.command += 1;
                let next = self.arguments.get(self.command);
                next.unwrap_or_else(|| misuse("option '%' needs a value", bytes))
            }
        };
        self.set(letter, value);
        takes_value
    }

    /// Does what one option says.
    fn set(&mut self, letter: u8, value: Text) {
        let bytes = value.to_bytes();
        match letter {
            b'm' => {
                let mask = number(bytes, 8).filter(|mask| *mask <= 0o777).and_then(|mask| u32::try_from(mask).ok());
                let Some(mask) = mask else { misuse("not a umask from 0 to 777: '%'", bytes) };
                self.umask = Some(mask);
            }
            b'k' => {
                let Some(fd) = descriptor(bytes, 0) else { misuse("not a descriptor: '%'", bytes) };
                let Some(room) = self.keep.iter_mut().find(|place| **place < 0) else {
                    misuse("more than 64 descriptors to keep", b"");
                };
                *room = fd;
            }
            b'R' => {
                let Some(fd) = descriptor(bytes, 3) else { misuse("not a descriptor from 3 on: '%'", bytes) };
                self.ready_fd = Some(fd);
            }
            b't' => {
                let Some(time) = milliseconds(bytes) else { misuse("not a number of seconds above 0: '%'", bytes) };
                self.timeout = Some(Duration::from_millis(time));
            }
            b'h' => self.print = Some(HELP),
            b'V' => self.print = Some(VERSION),
            _ => {}
        }
        if let Some(place) = self.values.get_mut(usize::from(letter)) {
            *place = value.as_ptr();
        }
    }
}

/// Finds an option by its letter, or by its name and what is before it: the letter, and whether it takes a value.
fn find(name: &[u8]) -> Option<(u8, bool)> {
    HELP.as_bytes().split(|byte| *byte == b'\n').find_map(|line| {
        let [b' ', _, _, letter, _, _, names @ ..] = line else { return None };
        let (long, behind) = split(names, b' ');
        let is_it = name == long || name == [*letter];
        is_it.then_some((*letter, behind.get(1) != Some(&b' ')))
    })
}

/// The string from that byte on.
fn rest(argument: Text, from: usize) -> Text {
    // SAFETY: nobody asks for more than what is behind the last byte, where the NUL is.
    unsafe { CStr::from_ptr(argument.as_ptr().wrapping_add(from)) }
}

fn descriptor(digits: &[u8], lowest: c_int) -> Option<c_int> {
    number(digits, 10).and_then(|fd| c_int::try_from(fd).ok()).filter(|fd| *fd >= lowest)
}

/// Seconds above 0, with up to three decimals.
fn milliseconds(bytes: &[u8]) -> Option<u64> {
    let (seconds, decimals) = split(bytes, b'.');
    // What the last of the decimals stands for, the point being the first byte of them.
    let unit = *[0, 0, 100, 10, 1_u8].get(decimals.len())?;
    let thousandths = match decimals {
        [] => 0,
        [_, digits @ ..] => number(digits, 10)? * u64::from(unit),
    };
    let seconds = number(seconds, 10).filter(|seconds| *seconds <= u32::MAX.into())?;
    Some(seconds * 1000 + thousandths).filter(|time| *time > 0)
}
