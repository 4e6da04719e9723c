/* A service as daemon(7) wants it, old style and new: one of it at a time, a user of its own, a log that logrotate(8) may
 * rename, and readiness told to whoever waits for it.
 *
 *     cc -o service service.c $(pkg-config --cflags --libs untty)
 *     ./service /run/service.pid /var/log/service.log [USER]
 *
 * Started in a terminal or by an init script, it becomes a daemon, and the status is 0 when it is ready. Started by
 * systemd (Type=notify-reload), s6 or runit, it stays in the foreground. SIGHUP opens the log anew, SIGTERM ends it. The
 * paths are absolute: the daemon uses them again, and its directory is "/". */

#define _DEFAULT_SOURCE

#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <untty.h>

enum { MOST_GROUPS = 64 };

extern char **environ;

/* Looks a user up. The library takes numbers only: names may come from a network. */
static int set_user(struct untty_options *options, const char *name) {
    static gid_t groups[MOST_GROUPS];
    int count = MOST_GROUPS;
    const struct passwd *user = getpwnam(name);
    if (user == NULL || getgrouplist(name, user->pw_gid, groups, &count) < 0) {
        return -1;
    }
    options->flags |= UNTTY_SET_USER;
    options->uid = user->pw_uid;
    options->gid = user->pw_gid;
    options->groups = groups;
    options->group_count = (size_t)count;
    return 0;
}

static void complain(const struct untty_error *error) {
    char line[128];
    untty_error_message(error, line, sizeof line);
    fprintf(stderr, "service: %s\n", line);
}

/* Standard output and error lead to the log. The user must be allowed to open it: with logrotate, "create 0640 USER". */
static void reopen(const char *log) {
    struct untty_error error;
    if (untty_reopen_log(STDOUT_FILENO, log, &error) < 0 || untty_reopen_log(STDERR_FILENO, log, &error) < 0) {
        complain(&error); /* into the old one */
    }
    printf("service: the log is open\n");
    fflush(stdout);
}

/* The service's work is to wait for signals. */
static void serve(struct untty_handle *handle, const sigset_t *signals, const char *log) {
    int signal_number;
    while (sigwait(signals, &signal_number) == 0 && signal_number == SIGHUP) {
        /* What a supervisor is told is a courtesy; that one of them is gone is no reason to stop. */
        (void)untty_notify(handle, "RELOADING=1", NULL);
        reopen(log);
        (void)untty_notify(handle, "READY=1", NULL);
    }
    (void)untty_notify(handle, "STOPPING=1", NULL);
}

int main(int argc, char **argv) {
    struct untty_options options = UNTTY_OPTIONS_INIT;
    struct untty_handle handle;
    struct untty_error error;
    sigset_t signals;

    if (argc < 3 || argc > 4 || argv[1][0] != '/' || argv[2][0] != '/') {
        fprintf(stderr, "usage: service PID-FILE LOG [USER]\n");
        return 2;
    }
    if (argc == 4 && set_user(&options, argv[3]) < 0) {
        fprintf(stderr, "service: no such user: %s\n", argv[3]);
        return 1;
    }
    options.flags |= UNTTY_STAY_IF_SUPERVISED;
    options.environment = (const char *const *)environ; /* a library without libc would not find it */
    options.pid_file = argv[1];
    options.output.kind = UNTTY_STDIO_FILE;
    options.output.path = argv[2];
    options.error.kind = UNTTY_STDIO_STDOUT;
    options.deadline_ms = 10000;
    if (untty_detach(&options, &handle, &error) < 0) {
        complain(&error); /* the second one is told here that the first one runs */
        return 1;
    }

    /* The daemon. Signals were reset, so what it waits for is blocked only now. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    printf("service: process %ld\n", (long)getpid());
    fflush(stdout);
    if (untty_ready(&handle, &error) < 0) {
        complain(&error);
        untty_fail(&handle, 1);
    }
    serve(&handle, &signals, argv[2]);

    /* Last of all. Where it may not be removed, it stays, and the next start takes it over. */
    (void)untty_pid_file_remove(argv[1], NULL);
    return 0;
}
