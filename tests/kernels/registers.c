/* A detach with every register that a function has to preserve holding a value of its own, and with memory of the frame
 * below it. In whichever process the call returns, all have to be what they were. See guest.h. */

#include "guest.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 32, LOCALS = 256 };

/* As untty_detach; what is in the registers afterwards goes into the last argument. */
int detach_with_registers(const struct untty_options *options, struct untty_handle *handle, struct untty_error *error,
                          uint64_t *seen);

/* The values: VALUE times the number of the register's place, from 1. */
#define VALUE 0x0101010101010101

#if defined __x86_64__
/* The control bits of mxcsr and of the x87 unit too: rounding towards zero. */
#define EXPECTED 6
static const char *const names[] = {"rbx", "rbp", "r12", "r13", "r14", "r15", "mxcsr", "x87 control"};
static const uint64_t controls[] = {0x1f80 | 0x6000, 0x037f | 0x0c00};
__asm__(".text\n.globl detach_with_registers\n.type detach_with_registers, @function\ndetach_with_registers:\n"
        "push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15\n"
        "push %rcx; sub $16, %rsp; stmxcsr (%rsp); fnstcw 4(%rsp)\n"
        "movl $0x7f80, 8(%rsp); ldmxcsr 8(%rsp); movl $0x0f7f, 12(%rsp); fldcw 12(%rsp)\n"
        "movabs $0x0101010101010101, %rax; mov %rax, %rbx; lea (%rax, %rax), %rbp; lea (%rax, %rax, 2), %r12\n"
        "lea (, %rax, 4), %r13; lea (%rax, %rax, 4), %r14; lea (%r12, %r12), %r15\n"
        "call untty_detach\n"
        "mov 16(%rsp), %rcx\n"
        "mov %rbx, (%rcx); mov %rbp, 8(%rcx); mov %r12, 16(%rcx); mov %r13, 24(%rcx); mov %r14, 32(%rcx)\n"
        "mov %r15, 40(%rcx); movl $-64, %edx; stmxcsr 8(%rsp); and 8(%rsp), %edx; mov %rdx, 48(%rcx)\n"
        "movl $0, 12(%rsp); fnstcw 12(%rsp); mov 12(%rsp), %edx; mov %rdx, 56(%rcx)\n"
        "ldmxcsr (%rsp); fldcw 4(%rsp); add $24, %rsp\n"
        "pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp; ret\n"
        ".size detach_with_registers, . - detach_with_registers\n");
#elif defined __aarch64__
/* fpcr too: rounding towards zero. */
#define EXPECTED 19
static const char *const names[] = {"x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28",
                                    "x29", "d8",  "d9",  "d10", "d11", "d12", "d13", "d14", "d15", "fpcr"};
static const uint64_t controls[] = {0xc00000};
#define STORE(base) \
    "stp x19, x20, [" base "]; stp x21, x22, [" base ", 16]; stp x23, x24, [" base ", 32]\n" \
    "stp x25, x26, [" base ", 48]; stp x27, x28, [" base ", 64]\n"
__asm__(".text\n.globl detach_with_registers\n.type detach_with_registers, %function\ndetach_with_registers:\n"
        "sub sp, sp, 192\n" STORE("sp")
        "stp x29, x30, [sp, 80]; stp d8, d9, [sp, 96]; stp d10, d11, [sp, 112]; stp d12, d13, [sp, 128]\n"
        "stp d14, d15, [sp, 144]; mrs x9, fpcr; stp x3, x9, [sp, 160]\n"
        "mov x9, 0xc00000; msr fpcr, x9\n"
        "movz x9, 0x0101; movk x9, 0x0101, lsl 16; movk x9, 0x0101, lsl 32; movk x9, 0x0101, lsl 48\n"
        "mov x19, x9; add x20, x19, x9; add x21, x20, x9; add x22, x21, x9; add x23, x22, x9; add x24, x23, x9\n"
        "add x25, x24, x9; add x26, x25, x9; add x27, x26, x9; add x28, x27, x9; add x29, x28, x9\n"
        "add x10, x29, x9; fmov d8, x10; add x10, x10, x9; fmov d9, x10; add x10, x10, x9; fmov d10, x10\n"
        "add x10, x10, x9; fmov d11, x10; add x10, x10, x9; fmov d12, x10; add x10, x10, x9; fmov d13, x10\n"
        "add x10, x10, x9; fmov d14, x10; add x10, x10, x9; fmov d15, x10\n"
        "bl untty_detach\n"
        "ldr x9, [sp, 160]\n" STORE("x9")
        "str x29, [x9, 80]; stp d8, d9, [x9, 88]; stp d10, d11, [x9, 104]; stp d12, d13, [x9, 120]\n"
        "stp d14, d15, [x9, 136]; mrs x10, fpcr; str x10, [x9, 152]; ldr x10, [sp, 168]; msr fpcr, x10\n"
        "ldp x19, x20, [sp]; ldp x21, x22, [sp, 16]; ldp x23, x24, [sp, 32]; ldp x25, x26, [sp, 48]\n"
        "ldp x27, x28, [sp, 64]; ldp x29, x30, [sp, 80]; ldp d8, d9, [sp, 96]; ldp d10, d11, [sp, 112]\n"
        "ldp d12, d13, [sp, 128]; ldp d14, d15, [sp, 144]; add sp, sp, 192; ret\n"
        ".size detach_with_registers, . - detach_with_registers\n");
