/* Whether something of the caller's is the daemon's too: survives WAY THING, where WAY is "handover" or "forks". The
 * daemon says "way N" and "kept" or "lost"; whoever cannot even prepare the thing says "unable: errno N".
 *
 * survives can: whether this machine, kernel and container allow a handover at all: "yes", or why not. */

#define _GNU_SOURCE
#define _DEFAULT_SOURCE

#include "observe.h"
#include <errno.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <linux/membarrier.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <untty.h>

#ifndef PR_GET_TID_ADDRESS
#define PR_GET_TID_ADDRESS 40
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

enum { LOST, KEPT };

static struct untty_handle handle;
static size_t page;

static void unable(void) {
    say(1, "unable: errno %d\n", errno);
    exit(77);
}

/* Pages of memory, not huge, filled with sevens. */
static char *pages(size_t count) {
    char *memory = mmap(NULL, count * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        unable();
    }
    madvise(memory, count * page, MADV_NOHUGEPAGE); /* EINVAL where there are none */
    memset(memory, 7, count * page);
    return memory;
}

/* A number in /proc/self/status; -1: no such line. */
static long status(const char *key) {
    char line[256];
    long number = -1;
    FILE *file = fopen("/proc/self/status", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            number = atol(line + strlen(key));
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return number;
}

/* Memory. */

static void lock(void) {
    if (mlock(pages(4), 4 * page) != 0) {
        unable();
    }
}

static int is_locked(void) { return status("VmLck:") * 1024 >= (long)(4 * page); }

static void lock_future(void) {
    if (mlockall(MCL_FUTURE) != 0) {
        unable();
    }
}

static int new_memory_is_locked(void) {
    long before = status("VmLck:");
    return mmap(NULL, 4 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED &&
           (status("VmLck:") - before) * 1024 >= (long)(4 * page);
}

enum { MANY = 2048, FEW = 64 };
static char *many;

static void fill_many_pages(void) { many = pages(MANY); }

static long faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

/* A fault for each page, or hardly any. */
static int many_pages_are_there(void) {
    long before = faults();
    long count;
    size_t number;
    for (number = 0; number < MANY; number++) {
        many[number * page]++;
    }
    count = faults() - before;
    return count < FEW ? KEPT : count >= MANY ? LOST : -1;
}

static char *memory;

static void advise(int advice) {
    memory = pages(1);
    if (madvise(memory, page, advice) != 0) {
        unable();
    }
}

static void advise_dontfork(void) { advise(MADV_DONTFORK); }
static void advise_wipeonfork(void) { advise(MADV_WIPEONFORK); }
static int memory_is_there(void) {
    unsigned char resident;
    return mincore(memory, page, &resident) == 0 && memory[0] == 7 && memory[page - 1] == 7;
}

/* Whether the memory's area has that flag in smaps. */
static int has_flag(const char *flag) {
    char line[512];
    char begin[32];
    int found = -1;
    int here = 0;
    FILE *file = fopen("/proc/self/smaps", "re");
    snprintf(begin, sizeof begin, "%lx-", (unsigned long)memory);
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, begin, strlen(begin)) == 0) {
            here = 1;
        }
        if (here && strncmp(line, "VmFlags:", 8) == 0) {
            found = strstr(line, flag) != NULL;
            break;
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return found;
}

/* In an area of its own, between two others. */
static void advise_alone(int advice) {
    memory = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memory += page;
    if (mprotect(memory, page, PROT_READ) != 0 || madvise(memory, page, advice) != 0) {
        unable();
    }
}

static void advise_hugepage(void) { advise_alone(MADV_HUGEPAGE); }
static int is_advised_hugepage(void) { return has_flag(" hg"); }
static void advise_nohugepage(void) { advise_alone(MADV_NOHUGEPAGE); }
static int is_advised_nohugepage(void) { return has_flag(" nh"); }
static void advise_dontdump(void) { advise_alone(MADV_DONTDUMP); }
static int is_advised_dontdump(void) { return has_flag(" dd"); }

static void disable_huge_pages(void) {
    if (prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) != 0) {
        unable();
    }
}

static int huge_pages_are_disabled(void) { return prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0) == 1; }

static int shared;

static void attach(void) {
    shared = shmget(IPC_PRIVATE, page, 0600);
    if (shared < 0 || (memory = shmat(shared, NULL, 0)) == (void *)-1) {
        unable();
    }
    memset(memory, 7, page);
    shmctl(shared, IPC_RMID, NULL); /* it goes with the last who is attached */
}

static int is_attached(void) {
    struct shmid_ds about;
    return memory_is_there() && shmctl(shared, IPC_STAT, &about) == 0 && about.shm_nattch >= 1;
}

static void register_barriers(void) {
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0) {
        unable();
    }
}

/* EPERM: it is not registered. */
static int barriers_are_registered(void) {
    return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}

