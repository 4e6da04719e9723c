/* untty_daemon, or the C library's daemon, in a process that has everything set that they must leave alone.
 *
 *     daemon untty|system NOCHDIR NOCLOSE call SOCKET     the daemon calls the test and tells both states
 *     daemon untty|system NOCHDIR NOCLOSE fail SABOTAGE   both tell what they were told, and what has changed
 */

#define _DEFAULT_SOURCE

#include "observe.h"
#include <errno.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <untty.h>

enum { OUTPUT = 60 }; /* standard output, where no daemon(3) closes it */

static struct text before;
static struct text after;

static void handler(int signal_number) { (void)signal_number; }

static void make_peculiar(void) {
    struct sigaction action;
    sigset_t set;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR2, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGHUP, &action, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    umask(0123);
    dup2(1, OUTPUT);
    dup2(0, 50);
    dup2(0, 700);
    fcntl(700, F_SETFD, FD_CLOEXEC);
}

/* From now on that system call fails so. */
static int forbid(long number, unsigned errnum) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | errnum),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -1 : prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int sabotage(const char *how) {
    if (strcmp(how, "setsid") == 0) {
        return forbid(SYS_setsid, EPERM);
    }
    if (strcmp(how, "chdir") == 0) {
        return forbid(SYS_chdir, EACCES);
    }
    if (strcmp(how, "dup") == 0) {
        return forbid(SYS_dup3, EMFILE);
    }
    if (strcmp(how, "processes") == 0) {
        struct rlimit none = {0, 0};
        if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0)) {
            return -1; /* root may always fork */
        }
        return setrlimit(RLIMIT_NPROC, &none);
    }
    if (strcmp(how, "descriptors") == 0) {
        struct rlimit few = {3, 1024};
        return setrlimit(RLIMIT_NOFILE, &few);
    }
    return chroot(how) < 0 ? -1 : chdir("/"); /* one where there is no /dev/null */
}

int main(int argc, char **argv) {
    int nochdir;
    int noclose;
    int result;
    int errnum;
    if (argc != 6) {
        return 95;
    }
    nochdir = atoi(argv[2]);
    noclose = atoi(argv[3]);
    make_peculiar();
    if (strcmp(argv[4], "fail") == 0 && sabotage(argv[5]) < 0) {
        say(OUTPUT, "cannot be sabotaged: %d\n", errno);
        return 96;
    }
    observe(&before);
    errno = 0;
    result = strcmp(argv[1], "untty") == 0 ? untty_daemon(nochdir, noclose) : daemon(nochdir, noclose);
    errnum = errno;
    observe(&after);
    if (strcmp(argv[4], "fail") == 0) {
        const char *who = strcmp(before.bytes, after.bytes) == 0 ? "the caller, as it was" : "another";
        say(OUTPUT, "%d %d: %s\n", result, errnum, who);
        return result == 0 ? 0 : 1;
    }
    if (result != 0) {
        say(OUTPUT, "%d %d\n", result, errnum);
        return 1;
    }
    {
        int call = call_the_test(argv[5]);
        put_state(call, &before);
        put_state(call, &after);
        wait_for_a_line(call);
    }
    return 0;
}
