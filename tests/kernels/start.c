/* Starting a daemon as process 1 or as its child, and what must hold then. See guest.h. */

#define _GNU_SOURCE

#include "guest.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What a caller learnt. A caller that exits says so on a pipe, if it comes back. */
struct outcome {
    int result;
    struct untty_error error;
    int changed; /* it is not as it was */
    int late;    /* it was told so by options->on_late_failure */
    char false_[sizeof ((struct state *)0)->false_];
};

/* What a daemon tells besides; a caller, before and after. */
static int way = -2;
static char what_is_false[sizeof ((struct state *)0)->false_];
static void *not_for_forks;

#ifdef __arm__
int handover_way = UNTTY_WAY_UNSUPPORTED;
#else
int handover_way = UNTTY_WAY_HANDOVER;
#endif

static void put(int fd, const void *bytes, size_t size) {
    const char *rest = bytes;
    while (size > 0) {
        ssize_t written = write(fd, rest, size);
        if (written < 0) {
            _exit(98);
        }
        rest += written;
        size -= (size_t)written;
    }
}

static int take(int fd, void *bytes, size_t size) {
    size_t filled = 0;
    while (filled < size) {
        ssize_t count = read(fd, (char *)bytes + filled, size - filled);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return 0;
        }
        filled += (size_t)count;
    }
    return 1;
}

static int is_mapped(void *page) {
    unsigned char resident;
    return mincore(page, 1, &resident) == 0;
}

/* A page that a fork leaves out: whoever has it, has the very memory. */
static void map_not_for_forks(void) {
    size_t size = (size_t)sysconf(_SC_PAGESIZE);
    not_for_forks = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (not_for_forks == MAP_FAILED || madvise(not_for_forks, size, MADV_DONTFORK) != 0) {
        _exit(92);
    }
}

void observe(struct state *state, const struct rope *rope) {
    int terminal = open("/dev/tty", O_RDONLY | O_NOCTTY);
    sigset_t blocked;
    int number;
    memset(state, 0, sizeof *state);
    if (terminal >= 0) {
        close(terminal);
        state->terminal = 1;
    }
    state->pid = getpid();
    state->parent = getppid();
    state->session = getsid(0);
    state->group = getpgrp();
    state->umask = (int)umask(0);
    umask((mode_t)state->umask);
    if (getcwd(state->directory, sizeof state->directory) == NULL) {
        state->directory[0] = '\0';
    }
    getresuid(&state->ids[0], &state->ids[1], &state->ids[2]);
    getresgid(&state->ids[3], &state->ids[4], &state->ids[5]);
    state->group_count = getgroups(8, state->groups);
    state->way = way;
    state->inherited = not_for_forks != NULL && is_mapped(not_for_forks);
    strcpy(state->false_, what_is_false);
    sigemptyset(&blocked);
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    for (number = 1; number <= 64; number++) {
        struct sigaction action;
        if (sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL) {
            state->handled |= 1ULL << (number - 1);
        }
        if (sigismember(&blocked, number) == 1) {
            state->blocked |= 1ULL << (number - 1);
        }
    }
    for (number = 0; number < 4096; number++) {
        struct stat stat;
        if (number < 3 && fstat(number, &stat) == 0) {
            state->devices[number] = stat.st_rdev != 0 ? stat.st_rdev : ~0UL;
        }
        if (number >= 3 && number != rope->report[1] && number != rope->go[0] && fcntl(number, F_GETFD) >= 0) {
            state->others++;
        }
    }
}

void make_rope(struct rope *rope) {
    if (pipe2(rope->report, O_CLOEXEC) != 0 || pipe2(rope->go, O_CLOEXEC) != 0) {
        _exit(97);
    }
}

void drop_rope(struct rope *rope) {
    close(rope->report[0]);
    close(rope->go[1]);
}

/* t: opens the second terminal as a program does that does not think of O_NOCTTY. w: writes to standard output. */
void serve(const struct rope *rope) {
    struct state state;
    char what = 0;
    int wrote = 0;
    do {
        if (what == 't' && open(second_terminal, O_RDWR) < 0) {
            _exit(96);
        }
        if (what == 'w') {
            wrote = write(1, "x", 1) == 1 ? 0 : errno;
        }
        observe(&state, rope);
        if (what == 'w') {
            state.others = wrote;
        }
        put(rope->report[1], &state, sizeof state);
    } while (take(rope->go[0], &what, 1));
    _exit(SERVED);
}