/* What belongs to the memory. */

static aio_context_t context;
static int device;

static void set_up_aio(void) {
    device = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (device < 0 || syscall(SYS_io_setup, 4, &context) != 0) {
        unable();
    }
}

static int aio_works(void) {
    static char bytes[8];
    struct iocb request;
    struct iocb *requests[1] = {&request};
    struct io_event event;
    memset(&request, 0, sizeof request);
    request.aio_fildes = (unsigned)device;
    request.aio_lio_opcode = IOCB_CMD_PWRITE;
    request.aio_buf = (unsigned long)bytes;
    request.aio_nbytes = sizeof bytes;
    return syscall(SYS_io_submit, context, 1, requests) == 1 &&
           syscall(SYS_io_getevents, context, 1, 1, &event, NULL) == 1 && event.res == sizeof bytes;
}

static int ring;
static struct io_uring_params ring_facts;
static char *submissions;
static char *completions;
static struct io_uring_sqe *entries;

static char *map_ring(size_t size, off_t what) {
    char *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, what);
    if (mapped == MAP_FAILED) {
        unable();
    }
    return mapped;
}

static void set_up_ring(void) {
    ring = (int)syscall(SYS_io_uring_setup, 4, &ring_facts);
    if (ring < 0) {
        unable();
    }
    submissions = map_ring(ring_facts.sq_off.array + ring_facts.sq_entries * sizeof(unsigned), IORING_OFF_SQ_RING);
    completions = map_ring(ring_facts.cq_off.cqes + ring_facts.cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_CQ_RING);
    entries = (void *)map_ring(ring_facts.sq_entries * sizeof *entries, IORING_OFF_SQES);
}

/* One request that does nothing, through the ring's memory there and back. */
static int ring_works(void) {
    unsigned *tail = (unsigned *)(submissions + ring_facts.sq_off.tail);
    unsigned *array = (unsigned *)(submissions + ring_facts.sq_off.array);
    unsigned *head = (unsigned *)(completions + ring_facts.cq_off.head);
    struct io_uring_cqe *done = (struct io_uring_cqe *)(completions + ring_facts.cq_off.cqes);
    unsigned char resident;
    if (mincore(entries, page, &resident) != 0) {
        return LOST;
    }
    done += *head & (ring_facts.cq_entries - 1);
    memset(entries, 0, sizeof *entries);
    entries->opcode = IORING_OP_NOP;
    entries->user_data = 77;
    array[*tail & (ring_facts.sq_entries - 1)] = 0;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    if (syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1 || done->user_data != 77) {
        return LOST;
    }
    done->user_data = 0;
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
    return KEPT;
}

static int fault_descriptor;

static void register_faults(void) {
    struct uffdio_api api;
    struct uffdio_register range;
    memset(&api, 0, sizeof api);
    memset(&range, 0, sizeof range);
    api.api = UFFD_API;
    fault_descriptor = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    memory = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    range.range.start = (unsigned long)memory;
    range.range.len = page;
    range.mode = UFFDIO_REGISTER_MODE_MISSING;
    if (fault_descriptor < 0 || ioctl(fault_descriptor, UFFDIO_API, &api) != 0 ||
        ioctl(fault_descriptor, UFFDIO_REGISTER, &range) != 0) {
        unable();
    }
}

static void *serve_a_fault(void *unused) {
    struct uffd_msg message;
    struct uffdio_copy copy;
    char *filled = pages(1);
    if (read(fault_descriptor, &message, sizeof message) == sizeof message) {
        memset(&copy, 0, sizeof copy);
        copy.dst = (unsigned long)memory;
        copy.src = (unsigned long)filled;
        copy.len = page;
        ioctl(fault_descriptor, UFFDIO_COPY, &copy);
    }
    return unused;
}

/* A page that a thread fills when it is looked at; else it is empty. */
static int faults_are_served(void) {
    pthread_t thread;
    return pthread_create(&thread, NULL, serve_a_fault, NULL) == 0 && *(volatile char *)memory == 7;
}

static void set_a_signal_stack(void) {
    stack_t stack;
    memset(&stack, 0, sizeof stack);
    stack.ss_size = (size_t)SIGSTKSZ;
    stack.ss_sp = memory = pages(1 + stack.ss_size / page);
    if (sigaltstack(&stack, NULL) != 0) {
        unable();
    }
}

static int has_the_signal_stack(void) {
    stack_t stack;
    return sigaltstack(NULL, &stack) == 0 && stack.ss_sp == memory && stack.ss_flags == 0;
}

/* What belongs to the process. */

static void set_interval_timers(void) {
    struct itimerval later = {{0, 0}, {100000, 0}};
    if (setitimer(ITIMER_REAL, &later, NULL) != 0 || setitimer(ITIMER_VIRTUAL, &later, NULL) != 0 ||
        setitimer(ITIMER_PROF, &later, NULL) != 0) {
        unable();
    }
}

