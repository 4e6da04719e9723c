/* What the programs of this directory share: each is about one thing that a C library does for a program whose daemon
 * may have been made without it (tests/libcs.rs). The daemon says what it finds, and then the caller, which waits for
 * the daemon's end. */

#ifndef DAEMON_H
#define DAEMON_H

#define _GNU_SOURCE

#include "../c/observe.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <untty.h>

/* untty_detach(), with what all of these have in common. */
static inline int detach(uint32_t flags) {
    struct untty_options options = UNTTY_OPTIONS_INIT;
    struct untty_error error;
    int pid;
    options.flags = UNTTY_KEEP_DESCRIPTORS | flags;
    options.output.kind = options.error.kind = UNTTY_STDIO_INHERIT;
    pid = untty_detach(&options, NULL, &error);
    if (pid < 0) {
        say(1, "%s: errno %d\n", untty_step_name(error.step), (int)error.errnum);
        _exit(95);
    }
    return pid;
}

/* Waits until no other process has this pipe's writing end. */
static inline void wait_until_nobody_has(int pipe_ends[2]) {
    char byte;
    close(pipe_ends[1]);
    while (read(pipe_ends[0], &byte, 1) < 0 && errno == EINTR) {
    }
}

/* In the daemon, returns 0. In the caller, waits until the daemon is gone, and returns 1. */
static inline int become_daemon(uint32_t more_flags) {
    int until_its_end[2];
    if (pipe(until_its_end) < 0) {
        _exit(96);
    }
    if (detach(UNTTY_RETURN_IN_CALLER | more_flags) == 0) {
        close(until_its_end[0]);
        return 0;
    }
    wait_until_nobody_has(until_its_end);
    return 1;
}

/* A signal, and whether this process has got it. */
static volatile sig_atomic_t got;

static inline void note(int signal_number) { got = signal_number; }

static inline void note_signals(int signal_number) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = note;
    sigaction(signal_number, &action, NULL);
}

/* The state of a thread of this process, as /proc knows it: R, S, Z, ... */
static inline char state_of(long thread) {
    char path[64];
    char text[512];
    ssize_t length;
    int fd;
    const char *name_ends;
    snprintf(path, sizeof path, "/proc/self/task/%ld/stat", thread);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0) {
        return 'X';
    }
    text[length] = 0;
    name_ends = strrchr(text, ')');
    return name_ends == NULL ? 'X' : name_ends[2];
}

static inline void check(int result) {
    if (result != 0) {
        say(1, "a call failed: %d\n", result);
        _exit(94);
    }
}

#endif
