/* A program that fills its memory, becomes a daemon in the way of its entry (entries.h), and measures that. What it finds
 * goes into shared memory, which every daemonizer leaves alone: "program FILE MIB USED". It has so many MiB, and has used
 * and given back so many before.
 *
 * It makes its system calls by itself, so that it is the same with every C library and with none. */

#define _GNU_SOURCE
#include "program.h"
#include "calls.h"
#include "entries.h"

enum { PAGE = 4096 };

static long now(void) {
    long time[2];
    call(SYS_clock_gettime, 1 /* CLOCK_MONOTONIC */, (long)time, 0, 0, 0, 0);
    return time[0] * 1000000000 + time[1];
}

static long minor_faults(void) {
    long usage[18]; /* struct rusage */
    call(SYS_getrusage, 0 /* RUSAGE_SELF */, (long)usage, 0, 0, 0, 0);
    return usage[8];
}

static void fail(struct measured *measured, long errnum) {
    if (measured) {
        measured->failed = errnum ? errnum : -1;
    }
    call(SYS_exit_group, 1, 0, 0, 0, 0, 0);
}

static long number(const char *text) {
    long value = 0;
    for (; *text; text++) {
        value = value * 10 + (*text - '0');
    }
    return value;
}

static char *map(long size, long flags, long fd) {
    long address = call(SYS_mmap, 0, size, 3 /* PROT_READ|PROT_WRITE */, flags, fd, 0);
    return address < 0 && address > -4096 ? 0 : (char *)address;
}

/* One byte of each page. */
static void touch(char *memory, long size, char byte) {
    for (long offset = 0; offset < size; offset += PAGE) {
        *(volatile char *)(memory + offset) = byte;
    }
}

/* Pages of the usual size, as a program's heap has them by default. */
static char *resident(struct measured *measured, long size) {
    char *memory = map(size, 0x22 /* MAP_PRIVATE|MAP_ANONYMOUS */, -1);
    if (!memory) {
        fail(measured, 12 /* ENOMEM */);
    }
    call(SYS_madvise, (long)memory, size, 15 /* MADV_NOHUGEPAGE */, 0, 0, 0);
    touch(memory, size, 1);
    return memory;
}

static int run(int argc, char **argv) {
    if (argc != 4) {
        return 2;
    }
    long fd = call(SYS_openat, -100 /* AT_FDCWD */, (long)argv[1], 2 /* O_RDWR */, 0, 0, 0);
    struct measured *measured = (void *)map(PAGE, 1 /* MAP_SHARED */, fd);
    call(SYS_close, fd, 0, 0, 0, 0, 0);
    if (!measured) {
        return 3;
    }
    long used = number(argv[3]) << 20;
    if (used) {
        call(SYS_munmap, (long)resident(measured, used), used, 0, 0, 0, 0);
    }
    /* One page more, so that it shows with every size whether pages were copied. */
    long size = (number(argv[2]) << 20) + PAGE;
    char *memory = resident(measured, size);

    measured->called = now();
    long result = detach(measured);
    long running = now();
    if (result != 0) {
        fail(measured, result);
    }
    measured->running = running;
    measured->daemon = (int)call(SYS_getpid, 0, 0, 0, 0, 0, 0);

    /* Until the caller is gone: what the two still do at the same time is no matter of the memory. */
    while (!__atomic_load_n(&measured->caller_gone, __ATOMIC_ACQUIRE)) {
        call(SYS_futex, (long)&measured->caller_gone, 0 /* FUTEX_WAIT */, 0, 0, 0, 0);
    }
    long faults = minor_faults();
    long begin = now();
    touch(memory, size, 2);
    measured->touched = now() - begin;
    measured->faults = minor_faults() - faults;
    measured->complete = 1;
    call(SYS_exit_group, 0, 0, 0, 0, 0, 0);
    return 0;
}

#ifdef NO_LIBC
__attribute__((used)) void start(long *stack) { call(SYS_exit_group, run((int)stack[0], (char **)(stack + 1)), 0, 0, 0, 0, 0); }
#else
int main(int argc, char **argv) { return run(argc, argv); }
#endif