static int interval_timers_run(void) {
    static const int timers[] = {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF};
    int running = 0;
    int number;
    for (number = 0; number < 3; number++) {
        struct itimerval left;
        getitimer(timers[number], &left);
        running += left.it_value.tv_sec != 0 || left.it_value.tv_usec != 0;
    }
    return running == 0 ? LOST : running == 3 ? KEPT : -1;
}

static void set_an_alarm(void) { alarm(100000); }
static int the_alarm_runs(void) { return alarm(100000) != 0; }

static timer_t timer;

static void set_a_posix_timer(void) {
    struct itimerspec later = {{0, 0}, {100000, 0}};
    if (timer_create(CLOCK_MONOTONIC, NULL, &timer) != 0 || timer_settime(timer, 0, &later, NULL) != 0) {
        unable();
    }
}

static int the_posix_timer_runs(void) {
    struct itimerspec left;
    return timer_gettime(timer, &left) == 0 && left.it_value.tv_sec > 0;
}

static int locked;
static struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

static void lock_a_record(void) {
    char name[4096];
    const char *directory = getenv("TMPDIR");
    snprintf(name, sizeof name, "%s/untty-survives-XXXXXX", directory != NULL ? directory : "/tmp");
    locked = mkstemp(name);
    unlink(name);
    if (locked < 0 || fcntl(locked, F_SETLK, &whole) != 0) {
        unable();
    }
}

/* It is the caller's; and when the caller is gone, it is nobody's, so that one gets it who waits. */
static int the_record_is_locked(void) {
    struct flock found = whole;
    int caller_has_it = fcntl(locked, F_GETLK, &found) == 0 && found.l_type == F_WRLCK && found.l_pid != getpid();
    struct untty_error error;
    if (!caller_has_it || untty_ready(&handle, &error) != 0) {
        return -1;
    }
    return fcntl(locked, F_SETLKW, &whole) == 0 ? LOST : -1;
}

static void make_signals_pending(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1); /* the thread's */
    kill(getpid(), SIGUSR2); /* the process's */
}

static int signals_are_pending(void) {
    sigset_t set;
    sigpending(&set);
    switch (sigismember(&set, SIGUSR1) + sigismember(&set, SIGUSR2)) {
    case 0: return LOST;
    case 2: return KEPT;
    default: return -1;
    }
}

static pid_t child;

/* It lives until the last of the others has ended. */
static void have_a_child(void) {
    int until[2];
    char byte;
    if (pipe(until) != 0 || (child = fork()) < 0) {
        unable();
    }
    if (child == 0) {
        close(until[1]);
        while (read(until[0], &byte, 1) != 0) {
        }
        _exit(0);
    }
}

static int the_child_is_there(void) {
    int result = (int)waitpid(child, NULL, WNOHANG);
    return result == 0 ? KEPT : result == -1 && errno == ECHILD && kill(child, 0) == 0 ? LOST : -1;
}

static void ask_for_a_death_signal(void) {
    if (prctl(PR_SET_PDEATHSIG, SIGUSR1, 0, 0, 0) != 0) {
        unable();
    }
}

static int has_a_death_signal(void) {
    int number = -1;
    prctl(PR_GET_PDEATHSIG, &number, 0, 0, 0);
    return number == 0 ? LOST : number == SIGUSR1 ? KEPT : -1;
}

/* A parent traces the caller from here on, and ends as it does. */
static void be_traced(void) {
    int ended = 0;
    pid_t caller = fork();
    if (caller == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0 || status("TracerPid:") != getppid()) {
            unable();
        }
        return;
    }
    while (waitpid(caller, &ended, 0) == caller && WIFSTOPPED(ended)) {
        ptrace(PTRACE_CONT, caller, NULL, (void *)(long)WSTOPSIG(ended));
    }
    _exit(WIFEXITED(ended) ? WEXITSTATUS(ended) : 121);
}

static int is_traced(void) { return status("TracerPid:") != 0; }

enum { BURNT = 100 * 1000 };

