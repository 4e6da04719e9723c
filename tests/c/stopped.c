/* untty_daemon, whose leader is stopped on its way out, and whose daemon then fails. The functions of this program stand
 * before those of the C library. Prints the result, errno and how many children are left. */
#define _GNU_SOURCE
#include "untty.h"
#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int forks;

pid_t fork(void)
{
    pid_t (*theirs)(void);
    void *found = dlsym(RTLD_NEXT, "fork");
    memcpy(&theirs, &found, sizeof theirs);
    pid_t child = theirs();
    if (++forks == 2 && child > 0) {
        raise(SIGSTOP);
    }
    return child;
}

/* Whether the leader is stopped by now: the letter behind the name (proc_pid_stat(5)). */
static int is_stopped(pid_t leader)
{
    char path[32], stat[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)leader);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        return 0;
    }
    size_t length = fread(stat, 1, sizeof stat - 1, file);
    stat[length] = '\0';
    fclose(file);
    const char *name_end = strrchr(stat, ')');
    return name_end != NULL && name_end[1] == ' ' && name_end[2] == 'T';
}

int chdir(const char *path)
{
    (void)path;
    while (!is_stopped(getppid())) {
        sched_yield();
    }
    errno = EIO;
    return -1;
}

int main(void)
{
    errno = 0;
    int result = untty_daemon(0, 0);
    int errnum = errno;
    printf("%d %d, children left: %d\n", result, errnum, waitpid(-1, NULL, WNOHANG) >= 0);
    return 0;
}
