/* A daemon that a debugger looks at. Its functions have names: main calls outer, which calls middle, in which it is made,
 * and then it is in inner. It leaves cores, if it may, and says who it is; then it waits for its end, or aborts. Its
 * arguments: how, then (wait or abort), and its working directory. */

#include "daemon.h"
#include <sys/prctl.h>
#include <sys/resource.h>

static volatile int result;

static __attribute__((noinline)) int inner(const char *then) {
    volatile int here = 4321;
    say("daemon %ld\n", (long)getpid());
    if (strcmp(then, "abort") == 0) {
        raise(SIGABRT);
    }
    while (here == 4321) {
        pause();
    }
    return here;
}

static __attribute__((noinline)) int middle(const char *how, const char *then) {
    volatile int from_before = 1234;
    become_daemon(how);
    result = inner(then);
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
    return outer(argv[1], argv[2]);
}
