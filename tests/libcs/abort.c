/* Whom abort(), and so a failed assert(), ends. */

#include "daemon.h"

int main(void) {
    if (!become_daemon(0)) {
        abort();
    }
    return 0;
}
