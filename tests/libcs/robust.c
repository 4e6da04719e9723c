/* A robust mutex in shared memory, whose owner, the daemon, has died. */

#include "daemon.h"

int main(void) {
    pthread_mutex_t *mutex =
        mmap(NULL, sizeof *mutex, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_t attributes;
    check(mutex == MAP_FAILED);
    check(pthread_mutexattr_init(&attributes));
    check(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED));
    check(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST));
    check(pthread_mutex_init(mutex, &attributes));
    if (become_daemon(0)) {
        const int result = pthread_mutex_trylock(mutex);
        say(1, "the caller: %s\n", result == EOWNERDEAD ? "its owner is dead" : result == EBUSY ? "taken" : "?");
        return 0;
    }
    check(pthread_mutex_lock(mutex));
    return 0;
}