#elif defined __riscv
/* The rounding mode too: towards zero. And gp and tp, which no function may change. */
#define EXPECTED 24
static const char *const names[] = {"s0",  "s1",  "s2",  "s3",  "s4",  "s5",  "s6",   "s7",   "s8",
                                    "s9",  "s10", "s11", "fs0", "fs1", "fs2", "fs3",  "fs4",  "fs5",
                                    "fs6", "fs7", "fs8", "fs9", "fs10", "fs11", "frm", "gp", "tp"};
static const uint64_t controls[] = {1, 0, 0};
#define EACH(operation, base) \
    operation(s0, 0, base) operation(s1, 1, base) operation(s2, 2, base) operation(s3, 3, base) \
    operation(s4, 4, base) operation(s5, 5, base) operation(s6, 6, base) operation(s7, 7, base) \
    operation(s8, 8, base) operation(s9, 9, base) operation(s10, 10, base) operation(s11, 11, base)
#define EACH_FLOAT(operation, base) \
    operation(fs0, 12, base) operation(fs1, 13, base) operation(fs2, 14, base) operation(fs3, 15, base) \
    operation(fs4, 16, base) operation(fs5, 17, base) operation(fs6, 18, base) operation(fs7, 19, base) \
    operation(fs8, 20, base) operation(fs9, 21, base) operation(fs10, 22, base) operation(fs11, 23, base)
#define STORE(register, place, base) "sd " #register ", 8*" #place "(" #base ")\n"
#define STORE_FLOAT(register, place, base) "fsd " #register ", 8*" #place "(" #base ")\n"
#define LOAD(register, place, base) "ld " #register ", 8*" #place "(" #base ")\n"
#define LOAD_FLOAT(register, place, base) "fld " #register ", 8*" #place "(" #base ")\n"
#define SET(register, place, base) "add t1, t1, " #base "; mv " #register ", t1\n"
#define SET_FLOAT(register, place, base) "add t1, t1, " #base "; fmv.d.x " #register ", t1\n"
__asm__(".text\n.globl detach_with_registers\n.type detach_with_registers, %function\ndetach_with_registers:\n"
        "addi sp, sp, -240\n" EACH(STORE, sp) EACH_FLOAT(STORE_FLOAT, sp)
        "sd ra, 192(sp); sd a3, 200(sp); frrm t0; sd t0, 208(sp); sd gp, 216(sp); sd tp, 224(sp); fsrmi 1\n"
        "li t0, 0x0101010101010101; li t1, 0\n" EACH(SET, t0) EACH_FLOAT(SET_FLOAT, t0)
        "call untty_detach\n"
        "ld t0, 200(sp)\n" EACH(STORE, t0) EACH_FLOAT(STORE_FLOAT, t0)
        "frrm t1; sd t1, 192(t0); ld t1, 216(sp); sub t1, t1, gp; sd t1, 200(t0); ld t1, 224(sp); sub t1, t1, tp\n"
        "sd t1, 208(t0); ld t1, 208(sp); fsrm t1; ld ra, 192(sp)\n" EACH(LOAD, sp) EACH_FLOAT(LOAD_FLOAT, sp)
        "addi sp, sp, 240; ret\n"
        ".size detach_with_registers, . - detach_with_registers\n");
#else
/* No handover there. */
#define EXPECTED 0
static const char *const names[] = {""};
static const uint64_t controls[] = {0};
int detach_with_registers(const struct untty_options *options, struct untty_handle *handle, struct untty_error *error,
                          uint64_t *seen) {
    seen[0] = 0;
    return untty_detach(options, handle, error);
}
#endif

static const char *registers_are(const uint64_t *seen) {
    int number;
    for (number = 0; number < (int)(sizeof names / sizeof names[0]); number++) {
        uint64_t value = number < EXPECTED ? VALUE * (uint64_t)(number + 1) : controls[number - EXPECTED];
        REQUIRE(seen[number] == value, "its register %s is %llx, not %llx", names[number],
                (unsigned long long)seen[number], (unsigned long long)value);
    }
    return NULL;
}

const char *detach_compared(const struct untty_options *options, struct untty_handle *handle, struct untty_error *error,
                            int *result) {
    uint64_t seen[MOST];
    volatile uint64_t locals[LOCALS]; /* volatile: they are in memory */
    unsigned number;
    for (number = 0; number < LOCALS; number++) {
        locals[number] = VALUE ^ number;
    }
    memset(seen, 0, sizeof seen);
    *result = detach_with_registers(options, handle, error, seen);
    for (number = 0; number < LOCALS; number++) {
        REQUIRE(locals[number] == (VALUE ^ number), "its local variable %u is another", number);
    }
    return registers_are(seen);
}
