/* Closing under a limit of 2^30 descriptors: with what a kernel has for it, and without close_range and /proc. */

#define _GNU_SOURCE

#include "guest.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CLOSE_RANGE = 436, SMALL = 1024, OPENED = 900 };

static rlim_t large = 1 << 30; /* or the most that this kernel allows */
static rlim_t limit;           /* of what is measured */
static int without_range;
static int without_proc;

static void set_limit(void) {
    struct rlimit both = {limit, limit};
    if (setrlimit(RLIMIT_NOFILE, &both) != 0) {
        _exit(92);
    }
    if ((access("/proc/self", F_OK) == 0) == without_proc) {
        _exit(93);
    }
    if (without_range) {
        forbid(CLOSE_RANGE);
        if (syscall(CLOSE_RANGE, ~0U, ~0U, 0) != -1 || errno != ENOSYS) {
            _exit(93);
        }
    }
    dup2(0, OPENED);
}

/* The highest that a 32-bit kernel allows is a little less than 2^30 (fs/file.c, sysctl_nr_open_max). */
static const char *the_limit_can_be_2_to_30(void) {
    char text[32];
    snprintf(text, sizeof text, "%lu", (unsigned long)large);
    if (sizeof(void *) == 4) {
        large = 0x3fffffe0;
        snprintf(text, sizeof text, "%lu", (unsigned long)large);
        note("a 32-bit kernel's fs.nr_open can be %s at most", text);
    }
    return write_file("/proc/sys/fs/nr_open", text);
}

static const char *a_start_under_a_limit_of_2_to_30_is_whole(void) {
    struct plan plan = plan_of(ITS_CHILD);
    plan.prepare = set_limit;
    limit = large;
    return starts(&plan, NULL);
}

/* What is counted and measured. */

static void close_all(void) {
    untty_close_from(3);
}

static void detach(void) {
    struct untty_options options = UNTTY_OPTIONS_INIT;
    if (untty_detach(&options, NULL, NULL) < 0) {
        _exit(91);
    }
}

/* The textbook's, up to a part of the limit. */
static void loop(void) {
    rlim_t fd;
    for (fd = 3; fd < limit; fd++) {
        close((int)fd);
    }
}

struct count {
    long calls;
    long closes;
    int exited; /* the status of the first process */
};

static void follow(pid_t pid) {
    ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
}

/* One stop of a traced process. */
static void look(pid_t pid, int status, struct count *count) {
    struct __ptrace_syscall_info info;
    int stop = WSTOPSIG(status);
    if (stop == (SIGTRAP | 0x80)) {
        if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof info, &info) > 0 &&
            info.op == PTRACE_SYSCALL_INFO_ENTRY) {
            count->calls++;
            count->closes += info.entry.nr == SYS_close;
        }
        follow(pid);
    } else if (stop == SIGTRAP || stop == SIGSTOP) {
        follow(pid); /* a fork, or its child's first stop */
    } else {
        ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(long)stop);
    }
}

