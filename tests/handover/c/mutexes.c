/* Mutexes of every type, and what is like them, taken before and after. */

#include "daemon.h"
#include <semaphore.h>

static void make(pthread_mutex_t *mutex, int type, int protocol) {
    pthread_mutexattr_t attributes;
    CHECK(pthread_mutexattr_init(&attributes));
    CHECK(pthread_mutexattr_settype(&attributes, type));
    CHECK(pthread_mutexattr_setprotocol(&attributes, protocol));
    CHECK(pthread_mutex_init(mutex, &attributes));
}

static void *try_it(void *mutex) { return (void *)(long)pthread_mutex_trylock((pthread_mutex_t *)mutex); }
static void *unlock_it(void *mutex) { return (void *)(long)pthread_mutex_unlock((pthread_mutex_t *)mutex); }

static long by_another_thread(void *(*act)(void *), void *argument) {
    pthread_t thread;
    void *result;
    CHECK(pthread_create(&thread, NULL, act, argument));
    CHECK(pthread_join(thread, &result));
    return (long)result;
}

static void error_checking(void) {
    pthread_mutex_t mutex;
    make(&mutex, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_NONE);
    holds(pthread_mutex_unlock(&mutex) == EPERM, "error checking: EPERM for what nobody has locked");
    holds(pthread_mutex_lock(&mutex) == 0, "error checking: it can be locked");
    holds(pthread_mutex_lock(&mutex) == EDEADLK, "error checking: EDEADLK for who locks it again");
    holds(by_another_thread(unlock_it, &mutex) == EPERM, "error checking: EPERM for another thread that unlocks it");
    holds(by_another_thread(try_it, &mutex) == EBUSY, "error checking: EBUSY for another thread");
    holds(pthread_mutex_unlock(&mutex) == 0, "error checking: its owner can unlock it");
    holds(by_another_thread(try_it, &mutex) == 0, "error checking: then another thread can lock it");
    holds(pthread_mutex_unlock(&mutex) == EPERM, "error checking: EPERM for who is not its owner");
}

static void recursive(void) {
    pthread_mutex_t mutex;
    make(&mutex, PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE);
    holds(pthread_mutex_lock(&mutex) == 0 && pthread_mutex_lock(&mutex) == 0, "recursive: it can be locked twice");
    holds(by_another_thread(try_it, &mutex) == EBUSY, "recursive: EBUSY for another thread");
    holds(by_another_thread(unlock_it, &mutex) == EPERM, "recursive: EPERM for another thread that unlocks it");
    holds(pthread_mutex_unlock(&mutex) == 0, "recursive: unlocked once");
    holds(by_another_thread(try_it, &mutex) == EBUSY, "recursive: once is not enough");
    holds(pthread_mutex_unlock(&mutex) == 0, "recursive: unlocked twice");
    holds(by_another_thread(try_it, &mutex) == 0, "recursive: then another thread can lock it");
}

static pthread_mutex_t normal = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t adaptive = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
static pthread_mutex_t checking_before;
static pthread_mutex_t recursive_before;
static pthread_rwlock_t read_before = PTHREAD_RWLOCK_INITIALIZER;
static pthread_spinlock_t spin;
static sem_t semaphore;

static void lock_before(void) {
    make(&checking_before, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_NONE);
    make(&recursive_before, PTHREAD_MUTEX_RECURSIVE, PTHREAD_PRIO_NONE);
    CHECK(pthread_mutex_lock(&normal));
    CHECK(pthread_mutex_lock(&adaptive));
    CHECK(pthread_mutex_lock(&checking_before));
    CHECK(pthread_mutex_lock(&recursive_before));
    CHECK(pthread_rwlock_rdlock(&read_before));
    CHECK(pthread_spin_init(&spin, PTHREAD_PROCESS_PRIVATE));
    CHECK(pthread_spin_lock(&spin));
    CHECK(sem_init(&semaphore, 0, 1));
    CHECK(sem_wait(&semaphore));
    flockfile(stdin);
}

static void unlock_after(void) {
    holds(by_another_thread(try_it, &normal) == EBUSY, "a normal mutex from before is still locked");
    holds(pthread_mutex_unlock(&normal) == 0, "and can be unlocked");
    holds(by_another_thread(try_it, &normal) == 0, "and locked by another thread");
    holds(pthread_mutex_unlock(&adaptive) == 0, "an adaptive one can be unlocked");
    /* Their owner is the number of a thread that is no more: as after fork(). */
    say("ok an error-checking one from before: %d\n", pthread_mutex_unlock(&checking_before));
    say("ok a recursive one from before: %d\n", pthread_mutex_unlock(&recursive_before));
    holds(pthread_rwlock_unlock(&read_before) == 0, "a lock that was read can be unlocked");
    holds(pthread_rwlock_wrlock(&read_before) == 0, "and written");
    holds(pthread_rwlock_wrlock(&read_before) == EDEADLK, "but not twice");
    holds(pthread_spin_unlock(&spin) == 0 && pthread_spin_trylock(&spin) == 0, "a spin lock can be unlocked");
    holds(sem_post(&semaphore) == 0 && sem_trywait(&semaphore) == 0, "a semaphore can be posted");
    funlockfile(stdin);
    flockfile(stdin);
    funlockfile(stdin);
    holds(1, "a stream can be unlocked, and locked again");
}

static volatile long contender;

static void *contend(void *mutex) {
    contender = own_id();
    CHECK(pthread_mutex_lock((pthread_mutex_t *)mutex));
    CHECK(pthread_mutex_unlock((pthread_mutex_t *)mutex));
    return NULL;
}

/* The kernel has to know the owner. */
static void inheriting(int type, const char *statement) {
    pthread_mutex_t mutex;
    pthread_t thread;
    make(&mutex, type, PTHREAD_PRIO_INHERIT);
    CHECK(pthread_mutex_lock(&mutex));
    contender = 0;
    CHECK(pthread_create(&thread, NULL, contend, &mutex));
    while (contender == 0) {
        sched_yield();
    }
    wait_until_asleep(getpid(), contender);
    CHECK(pthread_mutex_unlock(&mutex));
    CHECK(pthread_join(thread, NULL));
    holds(pthread_mutex_lock(&mutex) == 0 && pthread_mutex_unlock(&mutex) == 0, statement);
}

int main(int argc, char **argv) {
    (void)argc;
    lock_before();
    become_daemon(argv[1]);
    unlock_after();
    error_checking();
    recursive();
    inheriting(PTHREAD_MUTEX_NORMAL, "priority inheritance: handed from thread to thread");
    inheriting(PTHREAD_MUTEX_ERRORCHECK, "priority inheritance, error checking: handed from thread to thread");
    return end();
}
