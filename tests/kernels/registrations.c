/* What the C library believes of its thread, asked in ways that show whether it is true. See guest.h. */

#define _GNU_SOURCE

#include "guest.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PR_GET_TID_ADDRESS
#define PR_GET_TID_ADDRESS 40
#endif

static __thread int local = 77;
static volatile int heard;
static volatile int heard_from;
static pthread_t first;

struct registrations registrations(void) {
    struct registrations now = {NULL, NULL, 0, 0};
    prctl(PR_GET_TID_ADDRESS, &now.thread_id);
    syscall(SYS_get_robust_list, 0, &now.robust_list, &now.robust_size);
#ifdef RSEQ_SIG
    if (__rseq_size != 0) { /* EBUSY: just that is registered already */
        void *area = (char *)__builtin_thread_pointer() + __rseq_offset;
        now.restartable = syscall(SYS_rseq, area, 32, 0, RSEQ_SIG) == 0 ? -1 : errno;
    }
#endif
    return now;
}

static void hear_signal(int number, siginfo_t *info, void *context) {
    (void)number;
    (void)context;
    heard++;
    heard_from = info->si_pid;
}

static void *go_on(void *argument) {
    static pthread_mutex_t *robust;
    void *memory = malloc(100000);
    robust = argument;
    if (memory == NULL || local != 77 || sched_getcpu() < 0) {
        return NULL;
    }
    free(memory);
    if (pthread_kill(first, SIGUSR1) != 0 || pthread_mutex_lock(robust) != 0) {
        return NULL;
    }
    return robust; /* still locked */
}

static const char *signals_are_its_own(void) {
    heard = 0;
    REQUIRE(raise(SIGUSR1) == 0 && heard == 1 && heard_from == getpid(), "raise: heard %d from %d", heard, heard_from);
    REQUIRE(pthread_kill(pthread_self(), SIGUSR1) == 0 && heard == 2, "pthread_kill of itself: heard %d", heard);
    return NULL;
}

static const char *mutexes_know_their_owner(void) {
    pthread_mutexattr_t kind;
    pthread_mutex_t mutex;
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&mutex, &kind);
    REQUIRE(pthread_mutex_lock(&mutex) == 0 && pthread_mutex_lock(&mutex) == EDEADLK, "an error-checking mutex");
    REQUIRE(pthread_mutex_unlock(&mutex) == 0 && pthread_mutex_unlock(&mutex) == EPERM, "an error-checking mutex, open");
    pthread_mutexattr_settype(&kind, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&mutex, &kind);
    REQUIRE(pthread_mutex_lock(&mutex) == 0 && pthread_mutex_lock(&mutex) == 0, "a recursive mutex");
    return NULL;
}

/* A thread sends the first one a signal, and dies with a mutex, which its robust list tells the kernel of. */
static const char *threads_work(void) {
    pthread_mutexattr_t kind;
    pthread_mutex_t mutex;
    pthread_attr_t small; /* memory may be scarce, or not lent */
    pthread_t thread;
    void *result = NULL;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 * 1024);
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&mutex, &kind);
    first = pthread_self();
    heard = 0;
    REQUIRE(pthread_create(&thread, &small, go_on, &mutex) == 0, "pthread_create");
    REQUIRE(pthread_join(thread, &result) == 0 && result == &mutex, "pthread_join");
    REQUIRE(heard == 1, "pthread_kill by a thread: heard %d", heard);
    REQUIRE(pthread_mutex_lock(&mutex) == EOWNERDEAD, "a robust mutex");
    pthread_mutex_consistent(&mutex);
    pthread_mutex_unlock(&mutex);
    return NULL;
}

const char *registrations_are(const struct registrations *before) {
    struct registrations now = registrations();
    REQUIRE(gettid() == syscall(SYS_gettid) && gettid() == getpid(), "gettid is %d", (int)gettid());
    REQUIRE(now.thread_id == before->thread_id && now.thread_id != NULL && *now.thread_id == gettid(),
            "the thread's id is at %p, not %p, or another", (void *)now.thread_id, (void *)before->thread_id);
    REQUIRE(now.robust_list == before->robust_list && now.robust_size == before->robust_size, "the robust list is at %p, not %p",
            now.robust_list, before->robust_list);
    REQUIRE(now.restartable == before->restartable, "rseq: %d, not %d", now.restartable, before->restartable);
    return NULL;
}

const char *the_c_library_is_true(void) {
    struct sigaction action;
    struct sigaction old;
    const char *why;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = hear_signal;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGUSR1, &action, &old);
    why = local == 77 && sched_getcpu() >= 0 ? NULL : "thread-local storage, or sched_getcpu";
    if (why == NULL) {
        why = signals_are_its_own();
    }
    if (why == NULL) {
        why = mutexes_know_their_owner();
    }
    if (why == NULL) {
        why = threads_work();
    }
    sigaction(SIGUSR1, &old, NULL);
    return why;
}
