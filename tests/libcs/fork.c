/* A child that the daemon makes with the C library's own fork() is as it should be, and so is what system() starts. */

#include "daemon.h"

int main(void) {
    int status = -1;
    pid_t child;
    if (become_daemon(0)) {
        return 0;
    }
    note_signals(SIGUSR1);
    child = fork();
    if (child == 0) {
        _exit(raise(SIGUSR1) == 0 && got == SIGUSR1 ? 7 : 8);
    }
    waitpid(child, &status, 0);
    say(1, "fork: %s\n", WIFEXITED(status) && WEXITSTATUS(status) == 7 && !got ? "whole" : "broken");
    status = system("exit 5");
    say(1, "system: %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    return 0;
}
