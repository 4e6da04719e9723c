/* What the test programs that detach share. */

#ifndef START_H
#define START_H

#include "observe.h"
#include <untty.h>

static struct untty_options options = UNTTY_OPTIONS_INIT;
static struct untty_handle handle;
static struct untty_error error;
static struct text before;
static struct text after;

static inline int is(const char *left, const char *right) { return strcmp(left, right) == 0; }

/* Detaches; in the caller, tells what it was told, and ends it. */
static inline void detach(struct untty_handle *with) {
    int result;
    error.step = error.errnum = -7;
    observe(&before);
    result = untty_detach(&options, with, &error);
    if (result == 0) {
        return;
    }
    observe(&after);
    if (result > 0) {
        say(1, "daemon %d", result);
    } else {
        say(1, "%d %d %d", result, (int)error.step, (int)error.errnum);
    }
    say(1, ": the caller, %s\n", strcmp(before.bytes, after.bytes) == 0 ? "as it was" : "changed");
    exit(result > 0 ? 0 : 120);
}

/* Calls with the state before and after. */
static inline int call_with_both(const char *path) {
    int call;
    observe(&after);
    call = call_the_test(path);
    put_state(call, &before);
    put_state(call, &after);
    return call;
}

/* Says what came of a call that was made after this. */
#define SAY(fd, call) \
    do { \
        int result_of_it; \
        error.step = error.errnum = -7; \
        result_of_it = (call); \
        say(fd, "%d %d %d\n", result_of_it, (int)error.step, (int)error.errnum); \
    } while (0)

static inline void say_ready(int call) { SAY(call, untty_ready(&handle, &error)); }

#endif
