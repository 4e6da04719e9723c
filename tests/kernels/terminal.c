/* A real serial line as controlling terminal: its hangup, and opening it again. */

#define _GNU_SOURCE

#include "guest.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* Signals that come from the terminal go to its foreground: the session's leader, who has logged in, and a program that
 * it has started. */
struct session {
    int leader;
    int program; /* did not detach */
    struct rope rope;
    struct state daemon; /* did */
    int order;           /* a byte for the leader: hang up yourself */
};

static void say_hello(int fd) {
    static const char hello[] = "the guest was here\n";
    if (write(fd, hello, sizeof hello - 1) != sizeof hello - 1 || tcdrain(fd) != 0) {
        _exit(90);
    }
}

/* The program's process id goes out by the pipe, when all is as it should be. */
static void lead(const struct session *session, int told, int orders) {
    struct untty_options options = UNTTY_OPTIONS_INIT;
    int keep[2] = {session->rope.report[1], session->rope.go[0]};
    int terminal;
    int status = 0;
    pid_t child;
    char order;
    if (setsid() < 0 || (terminal = open(second_terminal, O_RDWR)) < 0) {
        _exit(89);
    }
    if (tcgetsid(terminal) != getpid() || tcgetpgrp(terminal) != getpid()) {
        _exit(88);
    }
    say_hello(terminal);
    dup2(terminal, 0);
    dup2(terminal, 1);
    dup2(terminal, 2);
    child = fork();
    if (child == 0) {
        options.input.kind = options.output.kind = options.error.kind = UNTTY_STDIO_INHERIT;
        options.keep = keep;
        options.keep_count = 2;
        if (untty_detach(&options, NULL, NULL) < 0) {
            _exit(87);
        }
        serve(&session->rope);
    }
    if (waitpid(child, &status, 0) != child || status != 0) {
        _exit(86);
    }
    child = fork();
    if (child == 0) {
        for (;;) {
            pause();
        }
    }
    signal(SIGINT, SIG_IGN);
    if (write(told, &child, sizeof child) == sizeof child && read(orders, &order, 1) == 1) {
        vhangup();
    }
    for (;;) {
        pause();
    }
}

static const char *log_in(struct session *session) {
    int told[2];
    int orders[2];
    int status = 0;
    REQUIRE(second_terminal != NULL, "this guest has no second terminal");
    make_rope(&session->rope);
    REQUIRE(pipe2(told, O_CLOEXEC) == 0 && pipe2(orders, O_CLOEXEC) == 0, "no pipe");
    session->leader = fork();
    if (session->leader == 0) {
        close(told[0]);
        close(orders[1]);
        lead(session, told[1], orders[0]);
    }
    close(told[1]);
    close(orders[0]);
    close(session->rope.report[1]);
    close(session->rope.go[0]);
    session->order = orders[1];
    if (read(told[0], &session->program, sizeof session->program) != sizeof session->program) {
        waitpid(session->leader, &status, 0);
        return because("the session is not there: status %#x", (unsigned)status);
    }
    close(told[0]);
    REQUIRE(hear(&session->rope, &session->daemon), "there is no daemon");
    REQUIRE(!session->daemon.terminal, "the daemon has a controlling terminal");
    REQUIRE(session->daemon.devices[1] != 0 && session->daemon.devices[1] != DEVICE_NULL, "it is not on the terminal");
    return NULL;
}

static const char *died_of(int pid, int signal_, const char *who) {
    int status = 0;
    REQUIRE(waitpid(pid, &status, 0) == pid, "%s cannot be waited for: errno %d", who, errno);
    REQUIRE(WIFSIGNALED(status) && WTERMSIG(status) == signal_, "%s has ended with status %#x", who, (unsigned)status);
    return NULL;
}

/* Waits for the death of somebody else's child. */
static const char *dies(int pid, const char *who) {
    struct pollfd death = {(int)syscall(434, pid, 0), POLLIN, 0}; /* pidfd_open */
    int count = poll(&death, 1, 60000);
    REQUIRE(count == 1 && death.revents == POLLIN, "%s does not die", who);
    close(death.fd);
    return NULL;
}

/* The session has died of the hangup; the daemon has not, and does not get the terminal either that it opens. */
static const char *outlives(struct session *session, int errnum) {
    PASS(died_of(session->leader, SIGHUP, "the session's leader"));
    PASS(died_of(session->program, SIGHUP, "the program that did not detach"));
    close(session->order);
    REQUIRE(write(session->rope.go[1], "w", 1) == 1 && hear(&session->rope, &session->daemon), "the daemon has died");
    REQUIRE(session->daemon.others == errnum, "writing to the old terminal: errno %d", session->daemon.others);
    if (access(second_terminal, F_OK) == 0) {
        REQUIRE(write(session->rope.go[1], "t", 1) == 1 && hear(&session->rope, &session->daemon),
                "the daemon cannot open the terminal");
        REQUIRE(!session->daemon.terminal, "the daemon has acquired the terminal");
        REQUIRE(session->daemon.others == 1, "it has not opened the terminal");
    }
    return ends(&session->rope, session->daemon.pid);
}

