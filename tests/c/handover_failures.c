/* A caller with everything to lose. Its first start fails (how is in the arguments, or an injector's affair): then nothing
 * in it may be another than before, and a second start must hand its memory over. What differs is said, a line each.
 *
 *     handover_failures DIRECTORY WORD...
 *
 * DIRECTORY is the program's own; what words there are is in main. */

#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
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
#include <untty.h>

enum { MAGIC = 0x756e7474, BEGIN = 1, DAEMON, RETURNED, FAILED, END };
enum { LINES = 1200, LINE = 160, HELD = 4096, SIGNATURE = 0x53053053 };

/* What a process is, a line each. */
struct picture {
    int count;
    char lines[LINES][LINE];
};

struct region {
    unsigned long start, end;
    char name[200];
};

/* All that this program itself changes by looking, so it is left out of the comparison of memory; in pages of its own. */
static struct {
    struct picture before, after;
    struct untty_error error;
    char maps[1 << 18];
    char bytes[1 << 16], was[1 << 16];
    struct region last;
    volatile long caught, on_the_other_stack;
    int errors;
} own __attribute__((aligned(4096)));

static struct untty_options options = UNTTY_OPTIONS_INIT;
static struct untty_handle handle;
static char other_stack[65536];
static pthread_mutex_t normal = PTHREAD_MUTEX_INITIALIZER, recursive, checking;
static const char *pid_file;
static unsigned char *heap;

static int is(const char *left, const char *right) { return strcmp(left, right) == 0; }

static void put(const char *text) {
    size_t rest = strlen(text);
    while (rest > 0) {
        ssize_t written = write(1, text, rest);
        if (written <= 0)
            _exit(98);
        text += written;
        rest -= (size_t)written;
    }
}

static void say(const char *format, ...) {
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    put(line);
}

static void wrong(const char *what) {
    own.errors++;
    say("wrong: %s\n", what);
}

static void check(int holds, const char *what) {
    if (!holds)
        wrong(what);
}

static void tell(long word, long first, long second) {
    int kept = errno;
    prctl(MAGIC, word, first, second, 0L);
    errno = kept;
}

/* What it is, without its memory. */

static void note(struct picture *picture, const char *format, ...) {
    va_list arguments;
    if (picture->count == LINES)
        _exit(97);
    va_start(arguments, format);
    vsnprintf(picture->lines[picture->count++], LINE, format, arguments);
    va_end(arguments);
}

extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

struct rseq_area {
    uint32_t cpu_id_start, cpu_id;
    uint64_t critical_section;
    uint32_t flags, node_id, memory_cid;
};

static struct rseq_area *rseq_area(void) {
    if (!&__rseq_offset || !&__rseq_size || __rseq_size == 0)
        return NULL;
    return (struct rseq_area *)((char *)__builtin_thread_pointer() + __rseq_offset);
}

static long answer(long result) { return result < 0 ? -(long)errno : result; }

static void take_registrations(struct picture *picture) {
    int *address = NULL;
    void *robust = NULL;
    size_t length = 0;
    struct rseq_area *area = rseq_area();
    note(picture, "thread id %ld", (long)syscall(SYS_gettid));
    note(picture, "its address: %ld", answer(prctl(PR_GET_TID_ADDRESS, &address)));
    note(picture, "its address is %p, and there is %d", (void *)address, address ? *address : -1);
    note(picture, "robust list: %ld", answer(syscall(SYS_get_robust_list, 0, &robust, &length)));
    note(picture, "robust list is %p, %lu", robust, (unsigned long)length);
    note(picture, "robust list holds %d", robust && *(void **)robust != robust);
    if (area) {
        /* EBUSY: that one is registered; with another signature, EPERM. */
        note(picture, "rseq again: %ld", answer(syscall(SYS_rseq, area, 32L, 0L, (long)SIGNATURE)));
        note(picture, "rseq, another's: %ld", answer(syscall(SYS_rseq, area, 32L, 1L, (long)SIGNATURE + 1)));
        note(picture, "rseq's critical section %lx", (unsigned long)area->critical_section);
    }
}

