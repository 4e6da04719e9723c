/* What the injector of faults starts to see the C functions (tests/faults): does what its words say, and says with a
 * call that means nothing to the kernel where it is. */
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <untty.h>

enum { MAGIC = 0x756e7474, BEGIN = 1, DAEMON, RETURNED, FAILED, END, LATE };

static void say(long word, long first, long second) {
    prctl(MAGIC, word, first, second, 0L);
}

static void too_late(const struct untty_error *error) {
    say(LATE, error->step, error->errnum);
}

static void rest(void) {
    for (;;)
        pause();
}

int main(int argc, char **argv) {
    struct untty_options options = UNTTY_OPTIONS_INIT;
    struct untty_handle handle;
    struct untty_error error = {0, 0};
    int with_handle = 0;
    int result;

    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "return") == 0)
            options.flags |= UNTTY_RETURN_IN_CALLER;
        else if (strcmp(argv[i], "handover") == 0)
            options.flags |= UNTTY_HANDOVER;
        else if (strcmp(argv[i], "deadline") == 0)
            options.deadline_ms = 2000;
        else if (strcmp(argv[i], "handle") == 0)
            with_handle = 1;
        else if (strcmp(argv[i], "pid") == 0 && i + 1 < argc)
            options.pid_file = argv[++i];
    }
    options.on_late_failure = too_late;
    say(BEGIN, 0, 0);
    if (strcmp(argv[1], "daemon") == 0) {
        result = untty_daemon(0, 0);
        if (result < 0)
#ifdef RAW
            error.errnum = -result;
#else
            error.errnum = errno;
#endif
    } else {
        result = untty_detach(&options, with_handle ? &handle : NULL, &error);
    }
    if (result == 0 && with_handle && untty_ready(&handle, &error) < 0)
        _exit(3);
    if (result == 0)
        say(DAEMON, 0, 0);
    else if (result > 0)
        say(RETURNED, result, 0);
    else
        say(FAILED, error.step, error.errnum);
    rest();
}
