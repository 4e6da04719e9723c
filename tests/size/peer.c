/* The others, for their size, and with marks for their stack (MARKED; see stack.c): daemon(3) of the C library that this
 * is compiled with, or libdaemon (LIBDAEMON), as the example in its documentation has it. */

#define _DEFAULT_SOURCE

#include <unistd.h>

#ifdef MARKED
#include "marks.h"
#else
#define MARK(word)
#endif

#ifdef LIBDAEMON
#include <libdaemon/dfork.h>

static int become_daemon(void) {
    pid_t pid;
    if (daemon_retval_init() < 0) {
        return -1;
    }
    pid = daemon_fork();
    if (pid < 0) {
        daemon_retval_done();
        return -1;
    }
    if (pid > 0) {
        _exit(daemon_retval_wait(20));
    }
    if (daemon_close_all(-1) < 0) {
        daemon_retval_send(1);
        _exit(1);
    }
    return daemon_retval_send(0);
}
#else
static int become_daemon(void) { return daemon(0, 0); }
#endif

int main(void) {
    int failed;
    MARK(MARK_BEGIN);
    failed = become_daemon();
    MARK(MARK_END);
    if (failed) {
        return 1;
    }
    MARK(MARK_REST);
    for (;;) {
        pause();
    }
}
