/* Error-checking and recursive mutexes in shared memory, which the daemon has taken with it to its end: its caller is
 * told that it is not the owner. */

#include "daemon.h"

struct shared {
    pthread_mutex_t checked;
    pthread_mutex_t recursive;
};

static void make(pthread_mutex_t *mutex, int type) {
    pthread_mutexattr_t attributes;
    check(pthread_mutexattr_init(&attributes));
    check(pthread_mutexattr_settype(&attributes, type));
    check(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED));
    check(pthread_mutex_init(mutex, &attributes));
}

int main(void) {
    struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check(shared == MAP_FAILED);
    make(&shared->checked, PTHREAD_MUTEX_ERRORCHECK);
    make(&shared->recursive, PTHREAD_MUTEX_RECURSIVE);
    if (become_daemon(0)) {
        say(1, "the caller: %s, %s\n", pthread_mutex_unlock(&shared->checked) == EPERM ? "not its own" : "its own",
            pthread_mutex_trylock(&shared->recursive) == EBUSY ? "not its own" : "its own");
        return 0;
    }
    check(pthread_mutex_lock(&shared->checked));
    check(pthread_mutex_lock(&shared->recursive));
    return 0;
}
