/* Who the daemon is, as the kernel and the C library tell it. */

#include "daemon.h"
#include <dirent.h>
#include <sys/prctl.h>
#include <sys/sysinfo.h>

static long number_after(const char *text, const char *key) {
    const char *line = strstr(text, key);
    return line == NULL ? -1 : atol(line + strlen(key));
}

/* A field of /proc/self/stat, counted as proc(5) does, from 3 on. */
static long field(int number) {
    char text[1024];
    const char *at = strrchr(content("/proc/self/stat", text, sizeof text), ')') + 2;
    for (; number > 3; number--) {
        at = strchr(at, ' ') + 1;
    }
    return atol(at);
}

static int threads(void) {
    DIR *directory = opendir("/proc/self/task");
    struct dirent *entry;
    int count = 0;
    int own = 0;
    while ((entry = readdir(directory)) != NULL) {
        count += entry->d_name[0] != '.';
        own |= atol(entry->d_name) == getpid();
    }
    closedir(directory);
    return own ? count : -1;
}

int main(int argc, char **argv) {
    static char text[16384];
    char link[64] = "";
    char expected[64];
    int *address = NULL;
    int *before = NULL;
    int held;
    const pid_t caller = getpid();
    const pid_t callers_parent = getppid();
    const pid_t callers_session = getsid(0);
    (void)argc;
    CHECK(prctl(PR_GET_TID_ADDRESS, &before));
    held = *before;
    become_daemon(argv[1]);
    content("/proc/self/status", text, sizeof text);
    holds(getpid() != caller && getpid() == syscall(SYS_getpid), "getpid");
    holds(own_id() == getpid() && gettid() == getpid(), "gettid");
    holds(number_after(text, "\nPid:\t") == getpid() && number_after(text, "\nTgid:\t") == getpid(), "/proc/self/status: its process id");
    holds(number_after(text, "\nPPid:\t") == getppid() && field(4) == getppid(), "/proc/self/status: its parent's");
    holds(getppid() == callers_parent, "its parent is its subreaper");
    holds(number_after(text, "\nThreads:\t") == 1 && threads() == 1, "/proc/self/task: one thread");
    holds(getsid(0) != callers_session && getsid(0) != getpid() && getsid(0) == field(6), "its session is new, and not its own");
    holds(getpgrp() == getsid(0) && getpgrp() == field(5), "its process group is its session's");
    holds(field(7) == 0 && open("/dev/tty", O_RDONLY) < 0, "no terminal");
    snprintf(expected, sizeof expected, "%ld/task/%ld", (long)getpid(), (long)getpid());
    holds(readlink("/proc/thread-self", link, sizeof link - 1) > 0 && strcmp(link, expected) == 0, "/proc/thread-self");
    CHECK(prctl(PR_GET_TID_ADDRESS, &address));
    /* glibc 2.43 has the kernel clear something else than the id, in the process that it starts. */
    holds(*address == getpid() || (address == before && *address == held), "the kernel tells the C library of its thread's end");
    holds(number_after(text, "\nSigBlk:\t") == 0 && number_after(text, "\nSigPnd:\t") == 0, "no signal is blocked or pending");
    holds(unshare(CLONE_VM) == 0 || is_waited_for, "nobody else has its memory, unless the caller waits");
    holds(unshare(CLONE_THREAD) == 0, "it has no other thread");
    return end();
}
