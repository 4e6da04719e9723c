//! Descriptors: owning one, keeping clear of 0 to 2, and closing all the others.

use crate::error::Errno;
use crate::sys::direct as sys;
use crate::text;
use core::ffi::{CStr, c_int};
use core::mem::{self, MaybeUninit};
use core::slice;

/// Repeats a call that a signal interrupts: EINTR never changes an outcome. Not for `close`, which has closed by then.
///
/// # Errors
/// The call's own.
pub fn uninterrupted<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// A descriptor of our own: close-on-exec, never 0, 1 or 2 (which may be closed in the caller, and would be taken for
/// its standard streams), and closed when dropped.
#[derive(Debug)]
pub(crate) struct Fd(c_int);

impl Fd {
    /// Takes over a descriptor just made, and moves it if it took the place of a standard stream.
    pub(crate) fn above_stdio(made: c_int) -> Result<Self, Errno> {
        let made = Self(made);
        if made.0 > sys::STDERR { Ok(made) } else { Self::duplicate(made.0) }
    }

    /// A duplicate of anybody's descriptor.
    pub(crate) fn duplicate(fd: c_int) -> Result<Self, Errno> {
        sys::dup_above(fd, sys::STDERR + 1).map(Self)
    }

    /// `open(path, flags | O_CLOEXEC, mode)`
    pub(crate) fn open(path: &CStr, flags: c_int, mode: u32) -> Result<Self, Errno> {
        Self::above_stdio(uninterrupted(|| sys::open(path, flags | sys::O_CLOEXEC, mode))?)
    }

    /// Takes back what [`Fd::leave_open`] gave away.
    pub(crate) fn take(fd: c_int) -> Self {
        Self(fd)
    }

    /// The number, and with it the duty to close it.
    pub(crate) fn leave_open(self) -> c_int {
        let fd = self.0;
        mem::forget(self);
        fd
    }

    pub(crate) fn number(&self) -> c_int {
        self.0
    }

    /// Moves it away from a number that is needed for something else.
    pub(crate) fn clear(&mut self, number: c_int) -> Result<(), Errno> {
        if self.0 == number {
            *self = Self(sys::dup_above(number, number.saturating_add(1))?);
        }
        Ok(())
    }

    /// Closes it, and tells what that has brought to light (a network file system may write only now).
    pub(crate) fn close(self) -> Result<(), Errno> {
        match sys::close(self.leave_open()) {
            Err(Errno::EINTR) => Ok(()), // closed all the same
            result => result,
        }
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        close(self.0);
    }
}

/// Closes a descriptor, once. Linux frees the number before anything can fail, so EINTR and EIO must not be retried
/// (`close(2)`, NOTES), and EBADF says that it was closed already.
fn close(fd: c_int) {
    // Ignored: whatever it says, the descriptor is closed.
    let _ = sys::close(fd);
}

/// The descriptor of that number; one that no descriptor can have becomes -1, which is never open.
fn number(fd: u32) -> c_int {
    c_int::try_from(fd).unwrap_or(-1)
}

/// Closes every descriptor from `lowest` up, except those in either list.
///
/// A ladder: each rung is tried when the one above is not to be had. No rung allocates or needs a free descriptor.
/// All of them may be tried one after the other: closing what is closed already does nothing.
pub(crate) fn close_except(lowest: c_int, keep: &[c_int], own: &[c_int]) {
    let lowest = u32::try_from(lowest).unwrap_or(0);
    // Of a long list, what is not below the end of the table need not be looked at again and again.
    let end = if keep.len() > Kept::LONG { table_size(own).unwrap_or(u32::MAX) } else { u32::MAX };
    let mut kept = Kept { keep, own, start: 0, window: [0; Kept::WORDS], above: None, end };
    kept.move_to(lowest);
    if close_ranges(lowest, &mut kept).is_ok() || close_listed(lowest, &mut kept).is_some() {
        return;
    }
    let end = table_size(own).unwrap_or_else(largest_limit);
    (lowest..end).filter(|fd| !kept.contains(*fd)).for_each(|fd| close(number(fd)));
}

// The first rung: close_range, Linux 5.9.

/// Closes the ranges between the kept descriptors.
///
/// ENOSYS comes from older kernels, EPERM from container filters that do not know the call; it does not matter which.
fn close_ranges(lowest: u32, kept: &mut Kept<'_>) -> Result<(), Errno> {
    // Android's filter kills the process for calls that it does not know.
    if cfg!(target_os = "android") {
        return Err(Errno::EPERM);
    }
    let mut first = lowest;
    while let Some(next) = kept.next(first) {
        if next > first {
            sys::close_range(first, next - 1)?;
        }
        first = next + 1;
    }
    sys::close_range(first, u32::MAX)
}

// The second rung: /proc.

/// Closes what `/proc/thread-self/fd` lists. `None` when there is no such list, or when it is not ours.
fn close_listed(lowest: u32, kept: &mut Kept<'_>) -> Option<()> {
    let list = Directory(open_list(lowest, kept)?);
    list.for_each_descriptor(&mut |fd| {
        if fd >= lowest && !kept.contains(fd) {
            close(number(fd));
        }
    })
}

