/* daemon(3), of whichever C library this is compiled with, or untty's drop-in for it (-DUNTTY). */

#define _DEFAULT_SOURCE

#include "program.h"
#include <stdio.h>

#ifdef UNTTY
#include <untty.h>
#define daemon untty_daemon
#endif

int main(void) {
    begin();
    if (daemon(0, 0) != 0) {
        perror("daemon");
        return 1;
    }
    daemon_runs();
}
