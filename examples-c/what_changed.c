/* What a process is before and after it became a daemon, and what each step was for.
 *
 *     cc -o what_changed what_changed.c $(pkg-config --cflags --libs untty)
 *
 * The daemon inherits standard output, so that it can tell; the caller waits until it has, and has the last word. */

#define _POSIX_C_SOURCE 200809L

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <untty.h>

enum { ITEMS = 10 };

static const char *const items[ITEMS][2] = {
    {"process", "fork: the caller can go, the shell shows its prompt; and only who leads no group may call setsid."},
    {"process group", "setsid: a new group, so that ^C and ^Z in the terminal do not reach it."},
    {"session", "setsid: a new session, so that the end of the login does not end it (SIGHUP)."},
    {"session leader", "the second fork: only a session leader can acquire a terminal, and this is none any more."},
    {"terminal", "all of that together: no controlling terminal, now and for ever."},
    {"signals ignored", "dispositions: back to their defaults; handlers and a blocked mask are not inherited either."},
    {"directory", "chdir: a daemon in a directory of its own choice keeps no file system from being unmounted."},
    {"umask", "umask: the modes of its files do not depend on who started it; 0027 gives others nothing."},
    {"standard input", "/dev/null in place of the terminal: reads end at once, and what is written is nobody's."},
    {"descriptors", "closed: files and pipes of the caller's; a reader at the other end would wait for ever."},
};

struct state {
    char value[ITEMS][256];
};

static const char *yes_or_no(int yes) { return yes ? "yes" : "no"; }

static void observe(struct state *state) {
    int fd;
    int ignored = 0;
    int signal_number;
    size_t length = 0;
    struct stat input;
    struct stat null;
    mode_t mask = umask(0);
    int terminal = open("/dev/tty", O_RDONLY | O_NOCTTY);

    umask(mask);
    if (terminal >= 0) {
        close(terminal);
    }
    for (signal_number = 1; signal_number < 32; signal_number++) {
        struct sigaction action;
        if (sigaction(signal_number, NULL, &action) == 0 && action.sa_handler == SIG_IGN) {
            ignored++;
        }
    }
    snprintf(state->value[0], 256, "%ld", (long)getpid());
    snprintf(state->value[1], 256, "%ld", (long)getpgrp());
    snprintf(state->value[2], 256, "%ld", (long)getsid(0));
    snprintf(state->value[3], 256, "%s", yes_or_no(getsid(0) == getpid()));
    snprintf(state->value[4], 256, "%s", yes_or_no(terminal >= 0));
    snprintf(state->value[5], 256, "%d", ignored);
    if (getcwd(state->value[6], 256) == NULL) {
        snprintf(state->value[6], 256, "(too long)");
    }
    snprintf(state->value[7], 256, "%04o", (unsigned)mask);
    if (fstat(0, &input) < 0) {
        snprintf(state->value[8], 256, "closed");
    } else if (isatty(0)) {
        snprintf(state->value[8], 256, "a terminal");
    } else if (stat("/dev/null", &null) == 0 && S_ISCHR(input.st_mode) && input.st_rdev == null.st_rdev) {
        snprintf(state->value[8], 256, "/dev/null");
    } else {
        snprintf(state->value[8], 256, "a file or pipe");
    }
    state->value[9][0] = 0;
    for (fd = 0; fd < 1024 && length < 240; fd++) {
        if (fcntl(fd, F_GETFD) >= 0) {
            length += (size_t)snprintf(state->value[9] + length, 256 - length, length == 0 ? "%d" : " %d", fd);
        }
    }
}

int main(void) {
    struct untty_options options = UNTTY_OPTIONS_INIT;
    struct untty_handle handle;
    struct untty_error error;
    struct state before;
    struct state after;
    int daemon_id;
    int item;

    observe(&before);
    options.flags = UNTTY_RETURN_IN_CALLER;
    options.output.kind = UNTTY_STDIO_INHERIT;
    options.error.kind = UNTTY_STDIO_INHERIT;
    daemon_id = untty_detach(&options, &handle, &error);
    if (daemon_id < 0) {
        char line[128];
        untty_error_message(&error, line, sizeof line);
        fprintf(stderr, "what_changed: %s\n", line);
        return 1;
    }
    if (daemon_id > 0) { /* the caller, when the daemon is ready */
        printf("The caller is process %ld again, and its daemon is process %d.\n", (long)getpid(), daemon_id);
        return 0;
    }

    /* The daemon. */
    observe(&after);
    for (item = 0; item < ITEMS; item++) {
        printf("%s: %s -> %s\n    %s\n", items[item][0], before.value[item], after.value[item], items[item][1]);
    }
    printf("(The highest descriptor is the handle's. It closes with untty_ready, which is said now.)\n");
    fflush(stdout);
    return untty_ready(&handle, &error) < 0 ? 1 : 0;
}
