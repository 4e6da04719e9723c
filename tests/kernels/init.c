/* /init of a guest: process 1 of a kernel that has just booted. A verdict a line, and a last line if it came so far.
 *
 * It begins as the kernel leaves it: nothing is mounted, and /dev holds /dev/console alone. Linked without shared
 * libraries, with the library's backend that the architecture has. */

#define _GNU_SOURCE

#include "guest.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

const char *second_terminal;
static char reason[512];
static const char *prefix = "";
static int failed;
static enum caller caller; /* of the verdicts that hold for both */

const char *because(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return reason;
}

void judge(const char *name, verdict verdict) {
    const char *why = verdict();
    if (why == NULL) {
        why = nothing_is_left();
    }
    if (why == NULL) {
        printf("ok %s%s\n", prefix, name);
    } else {
        printf("not ok %s%s: %s\n", prefix, name, why);
        failed++;
        kill(-1, SIGKILL);
        while (waitpid(-1, NULL, 0) > 0) {
        }
    }
}

void note(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("note ");
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
}

/* As process 1, and as its child. */
static void judge_both(const char *name, verdict verdict) {
    char line[128];
    caller = PROCESS_1;
    snprintf(line, sizeof line, "process_1_%s", name);
    judge(line, verdict);
    caller = ITS_CHILD;
    snprintf(line, sizeof line, "a_child_of_process_1_%s", name);
    judge(line, verdict);
}

const char *write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_TRUNC);
    ssize_t written = fd >= 0 ? write(fd, text, strlen(text)) : -1;
    int errnum = errno;
    if (fd >= 0) {
        close(fd);
    }
    REQUIRE(written == (ssize_t)strlen(text), "%s cannot be written: errno %d", path, errnum);
    return NULL;
}

long long memory_free(void) {
    struct sysinfo info;
    sysinfo(&info);
    return (long long)info.freeram * info.mem_unit / 1024;
}

/* Without /dev and /proc. */

static const char *is_told_of_the_missing_null_device(void) {
    struct plan plan = plan_of(caller);
    REQUIRE(access("/dev/null", F_OK) != 0 && access("/proc/self", F_OK) != 0, "this guest has /dev/null or /proc");
    PASS(fails(&plan, UNTTY_STEP_STDIN, ENOENT));
    plan.options.input.kind = UNTTY_STDIO_INHERIT;
    plan.options.output.kind = UNTTY_STDIO_INHERIT;
    return fails(&plan, UNTTY_STEP_STDERR, ENOENT);
}

static const char *is_told_of_a_false_null_device(void) {
    struct plan plan = plan_of(caller);
    int fd = open("/dev/null", O_WRONLY | O_CREAT, 0666);
    const char *why;
    REQUIRE(fd >= 0, "/dev/null cannot be made: errno %d", errno);
    close(fd);
    why = fails(&plan, UNTTY_STEP_STDIN, ENODEV);
    unlink("/dev/null");
    return why;
}

static const char *starts_without_dev_with_inherited_streams(void) {
    struct plan plan = plan_of(caller);
    struct state state;
    struct state own;
    struct rope none = {{-1, -1}, {-1, -1}};
    plan.options.input.kind = plan.options.output.kind = plan.options.error.kind = UNTTY_STDIO_INHERIT;
    PASS(starts(&plan, &state));
    observe(&own, &none);
    REQUIRE(memcmp(state.devices, own.devices, sizeof own.devices) == 0, "its streams lead elsewhere");
    return NULL;
}

