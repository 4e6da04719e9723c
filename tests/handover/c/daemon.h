/* What the programs of this directory share. Each becomes a daemon, as its first argument says, and then says what
 * holds in it, a line a statement:
 *
 *     PROGRAM handover|waiting|forks ...
 *
 * handover: the caller is gone when the daemon looks around; waiting: it waits meanwhile, in the same memory;
 * forks: the ordinary way, to compare with. */

#ifndef DAEMON_H
#define DAEMON_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#include <untty.h>

static struct untty_options options = UNTTY_OPTIONS_INIT;
static struct untty_handle handle;
static int is_waited_for;

/* One line, in one write, without the C library's buffers. */
static inline void say(const char *format, ...) {
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (write(1, line, strlen(line)) < 0) {
        _exit(96);
    }
}

static inline void holds(int it_holds, const char *statement) { say("%s %s\n", it_holds ? "ok" : "not ok", statement); }

/* A call that has to succeed, or the program cannot go on. */
#define CHECK(call) \
    do { \
        const long result_of_it = (long)(call); \
        if (result_of_it != 0) { \
            say("not ok %s gave %ld (errno %d)\n", #call, result_of_it, errno); \
            _exit(94); \
        } \
    } while (0)

/* Waits until no other process has this pipe's writing end. */
static inline void wait_until_nobody_has(int pipe_ends[2]) {
    char byte;
    close(pipe_ends[1]);
    while (read(pipe_ends[0], &byte, 1) < 0 && errno == EINTR) {
    }
    close(pipe_ends[0]);
}

static inline void be_ready(void) {
    struct untty_error error;
    CHECK(untty_ready(&handle, &error));
}

/* Returns in the daemon only. */
static inline void become_daemon(const char *how) {
    struct untty_error error;
    int until_they_are_gone[2];
    CHECK(pipe(until_they_are_gone));
    is_waited_for = strcmp(how, "waiting") == 0;
    options.flags |= UNTTY_KEEP_DESCRIPTORS;
    if (strcmp(how, "forks") != 0) {
        options.flags |= UNTTY_HANDOVER;
    }
    options.output.kind = options.error.kind = UNTTY_STDIO_INHERIT;
    if (untty_detach(&options, &handle, &error) != 0) {
        say("not ok %s: errno %d\n", untty_step_name(error.step), (int)error.errnum);
        _exit(95);
    }
    say("way %d\n", untty_way(&handle));
    if (is_waited_for) {
        close(until_they_are_gone[0]);
        close(until_they_are_gone[1]);
    } else {
        be_ready();
        wait_until_nobody_has(until_they_are_gone);
    }
}

/* For main() to return: all has been said. */
static inline int end(void) {
    if (is_waited_for) {
        be_ready();
    }
    say("end\n");
    return 0;
}

static inline long own_id(void) { return syscall(SYS_gettid); }

/* How a child of this process ended: its status, or 128 and the signal. */
static inline int end_of(pid_t child) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) {
            return -errno;
        }
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Whatever is in a file, or as much of it as there is room for. */
static inline const char *content(const char *path, char *text, size_t size) {
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t length = fd < 0 ? -1 : read(fd, text, size - 1);
    text[length < 0 ? 0 : length] = 0;
    close(fd);
    return text;
}

/* The state of a thread, as /proc knows it: R, S, Z, ... */
static inline char state_of(long process, long thread) {
    char path[64];
    char text[512];
    const char *name_ends;
    snprintf(path, sizeof path, "/proc/%ld/task/%ld/stat", process, thread);
    name_ends = strrchr(content(path, text, sizeof text), ')');
    return name_ends == NULL ? 'X' : name_ends[2];
}

/* Until it sleeps in a system call. */
static inline void wait_until_asleep(long process, long thread) {
    while (state_of(process, thread) != 'S') {
        sched_yield();
    }
}

static inline void handle_signal(int number, void (*handler)(int, siginfo_t *, void *), int flags) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | flags;
    CHECK(sigaction(number, &action, NULL));
}

#endif
