//! `/etc/passwd` and `/etc/group`, read piece by piece: lines may be of any length. Malformed ones are passed over.

use crate::buffer::Buffer;
use crate::user::{NO_ENTRY, TOO_MANY, User, Wanted, id};
use core::ffi::{CStr, c_int};
use untty::{Errno, sys, uninterrupted};

const PASSWD: &CStr = c"/etc/passwd";
const GROUP: &CStr = c"/etc/group";

/// Finds a user's ids, and the name.
pub(super) fn user(wanted: Wanted<'_>, user: &mut User) -> Result<(), Errno> {
    find(PASSWD, true, &mut |file, uid| {
        let ids = uid.zip(file.number()).filter(|(uid, _)| match wanted {
            Wanted::Name(wanted) => file.name.bytes() == wanted,
            Wanted::Id(wanted) => *uid == wanted,
        });
        let Some((uid, gid)) = ids else { return false };
        (user.uid, user.gid) = (uid, gid);
        user.name.cut(0);
        user.name.add(file.name.bytes());
        true
    })
}

/// Finds a group's id.
pub(super) fn group(wanted: &[u8], user: &mut User) -> Result<(), Errno> {
    find(GROUP, true, &mut |file, gid| {
        let gid = gid.filter(|_| file.name.bytes() == wanted);
        user.gid = gid.unwrap_or(user.gid);
        gid.is_some()
    })
}

/// Finds all groups of a user; the one that the user has is one of them.
pub(super) fn groups(user: &mut User) -> Result<(), Errno> {
    add_group(user, user.gid);
    // The C library does not ask here what a line begins with.
    let is_too_much = find(GROUP, false, &mut |file, gid| match gid {
        Some(gid) if file.has_member(user.name.bytes()) => !add_group(user, gid),
        _ => false,
    });
    is_too_much.and(Err(TOO_MANY))
}

/// Adds a group, if it is not there yet; false if there is no room.
fn add_group(user: &mut User, gid: u32) -> bool {
    if user.groups().iter().all(|before| *before != gid) {
        let Some(place) = user.groups.get_mut(user.count) else { return false };
        *place = gid;
        user.count += 1;
    }
    true
}

/// Goes through the entries, `name:password:id:...`, until one is the one.
fn find(path: &CStr, pass_over: bool, is_it: &mut dyn FnMut(&mut File, Option<u32>) -> bool) -> Result<(), Errno> {
    let mut file = File::open(path);
    let mut found = false;
    while !found && file.is_at_entry(pass_over) {
        let id = file.head();
        found = is_it(&mut file, id);
        file.end_line();
    }
    // Ignored: it was only read.
    let _ = sys::close(file.fd);
    match file.failed {
        None if found => Ok(()),
        failed => Err(failed.unwrap_or(NO_ENTRY)),
    }
}

/// A file that is read byte by byte. One that does not exist, as in a small image, has no entry.
struct File {
    fd: c_int,
    /// Why it cannot be read, or no further.
    failed: Option<Errno>,
    at: usize,
    filled: usize,
    buffer: [u8; 512],
    name: Buffer,
    field: Buffer,
}

impl File {
    fn open(path: &CStr) -> Self {
        let opened = uninterrupted(|| sys::open(path, sys::O_RDONLY | sys::O_CLOEXEC, 0));
        Self {
            fd: opened.unwrap_or(-1),
            failed: opened.err(),
            at: 0,
            filled: 0,
            buffer: [0; 512],
            name: Buffer::new(),
            field: Buffer::new(),
        }
    }

    /// The next byte; `None` at the end.
    fn peek(&mut self) -> Option<u8> {
        if self.at == self.filled && self.failed.is_none() {
            let read = uninterrupted(|| sys::read(self.fd, &mut self.buffer));
            (self.at, self.filled, self.failed) = (0, read.unwrap_or(0), read.err());
        }
        self.buffer.get(..self.filled)?.get(self.at).copied()
    }

    /// Comes to the next entry; false at the end. As in the C library, most often that is past blanks, empty lines,
    /// comments, and what names starting with `+` and `-` ask of NIS (nsswitch.conf(5), compat).
    fn is_at_entry(&mut self, pass_over: bool) -> bool {
        loop {
            match self.peek() {
                Some(_) if !pass_over => return true,
                Some(b'#' | b'+' | b'-') => self.end_line(),
                Some(byte) if byte.is_ascii_whitespace() => self.at += 1,
                byte => return byte.is_some(),
            }
        }
    }

    /// Reads `name:password:id` and the colon behind it: the id, if there is a name.
    fn head(&mut self) -> Option<u32> {
        self.name.cut(0);
        self.read_field(b':');
        self.name.add(string(&self.field));
        let (_password, id) = (self.number(), self.number());
        id.filter(|_| !self.name.bytes().is_empty())
    }

    fn number(&mut self) -> Option<u32> {
        self.read_field(b':');
        id(string(&self.field))
    }

    /// Whether a name is among the members, which follow up to the end of the line.
    fn has_member(&mut self, name: &[u8]) -> bool {
        let mut found = false;
        while self.peek().is_some_and(|byte| byte != b'\n') {
            self.read_field(b',');
            found |= string(&self.field).trim_ascii_start() == name;
        }
        found
    }

    /// Reads the field that begins here, and what ends it, but for the end of the line.
    fn read_field(&mut self, end: u8) {
        self.field.cut(0);
        while let Some(byte) = self.peek().filter(|byte| *byte != b'\n') {
            self.at += 1;
            if byte == end {
                break;
            }
            self.field.put(byte);
        }
    }

    fn end_line(&mut self) {
        while let Some(byte) = self.peek() {
            self.at += 1;
            if byte == b'\n' {
                break;
            }
        }
    }
}

/// What is in a field; nothing if it is too long, or has a NUL in it.
fn string(field: &Buffer) -> &[u8] {
    let string = field.as_c_str().unwrap_or_default().to_bytes();
    if string.len() == field.bytes().len() { string } else { b"" }
}
