/* Preloaded into a real program (LD_PRELOAD), this makes a daemon of it before its main(). The way is written into the
 * file UNTTY_WAY_FILE, UNTTY_HOW says handover or forks. */

#include "daemon.h"

extern char **environ;

/* What the program starts is its own affair. (bash has an unsetenv() of its own, which knows nothing yet.) */
static void forget(const char *start) {
    char **from;
    char **to = environ;
    for (from = environ; *from != NULL; from++) {
        if (strncmp(*from, start, strlen(start)) != 0) {
            *to++ = *from;
        }
    }
    *to = NULL;
}

static __attribute__((constructor)) void detach_first(void) {
    const char *how = getenv("UNTTY_HOW");
    const char *path = getenv("UNTTY_WAY_FILE");
    struct untty_error error;
    char way[16];
    int fd;
    if (how == NULL || path == NULL) {
        return;
    }
    options.flags = UNTTY_KEEP_DESCRIPTORS | UNTTY_KEEP_SIGNALS | UNTTY_KEEP_DIRECTORY | UNTTY_KEEP_UMASK;
    options.flags |= strcmp(how, "handover") == 0 ? UNTTY_HANDOVER : 0;
    options.input.kind = options.output.kind = options.error.kind = UNTTY_STDIO_INHERIT;
    if (untty_detach(&options, &handle, &error) != 0) {
        _exit(95);
    }
    snprintf(way, sizeof way, "%d", untty_way(&handle));
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    CHECK(write(fd, way, strlen(way)) < 0);
    close(fd);
    be_ready();
    forget("LD_PRELOAD=");
    forget("UNTTY_HOW=");
    forget("UNTTY_WAY_FILE=");
}
