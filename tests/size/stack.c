/* Runs a program step by step, in all its processes, and tells of each how deep its stack has been, through which
 * functions, and which system calls it has made that have to do with memory.
 *
 *     stack [--entry] [--deny NUMBER]… -- PROGRAM [ARGUMENT]…
 *
 * It counts between the marks of the program (marks.h); with --entry, from the program's first instruction on. A
 * system call that is denied fails with ENOSYS. For every process there are then these lines, the first process being
 * the caller, its child the leader, and that one's child the daemon:
 *
 *     stack ROLE BYTES RIP ENTRY:BYTES…    the bytes from the mark, and at the deepest point: the instruction, and
 *                                          every call on the way there with the bytes of its frame
 *     memory ROLE CALLS                    brk, mmap, mremap
 *     end ROLE WORD                        how it ended: an exit status, "signal N", or "lives" (its last mark, or
 *                                          pause(2))
 *
 * Bytes are those down to the lowest stack pointer, or to the lowest byte that was written, whatever is lower: a leaf
 * function may use 128 bytes below the stack pointer (psABI, 3.2.2). */

#define _GNU_SOURCE

#include "marks.h"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES = 8, CALLS = 256, PAINTED = 64 * 1024, RED_ZONE = 128, PATIENCE = 300 };

struct call {
    unsigned long entry; /* the function */
    unsigned long stack; /* the stack pointer there, which is that of the return address */
};

struct process {
    pid_t pid, parent;
    int has_stopped;                     /* for the first time; only with a known parent does it go on */
    enum { FREE, COUNTS, RESTS, GONE } state;
    unsigned long base, lowest, painted; /* painted: everything below is */
    struct call calls[CALLS];
    int depth;
    struct user_regs_struct before, now; /* the registers at the last two stops */
    unsigned long used;             /* the most that any stretch between two marks has used */
    unsigned long deepest_ip;
    struct call deepest[CALLS];
    int deepest_depth;
    unsigned long deepest_base, deepest_lowest;
    int memory_calls, status;
};

static struct process processes[PROCESSES];
static int count;
static unsigned long steps;

static void die(const char *what) {
    perror(what);
    exit(2);
}

static struct process *process_of(pid_t pid) {
    for (int i = 0; i < count; i++) {
        if (processes[i].pid == pid) {
            return &processes[i];
        }
    }
    if (count == PROCESSES) {
        fprintf(stderr, "too many processes\n");
        exit(2);
    }
    processes[count].pid = pid;
    return &processes[count++];
}

static const char *role(const struct process *process) {
    static const char *const roles[] = {"caller", "leader", "daemon"};
    unsigned generation = 0;
    for (pid_t parent = process->parent; parent != 0; parent = process_of(parent)->parent) {
        generation++;
    }
    return generation < 3 ? roles[generation] : "other";
}

/* The stack below an address is given a pattern that nobody writes by chance. */

static unsigned char pattern(unsigned long address) { return (unsigned char)(0xa5 ^ address ^ address >> 8); }

static void paint(struct process *process, unsigned long top) {
    static unsigned char bytes[PAINTED];
    struct iovec local = {bytes, PAINTED}, remote = {(void *)(top - PAINTED), PAINTED};
    for (unsigned long i = 0; i < PAINTED; i++) {
        bytes[i] = pattern(top - PAINTED + i);
    }
    if (process_vm_writev(process->pid, &local, 1, &remote, 1, 0) != PAINTED) {
        die("process_vm_writev");
    }
    process->painted = top;
}

static unsigned long lowest_written(const struct process *process) {
    static unsigned char bytes[PAINTED];
    unsigned long start = process->painted - PAINTED, i = 0;
    struct iovec local = {bytes, PAINTED}, remote = {(void *)start, PAINTED};
    if (process_vm_readv(process->pid, &local, 1, &remote, 1, 0) != PAINTED) {
        die("process_vm_readv");
    }
    while (i < PAINTED && bytes[i] == pattern(start + i)) {
        i++;
    }
    if (i == 0) {
        fprintf(stderr, "the stack is deeper than %d bytes\n", PAINTED);
        exit(2);
    }
    return (start + i) & -8UL; /* a byte may have been given its pattern */
}

/* Between two marks */

