/* The pid file, of a daemon and for others.
 *
 *     pid_file start PATH SOCKET      a daemon that holds it
 *     pid_file start and fail PATH    a start that fails
 *     pid_file read|remove PATH
 */

#define _POSIX_C_SOURCE 200809L

#include "start.h"
#include <sys/wait.h>

/* What a child of the daemon's is told, which holds every descriptor that its parent has. */
static void say_by_a_child(int call, const char *path) {
    pid_t child = fork();
    if (child == 0) {
        SAY(call, untty_pid_file_read(path, &error));
        SAY(call, untty_pid_file_remove(path, &error));
        _exit(0);
    }
    waitpid(child, NULL, 0);
    say(call, "alone again\n");
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    const char *path = argc > 2 ? argv[2] : "";
    int call;
    if (is(mode, "start") && argc == 4) {
        options.pid_file = path;
        detach(NULL);
        call = call_the_test(argv[3]);
        say(call, "%ld\n", (long)getpid());
        SAY(call, untty_pid_file_read(path, &error));
        say_by_a_child(call, path);
        wait_for_a_line(call); /* or the end */
        SAY(call, untty_pid_file_remove(path, &error));
        SAY(call, untty_pid_file_remove(path, &error));
        SAY(call, untty_pid_file_read(path, &error));
        wait_for_a_line(call);
    } else if (is(mode, "start and fail")) {
        options.pid_file = path;
        detach(&handle);
        untty_fail(&handle, 7);
    } else if (is(mode, "read")) {
        SAY(1, untty_pid_file_read(path, &error));
    } else if (is(mode, "remove")) {
        SAY(1, untty_pid_file_remove(path, &error));
    } else {
        return 95;
    }
    return 0;
}
