/* Whom raise() hits: the C library sends it to its own idea of the thread's id. */

#include "daemon.h"

int main(void) {
    note_signals(SIGUSR1);
    if (become_daemon(UNTTY_KEEP_SIGNALS)) {
        say(1, "the caller: %s\n", got ? "got it" : "nothing");
        return 0;
    }
    check(raise(SIGUSR1));
    say(1, "the daemon: %s\n", got ? "got it" : "nothing");
    return 0;
}
