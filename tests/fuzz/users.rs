//! Fuzzing the readers of `/etc/passwd` and `/etc/group`, which are the raw command's user database, against the C
//! library's, which is the other command's: on the same files, mounted where both look.

#![allow(dead_code, unreachable_pub, missing_docs, missing_debug_implementations, reason = "no target needs all of it")]

/// Both of them, in place of `src/bin/untty/users.rs`, which has one.
#[path = "../../src/bin/untty/users_files.rs"]
mod files;
#[path = "../../src/bin/untty/users_libc.rs"]
mod library;

use crate::buffer::Buffer;
use crate::user::{NO_ENTRY, User, Wanted, id};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::{fs, ptr};
use untty::Errno;

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
    let mut name = Buffer::new();
    let is_name = !wanted.contains(&0) && name.add(wanted).as_c_str().is_some() && !wanted.is_empty();
    let uid = id(number).unwrap_or(0);
    let comparable = is_plain(passwd, 2..4) && is_plain(group, 2..3) && is_name;

    let of = |find: Find, wanted| {
        let mut user = User::new();
        found(find(wanted, &mut user)).map(|()| (user.name.bytes().to_vec(), user.uid, user.gid))
    };
    let group = |find: fn(&[u8], &mut User) -> Result<(), Errno>| {
        let mut user = User::new();
        found(find(wanted, &mut user)).map(|()| user.gid)
    };
    let groups = |find: fn(&mut User) -> Result<(), Errno>| {
        let mut user = User::new();
        user.gid = uid;
        user.name.add(wanted);
        let all = match find(&mut user) {
            Err(NO_ENTRY) => Ok(()),
            result => result,
        };
        // The C library may tell one twice.
        all.map(|()| user.groups().iter().copied().collect::<BTreeSet<u32>>())
    };
    let ours = (
        of(files::user, Wanted::Name(wanted)),
        of(files::user, Wanted::Id(uid)),
        group(files::group),
        groups(files::groups),
    );
    if comparable {
        let theirs = (
            of(library::user, Wanted::Name(wanted)),
            of(library::user, Wanted::Id(uid)),
            group(library::group),
            groups(library::groups),
        );
        assert_eq!(ours, theirs);
    }
}

type Find = fn(Wanted<'_>, &mut User) -> Result<(), Errno>;

/// What was found. There is no other error.
fn found<T>(result: Result<T, Errno>) -> Option<T> {
    assert!(result.as_ref().err().is_none_or(|errno| *errno == NO_ENTRY));
    result.ok()
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
