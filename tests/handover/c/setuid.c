/* setuid() changes all threads, whichever calls it. Needs root. */

#include "daemon.h"

static int done[2];

static void *give_up_gid(void *nothing) {
    CHECK(setgid(65534));
    return nothing;
}

static void *wait_and_look(void *nothing) {
    char byte;
    while (read(done[0], &byte, 1) < 0 && errno == EINTR) {
    }
    holds(syscall(SYS_geteuid) == 65534, "setuid by the first thread changes the other one");
    return nothing;
}

int main(int argc, char **argv) {
    pthread_t thread;
    (void)argc;
    become_daemon(argv[1]);
    CHECK(pthread_create(&thread, NULL, give_up_gid, NULL));
    CHECK(pthread_join(thread, NULL));
    holds(syscall(SYS_getegid) == 65534, "setgid by another thread changes the first one");
    CHECK(pipe(done));
    CHECK(pthread_create(&thread, NULL, wait_and_look, NULL));
    CHECK(setuid(65534));
    close(done[1]);
    CHECK(pthread_join(thread, NULL));
    return end();
}
