/* How a daemon came to be when handover was asked for, and whether it is whole: what stands against handover is the first
 * argument (see main). The daemon says it on the standard output that it has inherited. */

#define _GNU_SOURCE

#include "observe.h"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <untty.h>

static struct untty_options options = UNTTY_OPTIONS_INIT;
static struct untty_handle handle;
static struct untty_error error;
static int *heap;
static long caller;
static volatile int is_there;
static int had_rseq;

static int is(const char *left, const char *right) { return strcmp(left, right) == 0; }

/* The number of the first open descriptor above 2, or -1. */
static int a_descriptor(void) {
    int number;
    for (number = 3; number < 1024; number++) {
        if (fcntl(number, F_GETFD) >= 0) {
            return number;
        }
    }
    return -1;
}

static int all_signals_are_default(void) {
    sigset_t blocked;
    int number;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    for (number = 1; number <= 64; number++) {
        struct sigaction action;
        memset(&action, 0, sizeof action);
        if (sigismember(&blocked, number) == 1) {
            return 0;
        }
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL) {
            return 0;
        }
    }
    return 1;
}

extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

/* Whether the C library's area is registered with rseq(2): it cannot be registered anew then. */
static int has_rseq(void) {
    char *area;
    if (!&__rseq_offset || !&__rseq_size || __rseq_size == 0) {
        return 0;
    }
    area = (char *)__builtin_thread_pointer() + __rseq_offset;
    return syscall(SYS_rseq, area, 32L, 0L, 0x53053053L) < 0 || syscall(SYS_rseq, area, 32L, 1L, 0x53053053L) < 0;
}

/* What is not as it must be in a daemon that has told that it is ready; NULL: nothing. */
static const char *what_is_wrong(void) {
    struct stat null;
    char directory[64];
    mode_t mask = umask(0);
    int number;
    umask(mask);
    if (getpid() == caller || getppid() == caller) {
        return "it is the caller or its child";
    }
    if (getsid(0) == getpid() || getpgrp() != getsid(0) || getppid() == getsid(0)) {
        return "it leads, or its leader is there";
    }
    if (open("/dev/tty", O_RDWR) >= 0) {
        return "it has a terminal";
    }
    if (!getcwd(directory, sizeof directory) || !is(directory, "/") || mask != 027) {
        return "directory or umask";
    }
    if (!all_signals_are_default()) {
        return "signals";
    }
    if (fstat(0, &null) < 0 || null.st_rdev != makedev(1, 3)) {
        return "standard input";
    }
    if (a_descriptor() >= 0) {
        return "a descriptor is open";
    }
    for (number = 0; number < 100000; number++) {
        if (heap[number] != number) {
            return "its memory";
        }
    }
    if (has_rseq() != had_rseq) {
        return "rseq";
    }
    free(heap);
    heap = malloc(1 << 20);
    return heap ? NULL : "no memory";
}

static void detach(void) {
    int result;
    error.step = error.errnum = -7;
    had_rseq = has_rseq();
    result = untty_detach(&options, &handle, &error);
    if (result < 0) {
        say(1, "failed %d %d\n", (int)error.step, (int)error.errnum);
        exit(120);
    }
    if (result > 0) {
        say(1, "the caller returns\n");
        exit(0);
    }
}

/* The daemon says how it came to be, and that it is whole. */
static void tell(void) {
    const char *wrong;
    char text[128];
    int way = untty_way(&handle);
    if (untty_ready(&handle, &error) < 0) {
        say(1, "not ready %d %d\n", (int)error.step, (int)error.errnum);
        exit(121);
    }
    wrong = what_is_wrong();
    snprintf(text, sizeof text, "way %d, %s\n", way, wrong ? wrong : "whole");
    put(1, text);
}

static void *park(void *unused) {
    (void)unused;
    for (;;) {
        pause();
    }
    return NULL;
}

/* Another process, with the same memory, that goes when this one does. */
static int same_memory(void *unused) {
    (void)unused;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    put(1, "it shares the memory\n");
    is_there = 1;
    for (;;) {
        pause();
    }
    return 0;
}

static void start_with(int (*function)(void *)) {
    const size_t size = 65536;
    char *stack = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED || clone(function, stack + size, CLONE_VM | SIGCHLD, NULL) < 0) {
        exit(119);
    }
}