/* The registers at this stop. 0 when it has been killed meanwhile. */
static int look(struct process *process) {
    process->before = process->now;
    if (ptrace(PTRACE_GETREGS, process->pid, NULL, &process->now) == 0) {
        return 1;
    }
    if (errno != ESRCH) {
        die("PTRACE_GETREGS");
    }
    return 0;
}

/* The first bytes of the instruction there. Code does not change, so what has been read is kept. */
static const unsigned char *code_at(const struct process *process, unsigned long address) {
    static struct {
        unsigned long address;
        unsigned char bytes[sizeof(long)];
    } known[1 << 14];
    const unsigned long place = address % (sizeof known / sizeof known[0]);
    if (known[place].address != address) {
        long word = ptrace(PTRACE_PEEKTEXT, process->pid, (void *)address, NULL);
        known[place].address = address;
        memcpy(known[place].bytes, &word, sizeof word);
    }
    return known[place].bytes;
}

static int is_call(const unsigned char *code) {
    const unsigned char *rest = (code[0] & 0xf0) == 0x40 ? code + 1 : code; /* a REX prefix */
    return code[0] == 0xe8 || (rest[0] == 0xff && (rest[1] & 0x38) == 0x10);
}

static int is_system_call(const unsigned char *code) { return code[0] == 0x0f && code[1] == 0x05; }

static int is_mark(const unsigned char *code) { return code[0] == 0xcc; }

static void look_deep(struct process *process, unsigned long lowest, unsigned long ip) {
    process->lowest = lowest;
    if (process->base - lowest <= process->used) {
        return;
    }
    process->used = process->base - lowest;
    process->deepest_ip = ip;
    process->deepest_base = process->base;
    process->deepest_lowest = lowest;
    process->deepest_depth = process->depth;
    memcpy(process->deepest, process->calls, sizeof process->calls);
}

static void begin(struct process *process) {
    process->base = process->lowest = process->now.rsp;
    process->depth = 0;
    process->state = COUNTS;
    paint(process, process->now.rsp);
}

static void end(struct process *process) {
    unsigned long written;
    if (process->state != COUNTS) {
        return;
    }
    process->state = FREE;
    written = lowest_written(process);
    if (process->base - written > process->used && written < process->lowest) {
        /* in the red zone of a leaf, which is taken for the deepest call */
        process->used = process->base - written;
        process->deepest_lowest = written;
    }
}

/* A step has been made: where has it led? */
static void count_step(struct process *process) {
    const struct user_regs_struct *now = &process->now;
    steps++;
    while (process->depth > 0 && now->rsp > process->calls[process->depth - 1].stack) {
        process->depth--; /* it has returned */
    }
    if (now->rsp == process->before.rsp - 8 && is_call(code_at(process, process->before.rip))) {
        if (process->depth == CALLS) {
            fprintf(stderr, "too many calls in each other\n");
            exit(2);
        }
        process->calls[process->depth++] = (struct call){now->rip, now->rsp};
    }
    if (now->rsp < process->lowest) {
        look_deep(process, now->rsp, now->rip);
    }
}

/* Before a step: does it ask for memory? Or for rest, so that nothing more will come? */
static void look_ahead(struct process *process) {
    const unsigned long number = process->now.rax;
    if (!is_system_call(code_at(process, process->now.rip))) {
        return;
    }
    process->memory_calls += number == SYS_brk || number == SYS_mmap || number == SYS_mremap;
    if (number == SYS_pause) {
        end(process);
        process->state = RESTS;
    }
}

static void go_on(struct process *process, int signal_number) {
    if (process->state == COUNTS) {
        look_ahead(process);
    }
    if (ptrace(process->state == COUNTS ? PTRACE_SINGLESTEP : PTRACE_CONT, process->pid, NULL, signal_number) < 0 &&
        errno != ESRCH) {
        die("ptrace");
    }
}

/* What the kernel tells */

/* A child goes on when both it and its parent have been heard of, in either order. */
static void start_child(struct process *child) {
    if (child->state == COUNTS && look(child)) {
        paint(child, child->now.rsp - RED_ZONE);
        look_deep(child, child->now.rsp, child->now.rip);
    }
    go_on(child, 0);
}

static void adopt(const struct process *parent, pid_t pid) {
    struct process *child = process_of(pid);
    child->parent = parent->pid;
    if (child->state == GONE) {
        return;
    }
    child->state = parent->state;
    child->base = parent->base;
    memcpy(child->calls, parent->calls, sizeof child->calls);
    child->depth = parent->depth;
    if (child->has_stopped) {
        start_child(child);
    }
}

