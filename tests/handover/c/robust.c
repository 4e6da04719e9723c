/* Robust mutexes: a thread dies that holds one, and the daemon itself does, which another process notices, whether it
 * comes later or waits for it; killed, too. */

#include "daemon.h"

static void make(pthread_mutex_t *mutex, int protocol) {
    pthread_mutexattr_t attributes;
    CHECK(pthread_mutexattr_init(&attributes));
    CHECK(pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST));
    CHECK(pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED));
    CHECK(pthread_mutexattr_setprotocol(&attributes, protocol));
    CHECK(pthread_mutex_init(mutex, &attributes));
}

static void *die_with(void *mutex) {
    CHECK(pthread_mutex_lock((pthread_mutex_t *)mutex));
    return NULL;
}

static void a_thread_dies_with(pthread_mutex_t *mutex, const char *statement) {
    pthread_t thread;
    int result;
    CHECK(pthread_create(&thread, NULL, die_with, mutex));
    CHECK(pthread_join(thread, NULL));
    result = pthread_mutex_lock(mutex);
    holds(result == EOWNERDEAD && pthread_mutex_consistent(mutex) == 0 && pthread_mutex_unlock(mutex) == 0 &&
              pthread_mutex_lock(mutex) == 0 && pthread_mutex_unlock(mutex) == 0,
          statement);
}

struct shared {
    pthread_mutex_t waited_for;
    pthread_mutex_t found_later;
    pthread_mutex_t inheriting;
    pthread_mutex_t of_a_child;
};

static int taken[2];

/* A child of the caller's, which waits for the daemon's mutex, and is the last to speak. */
static void observe(struct shared *shared) {
    char byte;
    close(taken[1]);
    CHECK(read(taken[0], &byte, 1) != 1);
    holds(pthread_mutex_lock(&shared->waited_for) == EOWNERDEAD, "who waits for the daemon's mutex learns of its death");
    holds(pthread_mutex_lock(&shared->found_later) == EOWNERDEAD, "and who comes later");
    holds(pthread_mutex_lock(&shared->inheriting) == EOWNERDEAD, "with priority inheritance, too");
    say("end\n");
    _exit(0);
}

int main(int argc, char **argv) {
    struct shared *shared = (struct shared *)mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t observer;
    pid_t child;
    CHECK(shared == MAP_FAILED);
    make(&shared->waited_for, PTHREAD_PRIO_NONE);
    make(&shared->found_later, PTHREAD_PRIO_NONE);
    make(&shared->inheriting, PTHREAD_PRIO_INHERIT);
    make(&shared->of_a_child, PTHREAD_PRIO_NONE);
    /* It has been locked before, and is not held: nothing of that is left. */
    CHECK(pthread_mutex_lock(&shared->found_later));
    CHECK(pthread_mutex_unlock(&shared->found_later));
    CHECK(pipe(taken));
    observer = fork();
    if (observer == 0) {
        observe(shared);
    }
    become_daemon(argv[1]);
    a_thread_dies_with(&shared->of_a_child, "a thread dies that holds one");
    child = fork();
    if (child == 0) {
        _exit(pthread_mutex_lock(&shared->of_a_child));
    }
    holds(end_of(child) == 0 && pthread_mutex_lock(&shared->of_a_child) == EOWNERDEAD &&
              pthread_mutex_consistent(&shared->of_a_child) == 0 && pthread_mutex_unlock(&shared->of_a_child) == 0,
          "a child of the daemon's dies that holds one");
    CHECK(pthread_mutex_lock(&shared->waited_for));
    CHECK(pthread_mutex_lock(&shared->found_later));
    CHECK(pthread_mutex_lock(&shared->inheriting));
    if (is_waited_for) {
        be_ready();
    }
    CHECK(write(taken[1], "x", 1) != 1);
    /* It waits for the pipe, and then for the mutex: asleep, and the pipe is empty. */
    for (;;) {
        char path[64];
        char text[128];
        snprintf(path, sizeof path, "/proc/%ld/syscall", (long)observer);
        if (atol(content(path, text, sizeof text)) == SYS_futex) {
            break;
        }
        sched_yield();
    }
    if (argc > 2) {
        raise(atoi(argv[2]));
    }
    _exit(0);
}
