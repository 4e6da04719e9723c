/* The heap of the caller is the daemon's too, and goes on to work. */

#include "daemon.h"

enum { PIECES = 1000 };

static char *piece[PIECES];

static int whole(size_t from, size_t to, size_t size) {
    for (; from < to; from++) {
        size_t byte;
        for (byte = 0; byte < size; byte++) {
            if (piece[from][byte] != (char)from) {
                return 0;
            }
        }
    }
    return 1;
}

int main(void) {
    size_t index;
    for (index = 0; index < PIECES; index++) {
        piece[index] = malloc(100);
        memset(piece[index], (int)index, 100);
    }
    if (become_daemon(0)) {
        say(1, "the caller: %s\n", whole(0, PIECES, 100) ? "whole" : "broken");
        return 0;
    }
    for (index = 0; index < PIECES; index += 2) {
        free(piece[index]);
        piece[index] = malloc(200000 + index); /* by a mapping of its own, too */
        memset(piece[index], (int)index, 100);
    }
    for (index = 0; index < PIECES; index++) {
        piece[index] = realloc(piece[index], 3000);
    }
    say(1, "the daemon: %s\n", whole(0, PIECES, 100) ? "whole" : "broken");
    return 0;
}
