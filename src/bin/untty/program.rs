//! Where the program is: looked for as `execvp(3)` does it, but before the directory changes.

use crate::arguments::Arguments;
use crate::buffer::{Buffer, split};
use core::ffi::{CStr, c_char};
use untty::{Environment, Errno, sys, uninterrupted};

const NO_SUCH_FILE: Errno = Errno::new(2);
const IS_NO_PROGRAM: Errno = Errno::new(8);
const NO_ACCESS: Errno = Errno::new(13);
const NOT_A_DIRECTORY: Errno = Errno::new(20);
const TOO_LONG: Errno = Errno::new(36);

/// What a path can be long, with its NUL, for the kernel.
const PATH_MAX: usize = 4096;
/// What a file's name can be long, on any file system.
const NAME_MAX: usize = 255;

/// Where execvp looks when PATH is not set.
const DEFAULT_PATH: &CStr = c"/bin:/usr/bin";
/// Who executes what is executable but no program.
const SHELL: &CStr = c"/bin/sh";

/// How the variable begins that COMMAND is given.
pub(crate) const NOTIFY_SOCKET: &[u8] = b"NOTIFY_SOCKET=";

/// What COMMAND is given. Both arrays end with NULL. They are the ones that the kernel gave us, so before COMMAND's
/// arguments there is room for one more, in which our own name stood, and for another one if we had an option.
#[derive(Clone, Copy)]
pub(crate) struct Program {
    argv: *mut *const c_char,
    envp: sys::StringArray,
}

impl Program {
    pub(crate) fn new(arguments: Arguments, command: usize) -> Self {
        Self { argv: arguments.argv.cast_mut().wrapping_add(command), envp: arguments.envp }
    }

    pub(crate) fn environment(self) -> Environment {
        // SAFETY: a valid array of valid strings, as the kernel gave it to the process or the C library has made it.
        unsafe { Environment::from_raw(self.envp) }
    }

    /// Executes it: the errno when that fails. A file that is executable but no program the kernel knows is a script
    /// for the shell, to execvp and so to nohup.
    fn execute(self, path: &CStr) -> Errno {
        // SAFETY: both arrays end with NULL and hold valid strings.
        let errno = unsafe { sys::execve(path, self.argv.cast_const(), self.envp) };
        if errno != IS_NO_PROGRAM {
            return errno;
        }
        let argv = self.argv.wrapping_sub(1);
        // SAFETY: there is room before the arguments.
        unsafe { argv.write(SHELL.as_ptr()) };
        // SAFETY: COMMAND's name, for which the path stands now.
        let name = unsafe { self.argv.replace(path.as_ptr()) };
        // SAFETY: as above.
        let errno = unsafe { sys::execve(SHELL, argv.cast_const(), self.envp) };
        // SAFETY: as above; the next one is not called by this name.
        unsafe { self.argv.write(name) };
        errno
    }

    /// Executes that path or, of a name, the first one in PATH that can be.
    pub(crate) fn execute_first(self, command: &CStr) -> Errno {
        let mut last = NO_SUCH_FILE;
        let tried = self.search(command, &mut |path| {
            last = self.execute(path);
            if is_elsewhere(last) { Err(last) } else { Ok(()) }
        });
        tried.err().unwrap_or(last)
    }

    /// Finds its absolute path.
    pub(crate) fn find(self, command: &CStr, found: &mut Buffer) -> Result<(), Errno> {
        self.search(command, &mut |path| {
            make_absolute(path, found)?;
            check_executable(found.as_c_str().ok_or(TOO_LONG)?)
        })
    }