static void take_signals(struct picture *picture) {
    unsigned long mask = 0, pending = 0, action[4];
    stack_t stack;
    int number;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof mask);
    syscall(SYS_rt_sigpending, &pending, sizeof pending);
    note(picture, "blocked %lx", mask);
    note(picture, "pending %lx", pending);
    for (number = 1; number <= 64; number++) {
        memset(action, 0, sizeof action);
        syscall(SYS_rt_sigaction, number, NULL, action, sizeof mask);
        note(picture, "signal %d: %lx %lx %lx %lx", number, action[0], action[1], action[2], action[3]);
    }
    memset(&stack, 0, sizeof stack);
    sigaltstack(NULL, &stack);
    note(picture, "signal stack %p %x %lu", stack.ss_sp, (unsigned)stack.ss_flags, (unsigned long)stack.ss_size);
}

static void take_descriptors(struct picture *picture) {
    int number;
    for (number = 0; number < 1024; number++) {
        struct stat stat;
        if (fcntl(number, F_GETFD) >= 0 && fstat(number, &stat) == 0) {
            note(picture, "descriptor %d: %lx:%lx:%lx %d %o at %ld", number, (unsigned long)stat.st_dev,
                 (unsigned long)stat.st_ino, (unsigned long)stat.st_rdev, fcntl(number, F_GETFD),
                 (unsigned)fcntl(number, F_GETFL), (long)lseek(number, 0, SEEK_CUR));
        }
    }
}

static void take_pid_file(struct picture *picture) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    struct stat stat;
    char content[64] = "";
    int file = pid_file ? open(pid_file, O_RDWR) : -1;
    if (file < 0) {
        note(picture, "pid file: %d", pid_file ? errno : 0);
        return;
    }
    fstat(file, &stat);
    note(picture, "pid file %lx %o %lu %ld %s", (unsigned long)stat.st_ino, stat.st_mode, (unsigned long)stat.st_nlink,
         (long)read(file, content, sizeof content - 1), content);
    note(picture, "pid file's lock: %d %d", fcntl(file, F_OFD_GETLK, &lock), lock.l_type == F_UNLCK);
    close(file);
}

static void take(struct picture *picture) {
    mode_t mask = umask(0);
    char directory[100] = "none";
    int resource, subreaper = -1, death = -1;
    siginfo_t information;
    umask(mask);
    picture->count = 0;
    note(picture, "process %ld %ld %ld %ld", (long)getpid(), (long)getppid(), (long)getpgrp(), (long)getsid(0));
    note(picture, "children: %ld", answer(waitid(P_ALL, 0, &information, WEXITED | WNOHANG | WNOWAIT)));
    note(picture, "directory %s", getcwd(directory, sizeof directory) ? directory : "none");
    note(picture, "umask %o", (unsigned)mask);
    prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
    prctl(PR_GET_PDEATHSIG, &death);
    note(picture, "dumpable %d, subreaper %d, signal %d", prctl(PR_GET_DUMPABLE), subreaper, death);
    for (resource = 0; resource < RLIM_NLIMITS; resource++) {
        struct rlimit limit = {0, 0};
        getrlimit(resource, &limit);
        note(picture, "limit %d: %lx %lx", resource, (unsigned long)limit.rlim_cur, (unsigned long)limit.rlim_max);
    }
    take_signals(picture);
    take_registrations(picture);
    take_pid_file(picture);
    take_descriptors(picture);
}

static void compare_pictures(void) {
    int number;
    check(own.before.count == own.after.count, "there are more or fewer lines");
    for (number = 0; number < own.before.count && number < own.after.count; number++)
        if (!is(own.before.lines[number], own.after.lines[number])) {
            own.errors++;
            say("wrong: %s became %s\n", own.before.lines[number], own.after.lines[number]);
        }
}

/* Its memory: every writable mapping, of the stack what lies above the frame of who makes the call. */

