//! The clone, and what must not touch the stack: riscv64.

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
/// | a0 | the flags; the call's result, and ours; the first argument of either function |
/// | a1, a2, a3, a4 | 0: the child has this stack, no ids are written, no thread pointer is set; then a1 is the second argument |
/// | a7 | the number of the call |
/// | s2 | the state |
/// | s3 | the end of the other stack |
/// | s4, s5 | the functions, which keep s0 to s11 and fs0 to fs11 as every function does |
/// | s6 | in the parent, this stack, while it is on the other one |
/// | ra | the return address: `jalr` writes it |
/// | sp | from the clone to `mv sp, s3` the parent writes nothing there: it is the child's |
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
            "ecall",
            "beqz a0, 2f",
            "bltz a0, 3f",
            "mv s6, sp",
            "mv sp, s3",
            "mv a1, a0",
            "mv a0, s3",
            "jalr s5",
            "mv sp, s6",
            "li a0, 1",
            "j 3f",
            "2:",
            "mv a0, s2",
            "jalr s4",
            "li a0, 0",
            "3:",
            inlateout("a0") CLONE_VM_SIGCHLD => result,
            inlateout("a1") 0_usize => _,
            inlateout("a2") 0_usize => _,
            inlateout("a3") 0_usize => _,
            inlateout("a4") 0_usize => _,
            inlateout("a7") SYS_CLONE => _,
            in("s2") state,
            in("s3") copy,
            in("s4") child,
            in("s5") parent,
            out("s6") _,
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
    unsafe { asm!("mv {}, tp", out(reg) pointer, options(pure, nomem, nostack, preserves_flags)) };
    pointer
}

/// The addresses of glibc's `__rseq_offset` and `__rseq_size` (since 2.35; on riscv64 since 2.41), or NULL.
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
            "2: auipc {0}, %got_pcrel_hi(__rseq_offset)",
            "ld {0}, %pcrel_lo(2b)({0})",
            "3: auipc {1}, %got_pcrel_hi(__rseq_size)",
            "ld {1}, %pcrel_lo(3b)({1})",
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
    // SAFETY: they write the register that is always zero, and or a0 with itself.
    unsafe {
        asm!(
            ".option push",
            ".option norvc",
            "srli zero, zero, 3",
            "srli zero, zero, 13",
            "srli zero, zero, 51",
            "srli zero, zero, 61",
            "or a0, a0, a0",
            ".option pop",
            in("a4") request.as_ptr(),
            inlateout("a3") 0_usize => result,
            options(nostack, preserves_flags),
        );
    }
    result != 0
}
