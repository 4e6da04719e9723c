//! The pid file: opened and locked in the caller, written in the daemon, put back by the caller if the start fails.
//!
//! Two locks, because none can do it alone:
//!
//! | | `flock` | OFD lock | record lock |
//! |---|---|---|---|
//! | survives fork | yes | yes | **no**: no child has it |
//! | a child that the daemon forks holds it too, and after the daemon's death | **yes** | **yes** | no |
//! | survives exec, if the descriptor does | yes | yes | yes |
//! | names its owner | no | no | yes: the kernel knows the pid |
//! | an exclusive one needs a descriptor to write | no | yes | yes |
//!
//! So the *gate*, an exclusive `flock`, is held by the caller from before the first fork until it knows the outcome: of
//! a thousand simultaneous starts one passes, and nobody else touches the file before it is put back or the daemon's.
//! The daemon takes the lock *for life*, a shared record lock. Whoever comes later finds that lock and, by it, the
//! owner's pid; together with the file's text that is the truth: a text alone can be stale, and its number another
//! process's by now; and the lock alone can be held by anybody who may read the file. What the daemon starts never has
//! the lock, nor the gate, which is on a descriptor that the daemon closes.
//!
//! The lock for life is on a descriptor that can only read. So a daemon that has given up its privileges, and every
//! program that it becomes, holds nothing through which it could make the file name another process, which root would
//! then kill.
//!
//! The price is fcntl's old trap: a process that closes *any* descriptor of a file loses its record locks on it. The
//! functions here never open a file that this process owns.

use crate::error::{Errno, Error, Step};
use crate::fds::{self, Fd, uninterrupted};
use crate::handover;
use crate::signals;
use crate::sys::direct as sys;
use crate::text::{self, Text};
use core::ffi::{CStr, c_int};

/// A pid file has a number and perhaps white space. A longer file is something else, and nothing to be overwritten.
const MOST: usize = 32;
const MODE: u32 = 0o644;
/// The mode, which no pid file has, of one that a start has made but not yet locked: it is whoever's that locks it.
const UNBORN: u32 = 0o700;
/// A path on which files come and go faster than they can be locked.
const TRIES: u32 = 1000;

/// The flags that every pid file is opened with: a FIFO must not make us wait, nor a terminal become ours.
const FLAGS: c_int = sys::O_NOFOLLOW | sys::O_NOCTTY | sys::O_NONBLOCK;

/// A pid file on the way to its daemon, behind its gate.
#[derive(Debug)]
pub(crate) struct PidFile<'a> {
    path: &'a CStr,
    /// To write it; until it is the daemon's.
    file: Option<Fd>,
    /// For the lock for life.
    lock: Fd,
    /// What it was; `None` when there was none.
    before: Option<Before>,
    /// Whether this process will be the daemon itself. There is no caller then, so the gate is on the descriptor that
    /// stays.
    stays: bool,
}

#[derive(Debug)]
struct Before {
    text: Text<MOST>,
    mode: u32,
}

/// In the caller: opens the file and shuts the gate.
pub(crate) fn open(path: &CStr, stays: bool) -> Result<PidFile<'_>, Errno> {
    if is_own(path) {
        return Err(Errno::EEXIST);
    }
    for _ in 0..TRIES {
        if let Some(file) = try_to_lock(path, stays)? {
            return Ok(file);
        }
    }
    Err(Errno::EAGAIN)
}

/// `None` when the file at that path is another one by now.
#[inline(never)] // the search for our own files is deep enough
fn try_to_lock(path: &CStr, stays: bool) -> Result<Option<PidFile<'_>>, Errno> {
    let Some((file, is_new)) = open_or_make(path)? else { return Ok(None) };
    let locked = lock_file(path, &file, is_new, stays);
    if let Ok(Some((lock, before))) = locked {
        return Ok(Some(PidFile { path, file: Some(file), lock, before, stays }));
    }
    // What this has made, it takes away, unless somebody else has shut the gate. Where no gate can be shut, it does so if
    // nobody has done anything with it yet.
    let is_ours = match shut_gate(&file) {
        Err(Errno::EEXIST) => false,
        Err(_) => is_unborn(&file) == Ok(true),
        Ok(()) => true,
    };
    if is_new && is_ours && !is_held(&file) {
        // Ignored: a file that nobody holds is taken over by the next start, and the error that led here is told.
        let _ = remove_at(path, &file);
    }
    open_gate(&file);
    locked.map(|_| None)
}

fn remove_at(path: &CStr, file: &Fd) -> Result<(), Errno> {
    if is_at(path, file) { uninterrupted(|| sys::unlink(path)) } else { Ok(()) }
}

