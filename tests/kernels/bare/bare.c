/* A program without a C library that becomes a daemon by handover, or fails to: bare MODE, a letter. It says what it sees
 * on standard output; init.c knows what that has to be. */

#include <fcntl.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <untty.h>

#if defined __x86_64__
__asm__(".globl _start\n_start: mov %rsp, %rdi; and $-16, %rsp; call start\n");
static long call(long number, long a, long b, long c) {
    __asm__ volatile("syscall" : "+a"(number) : "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory", "cc");
    return number;
}
#elif defined __aarch64__
__asm__(".globl _start\n_start: mov x0, sp; bl start\n");
static long call(long number, long a, long b, long c) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x1), "r"(x2), "r"(x8) : "memory", "cc");
    return x0;
}
#elif defined __riscv
__asm__(".globl _start\n_start: .option push; .option norelax; la gp, __global_pointer$; .option pop; mv a0, sp; call start\n");
static long call(long number, long a, long b, long c) {
    register long a7 __asm__("a7") = number;
    register long a0 __asm__("a0") = a;
    register long a1 __asm__("a1") = b;
    register long a2 __asm__("a2") = c;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a7) : "memory");
    return a0;
}
#endif

static struct untty_options options = UNTTY_OPTIONS_INIT;
static struct untty_handle handle;
static struct untty_error error;

static void say(const char *what, long number) {
    char text[64];
    char *end = text + sizeof text;
    char *begin = end;
    long size = 0;
    int negative = number < 0;
    *--begin = '\n';
    do {
        *--begin = (char)('0' + (negative ? -(number % 10) : number % 10));
        number /= 10;
    } while (number != 0);
    if (negative) {
        *--begin = '-';
    }
    while (what[size] != 0) {
        size++;
    }
    call(SYS_write, 1, (long)what, size);
    call(SYS_write, 1, (long)begin, end - begin);
}

static void tell(const struct untty_error *late) {
    say("late ", late->step);
    say("errno ", late->errnum);
}

__attribute__((used, noreturn)) static void start(long *stack) {
    char mode = *(const char *)stack[2];
    volatile long locals[64];
    int number;
    int result;
    options.flags = UNTTY_HANDOVER;
    options.output.kind = UNTTY_STDIO_INHERIT;
    options.on_late_failure = tell;
    if (mode == 'f') {
        options.directory = "/nowhere";
    }
    if (mode == 't') {
        options.deadline_ms = 200;
    }
    for (number = 0; number < 64; number++) {
        locals[number] = number;
    }
    result = untty_detach(&options, &handle, &error);
    for (number = 0; number < 64; number++) {
        if (locals[number] != number) {
            say("changed ", number);
        }
    }
    if (result < 0) {
        say("step ", error.step);
        say("errno ", error.errnum);
        call(SYS_exit_group, 3, 0, 0);
    }
    say("way ", untty_way(&handle));
    say("session ", call(SYS_getsid, 0, 0, 0) != call(SYS_getsid, call(SYS_getppid, 0, 0, 0), 0, 0));
    say("leader ", call(SYS_getsid, 0, 0, 0) == call(SYS_getpid, 0, 0, 0));
    if (mode == 'd') {
        call(SYS_kill, call(SYS_getpid, 0, 0, 0), 9, 0);
    }
    while (mode == 't') {
        call(SYS_nanosleep, (long)(long[]){1000, 0}, 0, 0);
    }
    if (mode == 'g') {
        untty_fail(&handle, 9);
    }
    say("ready ", untty_ready(&handle, &error));
    call(SYS_exit_group, 0, 0, 0);
    for (;;) {
    }
}
