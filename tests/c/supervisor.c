/* Supervisors: who they are, what they have given, and what they are told. The first argument is what is done. */

#define _DEFAULT_SOURCE

#include "start.h"
#include <errno.h>
#include <sys/prctl.h>
#include <sys/wait.h>

extern char **environ;

/* A library without a C library is told of the environment; with one, either way does. */
static const char *const *own(void) { return (const char *const *)environ; }

static char number[2][64];

static const char *variable(int index, const char *name, long value) {
    snprintf(number[index], sizeof number[index], "%s=%ld", name, value);
    return number[index];
}

static void ask(const char *what, const char *first, const char *second) {
    const char *environment[3];
    environment[0] = first;
    environment[1] = second;
    environment[2] = NULL;
    say(1, "%s: %d %d\n", what, untty_listen_fds(environment), untty_supervisor(environment));
}

static void ask_everything(void) {
    const char *us = variable(0, "LISTEN_PID", (long)getpid());
    ask("nothing", NULL, NULL);
    ask("two sockets", us, "LISTEN_FDS=2");
    ask("the other way round", "LISTEN_FDS=2", us);
    ask("for another process", variable(1, "LISTEN_PID", (long)getppid()), "LISTEN_FDS=2");
    ask("for nobody", "LISTEN_FDS=2", NULL);
    ask("no number", us, "LISTEN_FDS=two");
    ask("no digit", us, "LISTEN_FDS=");
    ask("negative", us, "LISTEN_FDS=-1");
    ask("more than there can be", us, "LISTEN_FDS=2147483647");
    ask("more than that", us, "LISTEN_FDS=2147483648");
    ask("systemd", variable(1, "SYSTEMD_EXEC_PID", (long)getpid()), NULL);
    ask("systemd's other process", variable(1, "SYSTEMD_EXEC_PID", (long)getppid()), NULL);
    ask("systemd's child's child", "INVOCATION_ID=0123456789abcdef0123456789abcdef", NULL);
    setenv("LISTEN_FDS", "1", 1);
    setenv("SYSTEMD_EXEC_PID", strchr(variable(1, "", (long)getpid()), '=') + 1, 1);
    setenv("LISTEN_PID", strchr(number[1], '=') + 1, 1);
    say(1, "its own: %d %d\n", untty_listen_fds(own()), untty_supervisor(own()));
    say(1, "NULL: %d %d\n", untty_listen_fds(NULL), untty_supervisor(NULL));
}

/* A process of that name has a child, and so has that. */
static void ask_below(const char *name) {
    static const char *const invoked[] = {"INVOCATION_ID=0123456789abcdef0123456789abcdef", NULL};
    prctl(PR_SET_NAME, name);
    if (fork() == 0) {
        pid_t child;
        prctl(PR_SET_NAME, "program");
        say(1, "%s: %d %d\n", name, untty_supervisor(invoked + 1), untty_supervisor(invoked));
        child = fork();
        if (child == 0) {
            say(1, "below: %d\n", untty_supervisor(invoked));
            _exit(0);
        }
        waitpid(child, NULL, 0);
        _exit(0);
    }
    wait(NULL);
}

static void notify_as_told(int call) {
    SAY(call, untty_notify(&handle, NULL, &error));
    SAY(call, untty_notify(&handle, "STATUS=before", &error));
    say_ready(call);
    say_ready(call);
    SAY(call, untty_notify(&handle, "RELOADING=1\nSTATUS=after", &error));
    SAY(call, untty_notify(&handle, "RELOADING=1\nMONOTONIC_USEC=5", &error));
    SAY(call, untty_notify(&handle, "STOPPING=1", NULL));
}

/* Says that it is ready, as often as the test wants to hear it, and gives up. */
static void fail_in_the_end(int call) {
    say_ready(call);
    wait_for_a_line(call);
    say_ready(call);
    wait_for_a_line(call);
    untty_fail(&handle, 3);
}

/* Reads that to its end. */
static void say_what_is_in(int call, int pipe) {
    char bytes[8];
    ssize_t count;
    while ((count = read(pipe, bytes, sizeof bytes)) > 0) {
        say(call, "%d bytes, the first is %d\n", (int)count, bytes[0]);
    }
    say(call, "end %d\n", (int)count);
}

static void set_own_pid(const char *name) { setenv(name, strchr(variable(0, "", (long)getpid()), '=') + 1, 1); }

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    const char *path = argc > 2 ? argv[argc - 1] : "";
    int pipes[2];
    int call;
    options.environment = own();
    if (is(mode, "ask")) {
        ask_everything();
        return 0;
    }
    if (is(mode, "ask below") && argc == 3) {
        ask_below(argv[2]);
        return 0;
    }
    if (is(mode, "daemon")) {
        set_own_pid("SYSTEMD_EXEC_PID");
        if (untty_daemon(0, 0) != 0) {
            say(1, "errno %d\n", errno);
            return 1;
        }
        call = call_the_test(path);
        say(call, "%ld\n", (long)getpid());
    } else if (is(mode, "notify")) {
        detach(&handle);
        call = call_the_test(path);
        say(call, "%ld\n", (long)getpid());
        notify_as_told(call);
    } else if (is(mode, "notify by NULL")) {
        options.environment = NULL;
        detach(&handle);
        call = call_the_test(path);
        say(call, "%ld\n", (long)getpid());
        notify_as_told(call);
    } else if (is(mode, "ignore")) {
        options.flags = UNTTY_IGNORE_SUPERVISOR;
        detach(&handle);
        call = call_the_test(path);
        say(call, "%ld\n", (long)getpid());
        notify_as_told(call);
    } else if (is(mode, "ready at once")) {
        detach(NULL);
        call = call_with_both(path);
    } else if (is(mode, "supervisor goes")) {
        detach(&handle);
        call = call_the_test(path);
        wait_for_a_line(call);
        fail_in_the_end(call);
    } else if (is(mode, "ready_fd")) {
        if (pipe(pipes) < 0) {
            return 96;
        }
        options.ready_fd = pipes[1];
        options.keep = pipes;
        options.keep_count = 1;
        detach(&handle);
        call = call_the_test(path);
        say_ready(call);
        say(call, "%s\n", fcntl(pipes[1], F_GETFD) < 0 ? "closed" : "open");
        say_what_is_in(call, pipes[0]);
    } else if (is(mode, "ready_fd that nobody reads")) {
        if (pipe(pipes) < 0) {
            return 96;
        }
        options.ready_fd = pipes[1];
        fcntl(pipes[0], F_SETFD, 0);
        close(pipes[0]);
        detach(&handle);
        call = call_the_test(path);
        fail_in_the_end(call);
    } else if (is(mode, "stay") || is(mode, "stay elsewhere")) {
        if (is(mode, "stay")) {
            set_own_pid("SYSTEMD_EXEC_PID");
            set_own_pid("LISTEN_PID");
            setenv("LISTEN_FDS", "2", 1);
        }
        dup2(0, 3);
        dup2(0, 4);
        dup2(0, 5);
        dup2(0, 700);
        options.environment = own(); /* setenv may have moved it */
        options.flags = UNTTY_STAY_IF_SUPERVISED;
        detach(&handle);
        call = call_with_both(path);
        say_ready(call);
        say_ready(call);
    } else {
        return 95;
    }
    wait_for_a_line(call);
    return 0;
}
