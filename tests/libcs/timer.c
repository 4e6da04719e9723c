/* A timer that starts threads: glibc has a thread for all of them, which lives on when there is no timer any more. It has
 * been there before, and is none of the daemon's. */

#include "daemon.h"
#include <semaphore.h>
#include <time.h>

static sem_t expired;

static void expire(union sigval value) {
    (void)value;
    sem_post(&expired);
}

static const char *have_timer(void) {
    struct sigevent event;
    struct itimerspec soon;
    timer_t timer;
    memset(&event, 0, sizeof event);
    event.sigev_notify = SIGEV_THREAD;
    event.sigev_notify_function = expire;
    memset(&soon, 0, sizeof soon);
    soon.it_value.tv_nsec = 1;
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) < 0) {
        return "refused";
    }
    check(timer_settime(timer, 0, &soon, NULL));
    while (sem_wait(&expired) < 0 && errno == EINTR) {
    }
    check(timer_delete(timer));
    return "expired";
}

int main(void) {
    check(sem_init(&expired, 0, 0));
    have_timer();
    if (!become_daemon(UNTTY_ACCEPT_THREADS)) {
        say(1, "the daemon's timer: %s\n", have_timer());
        _exit(0);
    }
    return 0;
}
