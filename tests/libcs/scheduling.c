/* The daemon, which has one thread, asks to be scheduled as a batch job. */

#include "daemon.h"

int main(void) {
    int is_caller = become_daemon(0);
    if (!is_caller) {
        struct sched_param parameters;
        memset(&parameters, 0, sizeof parameters);
        check(pthread_setschedparam(pthread_self(), SCHED_BATCH, &parameters));
    }
    say(1, "the %s: %s\n", is_caller ? "caller" : "daemon",
        syscall(SYS_sched_getscheduler, 0) == SCHED_BATCH ? "a batch job" : "as before");
    return 0;
}
