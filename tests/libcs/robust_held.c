/* Robust mutexes in shared memory: the caller has one when it detaches. That one stays the caller's, and those which the
 * daemon takes, and dies with, are found without an owner. */

#include "daemon.h"

enum { CALLERS, FIRST, GIVEN_UP, LAST, MUTEXES };

static void make(pthread_mutex_t *mutex) {
    pthread_mutexattr_t attributes;
    check(pthread_mutexattr_init(&attributes));
    check(pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK));
    check(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED));
    check(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST));
    check(pthread_mutex_init(mutex, &attributes));
}

static const char *owner_of(pthread_mutex_t *mutex) {
    switch (pthread_mutex_trylock(mutex)) {
    case 0:
        return "nobody";
    case EOWNERDEAD:
        return "dead";
    default:
        return "alive";
    }
}

int main(void) {
    pthread_mutex_t *mutexes =
        mmap(NULL, MUTEXES * sizeof *mutexes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int number;
    check(mutexes == MAP_FAILED);
    for (number = 0; number < MUTEXES; number++) {
        make(&mutexes[number]);
    }
    check(pthread_mutex_lock(&mutexes[CALLERS]));
    if (become_daemon(0)) {
        const char *first = owner_of(&mutexes[FIRST]);
        const char *given_up = owner_of(&mutexes[GIVEN_UP]);
        say(1, "the caller: %s, %s, %s\n", first, given_up, owner_of(&mutexes[LAST]));
        say(1, "its own: %d\n", pthread_mutex_unlock(&mutexes[CALLERS]));
        return 0;
    }
    say(1, "the daemon: %s\n", pthread_mutex_unlock(&mutexes[CALLERS]) == EPERM ? "not its own" : "its own");
    check(pthread_mutex_lock(&mutexes[FIRST]));
    check(pthread_mutex_lock(&mutexes[GIVEN_UP]));
    check(pthread_mutex_lock(&mutexes[LAST]));
    check(pthread_mutex_unlock(&mutexes[GIVEN_UP]));
    return 0;
}