static const char *starts_without_dev_with_given_streams(void) {
    struct plan plan = plan_of(caller);
    int fd = open("/given", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    const char *why;
    REQUIRE(fd >= 0, "/given cannot be made: errno %d", errno);
    plan.options.input.kind = plan.options.output.kind = plan.options.error.kind = UNTTY_STDIO_FD;
    plan.options.input.fd = plan.options.output.fd = plan.options.error.fd = fd;
    why = starts(&plan, NULL);
    close(fd);
    unlink("/given");
    return why;
}

/* With /dev. */

static const char *starts_a_daemon(void) {
    struct plan plan = plan_of(caller);
    return starts(&plan, NULL);
}

/* The end of process 1 would be the end of all. */
static const char *is_refused_if_it_would_exit(void) {
    struct plan plan = plan_of(PROCESS_1);
    int result;
    plan.options.flags = 0;
    PASS(fails(&plan, UNTTY_STEP_SETSID, EINVAL));
    errno = 0;
    result = untty_daemon(0, 0);
    REQUIRE(result == -EINVAL || (result == -1 && errno == EINVAL), "untty_daemon: %d, errno %d", result, errno);
    return NULL;
}

static const char *is_told_of_a_failure_in_the_daemon(void) {
    struct plan plan = plan_of(caller);
    plan.options.directory = "/nowhere";
    return fails(&plan, UNTTY_STEP_DIRECTORY, ENOENT);
}

static const char *is_told_of_a_death(void) {
    struct plan plan = plan_of(caller);
    plan.never_ready = 2;
    return fails(&plan, UNTTY_STEP_WAIT, ESRCH);
}

static const char *ends_a_start_at_the_deadline(void) {
    struct plan plan = plan_of(caller);
    plan.never_ready = 1;
    plan.options.deadline_ms = 200;
    return fails(&plan, UNTTY_STEP_WAIT, ETIMEDOUT);
}

/* A pid file names the daemon, has its mode, and is free again when it is gone. */
static const char *keeps_a_pid_file(void) {
    struct plan plan = plan_of(caller);
    struct stat stat_;
    int owner;
    int fd;
    char text[32] = "";
    struct state state;
    plan.options.pid_file = "/daemon.pid";
    PASS(starts(&plan, &state));
    owner = untty_pid_file_read(plan.options.pid_file, NULL);
    REQUIRE(owner == 0, "its owner is still %d", owner);
    REQUIRE(stat(plan.options.pid_file, &stat_) == 0 && (stat_.st_mode & 07777) == 0644, "its mode is wrong");
    fd = open(plan.options.pid_file, O_RDONLY | O_CLOEXEC);
    REQUIRE(read(fd, text, sizeof text - 1) > 0 && atoi(text) == state.pid, "it holds %s", text);
    close(fd);
    unlink(plan.options.pid_file);
    return NULL;
}

static const char *starts_with_ids_above_16_bits(void) {
    static const uint32_t groups[] = {5, 70002};
    struct plan plan = plan_of(caller);
    struct stat log;
    plan.options.flags |= UNTTY_SET_USER;
    plan.options.uid = 70000;
    plan.options.gid = 70001;
    plan.options.groups = groups;
    plan.options.group_count = 2;
    plan.options.pid_file = "/ids.pid";
    PASS(starts(&plan, NULL));
    REQUIRE(stat("/ids.pid", &log) == 0 && log.st_uid == 0, "the pid file is %u's", (unsigned)log.st_uid);
    unlink("/ids.pid");
    return NULL;
}

/* Without the calls that came after Linux 2.6.36, which ends with prlimit64 in every table of numbers. */

static void forbid_new_calls(void) {
    forbid_above(SYS_prlimit64);
    if (syscall(436, ~0U, ~0U, 0) != -1 || errno != ENOSYS || syscall(434, 1, 0) != -1 || errno != ENOSYS) {
        _exit(93); /* close_range, pidfd_open */
    }
}

static const char *with_the_calls_of_2_6_36_it_starts(void) {
    struct plan plan = plan_of(ITS_CHILD);
    plan.prepare = forbid_new_calls;
    plan.options.pid_file = "/daemon.pid";
    PASS(starts(&plan, NULL));
    unlink(plan.options.pid_file);
    return NULL;
}

static const char *with_the_calls_of_2_6_36_a_failure_is_told(void) {
    struct plan plan = plan_of(ITS_CHILD);
    plan.prepare = forbid_new_calls;
    plan.options.directory = "/nowhere";
    PASS(fails(&plan, UNTTY_STEP_DIRECTORY, ENOENT));
    plan = plan_of(ITS_CHILD);
    plan.prepare = forbid_new_calls;
    plan.never_ready = 2;
    PASS(fails(&plan, UNTTY_STEP_WAIT, ESRCH));
    plan.never_ready = 1;
    plan.options.deadline_ms = 200;
    return fails(&plan, UNTTY_STEP_WAIT, ETIMEDOUT);
}

/* On a root that cannot be written. */

static const char *starts_on_a_read_only_root(void) {
    struct plan plan = plan_of(caller);
    const char *why;
    REQUIRE(mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0, "/ cannot be made read-only: errno %d", errno);
    REQUIRE(open("/file", O_WRONLY | O_CREAT, 0600) == -1 && errno == EROFS, "/ can be written");
    why = starts(&plan, NULL);
    if (why == NULL) {
        plan.options.output.kind = UNTTY_STDIO_FILE;
        plan.options.output.path = "/log";
        why = fails(&plan, UNTTY_STEP_STDOUT, EROFS);
    }
    if (why == NULL) {
        plan.options.output.kind = UNTTY_STDIO_NULL;
        plan.options.pid_file = "/daemon.pid";
        why = fails(&plan, UNTTY_STEP_PID_FILE, EROFS);
    }
    if (why == NULL) {
        plan.options.pid_file = "/run/daemon.pid"; /* a tmpfs */
        plan.options.output.kind = UNTTY_STDIO_FILE;
        plan.options.output.path = "/run/log";
        why = starts(&plan, NULL);
    }
    REQUIRE(mount(NULL, "/", NULL, MS_REMOUNT, NULL) == 0, "/ cannot be made writable again: errno %d", errno);
    return why;
}

/* The command: static, without a C library. */

static const char *the_command_starts_a_program(void) {
    static const char *const start[] = {"/untty", "-P", "-p", "/run/sleep.pid", "-o", "/run/sleep.log",
                                        "/bin/sleep", "1000", NULL};
    char text[256];
    char again[256];
    int status = run(start, text, sizeof text);
    int daemon = atoi(text);
    int state = 0;
    REQUIRE(status == 0 && daemon > 1, "its status is %d: %s", status, text);
    REQUIRE(getsid(daemon) != daemon && getsid(daemon) != getsid(0), "the daemon's session is %d", (int)getsid(daemon));
    REQUIRE(untty_pid_file_read("/run/sleep.pid", NULL) == daemon, "the pid file does not name it");
    status = run(start, again, sizeof again);
    REQUIRE(status == 125 && strstr(again, "EEXIST") != NULL, "a second start: status %d: %s", status, again);
    REQUIRE(kill(daemon, SIGTERM) == 0 && waitpid(daemon, &state, 0) == daemon, "it is not there: errno %d", errno);
    REQUIRE(WIFSIGNALED(state) && WTERMSIG(state) == SIGTERM, "its end is %#x", (unsigned)state);
    return NULL;
}

static const char *the_command_tells_what_fails(void) {
    static const char *const log[] = {"/untty", "-o", "/nowhere/log", "/bin/sleep", "1000", NULL};
    static const char *const missing[] = {"/untty", "/nowhere", NULL};
    static const char *const plain[] = {"/untty", "/given", NULL};
    char text[256];
    int status = run(log, text, sizeof text);
    int fd;
    REQUIRE(status == 125 && strstr(text, "ENOENT") != NULL, "a log that cannot be made: %d: %s", status, text);
    status = run(missing, text, sizeof text);
    REQUIRE(status == 127, "no such command: %d: %s", status, text);
    fd = open("/given", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    close(fd);
    status = run(plain, text, sizeof text);
    unlink("/given");
    REQUIRE(status == 126, "a file that is no program: %d: %s", status, text);
    return NULL;
}

static const char *the_command_becomes_user_70000(void) {
    static const char *const start[] = {"/untty", "-P", "-u", "70000:70001", "-o", "/run/ids.log", "/bin/id", NULL};
    static const char expected[] = "uid=70000 gid=70001\n";
    char text[256];
    char log[256] = "";
    int status = run(start, text, sizeof text);
    int state = 0;
    int fd;
    REQUIRE(status == 0, "its status is %d: %s", status, text);
    REQUIRE(waitpid(atoi(text), &state, 0) == atoi(text) && state == 0, "id's status is %#x", (unsigned)state);
    fd = open("/run/ids.log", O_RDONLY | O_CLOEXEC);
    REQUIRE(read(fd, log, sizeof log - 1) > 0, "id has told nothing");
    close(fd);
    REQUIRE(strncmp(log, expected, strlen(expected) - 1) == 0, "id tells: %s", log);
    return NULL;
}

/* Handover by this very program, linked with the shared C library; its verdicts are among ours. */
static const char *the_same_holds_with_shared_libraries(void) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        execl("/dynamic", "/dynamic", NULL);
        _exit(95);
    }
    REQUIRE(waitpid(child, &status, 0) == child && status == 0, "its status is %#x", (unsigned)status);
    return NULL;
}

