/* The alternate signal stack from before is still there, and handlers run on it: even of who has overflown the stack. */

#include "daemon.h"
#include <setjmp.h>
#include <sys/resource.h>

static char *alternate;
static size_t alternate_size;
static volatile int ran_there;
static sigjmp_buf back;

static void note(int number, siginfo_t *info, void *context) {
    char here;
    (void)number, (void)info, (void)context;
    ran_there = alternate < &here && &here < alternate + alternate_size;
}

static void note_and_return(int number, siginfo_t *info, void *context) {
    note(number, info, context);
    siglongjmp(back, 1);
}

static volatile int it_ends;

static __attribute__((noinline)) int for_ever(int depth) {
    volatile char page[4096];
    page[0] = (char)depth;
    return it_ends ? 0 : for_ever(depth + 1) + page[0];
}

static void overflow(void) {
    ran_there = 0;
    if (sigsetjmp(back, 1) == 0) {
        for_ever(0);
    }
    holds(ran_there, "a stack overflow is handled there");
}

int main(int argc, char **argv) {
    stack_t stack;
    struct rlimit limit;
    (void)argc;
    CHECK(getrlimit(RLIMIT_STACK, &limit));
    if (limit.rlim_cur == RLIM_INFINITY) {
        limit.rlim_cur = 8 << 20;
        CHECK(setrlimit(RLIMIT_STACK, &limit));
    }
    alternate_size = 65536;
    alternate = (char *)mmap(NULL, alternate_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(alternate == MAP_FAILED);
    memset(&stack, 0, sizeof stack);
    stack.ss_sp = alternate;
    stack.ss_size = alternate_size;
    CHECK(sigaltstack(&stack, NULL));
    handle_signal(SIGUSR1, note, SA_ONSTACK);
    handle_signal(SIGSEGV, note_and_return, SA_ONSTACK);
    options.flags = UNTTY_KEEP_SIGNALS;
    become_daemon(argv[1]);
    memset(&stack, 0, sizeof stack);
    CHECK(sigaltstack(NULL, &stack));
    holds(stack.ss_sp == alternate && stack.ss_size == alternate_size && stack.ss_flags == 0, "it is still set");
    CHECK(raise(SIGUSR1));
    holds(ran_there, "a handler runs there");
    overflow();
    overflow();
    return end();
}
