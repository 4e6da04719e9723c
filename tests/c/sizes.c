/* struct untty_options of every size, from older programs and from newer ones. Nothing beyond the size may be read: a
 * page follows that cannot be. */

#define _DEFAULT_SOURCE

#include "observe.h"
#include <errno.h>
#include <sys/mman.h>
#include <untty.h>

static unsigned char *end; /* of what can be read */
static int wrong;

/* Options of that size, all zero but for size and flags, as near to the end as they may lie. */
static struct untty_options *make(size_t size, size_t readable, uint32_t flags) {
    size_t aligned = (readable + sizeof(size_t) - 1) / sizeof(size_t) * sizeof(size_t);
    unsigned char *start = end - aligned;
    memset(end - 8192, 0, 8192);
    memcpy(start, &size, sizeof size);
    if (readable >= sizeof size + sizeof flags) {
        memcpy(start + sizeof size, &flags, sizeof flags);
    }
    return (struct untty_options *)(void *)start;
}

static void expect(const char *what, size_t size, const struct untty_options *options, int errnum) {
    struct untty_error error = {0, 0};
    int result = untty_detach(options, NULL, &error);
    if (result == 0) {
        _exit(0); /* the daemon */
    }
    if (errnum == 0 ? result < 0 : result != -1 || error.step != UNTTY_STEP_OPTIONS || error.errnum != errnum) {
        say(1, "%s, size %lu: %d %d %d\n", what, (unsigned long)size, result, (int)error.step, (int)error.errnum);
        wrong++;
    }
}

int main(void) {
    const size_t known = sizeof(struct untty_options);
    const size_t least = sizeof(size_t) + sizeof(uint32_t);
    size_t size;
    unsigned char *memory = mmap(NULL, 4 * 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory + 65536, 65536, PROT_NONE) < 0) {
        return 96;
    }
    end = memory + 65536;
    for (size = 0; size < least; size++) {
        expect("too small", size, make(size, sizeof size, 0), EINVAL);
    }
    for (size = least; size <= known; size++) {
        expect("older", size, make(size, size, UNTTY_RETURN_IN_CALLER), 0);
    }
    /* The structure as it was before pid files, and its last member: a limit that is kept. */
    if (sizeof(size_t) == 8 && offsetof(struct untty_options, pid_file) != 96) {
        say(1, "the members of older programs have moved\n");
        wrong++;
    }
    size = offsetof(struct untty_options, pid_file);
    {
        struct untty_options *options = make(size, size, UNTTY_RETURN_IN_CALLER | UNTTY_SET_UMASK);
        options->umask = 01000;
        expect("before pid files, a bad umask", size, options, EINVAL);
        options->umask = 0777;
        options->directory = "/dev";
        options->input.kind = UNTTY_STDIO_INHERIT;
        options->error.kind = UNTTY_STDIO_STDOUT;
        options->keep = &wrong;
        options->keep_count = 1;
        options->deadline_ms = 60000;
        expect("before pid files", size, options, 0);
        /* What a newer library would find behind it, if it looked, would be refused. */
        options = make(size, known, UNTTY_RETURN_IN_CALLER);
        options->uid = 1;
        options->pid_file = "/no/such/directory/pid";
        expect("before pid files, garbage behind it", size, options, 0);
    }
    /* An older program that cannot say who it wants to be, and asks to be somebody: it would stay root. */
    for (size = least; size < offsetof(struct untty_options, environment); size++) {
        const uint32_t flags = UNTTY_RETURN_IN_CALLER | UNTTY_SET_USER;
        expect("a user without the members for it", size, make(size, size, flags), EINVAL);
    }
    for (size = known + 1; size <= known + 24; size++) {
        struct untty_options *options = make(size, size, UNTTY_RETURN_IN_CALLER);
        expect("newer, zero", size, options, 0);
        ((unsigned char *)options)[size - 1] = 1;
        expect("newer, not zero at its end", size, options, E2BIG);
        ((unsigned char *)options)[size - 1] = 0;
        ((unsigned char *)options)[known] = 0x80;
        expect("newer, not zero at once", size, options, E2BIG);
    }
    expect("a page, zero", 4096, make(4096, 4096, UNTTY_RETURN_IN_CALLER), 0);
    expect("above a page", 4097, make(4097, sizeof size, 0), E2BIG);
    expect("above a page", 1 << 20, make(1 << 20, sizeof size, 0), E2BIG);
    expect("half of all", SIZE_MAX / 2, make(SIZE_MAX / 2, sizeof size, 0), E2BIG);
    expect("all", SIZE_MAX, make(SIZE_MAX, sizeof size, 0), E2BIG);
    say(1, "%d wrong\n", wrong);
    return wrong == 0 ? 0 : 1;
}
