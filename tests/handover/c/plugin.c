/* The library that variables.c loads. Its variables are too large for what the C library keeps free at start. */

#include <stddef.h>

static __thread int counter = 100;
static __thread char large[100000];

int count(void) {
    large[counter] = 1;
    return ++counter;
}

void *count_in_a_thread(void *nothing) {
    (void)nothing;
    return (void *)(size_t)count();
}