/* The caller is the child of a process that has the same memory and lives on. */
static int detach_and_tell(void *unused) {
    (void)unused;
    caller = (long)getpid();
    detach();
    tell();
    _exit(0);
}

static int wait_for_a_child(void) {
    int status = 0;
    if (wait(&status) < 0 || !WIFEXITED(status)) {
        return 118;
    }
    return WEXITSTATUS(status);
}

/* The filter of that file, made by the test. */
static void obey_filter(const char *path) {
    static struct sock_filter filter[1024];
    struct sock_fprog program;
    int file = open(path, O_RDONLY);
    ssize_t length = read(file, filter, sizeof filter);
    close(file);
    if (length <= 0) {
        exit(117);
    }
    program.len = (unsigned short)((size_t)length / sizeof filter[0]);
    program.filter = filter;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) {
        exit(116);
    }
}

/* Registers restartable sequences (rseq(2)) itself, which the C library has been told to leave alone. */
static void register_rseq(void) {
    static struct {
        uint32_t words[8];
    } area __attribute__((aligned(32)));
    if (syscall(SYS_rseq, &area, sizeof area, 0, 0x53053053) < 0) {
        say(1, "rseq: errno %d\n", errno);
        exit(115);
    }
}

static void hold_robust_mutex(void) {
    static pthread_mutex_t mutex;
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (pthread_mutex_init(&mutex, &attributes) != 0 || pthread_mutex_lock(&mutex) != 0) {
        exit(114);
    }
}

static void on_late_failure(const struct untty_error *failure) {
    say(1, "too late: %d %d\n", (int)failure->step, (int)failure->errnum);
}

int main(int argc, char **argv) {
    const char *obstacle = argc > 1 ? argv[1] : "";
    int number;
    long first = (long)getpid();

    caller = first;
    heap = malloc(100000 * sizeof *heap);
    for (number = 0; number < 100000; number++) {
        heap[number] = number;
    }
    options.flags = UNTTY_HANDOVER;
    options.output.kind = options.error.kind = UNTTY_STDIO_INHERIT;
    options.on_late_failure = on_late_failure;
    if (is(obstacle, "not asked for")) {
        options.flags = 0;
    } else if (is(obstacle, "nothing")) {
    } else if (is(obstacle, "a thread")) {
        pthread_t thread;
        options.flags |= UNTTY_ACCEPT_THREADS;
        if (pthread_create(&thread, NULL, park, NULL) != 0) {
            return 113;
        }
    } else if (is(obstacle, "a child with the same memory")) {
        options.flags |= UNTTY_ACCEPT_THREADS; /* which are not told from such a process everywhere */
        start_with(same_memory);
        while (!is_there) {
            sched_yield();
        }
    } else if (is(obstacle, "a parent with the same memory")) {
        options.flags |= UNTTY_ACCEPT_THREADS;
        start_with(detach_and_tell);
        return wait_for_a_child();
    } else if (is(obstacle, "a parent that has vforked")) {
        pid_t child;
        options.flags |= UNTTY_ACCEPT_THREADS;
        child = vfork();
        if (child == 0) {
            detach_and_tell(NULL);
        }
        return child < 0 ? 112 : wait_for_a_child();
    } else if (is(obstacle, "return in caller")) {
        options.flags |= UNTTY_RETURN_IN_CALLER;
    } else if (is(obstacle, "filter") && argc > 2) {
        obey_filter(argv[2]);
    } else if (is(obstacle, "robust mutex")) {
        hold_robust_mutex();
    } else if (is(obstacle, "rseq")) {
        register_rseq();
    } else if (is(obstacle, "again while the caller waits")) {
        detach();
        say(1, "way %d\n", untty_way(&handle));
        caller = (long)getpid();
        /* Of this daemon, which is the second one's caller and exits, the first caller learns that it was never ready. */
    } else if (is(obstacle, "again")) {
        const struct timespec moment = {0, 1000000};
        detach();
        say(1, "way %d\n", untty_way(&handle));
        if (untty_ready(&handle, &error) < 0) {
            return 111;
        }
        while (kill((pid_t)first, 0) == 0) {
            nanosleep(&moment, NULL);
        }
        caller = (long)getpid();
    } else {
        return 110;
    }
    detach();
    tell();
    return 0;
}