/* Counts the calls of a function, and of the processes that it makes, under the limit. */
static struct count counted(void (*function)(void)) {
    struct count count = {0, 0, -1};
    pid_t first = fork();
    pid_t pid;
    int status;
    if (first == 0) {
        set_limit();
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        function();
        _exit(0);
    }
    waitpid(first, &status, 0);
    ptrace(PTRACE_SETOPTIONS, first, NULL,
           (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE |
                    PTRACE_O_EXITKILL));
    follow(first);
    while ((pid = waitpid(-1, &status, __WALL)) > 0) {
        if (WIFSTOPPED(status)) {
            look(pid, status, &count);
        } else if (pid == first) {
            count.exited = WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
        }
    }
    return count;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

/* Microseconds, the least of some runs; a caller that exits counts until then. Negative: it failed. */
static double measured(void (*function)(void), int runs) {
    double least = 1e18;
    while (runs-- > 0) {
        double begin = 0;
        double took;
        int told[2];
        int status = 0;
        pid_t child;
        if (pipe2(told, O_CLOEXEC) != 0 || (child = fork()) < 0) {
            return -1;
        }
        if (child == 0) {
            close(told[0]);
            set_limit();
            begin = now();
            if (write(told[1], &begin, sizeof begin) != sizeof begin) {
                _exit(98);
            }
            function();
            _exit(0);
        }
        close(told[1]);
        if (read(told[0], &begin, sizeof begin) != sizeof begin || waitpid(child, &status, 0) != child || status != 0) {
            return -1;
        }
        took = now() - begin;
        close(told[0]);
        least = took < least ? took : least;
        while (waitpid(-1, NULL, 0) > 0) {
        }
    }
    return least;
}

static const char *closing_calls_the_kernel_as_often(void) {
    struct count small;
    struct count great;
    limit = SMALL;
    small = counted(close_all);
    limit = large;
    great = counted(close_all);
    note("untty_close_from without close_range and /proc: %ld calls under a limit of 1024, %ld under one of 2^30",
         small.calls, great.calls);
    REQUIRE(small.exited == 0 && great.exited == 0, "status %d and %d", small.exited, great.exited);
    REQUIRE(small.closes > OPENED - 3, "only %ld descriptors were closed", small.closes);
    REQUIRE(small.calls == great.calls, "%ld calls and %ld", small.calls, great.calls);
    return NULL;
}

static const char *a_start_closes_as_often(void) {
    struct count small;
    struct count great;
    limit = SMALL;
    small = counted(detach);
    limit = large;
    great = counted(detach);
    note("untty_detach likewise: %ld closes in all its processes under a limit of 1024, %ld under one of 2^30",
         small.closes, great.closes);
    REQUIRE(small.exited == 0 && great.exited == 0, "status %d and %d", small.exited, great.exited);
    REQUIRE(small.closes > OPENED - 3, "only %ld descriptors were closed", small.closes);
    REQUIRE(small.closes == great.closes, "%ld closes and %ld", small.closes, great.closes);
    return NULL;
}

/* Generous, since other machines' work may hit one of the two; the counts above are exact. */
enum { GENEROUS = 20, RUNS = 10, PART = 1 << 16 };

static const char *it_takes_as_long(void) {
    double small_close;
    double close_;
    double small_detach;
    double detach_;
    double textbook;
    limit = SMALL;
    small_close = measured(close_all, RUNS);
    small_detach = measured(detach, RUNS);
    limit = large;
    close_ = measured(close_all, RUNS);
    detach_ = measured(detach, RUNS);
    note("untty_close_from: %.0f us under a limit of 1024, %.0f us under one of 2^30: %.2f times", small_close, close_,
         close_ / small_close);
    note("untty_detach: %.0f us and %.0f us: %.2f times", small_detach, detach_, detach_ / small_detach);
    /* Without the filter, which costs something at each call. */
    without_range = 0;
    limit = PART;
    textbook = measured(loop, 3);
    without_range = 1;
    note("the textbook's loop: %.0f us for %d descriptors, so %.0f s for 2^30 (extrapolated)", textbook, PART,
         textbook / PART * (1 << 30) / 1e6);
    REQUIRE(small_close > 0 && close_ > 0 && small_detach > 0 && detach_ > 0, "it failed");
    REQUIRE(close_ < GENEROUS * small_close, "closing takes %.1f times as long", close_ / small_close);
    REQUIRE(detach_ < GENEROUS * small_detach, "a start takes %.1f times as long", detach_ / small_detach);
    return NULL;
}

/* /proc has to be there to raise the limit, and is mounted again at the end. */
void judge_closing(void) {
    mkdir("/proc", 0555);
    if (mount("proc", "/proc", "proc", 0, NULL) != 0) {
        note("/proc cannot be mounted: errno %d", errno);
    }
    judge("the_limit_can_be_2_to_30", the_limit_can_be_2_to_30);
    judge("under_2_to_30_a_start_is_whole", a_start_under_a_limit_of_2_to_30_is_whole);
    without_range = 1;
    judge("under_2_to_30_without_close_range_a_start_is_whole", a_start_under_a_limit_of_2_to_30_is_whole);
    umount("/proc");
    without_proc = 1;
    judge("under_2_to_30_without_close_range_and_proc_a_start_is_whole", a_start_under_a_limit_of_2_to_30_is_whole);
    judge("under_2_to_30_without_close_range_and_proc_closing_calls_as_often", closing_calls_the_kernel_as_often);
    judge("under_2_to_30_without_close_range_and_proc_a_start_closes_as_often", a_start_closes_as_often);
    judge("under_2_to_30_without_close_range_and_proc_it_takes_as_long", it_takes_as_long);
    mount("proc", "/proc", "proc", 0, NULL);
}
