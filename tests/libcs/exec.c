/* A program that the daemon executes is as it should be: nothing of the C library's is left. */

#include "daemon.h"

int main(int argc, char **argv) {
    char again[] = "again";
    char *arguments[3];
    if (argc > 1) {
        note_signals(SIGUSR1);
        say(1, "raise: %s\n", raise(SIGUSR1) == 0 && got == SIGUSR1 ? "got it" : "lost");
        return 0;
    }
    arguments[0] = argv[0];
    arguments[1] = again;
    arguments[2] = NULL;
    if (become_daemon(0)) {
        return 0;
    }
    execv(argv[0], arguments);
    return 93;
}
