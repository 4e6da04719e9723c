/* A daemon that a debugger looks at. Its functions have names: main calls outer, which calls middle, in which it is made,
 * and then it is in inner. It leaves cores, if it may, and says where it is; then it waits for a byte on standard input,
 * which is a FIFO, or aborts. */

#include "daemon.h"
#include <sys/prctl.h>
#include <sys/resource.h>

static int in_the_frame_of_middle;

static __attribute__((noinline)) int inner(const char *then) {
    volatile int here = 4321;
    char byte;
    say("daemon %ld\n", (long)getpid());
    if (strcmp(then, "abort") == 0) {
        abort();
    }
    while (read(0, &byte, 1) < 0 && errno == EINTR) {
    }
    return here;
}

static __attribute__((noinline)) int middle(const char *how, const char *then) {
    volatile int from_before = 1234;
    become_daemon(how);
    in_the_frame_of_middle = inner(then);
    return from_before;
}

static __attribute__((noinline)) int outer(const char *how, const char *then) { return middle(how, then) - 1234; }

int main(int argc, char **argv) {
    struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    CHECK(argc != 4);
    getrlimit(RLIMIT_CORE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_CORE, &limit);
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0); /* for Yama, where there is one */
    options.directory = argv[3];
    options.input.kind = UNTTY_STDIO_INHERIT;
    return outer(argv[1], argv[2]) + (is_waited_for ? end() : 0);
}
