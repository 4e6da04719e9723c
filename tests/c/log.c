/* A log that is opened anew whenever the test says a line.
 *
 *     log PATH SOCKET
 */

#define _POSIX_C_SOURCE 200809L

#include "start.h"

int main(int argc, char **argv) {
    int round;
    int call;
    if (argc != 3) {
        return 95;
    }
    options.output.kind = UNTTY_STDIO_FILE;
    options.output.path = argv[1];
    options.error.kind = UNTTY_STDIO_STDOUT;
    detach(NULL);
    fcntl(2, F_SETFD, FD_CLOEXEC);
    call = call_the_test(argv[2]);
    for (round = 0; round < 3; round++) {
        char line[32];
        snprintf(line, sizeof line, "round %d\n", round);
        put(1, line);
        put(2, line);
        say(call, "%d %d %o %o\n", fcntl(1, F_GETFD), fcntl(2, F_GETFD), (unsigned)fcntl(1, F_GETFL),
            (unsigned)fcntl(2, F_GETFL));
        wait_for_a_line(call);
        SAY(call, untty_reopen_log(1, argv[1], &error));
        SAY(call, untty_reopen_log(2, argv[1], &error));
    }
    return 0;
}
