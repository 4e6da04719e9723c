/* Which glibc this is. */

#include "daemon.h"
#include <gnu/libc-version.h>

int main(void) {
    if (!become_daemon(0)) {
        say(1, "glibc %s\n", gnu_get_libc_version());
    }
    return 0;
}
