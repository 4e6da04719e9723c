/* The stack from before grows to megabytes, with all that was on it. */

#include "daemon.h"
#include <alloca.h>
#include <sys/resource.h>

enum { MEGABYTES = 6 };

static __attribute__((noinline)) int deeper(int depth, const char *above) {
    volatile char page[4096];
    memset((char *)page, depth, sizeof page);
    if (depth > 0 && !deeper(depth - 1, (const char *)page)) {
        return 0;
    }
    return page[0] == (char)depth && page[4095] == (char)depth && (above == NULL || above[0] == (char)(depth + 1));
}

static void *sink;

static __attribute__((noinline)) void at_once(void) {
    char *memory = (char *)alloca(MEGABYTES << 20);
    memory[0] = 1;
    sink = memory;
    holds(memory[0] == 1, "by an alloca of megabytes");
}

int main(int argc, char **argv) {
    char before[1000];
    struct rlimit limit;
    size_t index;
    int whole = 1;
    (void)argc;
    CHECK(getrlimit(RLIMIT_STACK, &limit));
    if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < (MEGABYTES + 1) << 20) {
        limit.rlim_cur = (MEGABYTES + 2) << 20;
        CHECK(setrlimit(RLIMIT_STACK, &limit));
    }
    memset(before, 'b', sizeof before);
    become_daemon(argv[1]);
    holds(deeper((MEGABYTES << 20) / 4400, NULL), "it grows page by page");
    at_once();
    for (index = 0; index < sizeof before; index++) {
        whole &= before[index] == 'b';
    }
    holds(whole, "what was on it is whole");
    return end();
}
