/* The shortest daemon: detach, then do the work.
 *
 *     cc -o shortest shortest.c $(pkg-config --cflags --libs untty)
 *
 * When it prints nothing and its status is 0, the daemon runs; `ps -e | grep shortest` shows it, and kill ends it. */

#define _POSIX_C_SOURCE 200809L

#include <stdio.h>
#include <unistd.h>
#include <untty.h>

int main(void) {
    struct untty_options options = UNTTY_OPTIONS_INIT;
    struct untty_error error;
    if (untty_detach(&options, NULL, &error) < 0) {
        char line[128];
        untty_error_message(&error, line, sizeof line);
        fprintf(stderr, "shortest: %s\n", line);
        return 1;
    }
    /* Only the daemon comes here: the caller has exited with status 0. */
    for (;;) {
        pause();
    }
}