/* The next region of the text of maps; 0 at the end. What comes after a file's mapping is its too. */
static int next_region(char **text, const char *frame, struct region *region) {
    char permissions[5], name[200];
    while (**text) {
        char *end = strchr(*text, '\n');
        int fields;
        unsigned long start, finish;
        if (!end)
            _exit(96);
        *end = 0;
        name[0] = 0;
        fields = sscanf(*text, "%lx-%lx %4s %*s %*s %*s %199[^\n]", &start, &finish, permissions, name);
        *end = '\n';
        *text = end + 1;
        if (fields < 3)
            _exit(95);
        if (name[0] || start != own.last.end)
            strcpy(own.last.name, strrchr(name, '/') ? strrchr(name, '/') + 1 : name);
        own.last.start = start;
        own.last.end = finish;
        if (permissions[0] != 'r' || permissions[1] != 'w')
            continue;
        *region = own.last;
        if (is(region->name, "[stack]"))
            region->start = (unsigned long)frame;
        return 1;
    }
    own.last.end = 0;
    return 0;
}

static void read_maps(void) {
    int file = open("/proc/self/maps", O_RDONLY);
    size_t filled = 0;
    ssize_t count;
    while ((count = read(file, own.maps + filled, sizeof own.maps - 1 - filled)) > 0)
        filled += (size_t)count;
    own.maps[filled] = 0;
    close(file);
}

static int is_in(unsigned long address, const void *what, size_t size) {
    return address >= (unsigned long)what && address < (unsigned long)what + size;
}

/* This program's own; errno, which this program's own calls use; and where the kernel writes which processor it is. */
static int is_own(unsigned long address) {
    const struct rseq_area *area = rseq_area();
    return is_in(address, &own, sizeof own) || is_in(address, &errno, sizeof errno) ||
           (area && is_in(address, area, sizeof *area));
}

enum { PAGE = 4096 };

/* Writes every page into the file, or compares it with what is there: false when that is not so. */
static void go_through(int file, const char *frame, int compares) {
    struct region region;
    char *text = own.maps;
    read_maps();
    while (next_region(&text, frame, &region)) {
        unsigned long page, size;
        for (page = region.start; page < region.end; page += size) {
            unsigned long first = 0, here;
            size = PAGE - page % PAGE;
            if (is_in(page, &own, sizeof own))
                continue;
            if (!compares) {
                if (write(file, &page, sizeof page) != sizeof page || write(file, (void *)page, size) != (ssize_t)size)
                    _exit(94);
                continue;
            }
            if (read(file, &first, sizeof first) != sizeof first || first != page) {
                wrong("there are other mappings");
                return;
            }
            if (read(file, own.was, size) != (ssize_t)size)
                _exit(93);
            for (here = 0; here < size; here++)
                if (own.was[here] != ((char *)page)[here] && !is_own(page + here)) {
                    say("memory: %s page %lu\n", region.name, (page - region.start) / PAGE);
                    break;
                }
        }
    }
}

static int memory_file(const char *directory, int flags) {
    char path[200];
    int file, moved;
    snprintf(path, sizeof path, "%s/memory", directory);
    file = open(path, flags, 0600);
    moved = fcntl(file, F_DUPFD, 900);
    close(file);
    if (moved < 0)
        _exit(92);
    return moved;
}

