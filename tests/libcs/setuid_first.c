/* There was a thread before. setuid() by the daemon's first thread changes all others, too, for which the C library has a
 * signal, and a handler. Needs root. */

#include "daemon.h"

static int until_it_is_done[2];

static void *end(void *nothing) { return nothing; }

static void *wait_and_look(void *nothing) {
    char byte;
    while (read(until_it_is_done[0], &byte, 1) < 0 && errno == EINTR) {
    }
    say(1, "the other thread: %s\n", syscall(SYS_geteuid) == 65534 ? "changed" : "still root");
    return nothing;
}

int main(int argc, char **argv) {
    pthread_t thread;
    (void)argv;
    check(pthread_create(&thread, NULL, end, NULL));
    check(pthread_join(thread, NULL));
    if (become_daemon(argc > 1 ? UNTTY_KEEP_SIGNALS : 0)) {
        return 0;
    }
    check(pipe(until_it_is_done));
    check(pthread_create(&thread, NULL, wait_and_look, NULL));
    say(1, "setuid: %d\n", setuid(65534));
    close(until_it_is_done[1]);
    check(pthread_join(thread, NULL));
    return 0;
}
