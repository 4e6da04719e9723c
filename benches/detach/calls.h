/* System calls without a C library. */

#ifndef CALLS_H
#define CALLS_H

#include <sys/syscall.h>

#if defined(__x86_64__)
static inline long call(long number, long a, long b, long c, long d, long e, long f) {
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
    __asm__ volatile("syscall" : "+a"(number) : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return number;
}
#elif defined(__aarch64__)
static inline long call(long number, long a, long b, long c, long d, long e, long f) {
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
#elif defined(__riscv) && __riscv_xlen == 64
static inline long call(long number, long a, long b, long c, long d, long e, long f) {
    register long a7 __asm__("a7") = number, a0 __asm__("a0") = a, a1 __asm__("a1") = b, a2 __asm__("a2") = c;
    register long a3 __asm__("a3") = d, a4 __asm__("a4") = e, a5 __asm__("a5") = f;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2), "r"(a3), "r"(a4), "r"(a5) : "memory");
    return a0;
}
#else
#error "this machine's system calls are missing here"
#endif

#ifdef NO_LIBC
#if defined(__x86_64__)
__asm__(".globl _start\n_start: xor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall start\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start: mov x29, xzr\n\tmov x30, xzr\n\tmov x0, sp\n\tb start\n");
#else
__asm__(".globl _start\n_start: .option push\n\t.option norelax\n\tlla gp, __global_pointer$\n\t.option pop\n\t"
        "mv a0, sp\n\ttail start\n");
#endif
#endif

#endif
