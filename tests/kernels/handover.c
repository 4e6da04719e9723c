/* Handover, in a kernel that has just booted: user-mode qemu cannot run such clones. What starts() and fails() look at
 * includes every register that a function preserves, the memory of frames below the call, and whether what the kernel
 * has been told of the thread, and what the C library believes of it, is true; see guest.h. */

#define _GNU_SOURCE

#include "guest.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

static struct plan handover(void) {
    struct plan plan = plan_of(ITS_CHILD);
    plan.options.flags |= UNTTY_HANDOVER;
    return plan;
}

static const char *a_daemon_is_whole(void) {
    struct plan plan = handover();
    plan.options.pid_file = "/handover.pid";
    PASS(starts(&plan, NULL));
    unlink(plan.options.pid_file);
    return NULL;
}

static const char *a_daemon_says_that_it_is_ready(void) {
    struct plan plan = handover();
    plan.says_ready = 1;
    return starts(&plan, NULL);
}

static void close_streams(void) {
    close(0);
    close(1);
    close(2);
}

static const char *a_daemon_starts_from_closed_streams(void) {
    struct plan plan = handover();
    plan.prepare = close_streams;
    plan.says_ready = 1;
    return starts(&plan, NULL);
}

static const char *a_daemon_becomes_user_70000(void) {
    static const uint32_t groups[] = {5, 70002};
    struct plan plan = handover();
    plan.options.flags |= UNTTY_SET_USER;
    plan.options.uid = 70000;
    plan.options.gid = 70001;
    plan.options.groups = groups;
    plan.options.group_count = 2;
    return starts(&plan, NULL);
}

static void stay_with_the_calls_of_2_6_36(void) { forbid_above(SYS_prlimit64); }

/* rseq is newer: a C library that has registered it cannot be helped. */
static const char *old_calls_are_enough_but_for_rseq(void) {
    struct plan plan = handover();
    int usual = handover_way;
    const char *why;
    plan.prepare = stay_with_the_calls_of_2_6_36;
    plan.says_ready = 1;
    if (handover_way == UNTTY_WAY_HANDOVER && registrations().restartable != 0) {
        handover_way = UNTTY_WAY_RSEQ;
    }
    why = starts(&plan, NULL);
    handover_way = usual;
    return why;
}

static const char *a_caller_that_returns_forks(void) {
    struct plan plan = plan_of(PROCESS_1);
    int usual = handover_way;
    const char *why;
    plan.options.flags |= UNTTY_HANDOVER;
    plan.says_ready = 1;
    handover_way = UNTTY_WAY_RETURNS;
    why = starts(&plan, NULL);
    handover_way = usual;
    return why;
}

/* Failures before the program goes on: the caller gets its stack back. */

static const char *a_missing_directory_is_told(void) {
    struct plan plan = handover();
    plan.options.directory = "/nowhere";
    return fails(&plan, UNTTY_STEP_DIRECTORY, ENOENT);
}

static const char *a_missing_root_is_told(void) {
    struct plan plan = handover();
    plan.options.root = "/nowhere";
    return fails(&plan, UNTTY_STEP_ROOT, ENOENT);
}

static void become_an_ordinary_user(void) {
    if (setresuid(70000, 70000, 70000) != 0) {
        _exit(92);
    }
}

static const char *missing_privileges_are_told(void) {
    struct plan plan = handover();
    plan.prepare = become_an_ordinary_user;
    plan.options.flags |= UNTTY_SET_USER;
    plan.options.uid = 70000;
    plan.options.gid = 70001;
    return fails(&plan, UNTTY_STEP_GROUPS, EPERM);
}

static rlim_t processes;

static void allow_few_processes(void) {
    struct rlimit limit = {processes, 100};
    if (setrlimit(RLIMIT_NPROC, &limit) != 0) {
        _exit(92);
    }
    become_an_ordinary_user();
}

static const char *too_many_processes_are_told(void) {
    struct plan plan = handover();
    plan.prepare = allow_few_processes;
    processes = 1;
    PASS(fails(&plan, UNTTY_STEP_FORK, EAGAIN));
    processes = 2;
    return fails(&plan, UNTTY_STEP_FORK_AGAIN, EAGAIN);
}

