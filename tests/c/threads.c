/* A program with a second thread.
 *
 *     threads daemon|detach|accept SOCKET
 */

#define _POSIX_C_SOURCE 200809L

#include "observe.h"
#include <errno.h>
#include <pthread.h>
#include <untty.h>

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *wait_at_the_gate(void *nothing) {
    pthread_mutex_lock(&gate);
    pthread_mutex_unlock(&gate);
    return nothing;
}

int main(int argc, char **argv) {
    struct untty_options options = UNTTY_OPTIONS_INIT;
    struct untty_error error = {0, 0};
    pthread_t thread;
    int result;
    if (argc != 3) {
        return 95;
    }
    pthread_mutex_lock(&gate);
    if (pthread_create(&thread, NULL, wait_at_the_gate, NULL) != 0) {
        return 96;
    }
    if (strcmp(argv[1], "daemon") == 0) {
        errno = 0;
        result = untty_daemon(0, 0);
        error.errnum = errno;
    } else {
        options.flags = strcmp(argv[1], "accept") == 0 ? UNTTY_ACCEPT_THREADS : 0;
        result = untty_detach(&options, NULL, &error);
    }
    if (result != 0) {
        say(1, "%d %d %d\n", result, (int)error.step, (int)error.errnum);
        /* The thread is still there. */
        pthread_mutex_unlock(&gate);
        if (pthread_join(thread, NULL) != 0) {
            return 94;
        }
        /* And now that it is gone, nothing is in the way. */
        result = untty_detach(&options, NULL, &error);
        if (result != 0) {
            int call = call_the_test(argv[2]);
            say(call, "after the join: %d %d %d\n", result, (int)error.step, (int)error.errnum);
            return 93;
        }
    }
    {
        int call = call_the_test(argv[2]);
        say(call, "daemon %ld in session %ld\n", (long)getpid(), (long)getsid(0));
        wait_for_a_line(call);
    }
    _exit(0);
}