int hear(const struct rope *rope, struct state *state) {
    return take(rope->report[0], state, sizeof *state);
}

const char *nothing_is_left(void) {
    int status = 0;
    pid_t pid = waitpid(-1, &status, WNOHANG);
    REQUIRE(pid < 0, "process %d is left (0: it lives), with status %#x", (int)pid, (unsigned)status);
    REQUIRE(errno == ECHILD, "waitpid: errno %d", errno);
    return NULL;
}

const char *ends(struct rope *rope, int daemon) {
    int status = 0;
    drop_rope(rope);
    REQUIRE(waitpid(daemon, &status, 0) == daemon, "daemon %d is no child of process 1: errno %d", daemon, errno);
    REQUIRE(WIFEXITED(status) && WEXITSTATUS(status) == SERVED, "the daemon's status is %#x", (unsigned)status);
    return nothing_is_left();
}

struct plan plan_of(enum caller caller) {
    struct plan plan = {.caller = caller, .options = UNTTY_OPTIONS_INIT};
    plan.options.flags = caller == PROCESS_1 ? UNTTY_RETURN_IN_CALLER : 0;
    return plan;
}

static int told_late = -1;

static void tell_late(const struct untty_error *error) {
    struct outcome outcome;
    memset(&outcome, 0, sizeof outcome);
    outcome.result = -1;
    outcome.error = *error;
    outcome.late = 1;
    put(told_late, &outcome, sizeof outcome);
}

__attribute__((noreturn)) static void take_all_memory(void) {
    enum { SOME = 1 << 20 };
    for (;;) {
        char *memory = mmap(NULL, SOME, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) {
            _exit(84);
        }
        memset(memory, 7, SOME);
    }
}

/* The daemon, when its program goes on. */
static void go_on(const struct plan *plan, const struct rope *rope, struct untty_handle *handle) {
    switch (plan->never_ready) {
    case 1:
        for (;;) {
            pause();
        }
    case 2:
        raise(SIGKILL);
        break;
    case 3:
        untty_fail(handle, 9);
    case 4:
        abort();
    case 5:
        take_all_memory();
    default:
        if (plan->says_ready && untty_ready(handle, NULL) != 0) {
            _exit(85);
        }
        serve(rope);
    }
}

static void keep_what_is_false(const char *why) {
    if (why != NULL && what_is_false[0] == '\0') {
        snprintf(what_is_false, sizeof what_is_false, "%s", why);
    }
}

/* For the threads of what follows. */
static void allow_all_processes(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NPROC, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NPROC, &limit);
}

/* In the caller; does not return in the daemon. */
static void call(const struct plan *plan, const struct rope *rope, struct outcome *outcome) {
    int keep[2] = {rope->report[1], rope->go[0]};
    struct untty_options options = plan->options;
    struct untty_handle handle;
    struct untty_handle *given = plan->never_ready != 0 || plan->says_ready ? &handle : NULL;
    struct registrations registered;
    struct state before;
    struct state after;
    const char *why;
    memset(outcome, 0, sizeof *outcome);
    options.keep = keep;
    options.keep_count = 2;
    if (plan->caller == ITS_CHILD && plan->prepare != NULL) {
        plan->prepare();
    }
    if ((options.flags & UNTTY_HANDOVER) != 0) {
        options.on_late_failure = tell_late;
        map_not_for_forks();
    }
    observe(&before, rope);
    registered = registrations();
    why = detach_compared(&options, given, &outcome->error, &outcome->result);
    keep_what_is_false(why);
    if (outcome->result == 0) {
        way = given != NULL ? untty_way(given) : -2;
        if (not_for_forks != NULL && is_mapped(not_for_forks)) {
            keep_what_is_false(registrations_are(&registered));
            keep_what_is_false(the_c_library_is_true());
        }
        if (plan->recall != NULL) {
            keep_what_is_false(plan->recall());
        }
        go_on(plan, rope, given);
    }
    observe(&after, rope);
    allow_all_processes();
    keep_what_is_false(registrations_are(&registered));
    if (plan->caller == ITS_CHILD && (options.flags & UNTTY_HANDOVER) != 0) {
        keep_what_is_false(the_c_library_is_true());
    }
    strcpy(outcome->false_, what_is_false);
    what_is_false[0] = '\0';
    memcpy(after.false_, before.false_, sizeof after.false_);
    outcome->changed = memcmp(&before, &after, sizeof before) != 0;
}

