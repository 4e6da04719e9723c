//! The environment: where a supervisor says that it is there. It is read, never written.

use crate::sys::{self, StringArray};
use crate::text;
use core::ffi::{CStr, c_char};

/// The environment in which to look for a supervisor.
///
/// With feature `libc`, [`Environment::own`] is the C library's `environ`. Without a C library nobody has kept one:
/// it is empty then, and a program hands over what it was given (`main`'s third argument, or the strings behind its
/// arguments on the stack).
#[derive(Clone, Copy, Debug)]
pub struct Environment(Option<StringArray>);

impl Environment {
    /// The C library's `environ`; without a C library, an empty one.
    #[must_use]
    pub fn own() -> Self {
        Self(sys::environment())
    }

    /// An environment as `execve(2)` takes it: strings `NAME=value`, and NULL.
    ///
    /// # Safety
    /// The array and its strings must be valid as long as the environment is used.
    #[must_use]
    pub const unsafe fn from_raw(strings: StringArray) -> Self {
        Self(Some(strings))
    }

    /// The value of a variable, if there is one: of `NAME=`, with that sign. It may change with the environment, so it is
    /// not to be kept.
    #[doc(hidden)]
    #[must_use]
    pub fn value<'a>(self, name: &[u8]) -> Option<&'a CStr> {
        let mut strings = self.0?;
        loop {
            // SAFETY: all before this one were strings, so this is one, or the NULL.
            let string = unsafe { strings.read() };
            if string.is_null() {
                return None;
            }
            // SAFETY: not NULL, so a valid string.
            if let Some(value) = unsafe { value_of(string, name) } {
                return Some(value);
            }
            strings = strings.wrapping_add(1);
        }
    }

    /// The number that a variable holds.
    pub(crate) fn number(self, name: &[u8]) -> Option<u64> {
        text::number(self.value(name)?.to_bytes(), 10)
    }
}

/// The rest of a string that begins so.
///
/// # Safety
/// It is a valid string.
unsafe fn value_of<'a>(mut string: *const c_char, name: &[u8]) -> Option<&'a CStr> {
    for byte in name {
        // SAFETY: all before were the name's, so none was the NUL.
        if unsafe { string.read() }.to_ne_bytes() != [*byte] {
            return None;
        }
        string = string.wrapping_add(1);
    }
    // SAFETY: the rest of a valid string.
    Some(unsafe { CStr::from_ptr(string) })
}
