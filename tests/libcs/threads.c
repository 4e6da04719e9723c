/* The daemon can have threads, with mutexes of every kind, condition variables, and variables of their own. */

#include "daemon.h"

static __thread int own = 5;
static pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t checked;
static pthread_mutex_t recursive;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int turns;

static void *work(void *nothing) {
    int turn;
    own++;
    /* The first thread has them. */
    if (pthread_mutex_trylock(&checked) != EBUSY || pthread_mutex_unlock(&checked) != EPERM ||
        pthread_mutex_trylock(&recursive) != EBUSY) {
        say(1, "the other thread has the first one's mutexes\n");
    }
    for (turn = 0; turn < 1000; turn++) {
        pthread_mutex_lock(&plain);
        turns++;
        pthread_cond_signal(&condition);
        pthread_mutex_unlock(&plain);
    }
    return own == 6 ? NULL : nothing;
}

static void make(pthread_mutex_t *mutex, int type) {
    pthread_mutexattr_t attributes;
    check(pthread_mutexattr_init(&attributes));
    check(pthread_mutexattr_settype(&attributes, type));
    check(pthread_mutex_init(mutex, &attributes));
}

int main(void) {
    pthread_t thread;
    void *result;
    make(&checked, PTHREAD_MUTEX_ERRORCHECK);
    make(&recursive, PTHREAD_MUTEX_RECURSIVE);
    if (become_daemon(0)) {
        return 0;
    }
    check(pthread_mutex_lock(&checked));
    if (pthread_mutex_lock(&checked) != EDEADLK) {
        say(1, "it does not know its own mutex\n");
    }
    check(pthread_mutex_lock(&recursive));
    check(pthread_mutex_lock(&recursive));
    check(pthread_create(&thread, NULL, work, &own));
    pthread_mutex_lock(&plain);
    while (turns < 1000) {
        pthread_cond_wait(&condition, &plain);
    }
    pthread_mutex_unlock(&plain);
    check(pthread_join(thread, &result));
    check(pthread_mutex_unlock(&recursive));
    check(pthread_mutex_unlock(&recursive));
    check(pthread_mutex_unlock(&checked));
    say(1, "threads: %s\n", own == 5 && result == NULL ? "whole" : "broken");
    return 0;
}