static long burnt(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

static void burn_time(void) {
    while (burnt() < BURNT) {
    }
}

static int time_is_counted_on(void) { return burnt() >= BURNT; }

static int semaphore;

static void take_with_undo(void) {
    struct sembuf up = {0, 1, 0};
    struct sembuf down = {0, -1, SEM_UNDO};
    semaphore = semget(IPC_PRIVATE, 1, 0600);
    if (semaphore < 0 || semop(semaphore, &up, 1) != 0 || semop(semaphore, &down, 1) != 0) {
        unable();
    }
}

/* It is undone when the caller ends, though the daemon goes on. */
static int the_semaphore_stays_taken(void) {
    struct sembuf down = {0, -1, 0};
    struct timespec patience = {60, 0};
    struct untty_error error;
    int got;
    if (untty_ready(&handle, &error) != 0) {
        return -1;
    }
    do {
        got = semtimedop(semaphore, &down, 1, &patience);
    } while (got != 0 && errno == EINTR);
    semctl(semaphore, 0, IPC_RMID);
    return got == 0 ? LOST : KEPT;
}

static const struct thing {
    const char *name;
    void (*prepare)(void);
    int (*look)(void);
    enum { BOTH, DAEMON, READY } who; /* looks; READY: and says that the daemon is ready */
} things[] = {
    {"locked", lock, is_locked, BOTH},
    {"locked_future", lock_future, new_memory_is_locked, BOTH},
    {"pages", fill_many_pages, many_pages_are_there, BOTH},
    {"dontfork", advise_dontfork, memory_is_there, BOTH},
    {"wipeonfork", advise_wipeonfork, memory_is_there, BOTH},
    {"hugepage", advise_hugepage, is_advised_hugepage, BOTH},
    {"nohugepage", advise_nohugepage, is_advised_nohugepage, BOTH},
    {"dontdump", advise_dontdump, is_advised_dontdump, BOTH},
    {"thp_disable", disable_huge_pages, huge_pages_are_disabled, BOTH},
    {"shm", attach, is_attached, BOTH},
    {"membarrier", register_barriers, barriers_are_registered, BOTH},
    {"aio", set_up_aio, aio_works, BOTH},
    {"io_uring", set_up_ring, ring_works, BOTH},
    {"userfaultfd", register_faults, faults_are_served, DAEMON},
    {"sigaltstack", set_a_signal_stack, has_the_signal_stack, BOTH},
    {"itimers", set_interval_timers, interval_timers_run, BOTH},
    {"alarm", set_an_alarm, the_alarm_runs, BOTH},
    {"posix_timer", set_a_posix_timer, the_posix_timer_runs, BOTH},
    {"record_lock", lock_a_record, the_record_is_locked, READY},
    {"pending", make_signals_pending, signals_are_pending, BOTH},
    {"child", have_a_child, the_child_is_there, BOTH},
    {"death_signal", ask_for_a_death_signal, has_a_death_signal, BOTH},
    {"traced", be_traced, is_traced, BOTH},
    {"time", burn_time, time_is_counted_on, BOTH},
    {"sem_undo", take_with_undo, the_semaphore_stays_taken, READY},
};

static int tell_whether_it_can_be(void) {
    int *address = NULL;
#if !(defined __x86_64__ && defined __LP64__) && !defined __aarch64__ && !(defined __riscv && __riscv_xlen == 64)
    say(1, "no: it is not written for this machine\n");
    return 0;
#endif
    if (unshare(CLONE_VM) != 0) {
        say(1, "no: unshare(CLONE_VM) gives errno %d\n", errno);
    } else if (prctl(PR_GET_TID_ADDRESS, &address, 0, 0, 0) != 0) {
        say(1, "no: PR_GET_TID_ADDRESS gives errno %d\n", errno);
    } else if (address == NULL || *address != (int)syscall(SYS_gettid)) {
        say(1, "no: this C library's copy of the thread's id is elsewhere\n");
    } else {
        say(1, "yes\n");
    }
    return 0;
}

static const struct thing *thing_of(const char *name) {
    size_t number;
    for (number = 0; number < sizeof things / sizeof things[0]; number++) {
        if (strcmp(things[number].name, name) == 0) {
            return &things[number];
        }
    }
    exit(2);
}

int main(int argc, char **argv) {
    struct untty_options options = UNTTY_OPTIONS_INIT;
    struct untty_error error;
    const struct thing *thing;
    int found;
    if (argc == 2) {
        return tell_whether_it_can_be();
    }
    page = (size_t)sysconf(_SC_PAGESIZE);
    thing = thing_of(argv[2]);
    options.flags = UNTTY_KEEP_SIGNALS | UNTTY_KEEP_DESCRIPTORS;
    options.flags |= strcmp(argv[1], "handover") == 0 ? UNTTY_HANDOVER : 0;
    options.output.kind = options.error.kind = UNTTY_STDIO_INHERIT;
    thing->prepare();
    if (thing->who == BOTH && thing->look() != KEPT) {
        say(1, "the caller itself does not have it\n");
        return 1;
    }
    if (untty_detach(&options, &handle, &error) != 0) {
        say(1, "%s: errno %d\n", untty_step_name(error.step), error.errnum);
        return 1;
    }
    say(1, "way %d\n", untty_way(&handle));
    found = thing->look();
    say(1, "%s\n", found == KEPT ? "kept" : found == LOST ? "lost" : "neither kept nor lost");
    return thing->who != READY && untty_ready(&handle, &error) != 0;
}