static int judge_handover_alone(void) {
    prefix = "dynamic_";
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) {
        return 2;
    }
    judge_handover();
    return failed;
}

/* Handover in a program without a C library. */

static const char *bare(const char *mode, int status, const char *says) {
    const char *const start[] = {"/bare", mode, NULL};
    char text[256];
    int ended = run_and_reap(start, text, sizeof text);
    REQUIRE(ended == status, "its status is %d: %s", ended, text);
    REQUIRE(strcmp(text, says) == 0, "it says: %s", text);
    return NULL;
}

#define WENT_ON "way 1\nsession 1\nleader 0\n"
static const char *bare_starts(void) { return bare("r", 0, WENT_ON "ready 0\n"); }
static const char *bare_is_told(void) { return bare("f", 3, "step 11\nerrno 2\n"); }
static const char *bare_is_told_late(void) { return bare("d", 1, WENT_ON "late 15\nerrno 3\n"); }
static const char *bare_ends_at_the_deadline(void) { return bare("t", 1, WENT_ON "late 15\nerrno 110\n"); }
static const char *bare_gives_up(void) { return bare("g", 9, WENT_ON); }

static void judge_bare(void) {
    judge("bare_hands_over", bare_starts);
    judge("bare_is_told_of_a_failure", bare_is_told);
    judge("bare_is_told_of_a_late_death", bare_is_told_late);
    judge("bare_ends_at_the_deadline", bare_ends_at_the_deadline);
    judge("bare_exits_as_its_daemon_gives_up", bare_gives_up);
}

