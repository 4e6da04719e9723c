//! The environment: where a supervisor says that it is there. It is read, never written.

use crate::sys::{self, StringArray};
use core::ffi::CStr;

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

    /// Calls with the value of a variable, if there is one. It may change with the environment, so it is not handed
    /// out.
    #[doc(hidden)]
    pub fn with<T>(self, name: &[u8], use_value: impl FnOnce(&CStr) -> T) -> Option<T> {
        let strings = self.0?;
        for index in 0.. {
            // SAFETY: all before this one were strings, so this is one, or the NULL.
            let entry = unsafe { strings.wrapping_add(index).read() };
            if entry.is_null() {
                break;
            }
            // SAFETY: not NULL, so a valid string.
            let entry = unsafe { CStr::from_ptr(entry) };
            let value = entry.to_bytes_with_nul().strip_prefix(name).and_then(|rest| rest.strip_prefix(b"="));
            if let Some(value) = value.and_then(|value| CStr::from_bytes_with_nul(value).ok()) {
                return Some(use_value(value));
            }
        }
        None
    }

    /// The number that a variable holds.
    pub(crate) fn number(self, name: &[u8]) -> Option<u64> {
        self.with(name, |value| crate::text::number(value.to_bytes(), 10)).flatten()
    }
}
