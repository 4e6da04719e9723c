/* Handlers of pthread_atfork() run in forks that the C library makes. */

#include "daemon.h"

static int prepared;
static int in_parent;
static int in_child;

static void prepare(void) { prepared++; }
static void parent(void) { in_parent++; }
static void child(void) { in_child++; }

int main(void) {
    check(pthread_atfork(prepare, parent, child));
    if (become_daemon(0)) {
        say(1, "the caller: %d %d %d\n", prepared, in_parent, in_child);
    } else {
        say(1, "the daemon: %d %d %d\n", prepared, in_parent, in_child);
    }
    return 0;
}
