/* Little memory, and memory that is not lent. */

#define _GNU_SOURCE

#include "guest.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* Free memory that is left: a quarter of a machine of 32 MiB. */
enum { LEFT = 8 * 1024 };

static enum caller caller;

/* Fills memory with a file that cannot go anywhere. */
static const char *take_memory(void) {
    static const char block[1 << 16] = "untty";
    int fd;
    mkdir("/ballast", 0755);
    REQUIRE(mount("ballast", "/ballast", "tmpfs", 0, "size=100%") == 0, "no tmpfs: errno %d", errno);
    fd = open("/ballast/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (memory_free() > LEFT && write(fd, block, sizeof block) == sizeof block) {
    }
    close(fd);
    REQUIRE(memory_free() <= LEFT, "%lld KiB are free still", memory_free());
    return NULL;
}

static const char *starts_in_little_memory(void) {
    struct plan plan = plan_of(caller);
    return starts(&plan, NULL);
}

static const char *the_command_starts_a_program_in_little_memory(void) {
    static const char *const start[] = {"/untty", "-p", "/run/true.pid", "/bin/true", NULL};
    char text[256];
    int status = run(start, text, sizeof text);
    REQUIRE(status == 0, "its status is %d: %s", status, text);
    while (nothing_is_left() != NULL) {
        usleep(1000);
    }
    return NULL;
}

static long long meminfo(const char *key) {
    static char text[8192];
    int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
    ssize_t count = read(fd, text, sizeof text - 1);
    const char *line;
    close(fd);
    text[count > 0 ? count : 0] = '\0';
    line = strstr(text, key);
    return line != NULL ? atoll(line + strlen(key)) : -1;
}

static double share; /* of what is not committed yet */

static long long *taken;
static size_t numbers;

/* Memory that a fork would have to promise once more. */
static void take_share(void) {
    size_t bytes = (size_t)((double)(meminfo("CommitLimit:") - meminfo("Committed_AS:")) * 1024 * share);
    taken = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (taken == MAP_FAILED) {
        _exit(92);
    }
    numbers = bytes / sizeof *taken;
}

static void take_and_fill_share(void) {
    size_t number;
    take_share();
    for (number = 0; number < numbers; number++) {
        taken[number] = (long long)number;
    }
}

static const char *the_share_is_there(void) {
    size_t number;
    for (number = 0; number < numbers; number++) {
        REQUIRE(taken[number] == (long long)number, "memory has changed");
    }
    /* So it can be written, and as much as before is left to be promised, no less. */
    memset(taken, 0, numbers * sizeof *taken);
    return NULL;
}

static const char *strict(void) {
    return write_file("/proc/sys/vm/overcommit_memory", "2");
}

static const char *starts_under_strict_overcommit(void) {
    struct plan plan = plan_of(caller);
    PASS(strict());
    return starts(&plan, NULL);
}

static const char *what_is_too_large_to_fork_is_told(void) {
    struct plan plan = plan_of(ITS_CHILD);
    PASS(strict());
    plan.prepare = take_share;
    share = 0.7;
    return fails(&plan, UNTTY_STEP_FORK, ENOMEM);
}

static const char *what_is_too_large_to_fork_twice_is_told(void) {
    struct plan plan = plan_of(ITS_CHILD);
    PASS(strict());
    plan.prepare = take_share;
    share = 0.4;
    return fails(&plan, UNTTY_STEP_FORK_AGAIN, ENOMEM);
}

/* What cannot be forked, as has just been shown. */
static const char *what_is_too_large_to_fork_hands_over(void) {
    struct plan plan = plan_of(ITS_CHILD);
    PASS(strict());
    plan.options.flags |= UNTTY_HANDOVER;
    plan.says_ready = 1;
    plan.prepare = take_and_fill_share;
    plan.recall = the_share_is_there;
    share = 0.7;
    if (handover_way != UNTTY_WAY_HANDOVER) {
        return fails(&plan, UNTTY_STEP_FORK, ENOMEM);
    }
    return starts(&plan, NULL);
}

/* For want of memory all that share it are killed, on every kernel. */
static const char *want_of_memory_is_no_success(void) {
    struct plan plan = plan_of(ITS_CHILD);
    plan.options.flags |= UNTTY_HANDOVER;
    plan.never_ready = 5;
    if (handover_way == UNTTY_WAY_HANDOVER) {
        return fails_late(&plan, SIGKILL, 0, 0);
    }
    return fails(&plan, UNTTY_STEP_WAIT, ESRCH);
}

void judge_memory(void) {
    judge("all_but_8_mib_of_memory_is_taken", take_memory);
    note("now %lld KiB of memory are free", memory_free());
    caller = PROCESS_1;
    judge("in_8_mib_process_1_starts_a_daemon", starts_in_little_memory);
    caller = ITS_CHILD;
    judge("in_8_mib_a_child_of_process_1_starts_a_daemon", starts_in_little_memory);
    judge("in_8_mib_the_command_starts_a_program", the_command_starts_a_program_in_little_memory);
    umount("/ballast");

    caller = PROCESS_1;
    judge("under_strict_overcommit_process_1_starts_a_daemon", starts_under_strict_overcommit);
    caller = ITS_CHILD;
    judge("under_strict_overcommit_a_child_of_process_1_starts_a_daemon", starts_under_strict_overcommit);
    judge("under_strict_overcommit_what_is_too_large_to_fork_is_told", what_is_too_large_to_fork_is_told);
    judge("under_strict_overcommit_what_is_too_large_to_fork_twice_is_told", what_is_too_large_to_fork_twice_is_told);
    judge("under_strict_overcommit_what_is_too_large_to_fork_hands_over", what_is_too_large_to_fork_hands_over);
    write_file("/proc/sys/vm/overcommit_memory", "0");

    judge("handover_want_of_memory_is_no_success", want_of_memory_is_no_success);
}
