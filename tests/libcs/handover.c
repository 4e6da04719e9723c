/* The daemon has its caller's memory, and the C library's knowledge of its thread with it. What that thread is asked for,
 * and what others ask of it, is as ever. With "root", setuid() too. */

#include "daemon.h"
#include <time.h>

static pthread_t first;
static long first_id;
static volatile long other_id;
static pthread_mutex_t inherited;
static pthread_mutex_t robust;

static void fact(const char *name, int holds) {
    if (!holds) {
        say(1, "%s: wrong\n", name);
    }
}

static void *sleep_for_ever(void *nothing) {
    other_id = syscall(SYS_gettid);
    while (pause() < 0) {
    }
    return nothing;
}

static void wait_until_it_sleeps(void) {
    while (other_id == 0 || state_of(other_id) != 'S') {
        sched_yield();
    }
}

static int cancels(void) {
    pthread_t thread;
    void *result;
    other_id = 0;
    check(pthread_create(&thread, NULL, sleep_for_ever, NULL));
    wait_until_it_sleeps();
    check(pthread_cancel(thread));
    check(pthread_join(thread, &result));
    return result == PTHREAD_CANCELED;
}

static void *ask_the_first(void *as_root) {
    fact("pthread_kill", pthread_kill(first, SIGUSR2) == 0);
    fact("name", pthread_setname_np(first, "named") == 0);
    if (as_root != NULL) {
        fact("setuid", setuid(65534) == 0);
    }
    other_id = syscall(SYS_gettid);
    check(pthread_mutex_lock(&inherited));
    check(pthread_mutex_unlock(&inherited));
    return NULL;
}

static void *survive_the_first(void *nothing) {
    while (state_of(first_id) != 'Z') {
        sched_yield();
    }
    fact("pthread_join", pthread_join(first, NULL) == 0);
    fact("robust", pthread_mutex_lock(&robust) == EOWNERDEAD);
    say(1, "asked\n");
    _exit(0);
    return nothing;
}

static void make(pthread_mutex_t *mutex, int type, int protocol, int robustness) {
    pthread_mutexattr_t attributes;
    check(pthread_mutexattr_init(&attributes));
    check(pthread_mutexattr_settype(&attributes, type));
    check(pthread_mutexattr_setprotocol(&attributes, protocol));
    check(pthread_mutexattr_setrobust(&attributes, robustness));
    check(pthread_mutex_init(mutex, &attributes));
}

static void become_daemon_by_handover(void) {
    struct untty_options options = UNTTY_OPTIONS_INIT;
    struct untty_handle handle;
    struct untty_error error;
    options.flags = UNTTY_KEEP_DESCRIPTORS | UNTTY_HANDOVER;
    options.output.kind = options.error.kind = UNTTY_STDIO_INHERIT;
    check(untty_detach(&options, &handle, &error));
    say(1, "way: %d\n", untty_way(&handle));
    check(untty_ready(&handle, &error));
}

int main(int argc, char **argv) {
    static pthread_mutex_t checked;
    struct sched_param parameters;
    struct timespec time;
    clockid_t clock;
    pthread_t thread;
    (void)argv;
    memset(&parameters, 0, sizeof parameters);
    make(&checked, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_STALLED);
    make(&inherited, PTHREAD_MUTEX_ERRORCHECK, PTHREAD_PRIO_INHERIT, PTHREAD_MUTEX_STALLED);
    make(&robust, PTHREAD_MUTEX_NORMAL, PTHREAD_PRIO_NONE, PTHREAD_MUTEX_ROBUST);
    first = pthread_self();
    cancels();
    become_daemon_by_handover();
    first_id = syscall(SYS_gettid);

    note_signals(SIGUSR1);
    fact("raise", raise(SIGUSR1) == 0 && got == SIGUSR1);
    fact("gettid", gettid() == first_id);
    check(pthread_getcpuclockid(first, &clock));
    fact("clock", clock_gettime(clock, &time) == 0);
    fact("scheduling", pthread_setschedparam(first, SCHED_BATCH, &parameters) == 0 &&
                           syscall(SYS_sched_getscheduler, 0) == SCHED_BATCH);
    fact("checked", pthread_mutex_lock(&checked) == 0 && pthread_mutex_lock(&checked) == EDEADLK);
    fact("cancel", cancels());

    note_signals(SIGUSR2);
    other_id = 0;
    check(pthread_mutex_lock(&inherited));
    check(pthread_create(&thread, NULL, ask_the_first, argc > 1 ? &first : NULL));
    wait_until_it_sleeps();
    check(pthread_mutex_unlock(&inherited));
    check(pthread_join(thread, NULL));
    fact("signal", got == SIGUSR2);
    fact("root", argc == 1 || syscall(SYS_geteuid) == 65534);

    check(pthread_mutex_lock(&robust));
    check(pthread_create(&thread, NULL, survive_the_first, NULL));
    pthread_exit(NULL);
}