/* The status of a caller that exits; of process 1, none. */
static int call_as(const struct plan *plan, struct rope *rope, struct outcome *outcome) {
    int told[2];
    int status = 0;
    pid_t child;
    make_rope(rope);
    if (plan->caller == PROCESS_1) {
        call(plan, rope, outcome);
    } else {
        if (pipe2(told, O_CLOEXEC) != 0 || (child = fork()) < 0) {
            _exit(97);
        }
        if (child == 0) {
            told_late = told[1];
            call(plan, rope, outcome);
            put(told[1], outcome, sizeof *outcome);
            _exit(1);
        }
        close(told[1]);
        while (waitpid(-1, &status, 0) != child) {
            /* An orphan: nobody but process 1 reaps it, and a caller may wait for that. */
        }
        if (!take(told[0], outcome, sizeof *outcome)) {
            memset(outcome, 0, sizeof *outcome);
        }
        close(told[0]);
    }
    close(rope->report[1]);
    close(rope->go[0]);
    return status;
}

static const char *is_whole(const struct plan *plan, const struct state *daemon) {
    const struct untty_stdio *streams[3] = {&plan->options.input, &plan->options.output, &plan->options.error};
    int user = (plan->options.flags & UNTTY_SET_USER) != 0;
    int number;
    int handover = (plan->options.flags & UNTTY_HANDOVER) != 0 ? handover_way : UNTTY_WAY_FORKS;
    REQUIRE(daemon->false_[0] == '\0', "%s", daemon->false_);
    REQUIRE(!plan->says_ready || daemon->way == handover, "its way is %d", daemon->way);
    REQUIRE(daemon->inherited == (handover == UNTTY_WAY_HANDOVER), "the caller's memory: %d", daemon->inherited);
    REQUIRE(daemon->parent == getpid(), "its parent is %d", daemon->parent);
    REQUIRE(daemon->session != daemon->pid, "it is a session leader");
    REQUIRE(daemon->session != getsid(0) && daemon->group == daemon->session, "its session is %d, its group %d",
            daemon->session, daemon->group);
    REQUIRE(getsid(daemon->pid) == daemon->session, "its number here is another");
    REQUIRE(kill(daemon->session, 0) == -1 && errno == ESRCH, "its leader is there");
    REQUIRE(!daemon->terminal, "it has a controlling terminal");
    REQUIRE(daemon->umask == 027, "its umask is %o", (unsigned)daemon->umask);
    REQUIRE(strcmp(daemon->directory, "/") == 0, "its directory is %s", daemon->directory);
    REQUIRE(daemon->handled == 0 && daemon->blocked == 0, "signals: %llx handled, %llx blocked", daemon->handled,
            daemon->blocked);
    REQUIRE(daemon->others == (plan->options.pid_file != NULL), "%d descriptors are open besides", daemon->others);
    for (number = 0; number < 3; number++) {
        REQUIRE(streams[number]->kind != UNTTY_STDIO_NULL || daemon->devices[number] == DEVICE_NULL,
                "its descriptor %d leads to device %lx", number, daemon->devices[number]);
    }
    for (number = 0; number < 6; number++) {
        unsigned id = !user ? 0 : number < 3 ? plan->options.uid : plan->options.gid;
        REQUIRE(daemon->ids[number] == id, "its id number %d is %u", number, daemon->ids[number]);
    }
    if (user) {
        REQUIRE(daemon->group_count == (int)plan->options.group_count, "it has %d groups", daemon->group_count);
        for (number = 0; number < daemon->group_count; number++) {
            unsigned group = daemon->groups[number];
            REQUIRE(group == plan->options.groups[number], "it is in group %u", group);
        }
    }
    return NULL;
}