/* The call, with values in every register that it must keep, and the rounding of floating point. */
#ifdef __x86_64__
int call_keeping(const struct untty_options *, struct untty_handle *, struct untty_error *, unsigned long *damage);
__asm__(".text\n"
        ".globl call_keeping\n"
        "call_keeping:\n"
        "push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15; sub $40, %rsp\n"
        "mov %rcx, 16(%rsp)\n"
        "stmxcsr (%rsp); mov (%rsp), %eax; or $0x6000, %eax; mov %eax, 4(%rsp); ldmxcsr 4(%rsp)\n"
        "fnstcw 8(%rsp); mov 8(%rsp), %ax; or $0x0c00, %ax; mov %ax, 10(%rsp); fldcw 10(%rsp)\n"
        "movabs $0x1111111122222222, %rbx; lea 0x55(%rbx), %rbp; lea 0x12(%rbx), %r12; lea 0x13(%rbx), %r13\n"
        "lea 0x14(%rbx), %r14; lea 0x15(%rbx), %r15\n"
        "mov %rsp, 24(%rsp)\n"
        "call untty_detach@PLT\n"
        "movabs $0x1111111122222222, %rcx\n"
        "xor %rcx, %rbx; lea 0x55(%rcx), %rdx; xor %rdx, %rbp; lea 0x12(%rcx), %rdx; xor %rdx, %r12\n"
        "lea 0x13(%rcx), %rdx; xor %rdx, %r13; lea 0x14(%rcx), %rdx; xor %rdx, %r14; lea 0x15(%rcx), %rdx; xor %rdx, %r15\n"
        "or %rbp, %rbx; or %r12, %rbx; or %r13, %rbx; or %r14, %rbx; or %r15, %rbx\n"
        "mov 24(%rsp), %rdx; xor %rsp, %rdx; or %rdx, %rbx\n"
        "stmxcsr 12(%rsp); mov 12(%rsp), %edx; xor 4(%rsp), %edx; and $0xffc0, %edx; or %rdx, %rbx\n"
        "fnstcw 12(%rsp); movzwl 12(%rsp), %edx; movzwl 10(%rsp), %ecx; xor %ecx, %edx; or %rdx, %rbx\n"
        "ldmxcsr (%rsp); fldcw 8(%rsp)\n"
        "mov 16(%rsp), %rcx; mov %rbx, (%rcx)\n"
        "add $40, %rsp; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp; ret\n");
#else
static int call_keeping(const struct untty_options *with, struct untty_handle *to, struct untty_error *error,
                        unsigned long *damage) {
    *damage = 0;
    return untty_detach(with, to, error);
}
#endif

static void caught(int number) {
    char here = (char)number;
    own.caught++;
    own.on_the_other_stack = &here >= other_stack && &here < other_stack + sizeof other_stack;
}

/* What the program has is used: it works as before. */
static void use_it_all(int *errno_is) {
    sigset_t set;
    struct timespec at_once = {0, 0};
    siginfo_t information;
    size_t number;
    struct rseq_area *area = rseq_area();

    check(&errno == errno_is, "errno is elsewhere");
    errno = 0;
    check(close(-1) == -1 && errno == EBADF, "errno");
    check(pthread_mutex_trylock(&normal) == EBUSY && pthread_mutex_unlock(&normal) == 0, "a mutex");
    check(pthread_mutex_lock(&recursive) == 0, "a recursive mutex: locked once more");
    check(pthread_mutex_unlock(&recursive) == 0 && pthread_mutex_unlock(&recursive) == 0 &&
              pthread_mutex_unlock(&recursive) == 0 && pthread_mutex_unlock(&recursive) == EPERM,
          "a recursive mutex: unlocked");
    check(pthread_mutex_lock(&checking) == EDEADLK && pthread_mutex_unlock(&checking) == 0 &&
              pthread_mutex_unlock(&checking) == EPERM && pthread_mutex_lock(&checking) == 0 &&
              pthread_mutex_unlock(&checking) == 0,
          "an error-checking mutex");
    check(raise(SIGUSR2) == 0 && own.caught == 1 && own.on_the_other_stack == 1, "raise");
    check(pthread_kill(pthread_self(), SIGUSR2) == 0 && own.caught == 2, "pthread_kill");
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN + 3);
    check(sigtimedwait(&set, &information, &at_once) == SIGUSR1, "a pending signal");
    check(sigtimedwait(&set, &information, &at_once) == SIGRTMIN + 3 && information.si_value.sival_int == 42,
          "a queued signal and its value");
    check(sigtimedwait(&set, &information, &at_once) == -1, "one signal more");
    for (number = 0; number < 3 << 20 && heap[number] == number % 251; number++) {
    }
    check(number == 3 << 20, "the heap");
    free(heap);
    heap = malloc(100);
    check(heap != NULL, "malloc");
    if (area) {
        cpu_set_t may, one;
        int processor;
        sched_getaffinity(0, sizeof may, &may);
        for (processor = 0; processor < CPU_SETSIZE; processor++) {
            if (!CPU_ISSET(processor, &may))
                continue;
            CPU_ZERO(&one);
            CPU_SET(processor, &one);
            if (sched_setaffinity(0, sizeof one, &one) == 0)
                check(*(volatile uint32_t *)&area->cpu_id == (uint32_t)processor && sched_getcpu() == processor,
                      "rseq does not follow");
        }
        sched_setaffinity(0, sizeof may, &may);
    }
}

