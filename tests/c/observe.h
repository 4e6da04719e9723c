/* What the test programs share: a process's state as text, and the call to the test that waits for it. */

#ifndef OBSERVE_H
#define OBSERVE_H

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* glibc's own programs on 32-bit machines may open without it, and then a file ends at 2 GiB. No state to compare. */
#ifdef __O_LARGEFILE
#define LARGE_FILE __O_LARGEFILE
#else
#define LARGE_FILE 0
#endif

struct text {
    char bytes[32768];
    size_t length;
};

static inline void add(struct text *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    text->length +=
        (size_t)vsnprintf(text->bytes + text->length, sizeof text->bytes - text->length, format, arguments);
    va_end(arguments);
}

/* All that a daemonizer could change, a line each, "key<TAB>value"; needs no /proc. */
static inline void observe(struct text *text) {
    int number;
    int terminal = open("/dev/tty", O_RDONLY | O_NOCTTY);
    mode_t mask = umask(0);
    sigset_t blocked;
    sigset_t pending;
    char directory[4096];

    umask(mask);
    if (terminal >= 0) {
        close(terminal);
    }
    sigemptyset(&blocked);
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    sigemptyset(&pending);
    sigpending(&pending);
    text->length = 0;
    add(text, "pid\t%ld\n", (long)getpid());
    add(text, "parent\t%ld\n", (long)getppid());
    add(text, "group\t%ld\n", (long)getpgrp());
    add(text, "session\t%ld\n", (long)getsid(0));
    add(text, "terminal\t%d\n", terminal >= 0);
    add(text, "directory\t%s\n", getcwd(directory, sizeof directory) ? directory : "none");
    add(text, "umask\t%04o\n", (unsigned)mask);
    for (number = 1; number <= 64; number++) {
        struct sigaction action;
        memset(&action, 0, sizeof action);
        if (sigaction(number, NULL, &action) == 0) {
            const char *does = action.sa_handler == SIG_DFL ? "default" : action.sa_handler == SIG_IGN ? "ignore" : "handler";
            add(text, "signal %02d\t%s %x%s%s\n", number, does, (unsigned)action.sa_flags,
                sigismember(&blocked, number) == 1 ? " blocked" : "",
                sigismember(&pending, number) == 1 ? " pending" : "");
        }
    }
    for (number = 0; number < 1024; number++) {
        struct stat stat;
        if (fcntl(number, F_GETFD) >= 0 && fstat(number, &stat) == 0) {
            add(text, "fd %04d\t%lx:%lx:%lx %d %o\n", number, (unsigned long)stat.st_dev, (unsigned long)stat.st_ino,
                (unsigned long)stat.st_rdev, fcntl(number, F_GETFD), (unsigned)(fcntl(number, F_GETFL) & ~LARGE_FILE));
        }
    }
}

/* Writes it whole, or ends the process. */
static inline void put(int fd, const char *text) {
    size_t rest = strlen(text);
    while (rest > 0) {
        ssize_t written = write(fd, text, rest);
        if (written <= 0) {
            _exit(98);
        }
        text += written;
        rest -= (size_t)written;
    }
}

static inline void put_state(int fd, const struct text *state) {
    put(fd, state->bytes);
    put(fd, "end\n");
}

/* Calls the test that waits at that path, which must be absolute. */
static inline int call_the_test(const char *path) {
    struct sockaddr_un address;
    int call = socket(AF_UNIX, SOCK_STREAM, 0);
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    if (call < 0 || connect(call, (struct sockaddr *)&address, sizeof address) < 0) {
        _exit(97);
    }
    return call;
}

/* Waits for a line of the test's, or until it hangs up. */
static inline void wait_for_a_line(int call) {
    char byte = 0;
    while (byte != '\n' && read(call, &byte, 1) > 0) {
    }
}

/* One line, in one write. */
static inline void say(int fd, const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    put(fd, line);
}

#endif
