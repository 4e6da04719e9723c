/* The caller detaches in the constructor of a library that dlopen is just loading, and so has the dynamic loader's lock.
 * This is the library, too. What hangs in the daemon is ended by an alarm after SECONDS. */

#include "daemon.h"
#include <dlfcn.h>

#ifdef SECONDS

int is_caller;

__attribute__((constructor)) static void detach_here(void) {
    is_caller = become_daemon(0);
    alarm(SECONDS);
}

#else

int main(int argc, char **argv) {
    void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
    int *who;
    check(library == NULL);
    who = dlsym(library, "is_caller");
    say(1, "the %s: %s\n", who != NULL && *who ? "caller" : "daemon", who != NULL ? "found it" : "?");
    return 0;
}

#endif
