/* The ways of becoming a daemon: one each, chosen when the program is compiled. 0 in the daemon; an errno, or -1, where
 * the call failed. Each one's caller exits by itself. */

#ifndef ENTRIES_H
#define ENTRIES_H

#if defined(ENTRY_UNTTY_DETACH)
#include <untty.h>

/* With the defaults, but for the flags. */
static long detach(struct measured *measured) {
    struct untty_options options = UNTTY_OPTIONS_INIT;
    struct untty_error error;
    (void)measured;
    options.flags = ENTRY_UNTTY_DETACH;
    return untty_detach(&options, 0, &error) == 0 ? 0 : error.errnum;
}

#elif defined(ENTRY_UNTTY_READY)
#include <untty.h>

/* The daemon says for itself that it is ready. */
static long detach(struct measured *measured) {
    struct untty_options options = UNTTY_OPTIONS_INIT;
    struct untty_handle handle;
    struct untty_error error;
    options.flags = ENTRY_UNTTY_READY;
    if (untty_detach(&options, &handle, &error) != 0 || untty_ready(&handle, &error) != 0) {
        return error.errnum;
    }
    measured->way = untty_way(&handle);
    return 0;
}

#elif defined(ENTRY_UNTTY_DAEMON)
#include <untty.h>

static long detach(struct measured *measured) {
    (void)measured;
    return untty_daemon(0, 0);
}

#elif defined(ENTRY_DAEMON3)
#include <unistd.h>

static long detach(struct measured *measured) {
    (void)measured;
    return daemon(0, 0);
}

#elif defined(ENTRY_LIBDAEMON)
#include <libdaemon/dfork.h>

/* As its documentation has it (testd.c): the caller waits for the daemon's word. */
static long detach(struct measured *measured) {
    (void)measured;
    if (daemon_reset_sigs(-1) < 0 || daemon_unblock_sigs(-1) < 0 || daemon_retval_init() < 0) {
        return -1;
    }
    pid_t pid = daemon_fork();
    if (pid < 0) {
        return -1;
    }
    if (pid > 0) {
        call(SYS_exit_group, daemon_retval_wait(20), 0, 0, 0, 0, 0);
    }
    if (daemon_close_all(-1) < 0) {
        daemon_retval_send(1);
        return -1;
    }
    daemon_retval_send(0);
    return 0;
}

#elif defined(ENTRY_TEXTBOOK)
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

/* The seven steps as textbooks have them; daemon(7) has them too, as "SysV daemons", without the pid file: every
 * descriptor up to the limit, every signal, two forks, and a pipe to tell the caller. */
static long detach(struct measured *measured) {
    int ends[2];
    char word = 0;
    sigset_t none;
    (void)measured;
    for (long fd = sysconf(_SC_OPEN_MAX); fd > 2; fd--) {
        close((int)fd);
    }
    for (int signum = 1; signum < NSIG; signum++) {
        signal(signum, SIG_DFL);
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, 0);
    if (pipe(ends) != 0) {
        return -1;
    }
    pid_t pid = fork();
    if (pid < 0) {
        return -1;
    }
    if (pid > 0) {
        close(ends[1]);
        _exit(read(ends[0], &word, 1) == 1 ? 0 : 1);
    }
    if (setsid() < 0 || (pid = fork()) < 0) {
        _exit(1);
    }
    if (pid > 0) {
        _exit(0);
    }
    umask(0);
    int null = open("/dev/null", O_RDWR);
    if (chdir("/") != 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0) {
        _exit(1);
    }
    close(null);
    close(ends[0]);
    if (write(ends[1], &word, 1) != 1) {
        _exit(1);
    }
    close(ends[1]);
    return 0;
}

#elif defined(ENTRY_MINIMAL)
#include <fcntl.h>
#include <unistd.h>

/* No more than a correct double fork needs: nothing is closed or reset, and no step is told apart. */
static long detach(struct measured *measured) {
    int ends[2];
    char word = 0;
    (void)measured;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || pipe2(ends, O_CLOEXEC) != 0) {
        return -1;
    }
    pid_t pid = fork();
    if (pid < 0) {
        return -1;
    }
    if (pid > 0) {
        close(ends[1]);
        _exit(read(ends[0], &word, 1) == 1 ? 0 : 1);
    }
    if (setsid() < 0 || (pid = fork()) < 0) {
        _exit(1);
    }
    if (pid > 0) {
        _exit(0);
    }
    if (chdir("/") != 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0 || write(ends[1], &word, 1) != 1) {
        _exit(1);
    }
    close(ends[1]);
    return 0;
}

#elif defined(ENTRY_CRATE)

/* A Rust crate, below crates. */
extern int ENTRY_CRATE(void);

static long detach(struct measured *measured) {
    (void)measured;
    return ENTRY_CRATE();
}

#else
#error "say which entry: -DENTRY_..."
#endif

#endif
