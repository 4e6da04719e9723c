/* Timers of every kind, made in the daemon. */

#include "daemon.h"
#include <poll.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static int told[2];
static volatile sig_atomic_t by;

static void note(int number, siginfo_t *info, void *context) {
    (void)info, (void)context;
    by = number;
}

static void tell(union sigval value) {
    (void)value;
    CHECK(write(told[1], "x", 1) != 1);
}

static void wait_for(int number, const char *statement) {
    sigset_t set;
    sigset_t old;
    sigemptyset(&set);
    sigaddset(&set, number);
    sigprocmask(SIG_BLOCK, &set, &old);
    sigdelset(&old, number);
    while (by != number) {
        sigsuspend(&old);
    }
    sigaddset(&old, number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    by = 0;
    holds(1, statement);
}

static const struct itimerspec soon = {{0, 0}, {0, 1000000}};

static void posix_timer(int notify, int number) {
    struct sigevent event;
    timer_t timer;
    memset(&event, 0, sizeof event);
    event.sigev_notify = notify;
    event.sigev_signo = number;
    if (notify == SIGEV_THREAD) {
        event.sigev_notify_function = tell;
    } else if (notify == SIGEV_THREAD_ID) {
        event.sigev_notify_thread_id = gettid();
    }
    CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer));
    CHECK(timer_settime(timer, 0, &soon, NULL));
}

int main(int argc, char **argv) {
    struct itimerval interval;
    struct itimerval none;
    uint64_t times = 0;
    char byte;
    int fd;
    (void)argc;
    become_daemon(argv[1]);
    handle_signal(SIGALRM, note, 0);
    handle_signal(SIGUSR1, note, 0);
    handle_signal(SIGUSR2, note, 0);
    CHECK(pipe(told));
    posix_timer(SIGEV_SIGNAL, SIGUSR1);
    wait_for(SIGUSR1, "timer_create with a signal");
    posix_timer(SIGEV_THREAD_ID, SIGUSR2);
    wait_for(SIGUSR2, "timer_create with a signal for this thread");
    posix_timer(SIGEV_THREAD, 0);
    holds(read(told[0], &byte, 1) == 1, "timer_create with a thread");
    memset(&interval, 0, sizeof interval);
    memset(&none, 0, sizeof none);
    interval.it_value.tv_usec = 1000;
    CHECK(setitimer(ITIMER_REAL, &interval, NULL));
    wait_for(SIGALRM, "setitimer");
    alarm(1);
    wait_for(SIGALRM, "alarm");
    fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    CHECK(timerfd_settime(fd, 0, &soon, NULL));
    holds(read(fd, &times, sizeof times) == sizeof times && times == 1, "timerfd_create");
    return end();
}
