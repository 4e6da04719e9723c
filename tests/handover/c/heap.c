/* The heap from before is the daemon's, whole, and many threads use it at once. */

#include "daemon.h"
#include <malloc.h>

enum { PIECES = 2000, THREADS = 8, TURNS = 20000 };

static unsigned char *piece[PIECES];

static int is_whole(const unsigned char *memory, size_t size, unsigned char value) {
    size_t index;
    for (index = 0; index < size; index++) {
        if (memory[index] != value) {
            return 0;
        }
    }
    return 1;
}

static unsigned char *filled(size_t size, unsigned char value) {
    unsigned char *memory = (unsigned char *)malloc(size);
    CHECK(memory == NULL);
    memset(memory, value, size);
    return memory;
}

static size_t size_of(unsigned index) { return index % 50 == 0 ? 200000 : 1 + index % 500; }

static void *churn(void *argument) {
    unsigned random = (unsigned)(long)argument;
    unsigned char *own[64] = {NULL};
    unsigned short size[64];
    long wrong = 0;
    int turn;
    for (turn = 0; turn < TURNS; turn++) {
        unsigned slot;
        random = random * 1664525 + 1013904223;
        slot = random >> 26;
        if (own[slot] != NULL) {
            wrong += !is_whole(own[slot], size[slot], (unsigned char)slot);
            free(own[slot]);
        }
        size[slot] = (unsigned short)(1 + (random >> 8) % 3000);
        own[slot] = filled(size[slot], (unsigned char)slot);
    }
    for (turn = 0; turn < 64; turn++) {
        free(own[turn]);
    }
    return (void *)wrong;
}

int main(int argc, char **argv) {
    pthread_t thread[THREADS];
    unsigned index;
    int whole = 1;
    long wrong = 0;
    (void)argc;
    for (index = 0; index < PIECES; index++) {
        piece[index] = filled(size_of(index), (unsigned char)index);
    }
    become_daemon(argv[1]);
    for (index = 0; index < PIECES; index++) {
        whole &= is_whole(piece[index], size_of(index), (unsigned char)index);
    }
    holds(whole, "what was there before is whole");
    for (index = 0; index < THREADS; index++) {
        CHECK(pthread_create(&thread[index], NULL, churn, (void *)(long)(index + 1)));
    }
    /* Meanwhile the first thread goes on with the pieces from before. */
    for (index = 0; index < PIECES; index += 2) {
        piece[index] = (unsigned char *)realloc(piece[index], size_of(index) * 3);
        whole &= is_whole(piece[index], size_of(index), (unsigned char)index);
    }
    for (index = 0; index < PIECES; index++) {
        free(piece[index]);
    }
    for (index = 0; index < THREADS; index++) {
        void *result;
        CHECK(pthread_join(thread[index], &result));
        wrong += (long)result;
    }
    holds(whole, "and can be resized and freed");
    holds(wrong == 0, "many threads allocate at once");
    malloc_trim(0);
    CHECK(malloc_info(0, fopen("/dev/null", "w")));
    holds(1, "the heap's own books are right");
    return end();
}
