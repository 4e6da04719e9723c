/* getpid() and getppid() ask the kernel. */

#include "daemon.h"

int main(void) {
    const pid_t caller = getpid();
    if (become_daemon(0)) {
        say(1, "the caller: %s\n", getpid() == caller ? "its own" : "another's");
        return 0;
    }
    say(1, "the daemon: %s\n", getpid() == syscall(SYS_getpid) && getpid() != caller ? "its own" : "another's");
    return 0;
}