/// Opens the list of this thread's descriptors, which are the process's unless it has made itself a table of its own
/// (`unshare(CLONE_FILES)`). Where no descriptor is free, one that is to be closed anyway makes room.
fn open_list(lowest: u32, kept: &mut Kept<'_>) -> Option<c_int> {
    match open_directory(DESCRIPTORS) {
        Err(Errno::EMFILE) => {}
        result => return result.ok(),
    }
    // Every number below the limit is taken, so the first one that need not be kept will do.
    let limit = u32::try_from(sys::descriptor_limit().ok()?.soft).unwrap_or(u32::MAX);
    let room = (lowest..limit).find(|fd| !kept.contains(*fd))?;
    close(number(room));
    open_directory(DESCRIPTORS).ok()
}

const DESCRIPTORS: &CStr = c"/proc/thread-self/fd";

fn open_directory(path: &CStr) -> Result<c_int, Errno> {
    uninterrupted(|| sys::open(path, sys::O_RDONLY | sys::O_DIRECTORY | sys::O_CLOEXEC, 0))
}

/// A directory whose names are numbers, closed when dropped. It may have any number, also 0.
struct Directory(c_int);

impl Drop for Directory {
    fn drop(&mut self) {
        close(self.0);
    }
}

impl Directory {
    /// Hands out every descriptor but the one that the list is read from. `None` when this is not such a list: it is in
    /// procfs, and a list of our descriptors has its own.
    fn for_each_descriptor(&self, each: &mut dyn FnMut(u32)) -> Option<()> {
        if !self.is_in_procfs() {
            return None;
        }
        let mut found_itself = false;
        self.for_each_number(&mut |fd| {
            if fd == self.0.unsigned_abs() {
                found_itself = true;
            } else {
                each(fd);
            }
        })?;
        found_itself.then_some(())
    }

    #[inline(never)] // its structure is large, and not needed on the stack while the list is read
    fn is_in_procfs(&self) -> bool {
        const PROCFS: usize = 0x9fa0; // statfs(2), PROC_SUPER_MAGIC
        sys::file_system_type(self.0) == Ok(PROCFS)
    }

    /// Hands out every name that is a number. procfs reads by position, so the list may be closed while it is read.
    fn for_each_number(&self, each: &mut dyn FnMut(u32)) -> Option<()> {
        // Aligned for the kernel's struct linux_dirent64; some 8 descriptors a call.
        #[repr(align(8))]
        struct Buffer([MaybeUninit<u8>; 192]);
        let mut buffer = Buffer([MaybeUninit::uninit(); 192]);
        loop {
            let filled = uninterrupted(|| sys::getdents64(self.0, &mut buffer.0)).ok()?;
            if filled == 0 {
                return Some(());
            }
            // SAFETY: the kernel has written that many bytes of the buffer.
            let mut entries = unsafe { slice::from_raw_parts(buffer.0.as_ptr().cast::<u8>(), filled) };
            while let Some((name, rest)) = first_name(entries) {
                if let Some(number) = text::number(name, 10).and_then(|number| u32::try_from(number).ok()) {
                    each(number);
                }
                entries = rest;
            }
        }
    }
}

/// The name in the first `struct linux_dirent64`, and the entries after it.
fn first_name(entries: &[u8]) -> Option<(&[u8], &[u8])> {
    const LENGTH_AT: usize = 16; // d_ino and d_off, 8 bytes each
    const NAME_AT: usize = 19; // and d_reclen, d_type
    let length = usize::from(u16::from_ne_bytes([*entries.get(LENGTH_AT)?, *entries.get(LENGTH_AT + 1)?]));
    let (name, rest) = (entries.get(NAME_AT..length)?, entries.get(length..)?);
    name.split(|byte| *byte == 0).next().map(|name| (name, rest))
}

/// An open descriptor of this process for which that is true.
pub(crate) fn find(is: &dyn Fn(c_int) -> bool) -> Option<c_int> {
    let mut found = None;
    let mut look = |fd| {
        if found.is_none() && is(number(fd)) {
            found = Some(number(fd));
        }
    };
    let list = open_directory(DESCRIPTORS).ok().map(Directory);
    if list.and_then(|list| list.for_each_descriptor(&mut look)).is_none() {
        (0..table_size(&[]).unwrap_or_else(largest_limit)).for_each(look);
    }
    found
}

/// How many threads the process has, from `/proc/self/task`; `None` where that cannot be read.
pub(crate) fn thread_count() -> Option<usize> {
    let directory = Directory(open_directory(c"/proc/self/task/").ok()?);
    let mut count = 0;
    directory.for_each_number(&mut |_| count += 1)?;
    Some(count)
}

// The third rung: no /proc. Ask the kernel for the size of the table, and close up to there, number by number.
// (Nothing cheaper tells whether a number is in use: poll takes an O_PATH descriptor for a closed one.)

