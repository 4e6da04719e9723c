/* A mutex with priority inheritance, which the first thread has and another one wants. The kernel has to know its owner.
 * What hangs is ended by an alarm after so many seconds. The caller lives on, or, with one more argument, is gone. */

#include "daemon.h"

static pthread_mutex_t mutex;
static volatile long contender_id;

static void *contend(void *nothing) {
    contender_id = syscall(SYS_gettid);
    check(pthread_mutex_lock(&mutex));
    check(pthread_mutex_unlock(&mutex));
    return nothing;
}

static void become_daemon_of_nobody(void) {
    int until_the_callers_end[2];
    check(pipe(until_the_callers_end));
    detach(0);
    wait_until_nobody_has(until_the_callers_end);
}

int main(int argc, char **argv) {
    pthread_mutexattr_t attributes;
    pthread_t thread;
    check(argc < 2);
    check(pthread_mutexattr_init(&attributes));
    check(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT));
    check(pthread_mutex_init(&mutex, &attributes));
    if (argc > 2) {
        become_daemon_of_nobody();
    } else if (become_daemon(0)) {
        return 0;
    }
    alarm((unsigned)atoi(argv[1]));
    check(pthread_mutex_lock(&mutex));
    check(pthread_create(&thread, NULL, contend, NULL));
    while (contender_id == 0 || state_of(contender_id) != 'S') {
        sched_yield();
    }
    check(pthread_mutex_unlock(&mutex));
    check(pthread_join(thread, NULL));
    say(1, "handed over\n");
    return 0;
}
