/* gettid(): the kernel's answer, or what the C library remembers. */

#include "daemon.h"

int main(void) {
    if (!become_daemon(0)) {
        say(1, "gettid: %s\n", gettid() == syscall(SYS_gettid) ? "its own" : "another's");
    }
    return 0;
}
