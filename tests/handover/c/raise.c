/* Signals that the daemon sends to itself reach it, by handlers from before; and it dies of the one that its second
 * argument says. */

#include "daemon.h"

static volatile sig_atomic_t got;
static volatile pid_t sender;
static volatile pid_t receiver;

static void note(int number, siginfo_t *info, void *context) {
    (void)context;
    got = number;
    sender = info->si_pid;
    receiver = (pid_t)own_id();
}

static void reaches(int number, int result, const char *statement) {
    holds(result == 0 && got == number && sender == getpid() && receiver == getpid(), statement);
    got = 0;
    sender = receiver = 0;
}

int main(int argc, char **argv) {
    union sigval value;
    handle_signal(SIGUSR1, note, 0);
    handle_signal(SIGRTMIN, note, 0);
    options.flags = UNTTY_KEEP_SIGNALS;
    become_daemon(argv[1]);
    reaches(SIGUSR1, raise(SIGUSR1), "raise");
    reaches(SIGUSR1, pthread_kill(pthread_self(), SIGUSR1), "pthread_kill of itself");
    reaches(SIGUSR1, kill(getpid(), SIGUSR1), "kill of itself");
    value.sival_int = 5;
    reaches(SIGRTMIN, pthread_sigqueue(pthread_self(), SIGRTMIN, value), "pthread_sigqueue to itself");
    reaches(SIGRTMIN, sigqueue(getpid(), SIGRTMIN, value), "sigqueue to itself");
    holds(gettid() == own_id() && gettid() == getpid(), "gettid");
    if (argc > 2) {
        signal(atoi(argv[2]), SIG_DFL);
        raise(atoi(argv[2]));
        holds(0, "it lives");
    }
    return end();
}