const char *starts(const struct plan *plan, struct state *state) {
    struct rope rope;
    struct outcome outcome;
    struct state daemon;
    char what = '1';
    int status = call_as(plan, &rope, &outcome);
    REQUIRE(outcome.result >= 0, "(%s, errno %d)%s", untty_step_name(outcome.error.step), outcome.error.errnum,
            outcome.late ? ", late" : "");
    REQUIRE(status == 0, "the caller's status is %#x", (unsigned)status);
    REQUIRE(!outcome.changed, "the caller is not as it was");
    REQUIRE(outcome.false_[0] == '\0', "the caller: %s", outcome.false_);
    REQUIRE(hear(&rope, &daemon), "there is no daemon");
    REQUIRE(plan->caller == ITS_CHILD || daemon.pid == outcome.result, "the caller was told %d, the daemon is %d",
            outcome.result, daemon.pid);
    PASS(is_whole(plan, &daemon));
    if (plan->served != 0) {
        what = (char)plan->served;
    }
    REQUIRE(write(rope.go[1], &what, 1) == 1 && hear(&rope, &daemon), "the daemon has died");
    if (state != NULL) {
        *state = daemon;
    }
    return ends(&rope, daemon.pid);
}

static const char *there_is_no_daemon(struct rope *rope) {
    struct state daemon;
    REQUIRE(!hear(rope, &daemon), "there is a daemon all the same");
    drop_rope(rope);
    return nothing_is_left();
}

const char *fails(const struct plan *plan, int step, int errnum) {
    struct rope rope;
    struct outcome outcome;
    int status = call_as(plan, &rope, &outcome);
    REQUIRE(plan->caller == PROCESS_1 || WEXITSTATUS(status) == 1, "the caller's status is %#x", (unsigned)status);
    REQUIRE(outcome.result == -1, "the call has returned %d", outcome.result);
    REQUIRE(outcome.error.step == step && outcome.error.errnum == errnum, "(%s, errno %d)",
            untty_step_name(outcome.error.step), outcome.error.errnum);
    REQUIRE(!outcome.late, "it was told late");
    REQUIRE(!outcome.changed, "the caller is not as it was");
    REQUIRE(outcome.false_[0] == '\0', "the caller: %s", outcome.false_);
    return there_is_no_daemon(&rope);
}

const char *fails_late(const struct plan *plan, int status, int step, int errnum) {
    struct rope rope;
    struct outcome outcome;
    int ended = call_as(plan, &rope, &outcome);
    REQUIRE(ended == status, "the caller's status is %#x", (unsigned)ended);
    REQUIRE(outcome.late == (step != 0) && outcome.error.step == step && outcome.error.errnum == errnum,
            "(%s, errno %d)%s", untty_step_name(outcome.error.step), outcome.error.errnum,
            outcome.late ? ", late" : "");
    if (WIFSIGNALED(ended)) {
        reap_all(); /* the leader, which nobody has waited for */
    }
    return there_is_no_daemon(&rope);
}

void reap_all(void) {
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR) {
    }
}

static int run_as(const char *const *arguments, char *text, size_t size, int and_reap) {
    int output[2];
    int status = 0;
    size_t filled = 0;
    ssize_t count;
    pid_t child;
    if (pipe2(output, O_CLOEXEC) != 0 || (child = fork()) < 0) {
        _exit(97);
    }
    if (child == 0) {
        dup2(output[1], 1);
        dup2(output[1], 2);
        execv(arguments[0], (char *const *)arguments);
        _exit(95);
    }
    close(output[1]);
    while (and_reap && waitpid(-1, &status, 0) != child) {
    }
    while (filled + 1 < size && (count = read(output[0], text + filled, size - 1 - filled)) > 0) {
        filled += (size_t)count;
    }
    text[filled] = '\0';
    close(output[0]);
    if (and_reap) {
        reap_all();
    } else {
        waitpid(child, &status, 0);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

int run(const char *const *arguments, char *text, size_t size) { return run_as(arguments, text, size, 0); }

int run_and_reap(const char *const *arguments, char *text, size_t size) { return run_as(arguments, text, size, 1); }

static void filter(struct sock_filter *instructions, unsigned short count) {
    struct sock_fprog program = {count, instructions};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        _exit(94);
    }
}

/* ARM's own calls are far above all others. */
void forbid_above(int number) {
    struct sock_filter instructions[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, (unsigned)number, 0, 2),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0xf0000, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    filter(instructions, sizeof instructions / sizeof instructions[0]);
}

void forbid(int number) {
    struct sock_filter instructions[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    filter(instructions, sizeof instructions / sizeof instructions[0]);
}
