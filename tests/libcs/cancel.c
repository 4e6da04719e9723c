/* A thread is cancelled before, and another one by the daemon. The C library has a signal, and a handler, for that; it
 * sends the signal to a thread that sleeps. */

#include "daemon.h"

static volatile long sleeper_id;

static void *sleep_for_ever(void *nothing) {
    sleeper_id = syscall(SYS_gettid);
    while (pause() < 0) {
    }
    return nothing;
}

static const char *cancel_one(void) {
    pthread_t thread;
    void *result;
    sleeper_id = 0;
    check(pthread_create(&thread, NULL, sleep_for_ever, NULL));
    while (sleeper_id == 0 || state_of(sleeper_id) != 'S') {
        sched_yield();
    }
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