static const char *a_daemon_outlives_a_hangup_from_outside(void) {
    struct session session;
    int terminal;
    PASS(log_in(&session));
    terminal = open(second_terminal, O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE(terminal >= 0 && ioctl(terminal, TIOCVHANGUP) == 0, "TIOCVHANGUP: errno %d", errno);
    close(terminal);
    return outlives(&session, EIO);
}

static const char *a_daemon_outlives_its_sessions_vhangup(void) {
    struct session session;
    PASS(log_in(&session));
    REQUIRE(write(session.order, "h", 1) == 1, "the leader is not there");
    return outlives(&session, EIO);
}

/* ^C, as if it had come by the line. The leader ignores it, since its end would be the line's hangup. */
static const char *a_daemon_outlives_an_interrupt(void) {
    struct session session;
    int terminal;
    PASS(log_in(&session));
    terminal = open(second_terminal, O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE(terminal >= 0 && ioctl(terminal, TIOCSTI, "\003") == 0, "TIOCSTI: errno %d", errno);
    close(terminal);
    PASS(dies(session.program, "the program that did not detach"));
    REQUIRE(write(session.rope.go[1], "w", 1) == 1 && hear(&session.rope, &session.daemon), "the daemon has died");
    REQUIRE(session.daemon.others == 0, "writing to the terminal: errno %d", session.daemon.others);
    close(session.order);
    kill(session.leader, SIGKILL);
    PASS(died_of(session.leader, SIGKILL, "the session's leader"));
    PASS(died_of(session.program, SIGINT, "the program that did not detach"));
    return ends(&session.rope, session.daemon.pid);
}

/* The control: who forks once only is a session leader, and gets the terminal that it opens. */
static const char *a_single_fork_acquires_the_terminal(void) {
    struct rope rope;
    struct state state;
    int status = 0;
    pid_t child;
    make_rope(&rope);
    child = fork();
    if (child == 0) {
        if (setsid() < 0) {
            _exit(89);
        }
        close(rope.report[0]);
        close(rope.go[1]);
        signal(SIGHUP, SIG_IGN);
        serve(&rope);
    }
    close(rope.report[1]);
    close(rope.go[0]);
    REQUIRE(hear(&rope, &state) && !state.terminal, "it has a terminal already");
    REQUIRE(write(rope.go[1], "t", 1) == 1 && hear(&rope, &state), "it cannot open the terminal");
    drop_rope(&rope);
    REQUIRE(waitpid(child, &status, 0) == child && WEXITSTATUS(status) == SERVED, "its status is %#x",
            (unsigned)status);
    REQUIRE(state.terminal, "it has not acquired the terminal");
    return NULL;
}

/* The card with the line is taken out of the machine. */
static const char *a_daemon_outlives_the_loss_of_the_line(void) {
    struct session session;
    char path[128];
    PASS(log_in(&session));
    snprintf(path, sizeof path, "/sys/class/tty/%s/device/remove", strrchr(second_terminal, '/') + 1);
    PASS(write_file(path, "1"));
    return outlives(&session, EIO);
}

/* The serial port on a PCI card: the others belong to the board, and one of them is the console. */
static const char *there_is_a_second_serial_line(void) {
    static char terminal[64];
    char path[64];
    int number;
    mkdir("/sys", 0555);
    REQUIRE(mount("sys", "/sys", "sysfs", 0, NULL) == 0, "no sysfs: errno %d", errno);
    for (number = 0; number < 64; number++) {
        snprintf(path, sizeof path, "/sys/class/tty/ttyS%d/device/vendor", number);
        if (access(path, F_OK) == 0) {
            snprintf(terminal, sizeof terminal, "/dev/ttyS%d", number);
            second_terminal = terminal;
            note("the second serial line is %s", terminal);
            return NULL;
        }
    }
    return "no serial port is a PCI card's";
}

void judge_terminal(void) {
    judge("there_is_a_second_serial_line", there_is_a_second_serial_line);
    judge("a_daemon_outlives_an_interrupt", a_daemon_outlives_an_interrupt);
    judge("a_daemon_outlives_a_hangup_from_outside", a_daemon_outlives_a_hangup_from_outside);
    judge("a_daemon_outlives_its_sessions_vhangup", a_daemon_outlives_its_sessions_vhangup);
    judge("a_single_fork_acquires_the_terminal", a_single_fork_acquires_the_terminal);
    judge("a_daemon_outlives_the_loss_of_the_line", a_daemon_outlives_the_loss_of_the_line);
}
