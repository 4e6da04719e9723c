//! The clone, and what must not touch the stack: aarch64.

use core::arch::asm;
use core::ffi::{c_int, c_void};

const SYS_CLONE: usize = 220;
const CLONE_VM_SIGCHLD: usize = 0x100 | 17;

/// Clones. The child calls `child(state)` on this stack. The parent moves to the stack that ends at `copy`, and calls
/// `parent(copy, pid)`. Returns 0 in the child when that has returned, 1 in the parent when that has; a negative errno if
/// there is no child.
///
/// | register | |
/// |---|---|
/// | x0 | the flags; the call's result, and ours; the first argument of either function |
/// | x1, x2, x3, x4 | 0: the child has this stack, no ids are written, no thread pointer is set; then x1 is the second argument |
/// | x8 | the number of the call |
/// | x20 | the state |
/// | x21 | the end of the other stack |
/// | x22, x23 | the functions, which keep x19 to x29 and the lower halves of v8 to v15 as every function does |
/// | x24 | in the parent, this stack, while it is on the other one |
/// | x30 | the link register: `blr` writes it |
/// | sp | from the clone to `mov sp, x21` the parent writes nothing there: it is the child's |
///
/// # Safety
/// As for [`part`](super::part).
pub(super) unsafe fn clone_and_call(
    state: *mut c_void,
    copy: *mut c_void,
    child: extern "C" fn(*mut c_void),
    parent: extern "C" fn(*mut c_void, c_int),
) -> isize {
    let result: isize;
    // SAFETY: the caller's promise. sp is 16-byte aligned, and so is `copy`; nothing below sp is used.
    unsafe {
        asm!(
            "svc #0",
            "cbz x0, 2f",
            "tbnz x0, #63, 3f",
            "mov x24, sp",
            "mov sp, x21",
            "mov w1, w0",
            "mov x0, x21",
            "blr x23",
            "mov sp, x24",
            "mov x0, #1",
            "b 3f",
            "2:",
            "mov x0, x20",
            "blr x22",
            "mov x0, #0",
            "3:",
            inlateout("x0") CLONE_VM_SIGCHLD => result,
            inlateout("x1") 0_usize => _,
            inlateout("x2") 0_usize => _,
            inlateout("x3") 0_usize => _,
            inlateout("x4") 0_usize => _,
            inlateout("x8") SYS_CLONE => _,
            in("x20") state,
            in("x21") copy,
            in("x22") child,
            in("x23") parent,
            out("x24") _,
            clobber_abi("C"),
        );
    }
    result
}

/// The thread pointer.
///
/// # Safety
/// There must be a thread control block.
pub(super) unsafe fn thread_pointer() -> *mut u8 {
    let pointer;
    // SAFETY: reads a register.
    unsafe { asm!("mrs {}, tpidr_el0", out(reg) pointer, options(pure, readonly, nostack, preserves_flags)) };
    pointer
}

/// The addresses of glibc's `__rseq_offset` and `__rseq_size` (since 2.35), or NULL.
///
/// By way of the global offset table, which is the only way in which a program's linker leaves to the loader what the C
/// library that it links with does not have: the program may run with a newer one.
pub(super) fn rseq_symbols() -> [*const u32; 2] {
    let (offset, size);
    // SAFETY: it reads two constants that the loader has written.
    unsafe {
        asm!(
            ".weak __rseq_offset",
            ".weak __rseq_size",
            "adrp {0}, :got:__rseq_offset",
            "ldr {0}, [{0}, :got_lo12:__rseq_offset]",
            "adrp {1}, :got:__rseq_size",
            "ldr {1}, [{1}, :got_lo12:__rseq_size]",
            out(reg) offset,
            out(reg) size,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    [offset, size]
}

/// `RUNNING_ON_VALGRIND` of `valgrind.h`: instructions that do nothing, and that it knows.
pub(super) fn is_under_valgrind() -> bool {
    const RUNNING_ON_VALGRIND: usize = 0x1001;
    let request = [RUNNING_ON_VALGRIND, 0, 0, 0, 0, 0];
    let result: usize;
    // SAFETY: the rotations add up to 128, and x10 is or-ed with itself.
    unsafe {
        asm!(
            "ror x12, x12, #3",
            "ror x12, x12, #13",
            "ror x12, x12, #51",
            "ror x12, x12, #61",
            "orr x10, x10, x10",
            in("x4") request.as_ptr(),
            inlateout("x3") 0_usize => result,
            options(nostack, preserves_flags),
        );
    }
    result != 0
}
