/* A consumer in C99 and in C11, which does what its counterparts in other languages do (tests/consumers.rs):
 *
 *     consumer ready SOCKET     calls, is ready when it is told so, and ends when the test hangs up
 *     consumer return SOCKET    the caller returns, says whose caller it is, and exits 3
 *     consumer fail             the daemon gives up with status 7
 *     consumer refused          asks for a directory that does not exist
 */

#define _POSIX_C_SOURCE 200809L

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <untty.h>

#if __STDC_VERSION__ >= 201112L
#include <stdalign.h>
#include <stddef.h>
_Static_assert(offsetof(struct untty_options, flags) == sizeof(size_t), "the size comes first");
_Static_assert(alignof(struct untty_handle) == alignof(int32_t), "a handle is plain numbers");
#define STEP_OF(error) _Generic((error).step, int32_t: (enum untty_step)(error).step)
_Noreturn static void give_up(struct untty_handle *handle);
#else
#define STEP_OF(error) ((enum untty_step)(error).step)
static void give_up(struct untty_handle *handle);
#endif

static void give_up(struct untty_handle *handle) { untty_fail(handle, 7); }

static FILE *call_the_test(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const int call = socket(AF_UNIX, SOCK_STREAM, 0);
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    if (call < 0 || connect(call, (const struct sockaddr *)&address, sizeof address) < 0) {
        _exit(97);
    }
    return fdopen(call, "r+");
}

/* A line of the test's; false when it has hung up. */
static bool hear(FILE *call, char *line, size_t size) {
    fseek(call, 0, SEEK_CUR); /* between writing and reading */
    return fgets(line, (int)size, call) != NULL;
}

int main(int argc, char **argv) {
    const char *const mode = argc > 1 ? argv[1] : "";
    const bool returns = strcmp(mode, "return") == 0;
    struct untty_options options = UNTTY_OPTIONS_INIT;
    struct untty_handle handle;
    struct untty_error error;
    char line[128];

    options.flags = returns ? UNTTY_RETURN_IN_CALLER : 0;
    options.directory = strcmp(mode, "refused") == 0 ? "/nonexistent" : NULL;
    const int pid = untty_detach(&options, &handle, &error);
    if (pid < 0) {
        untty_error_message(&error, line, sizeof line);
        fprintf(stderr, "consumer: %s\n", line);
        return STEP_OF(error) == UNTTY_STEP_DIRECTORY ? 1 : 96;
    }
    if (pid > 0) {
        printf("daemon %d\n", pid);
        return 3;
    }
    if (strcmp(mode, "fail") == 0) {
        give_up(&handle);
    }
    FILE *const call = call_the_test(argv[2]);
    if (call == NULL) {
        return 95;
    }
    fprintf(call, "daemon %ld\n", (long)getpid());
    if (!hear(call, line, sizeof line)) {
        return 94;
    }
    fprintf(call, "ready %d\n", untty_ready(&handle, &error));
    while (hear(call, line, sizeof line)) {
    }
    return fclose(call);
}
