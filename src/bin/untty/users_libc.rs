//! The C library's user database.

use crate::buffer::Buffer;
use crate::user::{MOST_GROUPS, NO_ENTRY, TOO_MANY, User, Wanted};
use core::ffi::{CStr, c_int};
use untty::{Errno, sys};

/// An entry that is not there is no error; what the functions say then differs (`getpwnam(3)`, RETURN VALUE).
fn not_found() -> Errno {
    const ERRORS: [c_int; 5] = [libc::EINTR, libc::EIO, libc::EMFILE, libc::ENFILE, libc::ENOMEM];
    let errno = sys::errno();
    if ERRORS.contains(&errno.number()) { errno } else { NO_ENTRY }
}

/// Finds a user's ids, and the name.
pub(super) fn user(wanted: Wanted<'_>, user: &mut User) -> Result<(), Errno> {
    user.name.cut(0);
    sys::set_errno(Errno::new(0));
    let entry = match wanted {
        // SAFETY: a valid string.
        Wanted::Name(wanted) => unsafe { libc::getpwnam(c_str(user.name.add(wanted)).as_ptr()) },
        // SAFETY: takes no pointers.
        Wanted::Id(uid) => unsafe { libc::getpwuid(uid) },
    };
    if entry.is_null() {
        return Err(not_found());
    }
    // SAFETY: not NULL, so an entry, which stays until the next call.
    let entry = unsafe { &*entry };
    (user.uid, user.gid) = (entry.pw_uid, entry.pw_gid);
    user.name.cut(0);
    // SAFETY: an entry's name is a valid string.
    user.name.add(unsafe { CStr::from_ptr(entry.pw_name) }.to_bytes());
    Ok(())
}

/// Finds a group's id.
pub(super) fn group(wanted: &[u8], user: &mut User) -> Result<(), Errno> {
    sys::set_errno(Errno::new(0));
    // SAFETY: a valid string.
    let entry = unsafe { libc::getgrnam(c_str(Buffer::new().add(wanted)).as_ptr()) };
    if entry.is_null() {
        return Err(not_found());
    }
    // SAFETY: not NULL, so an entry.
    user.gid = unsafe { (*entry).gr_gid };
    Ok(())
}

/// Finds all groups of a user; the one that the user has is one of them.
pub(super) fn groups(user: &mut User) -> Result<(), Errno> {
    let mut count = c_int::try_from(MOST_GROUPS).map_err(|_| TOO_MANY)?;
    let (name, groups) = (c_str(&user.name).as_ptr(), user.groups.as_mut_ptr());
    // SAFETY: a valid string, and room for that many.
    if unsafe { libc::getgrouplist(name, user.gid, groups, &raw mut count) } < 0 {
        return Err(TOO_MANY);
    }
    user.count = usize::try_from(count).map_err(|_| TOO_MANY)?;
    Ok(())
}

/// Nobody has a name that is too long for us: that is the name of nobody.
fn c_str(name: &Buffer) -> &CStr {
    name.as_c_str().unwrap_or_default()
}