/* The pid file can be made, and not be written. */
static const char *a_full_file_system_is_told(void) {
    static const char page[4096];
    struct plan plan = handover();
    const char *why = NULL;
    int fd;
    mkdir("/full", 0755);
    REQUIRE(mount("full", "/full", "tmpfs", 0, "size=4096") == 0, "no tmpfs: errno %d", errno);
    fd = open("/full/ballast", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (write(fd, page, sizeof page) != sizeof page || write(fd, page, 1) != -1 || errno != ENOSPC) {
        why = "it is not full";
    }
    close(fd);
    plan.options.pid_file = "/full/daemon.pid";
    if (why == NULL) {
        why = fails(&plan, UNTTY_STEP_PID_FILE, ENOSPC);
    }
    if (why == NULL && access("/full/daemon.pid", F_OK) == 0) {
        why = "the pid file is left";
    }
    umount("/full");
    return why;
}

/* And afterwards. */

enum { EXITS_1 = 1 << 8, EXITS_9 = 9 << 8 };

static const char *fails_afterwards(const struct plan *plan, int status, int step, int errnum) {
    if (handover_way == UNTTY_WAY_HANDOVER) {
        return fails_late(plan, status, step, errnum);
    }
    return step != 0 ? fails(plan, step, errnum) : fails_late(plan, status, 0, 0);
}

static const char *a_death_is_told_late(void) {
    struct plan plan = handover();
    plan.never_ready = 2;
    return fails_afterwards(&plan, EXITS_1, UNTTY_STEP_WAIT, ESRCH);
}

static const char *a_deadline_ends_a_start_late(void) {
    struct plan plan = handover();
    plan.never_ready = 1;
    plan.options.deadline_ms = 200;
    return fails_afterwards(&plan, EXITS_1, UNTTY_STEP_WAIT, ETIMEDOUT);
}

static const char *the_caller_exits_as_a_daemon_gives_up(void) {
    struct plan plan = handover();
    plan.never_ready = 3;
    return fails_afterwards(&plan, EXITS_9, 0, 0);
}

/* Before Linux 5.16 a core dump ends all that share the memory, even if none is written: then the caller ends as the
 * daemon does, by the same signal, and cannot say why. */
static const char *a_core_dump_is_no_success(void) {
    struct plan plan = handover();
    struct utsname name;
    int version = 0;
    int patchlevel = 0;
    uname(&name);
    sscanf(name.release, "%d.%d", &version, &patchlevel);
    plan.never_ready = 4;
    if (handover_way == UNTTY_WAY_HANDOVER && (version < 5 || (version == 5 && patchlevel < 16))) {
        return fails_late(&plan, SIGABRT, 0, 0);
    }
    return fails_afterwards(&plan, EXITS_1, UNTTY_STEP_WAIT, ESRCH);
}

void judge_handover(void) {
    judge("handover_a_daemon_is_whole", a_daemon_is_whole);
    judge("handover_a_daemon_says_that_it_is_ready", a_daemon_says_that_it_is_ready);
    judge("handover_a_daemon_starts_from_closed_streams", a_daemon_starts_from_closed_streams);
    judge("handover_a_daemon_becomes_user_70000", a_daemon_becomes_user_70000);
    judge("handover_old_calls_are_enough_but_for_rseq", old_calls_are_enough_but_for_rseq);
    judge("handover_a_caller_that_returns_forks", a_caller_that_returns_forks);
    judge("handover_a_missing_directory_is_told", a_missing_directory_is_told);
    judge("handover_a_missing_root_is_told", a_missing_root_is_told);
    judge("handover_missing_privileges_are_told", missing_privileges_are_told);
    judge("handover_too_many_processes_are_told", too_many_processes_are_told);
    judge("handover_a_full_file_system_is_told", a_full_file_system_is_told);
    judge("handover_a_death_is_told_late", a_death_is_told_late);
    judge("handover_a_deadline_ends_a_start_late", a_deadline_ends_a_start_late);
    judge("handover_the_caller_exits_as_a_daemon_gives_up", the_caller_exits_as_a_daemon_gives_up);
    judge("handover_a_core_dump_is_no_success", a_core_dump_is_no_success);
}
