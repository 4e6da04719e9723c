/* What a program under test tells the injector (tests/faults): prctl(MARKER, word, a, b, 0). Without an injector each
 * is EINVAL, and nothing happens. */

#ifndef MARKER_H
#define MARKER_H

#define MARKER 0x756e7474 /* "untt" */

#define MARKER_BEGIN 1    /* faults count from here on */
#define MARKER_DAEMON 2   /* this process is the daemon, complete, and runs its program */
#define MARKER_RETURNED 3 /* in the caller: the library's call succeeded; a: the daemon's pid, or 0 */
#define MARKER_FAILED 4   /* in the caller: it failed; a: the step, or 0; b: errno */

#endif
