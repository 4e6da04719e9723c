/* As with any fork: what is in a buffer is in both processes', and both may write it. */

#include "daemon.h"

int main(void) {
    printf("from before, "); /* it stays in the buffer */
    if (become_daemon(0)) {
        printf("the caller\n");
    } else {
        printf("the daemon\n");
    }
    return 0;
}
