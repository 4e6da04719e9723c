/* What a program tells the harness, in memory that they share: struct Measured in turn.rs. Times in nanoseconds of
 * CLOCK_MONOTONIC. */

#ifndef PROGRAM_H
#define PROGRAM_H

struct measured {
    long called;     /* right before the call */
    long running;    /* the daemon's first act */
    long touched;    /* how long it took to write to each page again */
    long faults;     /* and how many minor faults that cost */
    long failed;     /* what the call returned, if not 0 */
    int way;         /* untty_way, where a handle was asked */
    int daemon;      /* its process id */
    int caller_gone; /* by the harness: a futex */
    int complete;
};

#endif
