/* Another thread of the daemon's sends the first one a signal. */

#include "daemon.h"

static void *send_it(void *first) {
    static int result;
    result = pthread_kill(*(pthread_t *)first, SIGUSR1);
    return &result;
}

int main(void) {
    pthread_t first = pthread_self();
    pthread_t thread;
    void *result;
    note_signals(SIGUSR1);
    if (become_daemon(UNTTY_KEEP_SIGNALS)) {
        say(1, "the caller: %s\n", got ? "got it" : "nothing");
        return 0;
    }
    check(pthread_create(&thread, NULL, send_it, &first));
    check(pthread_join(thread, &result));
    say(1, "the daemon: %s, and the sender was told %d\n", got ? "got it" : "nothing", *(int *)result);
    return 0;
}
