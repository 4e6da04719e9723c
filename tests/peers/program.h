/* What the C programs share. */

#ifndef PROGRAM_H
#define PROGRAM_H

#include "marker.h"
#include <sys/prctl.h>
#include <unistd.h>

/* How long those wait that are told how long: as the documentation of fork's checked_daemon has it. */
#define DEADLINE_SECONDS 3

static inline void say(unsigned long word, long a, long b) { prctl(MARKER, word, a, b, 0L); }

static inline void begin(void) { say(MARKER_BEGIN, 0, 0); }

__attribute__((noreturn)) static inline void daemon_runs(void) {
    say(MARKER_DAEMON, 0, 0);
    for (;;) {
        pause();
    }
}

#endif
