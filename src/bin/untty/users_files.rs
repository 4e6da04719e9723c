//! `/etc/passwd` and `/etc/group`, read piece by piece: lines may be of any length. Malformed ones are passed over.

use super::{Entry, MOST_GROUPS, NO_ENTRY, Name, TOO_MANY, Wanted, id};
use core::ffi::{CStr, c_int};
use untty::{Errno, sys, uninterrupted};

const PASSWD: &CStr = c"/etc/passwd";
const GROUP: &CStr = c"/etc/group";

pub(super) fn user(wanted: Wanted<'_>) -> Result<Option<Entry>, Errno> {
    let Some(mut file) = File::open(PASSWD)? else { return Ok(None) };
    while file.is_at_entry()? {
        // name:password:uid:gid:...
        let (name, _, uid, gid) = (file.field()?, file.field()?, file.field()?, file.last_field()?);
        file.end_line()?;
        let (Some(name), Some(uid), Some(gid)) = (name, number(uid), number(gid)) else { continue };
        let found = match &wanted {
            Wanted::Name(wanted) => wanted.bytes() == name.bytes(),
            Wanted::Id(wanted) => *wanted == uid,
        };
        if found && !name.bytes().is_empty() {
            return Ok(Some(Entry { name, uid, gid }));
        }
    }
    Ok(None)
}

pub(super) fn group(name: &Name) -> Result<Option<u32>, Errno> {
    let Some(mut file) = File::open(GROUP)? else { return Ok(None) };
    while file.is_at_entry()? {
        let entry = file.group()?;
        file.end_line()?;
        if let Some((found, gid)) = entry {
            if found.bytes() == name.bytes() {
                return Ok(Some(gid));
            }
        }
    }
    Ok(None)
}

/// All groups of that user, and that one.
pub(super) fn groups_of(name: &Name, gid: u32, groups: &mut [u32; MOST_GROUPS]) -> Result<usize, Errno> {
    let mut count = 0;
    let mut add = |gid: u32| {
        if !groups.get(..count).is_some_and(|before| before.contains(&gid)) {
            *groups.get_mut(count).ok_or(TOO_MANY)? = gid;
            count += 1;
        }
        Ok(())
    };
    add(gid)?;
    if let Some(mut file) = File::open(GROUP)? {
        // The C library does not ask here what a line begins with.
        while !file.is_at_end()? {
            let entry = file.group()?;
            let member = file.has_member(name)?;
            if let Some((_, gid)) = entry.filter(|_| member) {
                add(gid)?;
            }
        }
    }
    Ok(count)
}

fn number(field: Option<Name>) -> Option<u32> {
    id(field?.bytes())
}

/// A file that is read byte by byte.
struct File {
    fd: c_int,
    buffer: [u8; 512],
    at: usize,
    filled: usize,
}

impl File {
    /// `None` when it does not exist: a small image has none.
    fn open(path: &CStr) -> Result<Option<Self>, Errno> {
        match uninterrupted(|| sys::open(path, sys::O_RDONLY | sys::O_CLOEXEC, 0)) {
            Ok(fd) => Ok(Some(Self { fd, buffer: [0; 512], at: 0, filled: 0 })),
            Err(errno) if errno == NO_ENTRY => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn peek(&mut self) -> Result<Option<u8>, Errno> {
        if self.at == self.filled {
            self.at = 0;
            self.filled = uninterrupted(|| sys::read(self.fd, &mut self.buffer))?;
        }
        Ok(self.buffer.get(..self.filled).and_then(|filled| filled.get(self.at)).copied())
    }

    fn is_at_end(&mut self) -> Result<bool, Errno> {
        Ok(self.peek()?.is_none())
    }

    /// Comes to the next entry: past blanks, empty lines, comments, and what names starting with `+` and `-` ask of NIS
    /// (nsswitch.conf(5), compat), as the C library does. False at the end.
    fn is_at_entry(&mut self) -> Result<bool, Errno> {
        loop {
            match self.peek()? {
                None => return Ok(false),
                Some(b'#' | b'+' | b'-') => self.end_line()?,
                Some(byte) if byte.is_ascii_whitespace() => self.at += 1,
                Some(_) => return Ok(true),
            }
        }
    }

    /// The field that begins here, and past its colon. `None` when the line ends before that colon, or when it is too
    /// long for a name.
    fn field(&mut self) -> Result<Option<Name>, Errno> {
        let field = self.last_field()?;
        // The colon.
        match self.peek()? {
            None | Some(b'\n') => return Ok(None),
            Some(_) => self.at += 1,
        }
        Ok(field)
    }

    /// The field that begins here, up to its colon or the end of the line. `None` when it is too long for a name.
    fn last_field(&mut self) -> Result<Option<Name>, Errno> {
        let mut name = Name::new();
        loop {
            match self.peek()? {
                None | Some(b'\n' | b':') => return Ok(name.as_c_str().is_some().then_some(name)),
                Some(byte) => {
                    self.at += 1;
                    name.put(byte);
                }
            }
        }
    }

    /// name:password:gid:
    fn group(&mut self) -> Result<Option<(Name, u32)>, Errno> {
        let (name, _, gid) = (self.field()?, self.field()?, self.last_field()?);
        if self.peek()? == Some(b':') {
            self.at += 1;
        }
        Ok(name.filter(|name| !name.bytes().is_empty()).zip(number(gid)))
    }

    /// Whether a name is among the members, which follow up to the end of the line.
    fn has_member(&mut self, name: &Name) -> Result<bool, Errno> {
        let mut found = false;
        let mut member = Name::new();
        loop {
            let byte = self.peek()?;
            if let None | Some(b'\n' | b',') = byte {
                found |= !member.bytes().is_empty() && member.bytes() == name.bytes();
                member = Name::new();
            }
            match byte {
                None => return Ok(found),
                Some(byte) => {
                    self.at += 1;
                    match byte {
                        b'\n' => return Ok(found),
                        b',' => {}
                        byte if byte.is_ascii_whitespace() && member.bytes().is_empty() => {}
                        byte => member.put(byte),
                    }
                }
            }
        }
    }

    fn end_line(&mut self) -> Result<(), Errno> {
        while let Some(byte) = self.peek()? {
            self.at += 1;
            if byte == b'\n' {
                break;
            }
        }
        Ok(())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // Ignored: it was only read.
        let _ = sys::close(self.fd);
    }
}
