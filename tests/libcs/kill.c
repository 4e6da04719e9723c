/* kill() and sigqueue() to getpid() reach whom they should. */

#include "daemon.h"

int main(void) {
    union sigval value;
    if (become_daemon(0)) {
        return 0;
    }
    note_signals(SIGUSR1);
    note_signals(SIGUSR2);
    kill(getpid(), SIGUSR1);
    say(1, "kill: %s\n", got == SIGUSR1 ? "got it" : "lost");
    value.sival_int = 0;
    sigqueue(getpid(), SIGUSR2, value);
    say(1, "sigqueue: %s\n", got == SIGUSR2 ? "got it" : "lost");
    return 0;
}
