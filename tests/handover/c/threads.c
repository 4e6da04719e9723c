/* Threads: made, joined, detached, cancelled, with keys and stacks of their own; the first one is joined, too. */

#include "daemon.h"

enum { THREADS = 16, TURNS = 2000 };

static pthread_key_t key;
static int destroyed;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int turns;
static int initialised;
static int detached_ones;
static pthread_t first;

static void destroy(void *value) {
    (void)value;
    __atomic_add_fetch(&destroyed, 1, __ATOMIC_SEQ_CST);
}

static void initialise(void) { initialised++; }

static void *work(void *argument) {
    int turn;
    pthread_setspecific(key, argument);
    pthread_once(&once, initialise);
    for (turn = 0; turn < TURNS; turn++) {
        pthread_rwlock_rdlock(&rwlock);
        pthread_mutex_lock(&mutex);
        turns++;
        pthread_cond_broadcast(&condition);
        pthread_mutex_unlock(&mutex);
        pthread_rwlock_unlock(&rwlock);
    }
    return pthread_getspecific(key);
}

static void many(void) {
    pthread_t thread[THREADS];
    int right = 1;
    long index;
    for (index = 0; index < THREADS; index++) {
        CHECK(pthread_create(&thread[index], NULL, work, (void *)(index + 1)));
    }
    pthread_mutex_lock(&mutex);
    while (turns < THREADS * TURNS) {
        pthread_cond_wait(&condition, &mutex);
    }
    pthread_mutex_unlock(&mutex);
    for (index = 0; index < THREADS; index++) {
        void *result;
        CHECK(pthread_join(thread[index], &result));
        right &= result == (void *)(index + 1);
    }
    holds(right && turns == THREADS * TURNS && initialised == 1, "many threads are made and joined");
    holds(destroyed == THREADS, "destructors of their keys run");
}

static void *be_detached(void *nothing) {
    pthread_mutex_lock(&mutex);
    detached_ones++;
    pthread_cond_signal(&condition);
    pthread_mutex_unlock(&mutex);
    return nothing;
}

static void detached(void) {
    pthread_attr_t attributes;
    int index;
    CHECK(pthread_attr_init(&attributes));
    CHECK(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED));
    for (index = 0; index < THREADS; index++) {
        pthread_t thread;
        CHECK(pthread_create(&thread, &attributes, be_detached, NULL));
    }
    pthread_mutex_lock(&mutex);
    while (detached_ones < THREADS) {
        pthread_cond_wait(&condition, &mutex);
    }
    pthread_mutex_unlock(&mutex);
    holds(1, "detached threads run");
}

static volatile long sleeper;

static void *sleep_for_ever(void *nothing) {
    sleeper = own_id();
    for (;;) {
        pause();
    }
    return nothing;
}

static void cancelled(void) {
    pthread_t thread;
    void *result;
    CHECK(pthread_create(&thread, NULL, sleep_for_ever, NULL));
    while (sleeper == 0) {
        sched_yield();
    }
    wait_until_asleep(getpid(), sleeper);
    CHECK(pthread_cancel(thread));
    CHECK(pthread_join(thread, &result));
    holds(result == PTHREAD_CANCELED, "a thread is cancelled while it sleeps");
}

static void stack(void) {
    pthread_attr_t attributes;
    char *bottom;
    size_t size;
    char here;
    CHECK(pthread_getattr_np(pthread_self(), &attributes));
    CHECK(pthread_attr_getstack(&attributes, (void **)&bottom, &size));
    holds(bottom < &here && &here < bottom + size, "pthread_getattr_np knows the first thread's stack");
}

static void *join_the_first(void *nothing) {
    void *result;
    CHECK(pthread_join(first, &result));
    holds(result == &first, "the first thread ends alone, and another one joins it");
    holds(own_id() != getpid(), "the process lives on without its first thread");
    exit(end());
    return nothing;
}

int main(int argc, char **argv) {
    pthread_t thread;
    (void)argc;
    CHECK(pthread_key_create(&key, destroy));
    CHECK(pthread_setspecific(key, &key));
    first = pthread_self();
    become_daemon(argv[1]);
    holds(pthread_getspecific(key) == &key, "the first thread's keys are as they were");
    holds(pthread_equal(first, pthread_self()), "pthread_self is as it was");
    many();
    detached();
    cancelled();
    stack();
    CHECK(pthread_create(&thread, NULL, join_the_first, NULL));
    pthread_exit(&first);
}