/// Opens the file that is there, or makes one; which of the two, decides what a failed start has to put back.
fn open_or_make(path: &CStr) -> Result<Option<(Fd, bool)>, Errno> {
    match unless(Errno::ENOENT, uninterrupted(|| sys::lstat(path)))? {
        Some(stat) => {
            // Looked at before it is opened, because opening a device may have effects.
            refuse(&stat)?;
            let opened = unless(Errno::ENOENT, Fd::open(path, sys::O_RDWR | FLAGS, 0))?;
            Ok(opened.map(|file| (file, false)))
        }
        None => {
            let flags = sys::O_RDWR | sys::O_CREAT | sys::O_EXCL | FLAGS;
            let made = unless(Errno::EEXIST, Fd::open(path, flags, UNBORN))?;
            Ok(made.map(|file| (file, true)))
        }
    }
}

/// `None` for that error: somebody was faster.
fn unless<T>(errno: Errno, result: Result<T, Errno>) -> Result<Option<T>, Errno> {
    match result {
        Err(it) if it == errno => Ok(None),
        result => result.map(Some),
    }
}

/// The descriptor for the lock, and what the file was.
fn lock_file(path: &CStr, file: &Fd, is_new: bool, stays: bool) -> Result<Option<(Fd, Option<Before>)>, Errno> {
    if !stays {
        shut_gate(file)?;
    }
    // A umask may have left nothing of it, and it could not be opened again. But with a text it is another start's.
    if is_new && read_text(file.number())?.bytes().is_empty() {
        uninterrupted(|| sys::fchmod(file.number(), UNBORN))?;
    }
    refuse(&uninterrupted(|| sys::fstat(file.number()))?)?;
    let Some(lock) = unless(Errno::ENOENT, Fd::open(path, sys::O_RDONLY | FLAGS, 0))? else { return Ok(None) };
    if stays {
        shut_gate(&lock)?;
    }
    if !is_at(path, file) || !is_at(path, &lock) {
        return Ok(None);
    }
    if uninterrupted(|| sys::record_lock_owner(lock.number()))?.is_some() {
        return Err(Errno::EEXIST);
    }
    if is_unborn(file)? {
        uninterrupted(|| sys::fchmod(file.number(), MODE))?;
        return Ok(Some((lock, None)));
    }
    let before = Before { text: read_text(file.number())?, mode: mode_of(file)? };
    Ok(Some((lock, Some(before))))
}

/// Whether a start has made it, and none has locked it yet.
fn is_unborn(file: &Fd) -> Result<bool, Errno> {
    Ok(mode_of(file)? == UNBORN && read_text(file.number())?.bytes().is_empty())
}

fn mode_of(file: &Fd) -> Result<u32, Errno> {
    Ok(uninterrupted(|| sys::fstat(file.number()))?.mode & 0o7777)
}

/// Whether the process that it names has the lock for life. A stranger's lock does not count.
fn is_held(file: &Fd) -> bool {
    let owner = uninterrupted(|| sys::record_lock_owner(file.number()));
    matches!(owner, Ok(Some(pid)) if pid_in(file.number()) == Some(pid))
}

/// EEXIST when it is shut.
fn shut_gate(file: &Fd) -> Result<(), Errno> {
    unless(Errno::EAGAIN, uninterrupted(|| sys::flock(file.number(), sys::LOCK_EX_NB)))?.ok_or(Errno::EEXIST)
}

/// Closing the descriptor is not enough: a child that another thread has forked meanwhile holds it too.
fn open_gate(file: &Fd) {
    // Ignored: it opens when the last descriptor is closed.
    let _ = uninterrupted(|| sys::flock(file.number(), sys::LOCK_UN));
}

/// What is no regular file, with one name, of our own.
fn refuse(stat: &sys::Stat) -> Result<(), Errno> {
    refuse_kind(stat)?;
    match (stat.links, sys::getresuid()?) {
        (2.., _) => Err(Errno::EMLINK),
        (_, [_, effective, _]) if stat.owner != effective => Err(Errno::EPERM),
        _ => Ok(()),
    }
}

fn refuse_kind(stat: &sys::Stat) -> Result<(), Errno> {
    match stat.mode & sys::S_IFMT {
        sys::S_IFREG => Ok(()),
        sys::S_IFLNK => Err(Errno::ELOOP),
        sys::S_IFDIR => Err(Errno::EISDIR),
        _ => Err(Errno::EINVAL),
    }
}

/// Whether that path still leads to that file: whoever has removed it meanwhile may have made a new one.
fn is_at(path: &CStr, file: &Fd) -> bool {
    are_same(uninterrupted(|| sys::lstat(path)), uninterrupted(|| sys::fstat(file.number())))
}

fn are_same(one: Result<sys::Stat, Errno>, other: Result<sys::Stat, Errno>) -> bool {
    matches!((one, other), (Ok(one), Ok(other)) if one.identity == other.identity)
}

