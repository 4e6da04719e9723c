//! What there is to know of a user.

use crate::buffer::Buffer;
use untty::Errno;
use untty::text::number;

/// There is no such entry.
pub(crate) const NO_ENTRY: Errno = Errno::new(2);
/// There are more groups than there is room for.
pub(crate) const TOO_MANY: Errno = Errno::new(7);

/// More groups than that no user can be in here.
pub(crate) const MOST_GROUPS: usize = 1024;

/// Ids, and all the groups.
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) count: usize,
    pub(crate) groups: [u32; MOST_GROUPS],
    pub(crate) name: Buffer,
}

impl User {
    /// Nobody yet.
    pub(crate) const fn new() -> Self {
        Self { uid: 0, gid: 0, count: 0, groups: [0; MOST_GROUPS], name: Buffer::new() }
    }

    pub(crate) fn groups(&self) -> &[u32] {
        self.groups.get(..self.count).unwrap_or_default()
    }
}

/// Which user.
#[derive(Clone, Copy)]
pub(crate) enum Wanted<'a> {
    Name(&'a [u8]),
    Id(u32),
}

/// A number that is an id; -1 is none.
pub(crate) fn id(digits: &[u8]) -> Option<u32> {
    number(digits, 10).and_then(|number| u32::try_from(number).ok()).filter(|id| *id != u32::MAX)
}
