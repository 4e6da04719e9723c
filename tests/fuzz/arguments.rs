//! Fuzzing the command's arguments: any strings. The C library's `getopt_long(3)`, with the same options, tells what they
//! must mean; what an option's value may be is said here once more.

#![allow(dead_code, unreachable_pub, missing_docs, missing_debug_implementations, reason = "no target needs all of it")]

use crate::arguments::{Arguments, Request};
use std::ffi::{CStr, CString, c_char, c_int};
use std::fs;
use std::io::{Read, Seek};
use std::os::fd::{AsRawFd, FromRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;
use std::time::Duration;

const SHORT: &CStr = c"+:o:e:i:p:C:r:m:u:k:nR:t:PShV";
const LONG: [(&CStr, u8, bool); 16] = [
    (c"output", b'o', true),
    (c"error", b'e', true),
    (c"input", b'i', true),
    (c"pid-file", b'p', true),
    (c"directory", b'C', true),
    (c"root", b'r', true),
    (c"umask", b'm', true),
    (c"user", b'u', true),
    (c"keep-fd", b'k', true),
    (c"notify", b'n', false),
    (c"ready-fd", b'R', true),
    (c"timeout", b't', true),
    (c"print-pid", b'P', false),
    (c"if-supervised", b'S', false),
    (c"help", b'h', false),
    (c"version", b'V', false),
];

/// What the arguments must mean.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Meaning {
    pub print: Option<u8>,
    /// The values of -i, -o, -e, -p, -r, -C, -u.
    texts: [Option<Vec<u8>>; 7],
    umask: Option<u32>,
    keep: Vec<c_int>,
    notify: bool,
    ready_fd: Option<c_int>,
    timeout: Option<Duration>,
    print_pid: bool,
    if_supervised: bool,
    pub command: usize,
}

const TEXTS: &[u8; 7] = b"ioeprCu";

/// An array of strings, as a program gets it.
pub struct Argv {
    strings: Vec<CString>,
    pointers: Vec<*mut c_char>,
}

impl Argv {
    /// The input's strings, ended by NULs. No input: not even a name.
    pub fn new(input: &[u8]) -> Self {
        let count = if input.is_empty() { 0 } else { usize::MAX };
        let strings: Vec<_> =
            input.split(|byte| *byte == 0).take(count).map(|text| CString::new(text).unwrap()).collect();
        let pointers = strings.iter().map(|string| string.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect();
        Self { strings, pointers }
    }
}

#[repr(C)]
struct LongOption {
    name: *const c_char,
    has_argument: c_int,
    flag: *mut c_int,
    value: c_int,
}

unsafe extern "C" {
    fn getopt_long(
        argc: c_int,
        argv: *const *mut c_char,
        short: *const c_char,
        long: *const LongOption,
        index: *mut c_int,
    ) -> c_int;
    static optarg: *const c_char;
    static mut optind: c_int;
    static mut opterr: c_int;
}

/// What the arguments mean; `None` when they must be refused.
pub fn meaning(argv: &Argv) -> Option<Meaning> {
    let end = LongOption { name: ptr::null(), has_argument: 0, flag: ptr::null_mut(), value: 0 };
    let long = |(name, letter, takes): (&CStr, u8, bool)| LongOption {
        name: name.as_ptr(),
        has_argument: takes.into(),
        flag: ptr::null_mut(),
        value: letter.into(),
    };
    let options: Vec<LongOption> = LONG.map(long).into_iter().chain([end]).collect();
    let argc = c_int::try_from(argv.strings.len()).unwrap();
    if argc == 0 {
        return None;
    }
    let mut meaning = Meaning::default();
    unsafe { (optind, opterr) = (0, 0) }
    let mut element = 1;
    loop {
        let mut index = -1;
        let letter =
            unsafe { getopt_long(argc, argv.pointers.as_ptr(), SHORT.as_ptr(), options.as_ptr(), &raw mut index) };
        let next = usize::try_from(unsafe { optind }).unwrap();
        let Ok(letter) = u8::try_from(letter) else {
            meaning.command = next;
            return is_complete(&meaning, argv).then_some(meaning);
        };
        if let Ok(index) = usize::try_from(index) {
            // It also takes the beginning of a name.
            let text = argv.strings[element].to_bytes();
            let name = text[2..].split(|byte| *byte == b'=').next();
            if name != Some(LONG[index].0.to_bytes()) {
                return None;
            }
        }
        let value = if takes_value(letter) { unsafe { CStr::from_ptr(optarg) }.to_bytes() } else { b"" };
        set(&mut meaning, letter, value)?;
        if next != element && meaning.print.is_some() {
            meaning.command = next;
            return Some(meaning);
        }
        element = next;
    }
}

fn takes_value(letter: u8) -> bool {
    LONG.iter().any(|option| option.1 == letter && option.2)
}

fn set(meaning: &mut Meaning, letter: u8, value: &[u8]) -> Option<()> {
    if let Some(text) = TEXTS.iter().position(|text| *text == letter) {
        meaning.texts[text] = Some(value.to_vec());
        return Some(());
    }
    match letter {
        b'm' => meaning.umask = Some(digits(value, 8).filter(|mask| *mask <= 0o777)?.try_into().ok()?),
        b'k' => {
            meaning.keep.push(digits(value, 10)?.try_into().ok()?);
            if meaning.keep.len() > 64 {
                return None;
            }
        }
        b'R' => meaning.ready_fd = Some(digits(value, 10)?.try_into().ok().filter(|fd| *fd > 2)?),
        b't' => meaning.timeout = Some(seconds(value)?),
        b'n' => meaning.notify = true,
        b'P' => meaning.print_pid = true,
        b'S' => meaning.if_supervised = true,
        b'h' | b'V' => meaning.print = Some(letter),
        _ => return None,
    }
    Some(())
}

fn digits(text: &[u8], base: u32) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None; // a sign
    }
    u64::from_str_radix(text, base).ok()
}