/* Facts about this kernel. */
static void tell_of_the_kernel(void) {
    struct utsname name;
    struct sysinfo info;
    int range;
    int flagged;
    int process;
    uname(&name);
    sysinfo(&info);
    range = syscall(436, 4000, 4000, 0) == 0 ? 0 : errno;
    flagged = syscall(436, 4000, 4000, 4) == 0 ? 0 : errno;
    process = (int)syscall(434, 1, 0);
    note("Linux %s, %s, %lu KiB of memory, %lld free; untty %s", name.release, name.machine,
         (unsigned long)(info.totalram / 1024 * info.mem_unit), memory_free(), untty_version());
    note("errno of close_range: %d, with CLOSE_RANGE_CLOEXEC: %d; of pidfd_open: %d (22 is EINVAL)", range, flagged,
         process >= 0 ? 0 : errno);
    if (process >= 0) {
        close(process);
    }
}

/* For /bin/sleep and /bin/id where the guest has no busybox. */
static int act_as(const char *name) {
    if (strcmp(name, "sleep") == 0) {
        while (pause()) {
        }
    }
    printf("uid=%u gid=%u\n", (unsigned)geteuid(), (unsigned)getegid());
    return 0;
}

int main(int count, char **arguments) {
    const char *base = strrchr(arguments[0], '/');
    base = base != NULL ? base + 1 : arguments[0];
    if (strcmp(base, "dynamic") == 0) {
        setvbuf(stdout, NULL, _IONBF, 0);
        return judge_handover_alone();
    }
    if (getpid() != 1) {
        return count >= 1 ? act_as(base) : 1;
    }
    setvbuf(stdout, NULL, _IONBF, 0);
    printf("\n"); /* after what the firmware has left on the line */
    tell_of_the_kernel();

    judge_both("is_told_of_the_missing_null_device", is_told_of_the_missing_null_device);
    judge_both("is_told_of_a_false_null_device", is_told_of_a_false_null_device);
    judge_both("starts_without_dev_with_inherited_streams", starts_without_dev_with_inherited_streams);
    judge_both("starts_without_dev_with_given_streams", starts_without_dev_with_given_streams);

    if (mount("dev", "/dev", "devtmpfs", 0, NULL) != 0) {
        printf("not ok devtmpfs: errno %d\n", errno);
        failed++;
    }
    judge_both("starts_without_proc", starts_a_daemon);
    judge_both("ends_a_start_at_the_deadline_without_proc", ends_a_start_at_the_deadline);
    judge_closing(); /* mounts /proc */
    judge_both("starts_a_daemon", starts_a_daemon);
    judge("process_1_is_refused_if_it_would_exit", is_refused_if_it_would_exit);
    judge_both("is_told_of_a_failure_in_the_daemon", is_told_of_a_failure_in_the_daemon);
    judge_both("is_told_of_a_death", is_told_of_a_death);
    judge_both("ends_a_start_at_the_deadline", ends_a_start_at_the_deadline);
    judge_both("keeps_a_pid_file", keeps_a_pid_file);
    judge_both("starts_with_ids_above_16_bits", starts_with_ids_above_16_bits);
    judge("with_the_calls_of_2_6_36_it_starts", with_the_calls_of_2_6_36_it_starts);
    judge("with_the_calls_of_2_6_36_a_failure_is_told", with_the_calls_of_2_6_36_a_failure_is_told);

    mkdir("/run", 0755);
    if (mount("run", "/run", "tmpfs", 0, NULL) != 0) {
        printf("not ok tmpfs: errno %d\n", errno);
        failed++;
    }
    judge_both("starts_on_a_read_only_root", starts_on_a_read_only_root);
    judge("the_command_starts_a_program", the_command_starts_a_program);
    judge("the_command_tells_what_fails", the_command_tells_what_fails);
    judge("the_command_becomes_user_70000", the_command_becomes_user_70000);
    judge_handover();
    judge("the_same_holds_with_shared_libraries", the_same_holds_with_shared_libraries);
    if (access("/bare", F_OK) == 0) {
        judge_bare();
    }
    judge_memory();
    judge_terminal();

    printf("guest: %d failed\n", failed);
    sync();
    reboot(RB_POWER_OFF);
    reboot(RB_AUTOBOOT);
    return 1;
}
