/* The daemon's first thread ends alone, and another one joins it. */

#include "daemon.h"

static long first_id;
static pthread_t first;
static volatile long joiner_id;

static void wait_for_the_first(void) {
    while (state_of(first_id) != 'Z') {
        sched_yield();
    }
}

static void *join(void *nothing) {
    joiner_id = syscall(SYS_gettid);
    wait_for_the_first();
    check(pthread_join(first, NULL));
    say(1, "joined\n");
    _exit(0);
    return nothing;
}

/* The first thread is dead, and whoever joins it sleeps: nobody is left to wake it. */
static void *watch(void *nothing) {
    char path[64];
    wait_for_the_first();
    snprintf(path, sizeof path, "/proc/self/task/%ld/syscall", joiner_id);
    for (;;) {
        char text[128] = "";
        const int fd = open(path, O_RDONLY | O_CLOEXEC);
        const ssize_t length = read(fd, text, sizeof text - 1);
        close(fd);
        if (length > 0 && atol(text) == SYS_futex) {
            say(1, "never joined\n");
            _exit(0);
        }
        sched_yield();
    }
    return nothing;
}

int main(void) {
    pthread_t thread;
    if (become_daemon(0)) {
        return 0;
    }
    first = pthread_self();
    first_id = syscall(SYS_gettid);
    check(pthread_create(&thread, NULL, join, NULL));
    while (joiner_id == 0) {
        sched_yield();
    }
    check(pthread_create(&thread, NULL, watch, NULL));
    pthread_exit(NULL);
}
