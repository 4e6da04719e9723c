/* What the parts of the guest's /init share: starting a daemon, what that tells of itself, and a verdict a line. */

#ifndef GUEST_H
#define GUEST_H

#include <sys/types.h>
#include <untty.h>

/* A verdict: NULL, or why not. */
typedef const char *(*verdict)(void);

void judge(const char *name, verdict verdict);
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
const char *because(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define REQUIRE(condition, ...) \
    do { \
        if (!(condition)) { \
            return because(__VA_ARGS__); \
        } \
    } while (0)
/* Passes a failure on. */
#define PASS(verdict) \
    do { \
        const char *why_ = (verdict); \
        if (why_ != NULL) { \
            return why_; \
        } \
    } while (0)

/* What a process can see of itself without /proc and without /dev. */
struct state {
    int pid;
    int parent;
    int session;
    int group;
    int terminal; /* /dev/tty can be opened */
    int umask;
    int others;                 /* descriptors above 2, without those of the test */
    unsigned long devices[3];   /* that 0 to 2 lead to; 0: closed */
    unsigned long long handled; /* signals that are not at their default */
    unsigned long long blocked;
    unsigned ids[6]; /* real, effective, saved: user, group */
    int group_count;
    unsigned groups[8];
    char directory[64];
    int way;       /* untty_way; -2: there was no handle */
    int inherited; /* it has memory of the caller's that no fork copies */
    char false_[96]; /* what is not as a call of a function leaves it, or what the C library is wrong about */
};

/* A daemon on a rope: it tells its state on one pipe, and again for each byte on the other; it exits when that ends. */
struct rope {
    int report[2];
    int go[2];
};
enum { SERVED = 7, DEVICE_NULL = 0x103 };

void observe(struct state *state, const struct rope *rope);
void make_rope(struct rope *rope);
void serve(const struct rope *rope) __attribute__((noreturn));
int hear(const struct rope *rope, struct state *state); /* 1; 0: nobody will tell anything */
void drop_rope(struct rope *rope);

/* Who calls: process 1 itself, which then gets the daemon's pid; or a child of it, which exits. */
enum caller { PROCESS_1, ITS_CHILD };

struct plan {
    enum caller caller;
    struct untty_options options;
    void (*prepare)(void); /* in a child, before the call */
    const char *(*recall)(void); /* in the daemon: whether it has what was prepared */
    int never_ready;       /* 1: says nothing, 2: dies, 3: gives up, 4: aborts, 5: takes all memory */
    int says_ready;        /* later, and not at once */
    int served;            /* answers as this descriptor asks */
};

/* A daemon starts, in the whole state that was asked for, and when it has ended nothing is left. */
const char *starts(const struct plan *plan, struct state *state);
/* The caller is told this, is as it was, and nothing is left. */
const char *fails(const struct plan *plan, int step, int errnum);
/* After the daemon's program has gone on in the caller's memory: the caller's wait status is this, nothing is left, and
 * options->on_late_failure is told this; step 0: it is not called. */
const char *fails_late(const struct plan *plan, int status, int step, int errnum);
struct plan plan_of(enum caller caller);

/* untty_detach: its result; NULL, or what a function has to leave as it was and has not. */
const char *detach_compared(const struct untty_options *options, struct untty_handle *handle, struct untty_error *error,
                            int *result);

/* What the kernel has been told of the C library's first thread. */
struct registrations {
    int *thread_id;
    void *robust_list;
    size_t robust_size;
    int restartable; /* rseq: EBUSY; 0: the C library does not use it */
};
struct registrations registrations(void);
const char *registrations_are(const struct registrations *before);
const char *the_c_library_is_true(void);

/* How a start with UNTTY_HANDOVER goes on this machine. */
extern int handover_way;

/* Ends the daemon of the rope, and reaps it. */
const char *ends(struct rope *rope, int daemon);
/* There is no process but process 1 (and the kernel's own). */
const char *nothing_is_left(void);
/* Waits until there is none. */
void reap_all(void);
/* Runs a program with its output in text; its exit status, or 1000 and the signal. */
int run(const char *const *arguments, char *text, size_t size);
/* The same of one that says little, whose orphans are reaped meanwhile, for which a caller may wait; none is left. */
int run_and_reap(const char *const *arguments, char *text, size_t size);

const char *set_up(void);
const char *write_file(const char *path, const char *text);
long long memory_free(void); /* KiB */

/* As on a kernel without calls above that number, or without that one alone: they are ENOSYS. */
void forbid_above(int number);
void forbid(int number);

extern const char *second_terminal;

void judge_terminal(void);
void judge_closing(void);
void judge_memory(void);
void judge_handover(void);

#endif