/* How many descriptors there may be during the call, and otherwise. */
static rlim_t descriptors, usual;

static void limit_descriptors(rlim_t most) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = most;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void *nothing(void *it) { return it; }

static void use_threads(void) {
    pthread_t thread;
    void *result = NULL;
    check(pthread_create(&thread, NULL, nothing, &own) == 0 && pthread_join(thread, &result) == 0 && result == &own, "a thread");
}

/* The first start: false in its daemon, if it does not fail. */
__attribute__((noinline)) static int fails(const char *directory, int number) {
    volatile long kept[4] = {11, 22, 33, 44};
    volatile double kept_double = 0.1;
    long in_register = 7L * number, another = 13L * number;
    double real = 0.3 * number, other = 1.7 * number;
    unsigned long damage = 0;
    int *errno_is = &errno;
    const char *frame = __builtin_frame_address(0);
    int file, result, errno_after;

    __asm__ volatile("" : "+r"(in_register), "+r"(another), "+m"(real), "+m"(other));
    file = memory_file(directory, O_RDWR | O_CREAT | O_TRUNC);
    errno = 77;
    go_through(file, frame, 0);
    close(file);
    limit_descriptors(descriptors);
    take(&own.before);
    errno = 77;
    tell(BEGIN, 0, 0);
    result = call_keeping(&options, &handle, &own.error, &damage);
    if (result == 0)
        return 0;
    tell(END, 0, 0);
    errno_after = errno;
    take(&own.after);
    limit_descriptors(usual);
    check(damage == 0, "registers");
    check(kept[0] == 11 && kept[1] == 22 && kept[2] == 33 && kept[3] == 44 && kept_double == 0.1, "locals");
    __asm__ volatile("" : "+r"(in_register), "+r"(another), "+m"(real), "+m"(other));
    check(in_register == 7L * number && another == 13L * number, "locals in registers");
    check(real == 0.3 * number && other == 1.7 * number, "floating point");
    errno = 77;
    file = memory_file(directory, O_RDONLY);
    go_through(file, frame, 1);
    close(file);
    compare_pictures();
    say("errno %d\n", errno_after);
    /* What fails in another process is no call of this one's. */
    if (own.error.step == UNTTY_STEP_DIRECTORY || own.error.step == UNTTY_STEP_ROOT || own.error.step == UNTTY_STEP_UMASK)
        check(errno_after == 77, "errno is another process's");
    use_it_all(errno_is);
    use_threads();
    return 1;
}

/* Everything to lose. */
static void burden(const char *directory) {
    pthread_mutexattr_t attributes;
    struct sigaction action;
    stack_t stack;
    sigset_t set;
    size_t number;
    int file;
    union sigval value = {.sival_int = 42};

    if (chdir(directory) < 0)
        _exit(91);
    umask(0123);
    file = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (write(file, "contents", 8) != 8 || lseek(file, 3, SEEK_SET) != 3)
        _exit(90);
    dup2(file, 5);
    dup3(file, 21, O_CLOEXEC);
    dup2(file, 700);
    heap = malloc(3 << 20);
    for (number = 0; number < 3 << 20; number++)
        heap[number] = (unsigned char)(number % 251);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&recursive, &attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&checking, &attributes);
    pthread_mutex_lock(&normal);
    pthread_mutex_lock(&recursive);
    pthread_mutex_lock(&recursive);
    pthread_mutex_lock(&checking);
    memset(&stack, 0, sizeof stack);
    stack.ss_sp = other_stack;
    stack.ss_size = sizeof other_stack;
    sigaltstack(&stack, NULL);
    memset(&action, 0, sizeof action);
    action.sa_handler = caught;
    action.sa_flags = SA_ONSTACK;
    sigaddset(&action.sa_mask, SIGTERM);
    sigaction(SIGUSR2, &action, NULL);
    signal(SIGHUP, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGRTMIN + 3);
    sigaddset(&set, SIGWINCH);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    sigqueue(getpid(), SIGRTMIN + 3, value);
}

