/* libdaemon, called in the order of its documentation's example (testd.c), without the pid file. */

#include "program.h"
#include <errno.h>
#include <libdaemon/dfork.h>
#include <libdaemon/dlog.h>
#include <libdaemon/dpid.h>
#include <libdaemon/dsignal.h>

static int failed(int exit_status) {
    int errnum = errno;
    say(MARKER_FAILED, 0, errnum);
    return exit_status;
}

/* The library has logged a failure of daemon_fork by itself. */
static int caller(pid_t daemon) {
    int told;
    if (daemon < 0) {
        int status = failed(1);
        daemon_retval_done();
        return status;
    }
    told = daemon_retval_wait(DEADLINE_SECONDS);
    if (told < 0) {
        daemon_log(LOG_ERR, "no word from the daemon");
        return failed(255);
    }
    if (told > 0) {
        errno = 0;
        return failed(told);
    }
    say(MARKER_RETURNED, daemon, 0);
    return 0;
}

int main(int argc, char **argv) {
    pid_t pid;
    (void)argc;
    begin();
    if (daemon_reset_sigs(-1) < 0 || daemon_unblock_sigs(-1) < 0) {
        daemon_log(LOG_ERR, "signals cannot be reset");
        return failed(1);
    }
    daemon_log_ident = daemon_ident_from_argv0(argv[0]);
    if (daemon_retval_init() < 0) {
        daemon_log(LOG_ERR, "no pipe");
        return failed(1);
    }
    pid = daemon_fork();
    if (pid != 0) {
        return caller(pid);
    }
    if (daemon_close_all(-1) < 0) {
        daemon_log(LOG_ERR, "descriptors cannot be closed");
        daemon_retval_send(1);
        return 1;
    }
    daemon_retval_send(0);
    daemon_runs();
}