/// Above 0, with up to three decimals.
fn seconds(text: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, decimals) = text.split_once('.').map_or((text, None), |(whole, decimals)| (whole, Some(decimals)));
    let decimals = match decimals {
        None => "000".to_owned(),
        Some(decimals) if (1..=3).contains(&decimals.len()) => format!("{decimals:0<3}"),
        Some(_) => return None,
    };
    let whole: u32 = digits(whole.as_bytes(), 10)?.try_into().ok()?;
    let time = Duration::from_secs(whole.into()) + Duration::from_millis(digits(decimals.as_bytes(), 10)?);
    (time > Duration::ZERO).then_some(time)
}

fn is_complete(meaning: &Meaning, argv: &Argv) -> bool {
    let both = meaning.notify && meaning.ready_fd.is_some();
    let twice = meaning.ready_fd.is_some_and(|fd| meaning.keep.contains(&fd));
    !both && !twice && meaning.command < argv.strings.len()
}

/// What the command has understood, in the same words.
fn understood(request: &Request) -> Meaning {
    Meaning {
        print: request.print.map(|text| if text.starts_with("Usage: ") { b'h' } else { b'V' }),
        texts: TEXTS.map(|letter| request.value(letter).map(|text| text.to_bytes().to_vec())),
        umask: request.umask,
        keep: request.keep.into_iter().filter(|fd| *fd >= 0).collect(),
        notify: request.has(b'n'),
        ready_fd: request.ready_fd,
        timeout: request.timeout,
        print_pid: request.has(b'P'),
        if_supervised: request.has(b'S'),
        command: request.command,
    }
}

/// Where the command would exit, with a status.
struct Exit(c_int);

/// In place of the command's.
pub fn exit(status: c_int) -> ! {
    resume_unwind(Box::new(Exit(status)))
}

/// One input: the arguments mean what they must mean, or are refused with one line and 125.
pub fn fuzz(input: &[u8]) {
    let argv = Argv::new(input);
    let meaning = meaning(&argv);
    // They live as long as the request.
    let arguments = Arguments { argv: argv.pointers.as_ptr().cast(), envp: [ptr::null()].as_ptr() };
    let mut request = Request::new(arguments);
    let (end, said) = listening(|| catch_unwind(AssertUnwindSafe(|| request.read())));
    match end {
        Ok(()) => {
            assert_eq!(Some(understood(&request)), meaning);
            assert_eq!(said, b"");
        }
        Err(end) => {
            assert_eq!(end.downcast_ref::<Exit>().map(|exit| exit.0), Some(125));
            assert_eq!(None, meaning, "{}", said.escape_ascii());
            let line = said.strip_suffix(b"\n").expect("a line");
            let is_right = line.starts_with(b"untty: options: ") && line.ends_with(b": EINVAL");
            assert!(is_right && !line.iter().any(u8::is_ascii_control), "{}", line.escape_ascii());
        }
    }
}

/// Calls something, and hears what it says on standard error.
fn listening<T>(call: impl FnOnce() -> T) -> (T, Vec<u8>) {
    thread_local! {
        // SAFETY: a new descriptor, which nobody else has.
        static FILE: fs::File = unsafe { fs::File::from_raw_fd(libc::memfd_create(c"said".as_ptr(), libc::MFD_CLOEXEC)) };
    }
    FILE.with(|mut file| {
        file.set_len(0).unwrap();
        file.rewind().unwrap();
        // The line is written with a signal blocked.
        let mut mask = [0_u64; 16];
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, ptr::null(), mask.as_mut_ptr().cast()) };
        let usual = unsafe { libc::fcntl(2, libc::F_DUPFD_CLOEXEC, 3) };
        unsafe { libc::dup2(file.as_raw_fd(), 2) };
        let result = call();
        unsafe { libc::dup2(usual, 2) };
        unsafe { libc::close(usual) };
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask.as_ptr().cast(), ptr::null_mut()) };
        let mut said = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut said).unwrap();
        (result, said)
    })
}

/// For the real command: the same arguments, but for COMMAND, which is one that does nothing or one that is not there, and
/// for paths, which lead nowhere but to the working directory.
pub fn tamed(input: &[u8]) -> Vec<CString> {
    let argv = Argv::new(input);
    let command = meaning(&argv).filter(|meaning| meaning.print.is_none()).map(|meaning| meaning.command);
    let tame = |(index, text): (usize, &CString)| {
        let harmless = [c"/".to_owned(), c"/dev/null".to_owned(), c"/nowhere/file".to_owned()].contains(text);
        if command == Some(index) {
            return if text.to_bytes().len() % 2 == 0 { c"true" } else { c"missing" }.to_owned();
        }
        let bytes = text.to_bytes().iter().map(|byte| if *byte == b'/' && !harmless { b'_' } else { *byte });
        CString::new(bytes.collect::<Vec<u8>>()).unwrap()
    };
    argv.strings.iter().enumerate().map(tame).collect()
}
