//! Who COMMAND is to be: `USER[:GROUP]`, names or numbers.

use crate::arguments::{Text, misuse};
use crate::messages::{End, Told, UNTTY_FAILED, complain};
use untty::Errno;
use untty::text::{self, number};

/// With a C library, its functions tell who is who, wherever they have it from (`nsswitch.conf(5)`); without one, only
/// the files `/etc/passwd` and `/etc/group` do.
#[cfg_attr(feature = "libc", path = "users_libc.rs")]
#[cfg_attr(not(feature = "libc"), path = "users_files.rs")]
mod database;

type Name = text::Text<256>;

/// More groups than that no user can be in here.
const MOST_GROUPS: usize = 1024;

/// Ids, and all the groups.
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    groups: [u32; MOST_GROUPS],
    count: usize,
}

impl User {
    pub(crate) fn groups(&self) -> &[u32] {
        self.groups.get(..self.count).unwrap_or_default()
    }
}

/// An entry of the user database.
struct Entry {
    name: Name,
    uid: u32,
    gid: u32,
}

/// Looks a user up, by name, and then by number, as POSIX has it for chown.
pub(crate) fn find(given: Text) -> Result<User, Told> {
    let bytes = given.to_bytes();
    let colon = bytes.iter().position(|byte| *byte == b':');
    let (user, group) = bytes.split_at(colon.unwrap_or(bytes.len()));
    let group = group.get(1..);
    if user.is_empty() || group.is_some_and(<[u8]>::is_empty) {
        return Err(misuse(&[b"not USER or USER:GROUP: '", bytes, b"'"]));
    }
    let (uid, entry) = find_user(user).map_err(|errno| no_such(b"user", user, errno))?;
    let gid = match (group, &entry) {
        (Some(group), _) => find_group(group).map_err(|errno| no_such(b"group", group, errno))?,
        (None, Some(entry)) => entry.gid,
        (None, None) => return Err(misuse(&[b"user '", user, b"' has no entry, and so no group; say USER:GROUP"])),
    };
    let mut found = User { uid, gid, groups: [0; MOST_GROUPS], count: 0 };
    if let Some(entry) = entry {
        let groups = database::groups_of(&entry.name, gid, &mut found.groups);
        found.count =
            groups.map_err(|errno| complain(UNTTY_FAILED, "user", &[b"groups of ", user], End::Errno(errno)))?;
    }
    Ok(found)
}

fn no_such(what: &[u8], name: &[u8], errno: Errno) -> Told {
    let story: &[u8] = if errno == NO_ENTRY { b"no such " } else { b"cannot look up " };
    complain(UNTTY_FAILED, "user", &[story, what, b": '", name, b"'"], End::Errno(errno))
}

const NO_ENTRY: Errno = Errno::new(2);
const TOO_MANY: Errno = Errno::new(7);

fn find_user(user: &[u8]) -> Result<(u32, Option<Entry>), Errno> {
    if let Some(entry) = database::user(Wanted::Name(&name_of(user)?))? {
        return Ok((entry.uid, Some(entry)));
    }
    let uid = id(user).ok_or(NO_ENTRY)?;
    Ok((uid, database::user(Wanted::Id(uid))?))
}

fn find_group(group: &[u8]) -> Result<u32, Errno> {
    database::group(&name_of(group)?)?.or_else(|| id(group)).ok_or(NO_ENTRY)
}

fn name_of(bytes: &[u8]) -> Result<Name, Errno> {
    let mut name = Name::new();
    name.add(bytes);
    if name.as_c_str().is_some() { Ok(name) } else { Err(NO_ENTRY) }
}

/// A number that is an id; -1 is none.
fn id(digits: &[u8]) -> Option<u32> {
    number(digits, 10).and_then(|number| u32::try_from(number).ok()).filter(|id| *id != u32::MAX)
}

/// Which entry.
enum Wanted<'a> {
    Name(&'a Name),
    Id(u32),
}