/// What the file says. EINVAL for what cannot be a pid file's: it may be dear to somebody.
fn read_text(fd: c_int) -> Result<Text<MOST>, Errno> {
    let mut buffer = [0; MOST + 1];
    let length = uninterrupted(|| sys::pread(fd, &mut buffer))?;
    let read = buffer.get(..length).unwrap_or_default();
    // A crash may leave NULs in place of what was written last.
    let right = |byte: &u8| byte.is_ascii_digit() || byte.is_ascii_whitespace() || *byte == 0;
    if length > MOST || !read.iter().all(right) {
        return Err(Errno::EINVAL);
    }
    let mut text = Text::new();
    text.add(read);
    Ok(text)
}

impl PidFile<'_> {
    /// The descriptors, which are not to be closed before it is the daemon's.
    pub(crate) fn numbers(&self) -> [c_int; 2] {
        [self.file.as_ref().map_or(-1, Fd::number), self.lock.number()]
    }

    /// Has a path of its own, when the caller's will be the daemon's.
    pub(crate) fn keep_path(&mut self) {
        self.path = handover::keep_path(self.path).unwrap_or(self.path);
    }

    /// Moves its descriptors away from a number that is needed for something else.
    pub(crate) fn clear(&mut self, number: c_int) -> Result<(), Error> {
        let moved = self.lock.clear(number).and_then(|()| self.file.as_mut().map_or(Ok(()), |file| file.clear(number)));
        moved.map_err(Error::at(Step::PidFile))
    }

    /// In the daemon, while it has its privileges: writes its pid.
    ///
    /// Who reads without looking at the locks finds the old number or the new one in the first line, and never one cut
    /// short: a longer text first gets its room, because a reader sees new bytes up to the old length; then comes the
    /// text, in one write; then the length. (Only who reads in the very moment in which the kernel copies those few
    /// bytes may see some of each; the locks are for who must be sure.)
    pub(crate) fn write(&self) -> Result<(), Error> {
        let mut text = Text::<MOST>::new();
        text.add_number(sys::getpid().unsigned_abs().into()).add(b"\n");
        self.fill(text.bytes(), MODE).map_err(Error::at(Step::PidFile))
    }

    fn fill(&self, text: &[u8], mode: u32) -> Result<(), Errno> {
        let Some(file) = self.file.as_ref().map(Fd::number) else { return Err(Errno::EBADF) };
        let length = uninterrupted(|| sys::pread(file, &mut [0; MOST]))?;
        if length > 0 {
            write_at(file, length, [b'\n'; MOST].get(length..text.len()).unwrap_or_default())?;
        }
        write_at(file, 0, text)?;
        uninterrupted(|| sys::ftruncate(file, text.len()))?;
        uninterrupted(|| sys::fchmod(file, mode))
    }

    /// In the daemon, last of all: takes the lock for life. The file can no longer be written.
    pub(crate) fn settle(&mut self, over_exec: bool) -> Result<(), Error> {
        self.take_over(over_exec).map_err(Error::at(Step::PidFile))
    }

    fn take_over(&mut self, over_exec: bool) -> Result<(), Errno> {
        // First: it would take the lock away. A network file system tells only now that it could not write.
        self.file.take().map_or(Ok(()), Fd::close)?;
        uninterrupted(|| sys::record_lock(self.lock.number()))?;
        if over_exec {
            sys::set_fd_flags(self.lock.number(), 0)?; // closed, it would be lost
        }
        if self.stays { uninterrupted(|| sys::flock(self.lock.number(), sys::LOCK_UN)) } else { Ok(()) }
    }

    /// In the daemon: the descriptor stays open to its end.
    pub(crate) fn leave_open(self) -> c_int {
        self.lock.leave_open()
    }

    /// In the caller, when it knows the outcome: unless there is a daemon, puts back what was there; and opens the
    /// gate.
    ///
    /// A daemon that was killed may take a while to die, and to let go of its lock. It will not write any more.
    #[inline(never)] // not on the stack of what follows
    pub(crate) fn end(mut self, is_ready: bool, may_live: bool) {
        if !is_ready && self.file.is_none() && is_at(self.path, &self.lock) {
            // It was to be this process's own, which has closed it. Ignored: with other rights, it may not be had
            // again.
            self.file = Fd::open(self.path, sys::O_RDWR | FLAGS, 0).ok();
        }
        let is_owned = is_ready || may_live && is_held(&self.lock);
        if !is_owned {
            self.put_back();
        }
        open_gate(if self.stays { &self.lock } else { self.file.as_ref().unwrap_or(&self.lock) });
    }

    fn put_back(&self) {
        match &self.before {
            // Where it could be made and cannot be removed, it names nobody, and is whoever's that locks it.
            None if remove_at(self.path, &self.lock).is_err() => {
                // Ignored: as below.
                let _ = self.fill(b"", UNBORN);
            }
            None => {}
            Some(before) if self.is_changed(before) => {
                // Ignored: a stale file heals itself at the next start, and the error that led here is told.
                let _ = self.fill(before.text.bytes(), before.mode);
            }
            Some(_) => {}
        }
    }

    /// The number may be the same: in a container, every start has the numbers of the last one.
    fn is_changed(&self, before: &Before) -> bool {
        let lock = self.lock.number();
        read_text(lock).is_ok_and(|text| text.bytes() != before.text.bytes())
            || mode_of(&self.lock).is_ok_and(|mode| mode != before.mode)
    }
}