    /// Tries the paths where a command may be, one after the other, until one will do. Which error is told, is as with
    /// execvp: what is there but may not be executed is the better story.
    fn search(self, command: &CStr, attempt: &mut dyn FnMut(&CStr) -> Result<(), Errno>) -> Result<(), Errno> {
        let name = command.to_bytes();
        if !split(name, b'/').1.is_empty() {
            return attempt(command);
        }
        let mut worst = NO_SUCH_FILE;
        match name.len() {
            0 => return Err(worst),
            1..=NAME_MAX => {}
            _ => return Err(TOO_LONG),
        }
        for directory in self.path().to_bytes().split(|byte| *byte == b':') {
            let mut path = Buffer::new();
            path.add(if directory.is_empty() { b"." } else { directory }).add(b"/").add(name);
            // An element that makes too long a path hides nothing behind it.
            match path.as_c_str().filter(|path| path.count_bytes() < PATH_MAX).map(&mut *attempt) {
                Some(Ok(())) => return Ok(()),
                None | Some(Err(NO_SUCH_FILE | NOT_A_DIRECTORY)) => {}
                Some(Err(errno)) => worst = errno,
            }
        }
        Err(worst)
    }

    /// The directories to look in. An empty one is the current directory.
    fn path(self) -> &'static CStr {
        self.environment().value(b"PATH=").unwrap_or(DEFAULT_PATH)
    }

    /// Gives COMMAND that variable; the entry has to live as long.
    #[cfg(feature = "libc")]
    pub(crate) fn set_notify_socket(&mut self, entry: &CStr) {
        // SAFETY: a valid string that nobody changes. It fails only without memory, and COMMAND then has no socket.
        unsafe { libc::putenv(entry.as_ptr().cast_mut()) };
        self.envp = sys::environment().unwrap_or(self.envp);
    }

    /// Gives COMMAND that variable; the entry has to live as long.
    ///
    /// The kernel puts the environment right behind the arguments. So when the arguments move into the room before
    /// them, there is room for one more variable.
    #[cfg(not(feature = "libc"))]
    pub(crate) fn set_notify_socket(&mut self, entry: &CStr) {
        let mut place = variable(self.envp, NOTIFY_SOCKET).cast_mut();
        if place.is_null() {
            self.argv = self.argv.wrapping_sub(1);
            self.envp = self.envp.wrapping_sub(1);
            place = self.argv;
            while place.cast_const() != self.envp {
                let next = place.wrapping_add(1);
                // SAFETY: there is room before the arguments, since an option has asked for this; behind the last one of
                // them is their NULL.
                unsafe { place.copy_from(next, 1) };
                place = next;
            }
        }
        // SAFETY: the process's own array: where the variable was, or where the arguments' NULL was.
        unsafe { place.write(entry.as_ptr()) };
    }
}

/// Where the variable is that begins like that; NULL if there is none.
#[cfg(not(feature = "libc"))]
fn variable(envp: sys::StringArray, beginning: &[u8]) -> sys::StringArray {
    let mut place = envp;
    loop {
        // SAFETY: all before this one were strings, so this is one, or the NULL.
        let entry = unsafe { place.read() };
        if entry.is_null() {
            return core::ptr::null();
        }
        // SAFETY: not NULL, so a valid string.
        if unsafe { CStr::from_ptr(entry) }.to_bytes().starts_with(beginning) {
            return place;
        }
        place = place.wrapping_add(1);
    }
}

/// Whether a program that could not be executed may be in another directory.
fn is_elsewhere(errno: Errno) -> bool {
    [NO_SUCH_FILE, NOT_A_DIRECTORY, NO_ACCESS].contains(&errno)
}

fn make_absolute(path: &CStr, absolute: &mut Buffer) -> Result<(), Errno> {
    absolute.cut(0);
    if path.to_bytes().first() != Some(&b'/') {
        // A directory that is gone has nothing in it: ENOENT.
        absolute.fill(|room| uninterrupted(|| sys::getcwd(room)).map(|length| length.saturating_sub(1)))?;
        if absolute.bytes() != b"/" {
            absolute.put(b'/');
        }
    }
    absolute.add(path.to_bytes());
    Ok(())
}

fn check_executable(path: &CStr) -> Result<(), Errno> {
    if uninterrupted(|| sys::stat(path))?.mode & sys::S_IFMT != sys::S_IFREG {
        return Err(NO_ACCESS);
    }
    uninterrupted(|| sys::access(path, sys::X_OK))
}
