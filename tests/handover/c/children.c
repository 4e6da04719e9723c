/* Children of the daemon's, made in every way. */

#include "daemon.h"
#include <spawn.h>

extern char **environ;

static volatile sig_atomic_t got;
static int prepared;
static int in_parent;
static int in_child;
static int at_exit;
static pthread_t first;

static void note(int number, siginfo_t *info, void *context) {
    (void)context;
    got = info->si_pid == getpid() ? number : 0;
}

static void prepare(void) { prepared++; }
static void parent(void) { in_parent++; }
static void child(void) { in_child++; }
static void *nothing(void *argument) { return argument; }

static int is_whole(void) {
    pthread_t thread;
    void *result;
    got = 0;
    return gettid() == own_id() && getpid() == own_id() && pthread_equal(pthread_self(), first) &&
           pthread_kill(pthread_self(), SIGUSR1) == 0 && got == SIGUSR1 && raise(SIGUSR1) == 0 &&
           pthread_create(&thread, NULL, nothing, &first) == 0 && pthread_join(thread, &result) == 0 && result == &first;
}

static void forked(void) {
    const pid_t daemon = getpid();
    pid_t made;
    int before = at_exit;
    made = fork();
    if (made == 0) {
        const pid_t grandchild = is_whole() && getppid() == daemon ? fork() : -1;
        if (grandchild == 0) {
            _exit(is_whole() ? 6 : 1);
        }
        at_exit++;
        _exit(end_of(grandchild) == 6 && in_child == 1 ? 7 : 8);
    }
    holds(end_of(made) == 7, "fork: the child is whole, and so is its own child");
    holds(at_exit == before, "and the child has memory of its own");
    holds(prepared == in_parent && in_child == 0, "handlers of pthread_atfork run");
    holds(is_whole(), "and the daemon is whole");
}

static void *fork_there(void *argument) {
    pid_t made = fork();
    (void)argument;
    if (made == 0) {
        _exit(gettid() == own_id() && getpid() == own_id() ? 9 : 1);
    }
    return (void *)(long)(end_of(made) == 9);
}

static void forked_by_a_thread(void) {
    pthread_t thread;
    void *result;
    CHECK(pthread_create(&thread, NULL, fork_there, NULL));
    CHECK(pthread_join(thread, &result));
    holds(result != NULL, "fork by another thread: the child is whole");
}

static void vforked(void) {
    const pid_t made = vfork();
    if (made == 0) {
        _exit(4);
    }
    holds(end_of(made) == 4 && is_whole(), "vfork");
}

static void spawned(void) {
    char name[] = "sh";
    char option[] = "-c";
    char text[] = "test $PPID = \"$DAEMON\" && exit 5";
    char *words[] = {name, option, text, NULL};
    char daemon[32];
    pid_t made;
    snprintf(daemon, sizeof daemon, "%ld", (long)getpid());
    setenv("DAEMON", daemon, 1);
    holds(posix_spawn(&made, "/bin/sh", NULL, NULL, words, environ) == 0 && end_of(made) == 5, "posix_spawn");
    holds(posix_spawnp(&made, "sh", NULL, NULL, words, environ) == 0 && end_of(made) == 5, "posix_spawnp");
}

static void shells(void) {
    char line[64] = "";
    FILE *output = popen("echo hello; exit 3", "r");
    int status = system("exit 5");
    holds(WIFEXITED(status) && WEXITSTATUS(status) == 5, "system");
    holds(output != NULL && fgets(line, sizeof line, output) != NULL && strcmp(line, "hello\n") == 0, "popen");
    status = output == NULL ? -1 : pclose(output);
    holds(WIFEXITED(status) && WEXITSTATUS(status) == 3, "pclose");
}

int main(int argc, char **argv) {
    (void)argc;
    first = pthread_self();
    handle_signal(SIGUSR1, note, 0);
    options.flags = UNTTY_KEEP_SIGNALS;
    become_daemon(argv[1]);
    CHECK(pthread_atfork(prepare, parent, child));
    forked();
    forked_by_a_thread();
    vforked();
    spawned();
    shells();
    return end();
}
