//! The clone, and what must not touch the stack: x86-64.

use core::arch::asm;
use core::ffi::{c_int, c_void};

const SYS_CLONE: usize = 56;
const CLONE_VM_SIGCHLD: usize = 0x100 | 17;

/// Clones. The child calls `child(state)` on this stack. The parent moves to the stack that ends at `copy`, and calls
/// `parent(copy, pid)`. Returns 0 in the child when that has returned, 1 in the parent when that has; a negative errno if
/// there is no child.
///
/// | register | |
/// |---|---|
/// | rax | the number of the call; its result, and ours |
/// | rdi | the flags; then the first argument of either function |
/// | rsi, rdx, r10, r8 | 0: the child has this stack, no ids are written, no thread pointer is set; then rsi is the second argument |
/// | rcx, r11 | the kernel's: they are gone |
/// | r12 | the state; in the parent, this stack, while it is on the other one |
/// | r13 | the end of the other stack |
/// | r14, r15 | the functions, which keep rbx, rbp and r12 to r15 as every function does |
/// | rsp | from the clone to `mov rsp, r13` the parent writes nothing there: it is the child's |
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
    // SAFETY: the caller's promise. rsp is 16-byte aligned where asm begins, and so is `copy`; nothing below rsp is used.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "js 3f",
            "jz 2f",
            "mov r12, rsp",
            "mov rsp, r13",
            "mov rdi, r13",
            "mov esi, eax",
            "call r15",
            "mov rsp, r12",
            "mov eax, 1",
            "jmp 3f",
            "2:",
            "mov rdi, r12",
            "call r14",
            "xor eax, eax",
            "3:",
            inlateout("rax") SYS_CLONE => result,
            inlateout("rdi") CLONE_VM_SIGCHLD => _,
            inlateout("rsi") 0_usize => _,
            inlateout("rdx") 0_usize => _,
            inlateout("r10") 0_usize => _,
            inlateout("r8") 0_usize => _,
            inlateout("r12") state => _,
            in("r13") copy,
            in("r14") child,
            in("r15") parent,
            clobber_abi("C"),
        );
    }
    result
}

/// The thread pointer: the System V ABI has it at its own address.
///
/// # Safety
/// There must be a thread control block.
pub(super) unsafe fn thread_pointer() -> *mut u8 {
    let pointer;
    // SAFETY: the caller's promise.
    unsafe { asm!("mov {}, fs:[0]", out(reg) pointer, options(pure, readonly, nostack, preserves_flags)) };
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
            "mov {0}, qword ptr [rip + __rseq_offset@GOTPCREL]",
            "mov {1}, qword ptr [rip + __rseq_size@GOTPCREL]",
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
    // SAFETY: the rotations add up to 128, and rbx is exchanged with itself.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") request.as_ptr(),
            inlateout("rdx") 0_usize => result,
            options(nostack),
        );
    }
    result != 0
}
