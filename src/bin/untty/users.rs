//! Who COMMAND is to be: `USER[:GROUP]`, names or numbers.

use crate::arguments::Text;
use crate::buffer::split;
use crate::messages::{fail, misuse};
use crate::user::{NO_ENTRY, User, Wanted, id};
use untty::Errno;

/// With a C library, its functions tell who is who, wherever they have it from (`nsswitch.conf(5)`); without one, only
/// the files `/etc/passwd` and `/etc/group` do.
#[cfg_attr(feature = "libc", path = "users_libc.rs")]
#[cfg_attr(not(feature = "libc"), path = "users_files.rs")]
mod database;

/// Looks a user up, by name, and then by number, as POSIX has it for chown.
pub(crate) fn find(given: Text, user: &mut User) {
    let given = given.to_bytes();
    let (name, group) = split(given, b':');
    if name.is_empty() || group == b":" {
        misuse("not USER or USER:GROUP: '%'", given);
    }
    let mut has_entry = is_found(database::user(Wanted::Name(name), user), "user: cannot look up user: '%'", name);
    if !has_entry {
        let Some(uid) = id(name) else { fail("user: no such user: '%'", name, NO_ENTRY) };
        user.uid = uid;
        has_entry = is_found(database::user(Wanted::Id(user.uid), user), "user: cannot look up user: '%'", name);
    }
    if let [_, group @ ..] = group {
        if !is_found(database::group(group, user), "user: cannot look up group: '%'", group) {
            let Some(gid) = id(group) else { fail("user: no such group: '%'", group, NO_ENTRY) };
            user.gid = gid;
        }
    } else if !has_entry {
        misuse("user '%' has no entry, and so no group; say USER:GROUP", name);
    }
    if has_entry {
        is_found(database::groups(user), "user: groups of %", name);
    }
}

/// Whether there is an entry.
fn is_found(result: Result<(), Errno>, what: &str, name: &[u8]) -> bool {
    match result {
        Err(errno) if errno != NO_ENTRY => fail(what, name, errno),
        result => result.is_ok(),
    }
}
