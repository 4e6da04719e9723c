/* A daemon without a C library: its own start, the library's raw system calls, and two of its own.
 *
 *     cc -nostdlib -static -fno-stack-protector -o freestanding freestanding.c $(pkg-config --cflags --libs untty)
 *
 * Needs a libuntty.a built with BACKEND=raw. For x86_64, aarch64 and riscv64. */

#include <untty.h>

#if defined(__x86_64__)

__asm__(".globl _start\n"
        "_start:\n"
        "    xor %ebp, %ebp\n"  /* the outermost frame */
        "    mov %rsp, %rdi\n"  /* argc, argv, NULL, envp, NULL */
        "    and $-16, %rsp\n"  /* calls are made with an aligned stack */
        "    call begin\n"
        "    ud2\n");

enum { NR_WRITE = 1, NR_GETPID = 39, NR_GETSID = 124, NR_EXIT_GROUP = 231 };

static long system_call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

#elif defined(__aarch64__)

__asm__(".globl _start\n"
        "_start:\n"
        "    mov x29, xzr\n"
        "    mov x30, xzr\n"
        "    mov x0, sp\n" /* argc, argv, NULL, envp, NULL */
        "    b begin\n");

enum { NR_WRITE = 64, NR_GETPID = 172, NR_GETSID = 156, NR_EXIT_GROUP = 94 };

static long system_call(long number, long a, long b, long c) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
}

#elif defined(__riscv) && __riscv_xlen == 64

__asm__(".globl _start\n"
        "_start:\n"
        "    .option push\n"
        "    .option norelax\n"
        "    lla gp, __global_pointer$\n"
        "    .option pop\n"
        "    mv a0, sp\n" /* argc, argv, NULL, envp, NULL */
        "    tail begin\n");

enum { NR_WRITE = 64, NR_GETPID = 172, NR_GETSID = 156, NR_EXIT_GROUP = 94 };

static long system_call(long number, long a, long b, long c) {
    register long a7 __asm__("a7") = number;
    register long a0 __asm__("a0") = a;
    register long a1 __asm__("a1") = b;
    register long a2 __asm__("a2") = c;
    __asm__ volatile("ecall" : "+r"(a0) : "r"(a7), "r"(a1), "r"(a2) : "memory");
    return a0;
}

#else
#error "the raw backend is for x86_64, aarch64 and riscv64"
#endif

/* Static: the compiler fills it without a call to memset, which is not there. */
static struct untty_options options = UNTTY_OPTIONS_INIT;

static void say(int fd, const char *text) {
    long length = 0;
    while (text[length] != 0) {
        length++;
    }
    (void)system_call(NR_WRITE, fd, (long)text, length);
}

static void say_number(int fd, long number) {
    char digits[24];
    int place = 23;
    digits[place] = 0;
    do {
        digits[--place] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    say(fd, digits + place);
}

static int run(long argc, char **argv) {
    struct untty_error error;
    options.output.kind = UNTTY_STDIO_INHERIT; /* to say hello; a real one would not keep the terminal */
    if (untty_detach(&options, (struct untty_handle *)0, &error) < 0) {
        char line[128];
        (void)untty_error_message(&error, line, sizeof line);
        say(2, "freestanding: ");
        say(2, line);
        say(2, "\n");
        return 1;
    }
    say(1, "daemon ");
    say_number(1, system_call(NR_GETPID, 0, 0, 0));
    say(1, " in session ");
    say_number(1, system_call(NR_GETSID, 0, 0, 0));
    say(1, argc > 1 ? ": " : "");
    say(1, argc > 1 ? argv[1] : "");
    say(1, "\n");
    return 0;
}

/* Called by _start, with the stack as the kernel made it. */
void begin(long *stack);

void begin(long *stack) {
    int status = run(stack[0], (char **)(stack + 1));
    for (;;) {
        (void)system_call(NR_EXIT_GROUP, status, 0, 0);
    }
}
