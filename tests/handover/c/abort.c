/* abort() calls a handler of the daemon's, and then kills the daemon. */

#include "daemon.h"

static void note(int number, siginfo_t *info, void *context) {
    (void)context;
    holds(number == SIGABRT && info->si_pid == getpid(), "the handler of SIGABRT runs");
}

int main(int argc, char **argv) {
    (void)argc;
    become_daemon(argv[1]);
    handle_signal(SIGABRT, note, 0);
    abort();
}