/* A trap of the program's own: a mark. */
static void marked(struct process *process) {
    if (process->now.rax != MARK_MAGIC) {
        fprintf(stderr, "a breakpoint that is no mark\n");
        exit(2);
    }
    if (process->now.rdi == MARK_BEGIN) {
        begin(process);
    } else {
        end(process);
    }
    if (process->now.rdi == MARK_REST) {
        process->state = RESTS;
    }
}

static void stopped(struct process *process, int status, int from_entry) {
    int signal_number = WSTOPSIG(status), event = status >> 16;
    unsigned long message = 0;
    if (!look(process)) {
        return;
    }
    if (event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK || event == PTRACE_EVENT_CLONE) {
        ptrace(PTRACE_GETEVENTMSG, process->pid, NULL, &message);
        adopt(process, (pid_t)message);
    } else if (event == PTRACE_EVENT_EXEC) {
        if (process != processes) {
            process->state = RESTS; /* the daemon, as another program */
        } else if (from_entry) {
            begin(process);
        }
    } else if (event == PTRACE_EVENT_EXIT) {
        end(process);
    } else if (signal_number != SIGTRAP) {
        go_on(process, signal_number);
        return;
    } else if (process->state != COUNTS || is_mark(code_at(process, process->before.rip))) {
        marked(process);
    } else {
        count_step(process);
    }
    go_on(process, 0);
}

static void deny(long number) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) {
        die("seccomp");
    }
}

static int all_rest(void) {
    for (int i = 0; i < count; i++) {
        if (processes[i].state != GONE && processes[i].state != RESTS) {
            return 0;
        }
    }
    return 1;
}

static void tell(void) {
    for (int i = 0; i < count; i++) {
        struct process *process = &processes[i];
        const char *name = role(process);
        printf("stack %s %lu %lx", name, process->used, process->deepest_ip);
        for (int call = 0; call < process->deepest_depth; call++) {
            unsigned long next = call + 1 < process->deepest_depth ? process->deepest[call + 1].stack + 8
                                                                    : process->deepest_lowest;
            printf(" %lx:%lu", process->deepest[call].entry, process->deepest[call].stack + 8 - next);
        }
        printf("\nmemory %s %d\n", name, process->memory_calls);
        if (process->state != GONE) {
            printf("end %s lives\n", name);
        } else if (WIFEXITED(process->status)) {
            printf("end %s %d\n", name, WEXITSTATUS(process->status));
        } else {
            printf("end %s signal %d\n", name, WTERMSIG(process->status));
        }
    }
    printf("steps %lu\n", steps);
}

int main(int argc, char **argv) {
    int from_entry = 0, first = 1, status;
    pid_t pid;
    for (; first < argc && strcmp(argv[first], "--") != 0; first++) {
        from_entry |= strcmp(argv[first], "--entry") == 0;
    }
    if (first + 1 >= argc) {
        return 2;
    }
    pid = fork();
    if (pid < 0) {
        die("fork");
    }
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        personality(ADDR_NO_RANDOMIZE);
        raise(SIGSTOP);
        for (int i = 1; i < first; i++) {
            if (strcmp(argv[i], "--deny") == 0) {
                deny(atol(argv[++i]));
            }
        }
        execvp(argv[first + 1], argv + first + 1);
        die(argv[first + 1]);
    }
    alarm(PATIENCE); /* a start that never comes to rest ends all: PTRACE_O_EXITKILL */
    process_of(pid)->has_stopped = 1;
    if (waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status)) {
        die("waitpid");
    }
    if (ptrace(PTRACE_SETOPTIONS, pid, NULL,
               PTRACE_O_EXITKILL | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC |
                   PTRACE_O_TRACEEXIT) < 0) {
        die("PTRACE_SETOPTIONS");
    }
    go_on(process_of(pid), 0);
    while (!all_rest() && (pid = waitpid(-1, &status, __WALL)) > 0) {
        struct process *process = process_of(pid);
        if (WIFSTOPPED(status) && process->has_stopped) {
            stopped(process, status, from_entry);
        } else if (WIFSTOPPED(status)) {
            process->has_stopped = 1;
            if (process->parent != 0) {
                start_child(process);
            }
        } else {
            process->state = GONE;
            process->status = status;
        }
    }
    tell();
    return 0; /* and what lives is killed */
}
