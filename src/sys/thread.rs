//! What the kernel keeps for a thread, and no clone that shares memory inherits; and such a clone's preconditions. Raw
//! system calls with both backends: a C library offers none of them, or keeps a state of its own.

use crate::error::Errno;
use core::ffi::{c_int, c_uint, c_void};
use core::ptr;
use sc::syscall;

const CLONE_VM: c_int = 0x100;
/// `RSEQ_FLAG_UNREGISTER`
pub const RSEQ_FLAG_UNREGISTER: c_int = 1;
/// `SS_ONSTACK`
pub const SS_ONSTACK: c_int = 1;
/// `SS_DISABLE`
pub const SS_DISABLE: c_int = 2;

const PR_GET_DUMPABLE: c_int = 3;
const PR_SET_DUMPABLE: c_int = 4;
const PR_GET_TID_ADDRESS: c_int = 40;
#[cfg(target_arch = "x86_64")]
const ARCH_SHSTK_STATUS: c_int = 0x5005;
#[cfg(not(target_arch = "x86_64"))]
const PR_GET_SHADOW_STACK_STATUS: c_int = 74;

/// What stands before every abort handler, so that the kernel jumps nowhere else; glibc's, which is that of the kernel's
/// own tests.
const RSEQ_SIGNATURE: c_uint = if cfg!(target_arch = "x86_64") {
    0x5305_3053
} else if cfg!(target_arch = "aarch64") {
    0xd428_bc00
} else {
    0xf140_1073
};

/// `struct robust_list_head`
#[derive(Debug)]
#[repr(C)]
pub struct RobustList {
    /// The first mutex that the thread holds; this structure when there is none.
    pub first: *const RobustList,
    /// From a mutex's entry to its futex.
    pub offset: isize,
    /// What the thread is just taking, or giving up.
    pub pending: *const c_void,
}

/// `stack_t`
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SignalStack {
    /// Where it begins.
    pub start: *mut c_void,
    /// `SS_DISABLE` and its like.
    pub flags: c_int,
    /// How long it is.
    pub size: usize,
}

#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "the kernel's result is an int")]
fn check(result: usize) -> Result<c_int, Errno> {
    let result = result as c_int;
    if result < 0 { Err(Errno::new(result.wrapping_neg())) } else { Ok(result) }
}

/// `unshare(CLONE_VM)`: EINVAL when another thread or process has the same memory.
pub fn unshare_memory() -> Result<(), Errno> {
    // SAFETY: takes no pointers, and changes nothing.
    check(unsafe { syscall!(UNSHARE, CLONE_VM) }).map(drop)
}

/// `gettid()`
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "the kernel's result is an int")]
pub fn gettid() -> c_int {
    // SAFETY: takes no pointers and cannot fail.
    unsafe { syscall!(GETTID) as c_int }
}

/// `prctl(PR_GET_TID_ADDRESS)`: where the kernel writes 0 when the thread ends.
pub fn tid_address(address: &mut *mut c_int) -> Result<(), Errno> {
    // SAFETY: a pointer can be written there.
    check(unsafe { syscall!(PRCTL, PR_GET_TID_ADDRESS, ptr::from_mut(address), 0, 0, 0) }).map(drop)
}

/// `prctl(PR_GET_DUMPABLE)`
pub fn dumpable() -> Result<c_int, Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { syscall!(PRCTL, PR_GET_DUMPABLE, 0, 0, 0, 0) })
}

/// `prctl(PR_SET_DUMPABLE, value)`
pub fn set_dumpable(value: c_int) -> Result<(), Errno> {
    // SAFETY: takes no pointers.
    check(unsafe { syscall!(PRCTL, PR_SET_DUMPABLE, value, 0, 0, 0) }).map(drop)
}

/// `set_tid_address(address)`
///
/// # Safety
/// NULL, or an int can be written there until the thread ends.
pub unsafe fn set_tid_address(address: *mut c_int) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    check(unsafe { syscall!(SET_TID_ADDRESS, address) }).map(drop)
}

/// `get_robust_list(0)`
pub fn robust_list(head: &mut *mut RobustList) -> Result<(), Errno> {
    let mut size = 0_usize;
    // SAFETY: a pointer and a size can be written there.
    check(unsafe { syscall!(GET_ROBUST_LIST, 0, ptr::from_mut(head), &raw mut size) }).map(drop)
}

/// Whether the kernel has such lists at all: none has the size 0 (EINVAL).
pub fn has_robust_lists() -> bool {
    let none = ptr::null_mut::<RobustList>();
    // SAFETY: nothing gets registered.
    check(unsafe { syscall!(SET_ROBUST_LIST, none, 0) }) != Err(Errno::ENOSYS)
}

/// `set_robust_list(head, sizeof *head)`
///
/// # Safety
/// NULL, or a list that is one until the thread ends.
pub unsafe fn set_robust_list(head: *mut RobustList) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    check(unsafe { syscall!(SET_ROBUST_LIST, head, size_of::<RobustList>()) }).map(drop)
}

/// `rseq(area, length, flags, signature)`
///
/// # Safety
/// The kernel may read and write that area until it is unregistered or the thread ends.
pub unsafe fn rseq(area: *mut u8, length: u32, flags: c_int) -> Result<(), Errno> {
    // SAFETY: the caller's promise.
    check(unsafe { syscall!(RSEQ, area, length, flags, RSEQ_SIGNATURE) }).map(drop)
}

/// `sigaltstack(NULL, old)`
pub fn signal_stack() -> Result<SignalStack, Errno> {
    let mut old = SignalStack { start: ptr::null_mut(), flags: SS_DISABLE, size: 0 };
    // SAFETY: a stack_t can be written there.
    check(unsafe { syscall!(SIGALTSTACK, 0, &raw mut old) })?;
    Ok(old)
}

/// `sigaltstack(new, NULL)`
///
/// # Safety
/// Signal handlers may use that memory until it is replaced.
pub unsafe fn set_signal_stack(new: &SignalStack) -> Result<(), Errno> {
    // SAFETY: the caller's promise; the structure lives through the call.
    check(unsafe { syscall!(SIGALTSTACK, ptr::from_ref(new), 0) }).map(drop)
}

/// Which user shadow stacks the thread has: `arch_prctl(ARCH_SHSTK_STATUS)` on x86-64, elsewhere
/// `prctl(PR_GET_SHADOW_STACK_STATUS)`. Not 0 also where a call that claims success has said nothing.
pub fn shadow_stack_status() -> Result<u64, Errno> {
    let mut status = u64::MAX;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a status can be written there.
    let result = unsafe { syscall!(ARCH_PRCTL, ARCH_SHSTK_STATUS, &raw mut status) };
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: a status can be written there.
    let result = unsafe { syscall!(PRCTL, PR_GET_SHADOW_STACK_STATUS, &raw mut status, 0, 0, 0) };
    check(result)?;
    Ok(status)
}
