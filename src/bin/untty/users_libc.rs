//! The C library's user database.

use super::{Entry, MOST_GROUPS, Name, TOO_MANY, Wanted};
use core::ffi::{CStr, c_int};
use untty::{Errno, sys};

/// An entry that is not there is no error; what the functions say then differs (`getpwnam(3)`, RETURN VALUE).
fn not_found() -> Result<(), Errno> {
    const ERRORS: [c_int; 5] = [libc::EINTR, libc::EIO, libc::EMFILE, libc::ENFILE, libc::ENOMEM];
    let errno = sys::errno();
    if ERRORS.contains(&errno.number()) { Err(errno) } else { Ok(()) }
}

pub(super) fn user(wanted: Wanted<'_>) -> Result<Option<Entry>, Errno> {
    sys::set_errno(Errno::new(0));
    let entry = match wanted {
        // SAFETY: a valid string.
        Wanted::Name(name) => unsafe { libc::getpwnam(name.as_c_str().unwrap_or_default().as_ptr()) },
        // SAFETY: takes no pointers.
        Wanted::Id(uid) => unsafe { libc::getpwuid(uid) },
    };
    if entry.is_null() {
        return not_found().map(|()| None);
    }
    // SAFETY: not NULL, so an entry, which stays until the next call.
    let entry = unsafe { &*entry };
    let mut name = Name::new();
    // SAFETY: an entry's name is a valid string.
    name.add(unsafe { CStr::from_ptr(entry.pw_name) }.to_bytes());
    Ok(Some(Entry { name, uid: entry.pw_uid, gid: entry.pw_gid }))
}

pub(super) fn group(name: &Name) -> Result<Option<u32>, Errno> {
    sys::set_errno(Errno::new(0));
    // SAFETY: a valid string.
    let entry = unsafe { libc::getgrnam(name.as_c_str().unwrap_or_default().as_ptr()) };
    if entry.is_null() {
        return not_found().map(|()| None);
    }
    // SAFETY: not NULL, so an entry.
    Ok(Some(unsafe { (*entry).gr_gid }))
}

/// All groups of that user, and that one.
pub(super) fn groups_of(name: &Name, gid: u32, groups: &mut [u32; MOST_GROUPS]) -> Result<usize, Errno> {
    let mut count = c_int::try_from(MOST_GROUPS).map_err(|_| TOO_MANY)?;
    // SAFETY: a valid string, and room for that many.
    let found = unsafe {
        libc::getgrouplist(name.as_c_str().unwrap_or_default().as_ptr(), gid, groups.as_mut_ptr(), &raw mut count)
    };
    if found < 0 { Err(TOO_MANY) } else { usize::try_from(count).map_err(|_| TOO_MANY) }
}