static void obey_filter(const char *path) {
    static struct sock_filter filter[1024];
    struct sock_fprog program = {0, filter};
    int file = open(path, O_RDONLY);
    ssize_t length = read(file, filter, sizeof filter);
    close(file);
    program.len = (unsigned short)((size_t)length / sizeof filter[0]);
    if (length <= 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        _exit(89);
}

/* The daemon says how it came to be. */
static void go_on(const char *which) {
    struct untty_error error = {0, 0};
    int way = untty_way(&handle);
    if (untty_ready(&handle, &error) < 0)
        say("%s: not ready %d %d\n", which, (int)error.step, (int)error.errnum);
    else
        say("%s: way %d\n", which, way);
    tell(DAEMON, 0, 0);
    exit(0);
}

static void too_late(const struct untty_error *error) {
    say("too late: %d %d\n", (int)error->step, (int)error->errnum);
}

int main(int argc, char **argv) {
    uint32_t flags = UNTTY_HANDOVER;
    struct rlimit limit;
    static uint32_t groups[70000];
    int word;

    if (argc < 2)
        return 88;
    burden(argv[1]);
    getrlimit(RLIMIT_NOFILE, &limit);
    usual = descriptors = limit.rlim_cur;
    options.output.kind = options.error.kind = UNTTY_STDIO_INHERIT;
    options.on_late_failure = too_late;
    for (word = 2; word + 1 < argc; word += 2) {
        const char *value = argv[word + 1];
        if (is(argv[word], "by") && is(value, "forks"))
            flags = 0;
        else if (is(argv[word], "pid_file"))
            options.pid_file = pid_file = value;
        else if (is(argv[word], "directory"))
            options.directory = value;
        else if (is(argv[word], "root"))
            options.root = value;
        else if (is(argv[word], "umask")) {
            options.umask = (uint32_t)strtoul(value, NULL, 8);
            options.flags |= UNTTY_SET_UMASK;
        } else if (is(argv[word], "output")) {
            options.output.kind = UNTTY_STDIO_FILE;
            options.output.path = value;
        } else if (is(argv[word], "error") && is(value, "null"))
            options.error.kind = UNTTY_STDIO_NULL;
        else if (is(argv[word], "groups")) {
            options.flags |= UNTTY_SET_USER;
            options.groups = groups;
            options.group_count = (size_t)atol(value);
            options.uid = options.gid = (uint32_t)getuid();
        } else if (is(argv[word], "filter"))
            obey_filter(value);
        else if (is(argv[word], "descriptors"))
            descriptors = (rlim_t)atol(value);
        else if (is(argv[word], "deadline"))
            options.deadline_ms = (uint32_t)atol(value);
        else
            return 87;
    }
    options.flags |= flags;
    if (!fails(argv[1], argc))
        go_on("first");
    say("first: step %d errno %d\n", (int)own.error.step, (int)own.error.errnum);
    memset(&options, 0, sizeof options);
    options.size = sizeof options;
    options.flags = flags;
    options.output.kind = options.error.kind = UNTTY_STDIO_INHERIT;
    if (pid_file && is(pid_file, "pid"))
        options.pid_file = pid_file;
    if (untty_detach(&options, &handle, &own.error) == 0)
        go_on("second");
    say("second: step %d errno %d\n", (int)own.error.step, (int)own.error.errnum);
    return 86;
}
