/* The daemon, which has one thread, binds itself to one processor. The machine must have two. */

#include "daemon.h"

static int processors(void) {
    cpu_set_t set;
    CPU_ZERO(&set);
    check(syscall(SYS_sched_getaffinity, 0, sizeof set, &set) < 0);
    return CPU_COUNT(&set);
}

int main(void) {
    const int before = processors();
    int is_caller = become_daemon(0);
    if (!is_caller) {
        cpu_set_t set;
        int one = 0;
        check(sched_getaffinity(0, sizeof set, &set));
        while (!CPU_ISSET(one, &set)) {
            one++;
        }
        CPU_ZERO(&set);
        CPU_SET(one, &set);
        check(pthread_setaffinity_np(pthread_self(), sizeof set, &set));
    }
    say(1, "the %s: %s\n", is_caller ? "caller" : "daemon", processors() == before ? "as before" : "bound");
    return 0;
}
