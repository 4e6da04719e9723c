#define _DEFAULT_SOURCE
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(void) {
    prctl(0x756e7474, 1L, 0L, 0L, 0L);
    if (daemon(0, 0) < 0) {
        perror("daemon");
        return 1;
    }
    prctl(0x756e7474, 2L, 0L, 0L, 0L);
    for (;;)
        pause();
}
