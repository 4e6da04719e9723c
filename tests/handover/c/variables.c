/* Thread-local variables: of the program, set before, and of a library that is loaded afterwards (its second argument;
 * without one, that is left out). */

#include "daemon.h"
#include <dlfcn.h>

static __thread int counter = 5;
static __thread char text[64];
static __thread int zero;

static void *look(void *nothing) {
    (void)nothing;
    return (void *)(long)(counter == 5 && text[0] == 0 && zero == 0 && errno == 0);
}

static void loaded(const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    int (*count)(void);
    pthread_t thread;
    void *result;
    if (library == NULL) {
        say("not ok %s\n", dlerror());
        return;
    }
    *(void **)&count = dlsym(library, "count");
    holds(count != NULL && count() == 101 && count() == 102, "a library loaded afterwards has variables of its own");
    CHECK(pthread_create(&thread, NULL, (void *(*)(void *))dlsym(library, "count_in_a_thread"), NULL));
    CHECK(pthread_join(thread, &result));
    holds((long)result == 101 && count() == 103, "one for each thread");
    holds(dlclose(library) == 0, "and can be unloaded");
}

int main(int argc, char **argv) {
    const int *address = &counter;
    pthread_t thread;
    void *result;
    counter = 77;
    strcpy(text, "from before");
    errno = ENOTTY;
    become_daemon(argv[1]);
    holds(counter == 77 && strcmp(text, "from before") == 0 && zero == 0, "they are as they were");
    holds(&counter == address, "where they were");
    CHECK(pthread_create(&thread, NULL, look, NULL));
    CHECK(pthread_join(thread, &result));
    holds(result != NULL, "a new thread has its own");
    if (argc > 2) {
        loaded(argv[2]);
    }
    return end();
}
