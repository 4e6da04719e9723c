//! Where the program is: looked for as `execvp(3)` does it, but before the directory changes.

use crate::arguments::{Arguments, Text};
use core::ffi::{CStr, c_char};
use untty::{Environment, Errno, sys, uninterrupted};

pub(crate) const NO_SUCH_FILE: Errno = Errno::new(2);
const IS_NO_PROGRAM: Errno = Errno::new(8);
const NO_ACCESS: Errno = Errno::new(13);
const NOT_A_DIRECTORY: Errno = Errno::new(20);
const TOO_LONG: Errno = Errno::new(36);

/// What a file's name can be long, on any file system.
const NAME_MAX: usize = 255;
/// The kernel takes no longer path.
const PATH_MAX: usize = 4096;

/// Where execvp looks when PATH is not set.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

pub(crate) type Path = untty::text::Text<PATH_MAX>;

/// Puts pieces together; `None` when that gets too long.
fn join(pieces: [&[u8]; 3]) -> Option<Path> {
    let mut path = Path::new();
    for piece in pieces {
        path.add(piece);
    }
    path.as_c_str().is_some().then_some(path)
}

/// Who executes what is executable but no program.
const SHELL: &CStr = c"/bin/sh";

/// What COMMAND is given. Both arrays end with NULL. They are the ones that the kernel gave us, so before COMMAND's
/// arguments there is room for one more, in which our own name stood, and for another one if we had an option.
#[derive(Clone, Copy)]
pub(crate) struct Program {
    pub(crate) argv: *mut *const c_char,
    pub(crate) envp: sys::StringArray,
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
    pub(crate) fn execute(self, path: &CStr) -> Errno {
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

    /// Executes the first one in PATH that can be.
    pub(crate) fn execute_first(self, command: Text) -> Errno {
        let is_path = command.to_bytes().contains(&b'/');
        let mut worst = NO_SUCH_FILE;
        let end = look(command, self.environment(), &mut |path| {
            let errno = self.execute(path);
            worst = if is_path { errno } else { worse(worst, errno) };
            (!is_elsewhere(errno)).then_some(errno)
        });
        end.unwrap_or(worst)
    }

    /// Gives COMMAND a variable; the entry, `NAME=value`, has to live as long.
    #[cfg(feature = "libc")]
    pub(crate) fn set_variable(&mut self, entry: &CStr) {
        // SAFETY: a valid string that nobody changes. It fails only without memory, and COMMAND then has no socket.
        unsafe { libc::putenv(entry.as_ptr().cast_mut()) };
        self.envp = sys::environment().unwrap_or(self.envp);
    }

    /// Gives COMMAND a variable; the entry, `NAME=value`, has to live as long.
    ///
    /// The kernel puts the environment right behind the arguments. So when the arguments move into the room before
    /// them, there is room for one more variable.
    #[cfg(not(feature = "libc"))]
    pub(crate) fn set_variable(&mut self, entry: &CStr) {
        let bytes = entry.to_bytes();
        let name = bytes.split_inclusive(|byte| *byte == b'=').next().unwrap_or(bytes);
        let (arguments, variables) = (length(self.argv.cast_const()), length(self.envp));
        for index in 0..variables {
            let place = self.envp.cast_mut().wrapping_add(index);
            // SAFETY: so many strings there are.
            let variable = unsafe { place.read() };
            // SAFETY: before the NULL there are valid strings.
            if unsafe { CStr::from_ptr(variable) }.to_bytes().starts_with(name) {
                // SAFETY: the process's own array.
                return unsafe { place.write(entry.as_ptr()) };
            }
        }
        let argv = self.argv.wrapping_sub(1);
        // SAFETY: there is room before the arguments, since an option has asked for this.
        unsafe { argv.copy_from(self.argv, arguments + 1) };
        // SAFETY: where the arguments' NULL was.
        unsafe { self.argv.wrapping_add(arguments).write(entry.as_ptr()) };
        (self.argv, self.envp) = (argv, self.envp.wrapping_sub(1));
    }
}

/// How many strings there are before the NULL.
#[cfg(not(feature = "libc"))]
fn length(strings: *const *const c_char) -> usize {
    let mut length = 0;
    // SAFETY: the array ends with NULL.
    while !unsafe { strings.wrapping_add(length).read() }.is_null() {
        length += 1;
    }
    length
}

/// Hands out the paths where a command may be, one after the other, until one will do.
fn look<T>(command: Text, environment: Environment, will_do: &mut dyn FnMut(&CStr) -> Option<T>) -> Option<T> {
    let name = command.to_bytes();
    if name.is_empty() {
        return None;
    }
    if name.contains(&b'/') {
        return will_do(command);
    }
    let mut look_in = |directories: &[u8]| {
        directories.split(|byte| *byte == b':').find_map(|directory| {
            // An element that makes too long a path hides nothing behind it. An empty one is the current directory.
            let path = join([if directory.is_empty() { b"." } else { directory }, b"/", name])?;
            will_do(path.as_c_str()?)
        })
    };
    look_in(environment.value(b"PATH=").map_or(DEFAULT_PATH, CStr::to_bytes))
}

/// Which of two errors tells more, as with execvp: what is there but may not be executed is the better story.
fn worse(before: Errno, errno: Errno) -> Errno {
    if errno == NO_SUCH_FILE || errno == NOT_A_DIRECTORY { before } else { errno }
}

/// Whether a program that could not be executed may be in another directory.
fn is_elsewhere(errno: Errno) -> bool {
    [NO_SUCH_FILE, NOT_A_DIRECTORY, NO_ACCESS].contains(&errno)
}

/// The program's absolute path.
pub(crate) fn find(command: Text, environment: Environment) -> Result<Path, Errno> {
    let name = command.to_bytes();
    let is_path = name.contains(&b'/');
    if !is_path && name.len() > NAME_MAX {
        return Err(TOO_LONG);
    }
    let mut worst = NO_SUCH_FILE;
    let found = look(command, environment, &mut |path| match absolute(path.to_bytes())
        .and_then(|path| executable(&path).map(|()| path))
    {
        Ok(path) => Some(path),
        Err(errno) => {
            worst = if is_path { errno } else { worse(worst, errno) };
            None
        }
    });
    found.ok_or(worst)
}

fn absolute(path: &[u8]) -> Result<Path, Errno> {
    let (mut current, mut length) = ([0; PATH_MAX], 0);
    if path.first() != Some(&b'/') {
        // A directory that is gone has nothing in it: ENOENT.
        length = uninterrupted(|| sys::getcwd(&mut current))?.saturating_sub(1);
    }
    let separator: &[u8] = if length == 0 { b"" } else { b"/" };
    join([current.get(..length).unwrap_or_default(), separator, path]).ok_or(TOO_LONG)
}

fn executable(path: &Path) -> Result<(), Errno> {
    let path = path.as_c_str().ok_or(TOO_LONG)?;
    if uninterrupted(|| sys::stat(path))?.mode & sys::S_IFMT != sys::S_IFREG {
        return Err(NO_ACCESS);
    }
    uninterrupted(|| sys::access(path, sys::X_OK))
}