/// Writes all of it. Beyond RLIMIT_FSIZE that is an error, and not the end of this process too.
fn write_at(file: c_int, at: usize, text: &[u8]) -> Result<(), Errno> {
    signals::without(sys::SIGXFSZ, Errno::EFBIG, &mut || {
        let mut written = 0;
        while let Some(rest) = text.get(written..).filter(|rest| !rest.is_empty()) {
            written += uninterrupted(|| sys::pwrite(file, rest, at + written))?;
        }
        Ok(())
    })
}

/// Whether this process owns the file at that path. A lock for life is always held through an open descriptor, so one
/// of this process's must lead there.
fn is_own(path: &CStr) -> bool {
    let there = uninterrupted(|| sys::lstat(path));
    there.is_ok() && fds::find(&|fd| are_same(there, uninterrupted(|| sys::fstat(fd))) && is_owner(fd)).is_some()
}

/// Whether this process holds the file that the descriptor leads to. The kernel tells of a process's own record locks
/// only when asked for the conflicts of an OFD lock (Linux 3.15).
fn is_owner(fd: c_int) -> bool {
    let own = sys::getpid();
    match uninterrupted(|| sys::any_record_lock_owner(fd)) {
        Ok(Some(pid)) if pid == own => true,
        Ok(None) => false,
        // Somebody else has one too, or the kernel is older: the text has to decide.
        _ => pid_in(fd) == Some(own),
    }
}

fn pid_in(fd: c_int) -> Option<c_int> {
    let text = read_text(fd).ok()?;
    text::number(text.bytes().trim_ascii(), 10).and_then(|pid| c_int::try_from(pid).ok())
}

/// `pid_file_read(path)`—the pid of the live daemon that owns a pid file; `None` when there is no such file, or its
/// daemon is dead or not yet started.
///
/// The answer is both the kernel's (who holds the lock) and the file's text, which must agree. It may be old when it
/// arrives: signals are better sent through a `pidfd_open(2)` that was made before a second look. The file may be read
/// by anybody, also by its owner.
///
/// # Errors
/// [`Step::PidFile`] with the errno of the call that failed; ELOOP for a symbolic link, EISDIR for a directory, EINVAL
/// for what else is no regular file. ESRCH when somebody holds the file, but not the process that it names: its owner
/// lives in another pid namespace, or a stranger has locked it.
///
/// # References
/// `fcntl(2)`, F_GETLK; `pid_namespaces(7)`.
pub fn read(path: &CStr) -> Result<Option<i32>, Error> {
    owner(path).map_err(Error::at(Step::PidFile))
}

fn owner(path: &CStr) -> Result<Option<c_int>, Errno> {
    let Some(stat) = unless(Errno::ENOENT, uninterrupted(|| sys::lstat(path)))? else { return Ok(None) };
    refuse_kind(&stat)?;
    if is_own(path) {
        return Ok(Some(sys::getpid()));
    }
    let Some(file) = unless(Errno::ENOENT, Fd::open(path, sys::O_RDONLY | FLAGS, 0))? else { return Ok(None) };
    match uninterrupted(|| sys::record_lock_owner(file.number()))? {
        Some(pid) if pid <= 0 || pid_in(file.number()) != Some(pid) => Err(Errno::ESRCH),
        owner => Ok(owner),
    }
}

/// `pid_file_remove(path)`—removes the pid file that this process owns. Call it last: from then on another daemon may
/// start.
///
/// A daemon that has given up its privileges often may not remove a file from its directory (EACCES). That does no
/// harm: nobody takes a file for a daemon's when its lock is gone, and the next start writes it anew.
///
/// # Errors
/// [`Step::PidFile`]: EPERM when this process does not own that file, or `unlink(2)`'s errno.
///
/// # Notes
/// The path is looked up by this process: absolute, and in its root directory.
pub fn remove(path: &CStr) -> Result<(), Error> {
    // No call removes by descriptor: who replaces the file just now loses theirs.
    let removed = if is_own(path) {
        uninterrupted(|| sys::unlink(path))
    } else {
        uninterrupted(|| sys::lstat(path)).and(Err(Errno::EPERM))
    };
    removed.map_err(Error::at(Step::PidFile))
}
