//! Fuzzing the readers of `/etc/passwd` and `/etc/group`, which are the raw command's user database, against the C
//! library's, which is the other command's: on the same files, mounted where both look.

#![allow(dead_code, unreachable_pub, missing_docs, missing_debug_implementations, reason = "no target needs all of it")]

/// Both of them, in place of `src/bin/untty/users.rs`, which has one.
#[path = "../../src/bin/untty/users_files.rs"]
mod files;
#[path = "../../src/bin/untty/users_libc.rs"]
mod library;

use std::collections::BTreeSet;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::{fs, ptr};
use untty::{Errno, text};

type Name = text::Text<256>;

const MOST_GROUPS: usize = 1024;
const NO_ENTRY: Errno = Errno::new(2);
const TOO_MANY: Errno = Errno::new(7);

struct Entry {
    name: Name,
    uid: u32,
    gid: u32,
}

enum Wanted<'a> {
    Name(&'a Name),
    Id(u32),
}

fn id(digits: &[u8]) -> Option<u32> {
    text::number(digits, 10).and_then(|number| u32::try_from(number).ok()).filter(|id| *id != u32::MAX)
}

/// Files of one's own where the user database is.
pub struct Database {
    passwd: PathBuf,
    group: PathBuf,
}

impl Database {
    /// In a mount namespace of this process's; the reason when that is not to be had. For a process with one thread.
    pub fn mount(directory: &Path) -> Result<Self, String> {
        let database = Self { passwd: directory.join("passwd"), group: directory.join("group") };
        let switch = directory.join("nsswitch.conf");
        fs::write(&switch, "passwd: files\ngroup: files\n").unwrap();
        fs::write(&database.passwd, "").unwrap();
        fs::write(&database.group, "").unwrap();
        let is_root = unsafe { libc::geteuid() } == 0;
        let namespaces = libc::CLONE_NEWNS | if is_root { 0 } else { libc::CLONE_NEWUSER };
        told(unsafe { libc::unshare(namespaces) }, "unshare")?;
        mount(Path::new("none"), "/", libc::MS_REC | libc::MS_PRIVATE)?;
        for (file, path) in [(&database.passwd, "passwd"), (&database.group, "group"), (&switch, "nsswitch.conf")] {
            mount(file, &format!("/etc/{path}"), libc::MS_BIND)?;
        }
        Ok(database)
    }
}

fn mount(source: &Path, target: &str, flags: libc::c_ulong) -> Result<(), String> {
    let [source, target] = [source.to_str().unwrap(), target].map(|path| CString::new(path).unwrap());
    let none = ptr::null();
    told(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), none, flags, none.cast()) }, "mount")
}

fn told(result: libc::c_int, what: &str) -> Result<(), String> {
    if result == 0 { Ok(()) } else { Err(format!("{what}: {}", std::io::Error::last_os_error())) }
}

/// One input: a name and a number, a line each, then `/etc/passwd`, a line `:`, and `/etc/group`.
pub fn fuzz(database: &Database, input: &[u8]) {
    let mut lines = input.splitn(3, |byte| *byte == b'\n');
    let [wanted, number, rest] = [(); 3].map(|()| lines.next().unwrap_or_default());
    let at = rest.windows(3).position(|bytes| bytes == b"\n:\n");
    let (passwd, group) = at.map_or((rest, &b""[..]), |at| (&rest[..=at], &rest[at + 3..]));
    fs::write(&database.passwd, passwd).unwrap();
    fs::write(&database.group, group).unwrap();
    let mut name = Name::new();
    name.add(wanted);
    let uid = id(number).unwrap_or(0);
    let comparable = is_plain(passwd, 2..4) && is_plain(group, 2..3) && name.as_c_str().is_some() && !wanted.is_empty();

    let of = |entry: Result<Option<Entry>, Errno>| {
        entry.unwrap().map(|entry| (entry.name.bytes().to_vec(), entry.uid, entry.gid))
    };
    let groups = |find: fn(&Name, u32, &mut [u32; MOST_GROUPS]) -> Result<usize, Errno>| {
        let mut groups = [0; MOST_GROUPS];
        // The C library may tell one twice.
        find(&name, uid, &mut groups).map(|count| groups[..count].iter().copied().collect::<BTreeSet<u32>>())
    };
    let ours = (
        of(files::user(Wanted::Name(&name))),
        of(files::user(Wanted::Id(uid))),
        files::group(&name),
        groups(files::groups_of),
    );
    if comparable {
        let theirs = (
            of(library::user(Wanted::Name(&name))),
            of(library::user(Wanted::Id(uid))),
            library::group(&name),
            groups(library::groups_of),
        );
        assert_eq!(ours, theirs);
    }
}

/// Whether both have to understand the same: no NUL, a name, none that is too long, and numbers that are nothing but digits,
/// or no numbers at all. (The C library also takes signs, spaces, and numbers that are too large; the other passes such
/// lines over.)
fn is_plain(text: &[u8], numbers: std::ops::Range<usize>) -> bool {
    let is_number = |field: &[u8]| field.is_empty() || id(field).is_some() || !field.iter().any(u8::is_ascii_digit);
    text.split(|byte| *byte == b'\n').all(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        let wanted = fields.iter().skip(numbers.start).take(numbers.len());
        let has_name = !line.trim_ascii_start().starts_with(b":");
        has_name && line.len() < 250 && !line.contains(&0) && wanted.into_iter().all(|field| is_number(field))
    })
}
