/* PIPE-IS-FULL [handle]: a start by handover whose ready_fd cannot be written, with a deadline. With "handle" the program
 * has kept a handler, and a signal is sent to the daemon then: the handler runs in the daemon, in this memory. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <untty.h>

static const char *volatile precious = "precious";

static void say(const char *word) { (void)!write(1, word, strlen(word)); }

static void handle(int signal) {
    precious = "gone";
    _exit(signal);
}

static void late(const struct untty_error *error) {
    say(error->step == UNTTY_STEP_WAIT && error->errnum == ESRCH ? "late\n" : "late, but something else\n");
}

/* Signals the daemon, which waits for the pipe, when its pid file names it. */
static void signal_the_daemon(const char *pid_file) {
    int pid;
    if (fork() != 0)
        return;
    signal(SIGUSR1, SIG_DFL);
    do {
        FILE *file = fopen(pid_file, "r");
        if (!file || fscanf(file, "%d", &pid) != 1)
            pid = 0;
        if (file)
            fclose(file);
    } while (pid == 0 || kill(pid, SIGUSR1) < 0);
    _exit(0);
}

int main(int argc, char **argv) {
    struct untty_options options = UNTTY_OPTIONS_INIT;
    struct untty_error error;
    char bytes[4096] = "";
    int ends[2], result;
    if (argc < 2 || pipe(ends) < 0 || fcntl(ends[1], F_SETFL, O_NONBLOCK) < 0)
        return 99;
    while (write(ends[1], bytes, sizeof bytes) > 0) {
    }
    while (write(ends[1], bytes, 1) > 0) {
    }
    fcntl(ends[1], F_SETFL, 0);
    options.flags = UNTTY_HANDOVER | UNTTY_KEEP_DESCRIPTORS;
    options.ready_fd = ends[1];
    options.on_late_failure = late;
    options.pid_file = argv[1];
    options.deadline_ms = 300;
    if (argc > 2) {
        options.flags |= UNTTY_KEEP_SIGNALS;
        options.deadline_ms = 60000;
        signal(SIGUSR1, handle);
        signal_the_daemon(argv[1]);
    }
    result = untty_detach(&options, NULL, &error);
    printf("%d: step %d errno %d, %s\n", result, (int)error.step, (int)error.errnum, precious);
    return 0;
}
