/* Which processor the daemon runs on: sched_getcpu(), and rseq(2), by which glibc 2.35 and later knows it. Also in a
 * thread, and in a child. */

#include "daemon.h"
#include <dlfcn.h>
#include <stddef.h>

/* The beginning of struct rseq, which is never going to change. */
struct registration {
    uint32_t cpu_id_start;
    uint32_t cpu_id;
};

/* What glibc tells since 2.35, if this is one. */
static const ptrdiff_t *offset;
static const unsigned *size;

static volatile struct registration *own_registration(void) {
    return (volatile struct registration *)((char *)__builtin_thread_pointer() + *offset);
}

static int bind_to(int processor) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    return sched_setaffinity(0, sizeof set, &set);
}

/* On every processor that this process may use. */
static int knows_its_processor(void) {
    cpu_set_t all;
    int processor;
    int knows = 1;
    CHECK(sched_getaffinity(0, sizeof all, &all));
    for (processor = 0; processor < CPU_SETSIZE; processor++) {
        unsigned told;
        if (!CPU_ISSET(processor, &all)) {
            continue;
        }
        CHECK(bind_to(processor));
        CHECK(syscall(SYS_getcpu, &told, NULL, NULL));
        knows &= told == (unsigned)processor && sched_getcpu() == processor;
        if (offset != NULL) {
            knows &= own_registration()->cpu_id == (unsigned)processor;
        }
    }
    CHECK(sched_setaffinity(0, sizeof all, &all));
    return knows;
}

static void *look(void *nothing) {
    (void)nothing;
    return (void *)(long)knows_its_processor();
}

/* It is this very memory that the kernel knows: another cannot be registered, and this one not twice. */
static void registered(void) {
    static char other[64] __attribute__((aligned(64)));
    const uint32_t bytes = *size < 32 ? 32 : *size;
    /* What the GNU C library registers with: RSEQ_SIG. */
#if defined(__x86_64__)
    const uint32_t signature = 0x53053053;
#elif defined(__aarch64__)
    const uint32_t signature = 0xd428bc00;
#else
    const uint32_t signature = 0xf1401073;
#endif
    /* rseq(2): EBUSY when this is registered, EINVAL when another is, EPERM when the signature is another. */
    holds(syscall(SYS_rseq, own_registration(), bytes, 0, signature) == -1 && errno == EBUSY, "rseq is registered, where glibc says");
    holds(syscall(SYS_rseq, other, bytes, 0, signature) == -1 && errno == EINVAL, "and nowhere else");
    holds(*size > 0, "__rseq_size says so");
}

int main(int argc, char **argv) {
    pthread_t thread;
    void *knows;
    pid_t child;
    (void)argc;
    offset = (const ptrdiff_t *)dlsym(RTLD_DEFAULT, "__rseq_offset");
    size = (const unsigned *)dlsym(RTLD_DEFAULT, "__rseq_size");
    if (offset == NULL || size == NULL || *size == 0) {
        offset = NULL;
    }
    become_daemon(argv[1]);
    holds(knows_its_processor(), "the first thread knows its processor");
    CHECK(pthread_create(&thread, NULL, look, NULL));
    CHECK(pthread_join(thread, &knows));
    holds(knows != NULL, "another one, too");
    child = fork();
    if (child == 0) {
        _exit(knows_its_processor() ? 3 : 4);
    }
    holds(end_of(child) == 3, "and a child");
    if (offset == NULL) {
        say("ok this C library has not registered rseq\n");
    } else {
        registered();
    }
    return end();
}
