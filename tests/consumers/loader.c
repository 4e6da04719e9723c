/* What consumer.c is, for a program that loads the library while it runs, and lets it go in the daemon.
 *
 *     loader LIBRARY MODE [SOCKET]
 *     loader LIBRARY names NAME…     which of the names are there
 */

#define _POSIX_C_SOURCE 200809L

#include "../c/observe.h"
#include <dlfcn.h>
#include <untty.h>

/* POSIX lets a function come out of a void *, ISO C does not: so its bytes do. */
#define FIND(pointer, library, name) \
    do { \
        void *found = find(library, name); \
        memcpy(&(pointer), &found, sizeof found); \
    } while (0)

static void *find(void *library, const char *name) {
    void *found = dlsym(library, name);
    if (found == NULL) {
        fprintf(stderr, "loader: %s\n", dlerror());
        exit(96);
    }
    return found;
}

static int names(void *library, char **name) {
    const char *(*version)(void);
    for (; *name != NULL; name++) {
        find(library, *name);
    }
    FIND(version, library, "untty_version");
    printf("%s\n", version());
    return dlclose(library);
}

int main(int argc, char **argv) {
    struct untty_options options = UNTTY_OPTIONS_INIT;
    struct untty_handle handle;
    struct untty_error error;
    int (*detach)(const struct untty_options *, struct untty_handle *, struct untty_error *);
    int (*ready)(struct untty_handle *, struct untty_error *);
    void (*fail)(struct untty_handle *, int);
    size_t (*message)(const struct untty_error *, char *, size_t);
    const char *mode = argc > 2 ? argv[2] : "";
    void *library = argc > 2 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    int pid;
    int call;
    char line[128];
    if (library == NULL) {
        fprintf(stderr, "loader: %s\n", dlerror());
        return 95;
    }
    if (strcmp(mode, "names") == 0) {
        return names(library, argv + 3);
    }
    FIND(detach, library, "untty_detach");
    FIND(ready, library, "untty_ready");
    FIND(fail, library, "untty_fail");
    FIND(message, library, "untty_error_message");
    options.flags = strcmp(mode, "return") == 0 ? UNTTY_RETURN_IN_CALLER : 0;
    options.directory = strcmp(mode, "refused") == 0 ? "/nonexistent" : NULL;
    pid = detach(&options, &handle, &error);
    if (pid < 0) {
        message(&error, line, sizeof line);
        fprintf(stderr, "consumer: %s\n", line);
        return dlclose(library) == 0 ? 1 : 96;
    }
    if (pid > 0) {
        printf("daemon %d\n", pid);
        return dlclose(library) == 0 ? 3 : 96;
    }
    if (strcmp(mode, "fail") == 0) {
        fail(&handle, 7);
    }
    call = call_the_test(argv[3]);
    say(call, "daemon %ld\n", (long)getpid());
    wait_for_a_line(call);
    pid = ready(&handle, &error);
    if (dlclose(library) != 0) {
        return 94;
    }
    library = dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD);
    say(call, "ready %d\n%s\n", pid, library == NULL ? "the library is gone" : "the library is still there");
    wait_for_a_line(call);
    return 0;
}
