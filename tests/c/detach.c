/* untty_detach, untty_ready and untty_fail; what is done is the first argument (see main). */

#define _POSIX_C_SOURCE 200809L

#include "start.h"

static void handler(int signal_number) { (void)signal_number; }

static void make_peculiar(void) {
    struct sigaction action;
    sigset_t set;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    sigaction(SIGUSR2, &action, NULL);
    sigaction(SIGPIPE, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGHUP, &action, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    umask(0123);
    dup2(0, 50);
    dup2(0, 51);
    dup2(0, 700);
}

/* Calls with the state before and after, and waits for a line. */
static int tell_both(const char *path) {
    int call = call_with_both(path);
    wait_for_a_line(call);
    return call;
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    const char *path = argc > 2 ? argv[2] : "";
    int number = argc > 3 ? atoi(argv[3]) : 0;
    int call;

    make_peculiar();
    if (is(mode, "defaults")) {
        detach(NULL);
        tell_both(path);
    } else if (is(mode, "everything kept")) {
        static const int nobody_looks[] = {-1};
        options.flags = UNTTY_KEEP_SIGNALS | UNTTY_KEEP_DIRECTORY | UNTTY_KEEP_UMASK | UNTTY_KEEP_DESCRIPTORS;
        options.input.kind = options.output.kind = options.error.kind = UNTTY_STDIO_INHERIT;
        options.directory = "/no/such/directory";
        options.umask = 07777;
        options.keep = nobody_looks;
        options.keep_count = 1;
        detach(NULL);
        tell_both(path);
    } else if (is(mode, "keep not looked at")) {
        options.flags = UNTTY_KEEP_DESCRIPTORS | UNTTY_RETURN_IN_CALLER;
        options.keep = NULL;
        options.keep_count = 3;
        detach(NULL);
    } else if (is(mode, "everything set")) {
        /* Relative paths start at the caller's directory, which the test has chosen. */
        static const int keep[] = {700, -1, 51, 51, 999};
        options.flags = UNTTY_SET_UMASK;
        options.umask = 0007;
        options.directory = "below";
        options.input.kind = UNTTY_STDIO_FILE;
        options.input.path = "input";
        options.output.kind = UNTTY_STDIO_FILE;
        options.output.path = "output";
        options.error.kind = UNTTY_STDIO_STDOUT;
        options.keep = keep;
        options.keep_count = sizeof keep / sizeof keep[0];
        options.deadline_ms = 60000;
        detach(&handle);
        call = tell_both(path);
        {
            char byte = 0;
            int count = (int)read(0, &byte, 1);
            say(call, "%d '%c'\n", count, byte);
            put(1, "output\n");
            put(2, "error\n");
        }
        say_ready(call);
        wait_for_a_line(call);
    } else if (is(mode, "streams exchanged")) {
        options.output.kind = UNTTY_STDIO_FD;
        options.output.fd = 2;
        options.error.kind = UNTTY_STDIO_FD;
        options.error.fd = 50;
        options.input.kind = UNTTY_STDIO_FD;
        options.input.fd = 1;
        detach(NULL);
        tell_both(path);
    } else if (is(mode, "returns")) {
        options.flags = UNTTY_RETURN_IN_CALLER;
        detach(NULL);
        tell_both(path);
    } else if (is(mode, "returns when ready")) {
        options.flags = UNTTY_RETURN_IN_CALLER;
        detach(&handle);
        call = tell_both(path);
        say_ready(call);
        wait_for_a_line(call);
    } else if (is(mode, "ready twice")) {
        detach(&handle);
        call = tell_both(path);
        say_ready(call);
        say_ready(call);
        wait_for_a_line(call);
    } else if (is(mode, "ready and fail")) {
        detach(&handle);
        if (untty_ready(&handle, NULL) < 0) {
            return 94;
        }
        untty_fail(&handle, number);
    } else if (is(mode, "ready in a started handle")) {
        /* With NULL it is ready at once; a handle of its own, zeroed, cannot say so again. */
        detach(NULL);
        call = call_the_test(path);
        say_ready(call);
        wait_for_a_line(call);
    } else if (is(mode, "fail")) {
        detach(&handle);
        untty_fail(&handle, number);
    } else if (is(mode, "fail and return")) {
        options.flags = UNTTY_RETURN_IN_CALLER;
        detach(&handle);
        untty_fail(&handle, number);
    } else if (is(mode, "fail without a handle")) {
        untty_fail(NULL, number);
    } else if (is(mode, "fail with a zeroed handle")) {
        untty_fail(&handle, number);
    } else if (is(mode, "dies")) {
        options.flags = UNTTY_RETURN_IN_CALLER;
        detach(&handle);
        exit(0); /* without a word, and with a status that would claim success */
    } else if (is(mode, "dies and exits")) {
        detach(&handle);
        exit(0);
    } else if (is(mode, "too late")) {
        options.deadline_ms = 50;
        detach(&handle);
        for (;;) {
            pause();
        }
    } else if (is(mode, "caller is killed")) {
        detach(&handle);
        call = tell_both(path); /* the line comes when the caller is dead */
        say_ready(call);
        wait_for_a_line(call);
    } else {
        return 95;
    }
    return 0;
}