/// How many descriptors this process's table can hold at the moment, whatever RLIMIT_NOFILE says.
///
/// The kernel clamps `select`'s nfds to the size of the caller's table (`core_sys_select`: max_fds) before it copies
/// that many bits in. So a bitmap that ends where memory ends gives EFAULT exactly when the table is larger than it.
/// `None` where the kernel does not say (no MMU, a filter, more than 8 Mi descriptors), or not the truth: the table
/// has room for our own descriptors.
fn table_size(own: &[c_int]) -> Option<u32> {
    // The first of these is enough for half a million descriptors, and there may be little memory.
    let bytes = match smallest_bitmap(1 << 16) {
        Err(Errno::EFAULT) => smallest_bitmap(1 << 20),
        result => result,
    };
    let size = u32::try_from(bytes.ok()? * 8).ok()?;
    own.iter().all(|fd| *fd < number(size)).then_some(size)
}

/// The size in bytes of the smallest bitmap that the kernel finds long enough, up to so many; EFAULT when none is.
fn smallest_bitmap(most: usize) -> Result<usize, Errno> {
    const GUARD: usize = 1 << 16; // the largest page
    let bitmap = sys::mmap(most + GUARD)?;
    let end = bitmap.wrapping_add(most);
    // SAFETY: this is the end of our own mapping, and nothing is in it. It stays mapped, so no other thread's memory
    // can move in behind the bitmap.
    let guarded = unsafe { sys::forbid(end, GUARD) };
    let size = guarded.and_then(|()| smallest_before(end, most));
    // SAFETY: the mapping is ours and no longer used.
    // Ignored: it succeeded for this mapping or leaves it where it hurts nobody.
    let _ = unsafe { sys::munmap(bitmap, most + GUARD) };
    size
}

fn smallest_before(end: *mut u8, most: usize) -> Result<usize, Errno> {
    let mut bytes = size_of::<u64>();
    while bytes <= most {
        let start = end.wrapping_sub(bytes).cast();
        // SAFETY: after the bitmap comes memory that the kernel cannot read or write either.
        match unsafe { sys::pselect6(c_int::MAX, start) } {
            Ok(_) => return Ok(bytes),
            Err(Errno::EFAULT) => bytes *= 2,
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::EFAULT)
}

/// The larger of the two limits: the last resort, and wrong where both were lowered below open descriptors.
fn largest_limit() -> u32 {
    let limit = sys::descriptor_limit().map_or(u64::MAX, |limit| limit.soft.max(limit.hard));
    u32::try_from(limit).unwrap_or(u32::MAX).min(c_int::MAX.unsigned_abs())
}

/// The descriptors to keep, in any order, some of them twice, negative or absurdly high.
///
/// There is no room for a sorted copy, so a window of 2048 numbers is made a bitmap in one pass through the lists, and
/// moved up as the work moves up.
struct Kept<'a> {
    keep: &'a [c_int],
    own: &'a [c_int],
    start: u32,
    window: [u64; Kept::WORDS],
    /// The lowest one above the window.
    above: Option<u32>,
    /// What is not below is not open, and need not be kept.
    end: u32,
}

impl Kept<'_> {
    const WORDS: usize = 32;
    const WIDTH: u32 = 32 * u64::BITS;
    /// A list of so many numbers is long: one of a million from everywhere would be read half a million times.
    const LONG: usize = 8192;

    /// Is it one of them?
    fn contains(&mut self, fd: u32) -> bool {
        if fd.checked_sub(self.start).is_none_or(|offset| offset >= Self::WIDTH) {
            self.move_to(fd);
        }
        self.next_in_window(fd) == Some(fd)
    }

    /// The lowest of them that is at least `fd`.
    fn next(&mut self, fd: u32) -> Option<u32> {
        if self.contains(fd) {
            return Some(fd);
        }
        self.next_in_window(fd).or(self.above)
    }

    fn move_to(&mut self, fd: u32) {
        (self.start, self.above) = (fd, None);
        self.window.fill(0);
        let numbers = self.keep.iter().chain(self.own).filter_map(|kept| u32::try_from(*kept).ok());
        for kept in numbers.filter(|kept| *kept < self.end) {
            let Some(offset) = kept.checked_sub(self.start) else { continue };
            match self.window.get_mut((offset / u64::BITS) as usize) {
                Some(word) => *word |= 1 << (offset % u64::BITS),
                None => self.above = Some(self.above.map_or(kept, |above| above.min(kept))),
            }
        }
    }

    fn next_in_window(&self, fd: u32) -> Option<u32> {
        let offset = fd.checked_sub(self.start)?;
        let mut index = offset / u64::BITS;
        let mut word = self.window.get(index as usize)? & (u64::MAX << (offset % u64::BITS));
        while word == 0 {
            index += 1;
            word = *self.window.get(index as usize)?;
        }
        Some(self.start + index * u64::BITS + word.trailing_zeros())
    }
}
