/* untty_detach with its defaults and a deadline. With an argument, it returns in the caller. */

#include "program.h"
#include <stdio.h>
#include <untty.h>

int main(int argc, char **argv) {
    struct untty_options options = UNTTY_OPTIONS_INIT;
    struct untty_error error;
    int daemon;
    (void)argv;
    options.deadline_ms = DEADLINE_SECONDS * 1000;
    options.flags = argc > 1 ? UNTTY_RETURN_IN_CALLER : 0;
    begin();
    daemon = untty_detach(&options, NULL, &error);
    if (daemon < 0) {
        char line[128];
        say(MARKER_FAILED, error.step, error.errnum);
        untty_error_message(&error, line, sizeof line);
        fprintf(stderr, "%s\n", line);
        return 1;
    }
    if (daemon > 0) {
        say(MARKER_RETURNED, daemon, 0);
        return 0;
    }
    daemon_runs();
}
