/* A thread is cancelled before, and another one by the daemon. The C library has a signal, and a handler, for that. */

#include "daemon.h"

static void *wait_for_it(void *nothing) {
    while (pause() < 0) {
    }
    return nothing;
}

static const char *cancel_one(void) {
    pthread_t thread;
    void *result;
    check(pthread_create(&thread, NULL, wait_for_it, NULL));
    check(pthread_cancel(thread));
    check(pthread_join(thread, &result));
    return result == PTHREAD_CANCELED ? "cancelled" : "?";
}

int main(int argc, char **argv) {
    (void)argv;
    cancel_one();
    if (!become_daemon(argc > 1 ? UNTTY_KEEP_SIGNALS : 0)) {
        say(1, "the daemon's thread: %s\n", cancel_one());
    }
    return 0;
}
