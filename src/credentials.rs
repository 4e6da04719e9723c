//! Giving up privileges for good: groups, then group id, then user id, and the proof.

use crate::error::{Errno, Error, Step};
use crate::sys;
use core::ffi::c_int;
use core::slice;

/// Who the daemon is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Credentials<'a> {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: &'a [u32],
}

/// So many groups are read onto the stack.
const FEW: usize = 32;

impl Credentials<'_> {
    /// An id of -1 means "leave it as it is" to the kernel: who asks for that would stay root.
    pub(crate) fn are_ids(&self) -> bool {
        self.uid != sys::NO_ID && self.gid != sys::NO_ID && !has(self.groups, sys::NO_ID)
    }

    /// Makes this process that user. The order is the only one that works: each call needs what the next takes away.
    #[inline(never)] // not on the stack of what follows
    pub(crate) fn take(&self) -> Result<(), Error> {
        let [_, uid_before, _] = sys::getresuid().map_err(Error::at(Step::Uid))?;
        // Also when there are none: root's own would stay (CVE-2023-6507 and its kin).
        sys::setgroups(self.groups).map_err(Error::at(Step::Groups))?;
        sys::setresgid(self.gid, self.gid, self.gid).map_err(Error::at(Step::Gid))?;
        sys::setresuid(self.uid, self.uid, self.uid).map_err(Error::at(Step::Uid))?;
        self.give_up_capabilities()?;
        self.prove(uid_before).map_err(Error::at(Step::Privileges))
    }

    /// The kernel takes them away with user id 0, but not from who had them as another user, nor against its securebits
    /// (capabilities(7)).
    fn give_up_capabilities(&self) -> Result<(), Error> {
        if self.uid == 0 { Ok(()) } else { sys::capset_none().map_err(Error::at(Step::Privileges)) }
    }

    /// Reads everything back: a filter may have a call succeed that did nothing. EPERM when anything is left.
    fn prove(&self, uid_before: u32) -> Result<(), Errno> {
        let proven = sys::getresuid()? == [self.uid; 3]
            && sys::getresgid()? == [self.gid; 3]
            && self.has_just_these_groups()?
            && (self.uid == 0 || sys::capget()? == [0; 3])
            && (self.uid == uid_before || cannot_be(uid_before));
        if proven { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// The kernel has them in an order of its own.
    fn has_just_these_groups(&self) -> Result<bool, Errno> {
        // SAFETY: nothing is written.
        let count = unsafe { sys::getgroups(0, core::ptr::null_mut()) }?;
        if count != self.groups.len() || count == 0 {
            return Ok(count == self.groups.len());
        }
        let mut few = [0; FEW];
        if count <= FEW {
            return self.are_groups(few.as_mut_ptr());
        }
        // Up to 65,536 of them: too many for a stack.
        let length = size_of_val(self.groups);
        let memory = sys::mmap(length)?;
        let same = self.are_groups(memory.cast());
        // SAFETY: the mapping is ours and no longer used.
        // Ignored: it succeeds for a mapping of ours.
        let _ = unsafe { sys::munmap(memory, length) };
        same
    }

    fn are_groups(&self, memory: *mut u32) -> Result<bool, Errno> {
        let count = c_int::try_from(self.groups.len()).map_err(|_| Errno::EINVAL)?;
        // SAFETY: the memory was made for that many.
        if unsafe { sys::getgroups(count, memory) }? != self.groups.len() {
            return Ok(false);
        }
        // SAFETY: that many have been written.
        let have = unsafe { slice::from_raw_parts(memory, self.groups.len()) };
        Ok(have_all(have, self.groups) && have_all(self.groups, have))
    }
}

fn have_all(groups: &[u32], wanted: &[u32]) -> bool {
    wanted.iter().all(|group| has(groups, *group))
}

#[allow(clippy::manual_contains, reason = "that is made for speed, and larger")]
fn has(groups: &[u32], wanted: u32) -> bool {
    groups.iter().any(|group| *group == wanted)
}

/// The attempt to regain what was given up, which has to fail.
fn cannot_be(uid: u32) -> bool {
    sys::setresuid(sys::NO_ID, uid, sys::NO_ID).is_err()
}
