/* setuid() changes all threads, whichever calls it. Needs root. */

#include "daemon.h"

static void *give_up(void *nothing) {
    (void)nothing;
    say(1, "setuid: %d\n", setuid(65534));
    return NULL;
}

int main(void) {
    pthread_t thread;
    if (become_daemon(0)) {
        return 0;
    }
    check(pthread_create(&thread, NULL, give_up, NULL));
    check(pthread_join(thread, NULL));
    say(1, "the first thread: %s\n", syscall(SYS_geteuid) == 65534 ? "changed" : "still root");
    return 0;
}
