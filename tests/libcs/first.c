/* The daemon's first thread asks for its own clock, and another one gives it a name. */

#include "daemon.h"
#include <time.h>

static void *name_it(void *first) {
    static int result;
    result = pthread_setname_np(*(pthread_t *)first, "named");
    return &result;
}

int main(void) {
    pthread_t first = pthread_self();
    pthread_t thread;
    void *result;
    clockid_t clock;
    struct timespec time;
    if (become_daemon(0)) {
        return 0;
    }
    check(pthread_getcpuclockid(first, &clock));
    say(1, "its clock: %s\n", clock_gettime(clock, &time) == 0 ? "runs" : "is another's");
    check(pthread_create(&thread, NULL, name_it, &first));
    check(pthread_join(thread, &result));
    say(1, "its name: %d\n", *(int *)result);
    return 0;
}
