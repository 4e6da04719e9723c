/* untty: turns the calling process into a daemon, and always tells the caller the truth about it.
 *
 * Link with -luntty, or with what `pkg-config --libs untty` says. The shortest daemon:
 *
 *     struct untty_options options = UNTTY_OPTIONS_INIT;
 *     struct untty_error error;
 *     if (untty_detach(&options, NULL, &error) < 0) {
 *         char line[128];
 *         untty_error_message(&error, line, sizeof line);
 *         fprintf(stderr, "%s\n", line);
 *         return 1;
 *     }
 *     // here runs the daemon; the caller has exited with status 0
 *
 * Three processes take part. The caller is the process that calls; it waits until the daemon is ready. The leader is
 * the session leader in between; it is gone by then. The daemon is what stays: in a session of its own, not its
 * leader, and so without a terminal for ever.
 *
 * Functions return -1 on failure and fill *error, unless they say otherwise. The library has no global state, installs
 * no signal handlers, prints nothing and allocates nothing. */


#ifndef UNTTY_H
#define UNTTY_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define UNTTY_NORETURN __attribute__((noreturn))
#else
#define UNTTY_NORETURN
#endif

/** The safe defaults, with the size filled in: struct untty_options options = UNTTY_OPTIONS_INIT; */
#define UNTTY_OPTIONS_INIT \
    { \
        sizeof(struct untty_options), 0, 0, NULL, {0, 0, NULL}, {0, 0, NULL}, {0, 0, NULL}, NULL, 0, 0, 0 \
    }


/**
 * The caller does not exit when the daemon is ready: untty_detach returns the daemon's process id in it.
 */
#define UNTTY_RETURN_IN_CALLER 1

/**
 * Leave signal dispositions, handlers and the signal mask as they are.
 */
#define UNTTY_KEEP_SIGNALS 2

/**
 * Leave the working directory as it is; the member directory is not looked at.
 */
#define UNTTY_KEEP_DIRECTORY 8

/**
 * Leave the umask as it is; the member umask is not looked at.
 */
#define UNTTY_KEEP_UMASK 16

/**
 * Set the umask to the member umask instead of 027.
 */
#define UNTTY_SET_UMASK 32

/**
 * Close nothing above 2; the member keep is not looked at.
 */
#define UNTTY_KEEP_DESCRIPTORS 64

/**
 * Fork even if the caller has more threads. The daemon must then call only async-signal-safe functions.
 */
#define UNTTY_ACCEPT_THREADS 128

/**
 * /dev/null, checked to be the real device (ENODEV).
 */
#define UNTTY_STDIO_NULL 0

/**
 * As it is in the caller.
 */
#define UNTTY_STDIO_INHERIT 1

/**
 * The caller's descriptor fd.
 */
#define UNTTY_STDIO_FD 2

/**
 * The file path, opened before the first fork. Standard input reads it (of a FIFO, it waits for a writer). Output and
 * error append to it, and create it with mode 0640; there, a symbolic link is an error (ELOOP), and so is a FIFO that
 * nobody reads (ENXIO).
 */
#define UNTTY_STDIO_FILE 3

/**
 * /dev/console, without becoming a controlling terminal.
 */
#define UNTTY_STDIO_CONSOLE 4

/**
 * For standard error only (else EINVAL): wherever standard output goes.
 */
#define UNTTY_STDIO_STDOUT 5

/**
 * The steps of the sequence, as struct untty_error tells them. Numbers are permanent and never reused.
 */
enum untty_step {
    /**
     * Checking the options: EINVAL, EFAULT, E2BIG.
     */
    UNTTY_STEP_OPTIONS = 1,
    /**
     * Refusing more than one thread: EBUSY.
     */
    UNTTY_STEP_THREADS = 2,
    /**
     * Opening standard input, or putting it in place.
     */
    UNTTY_STEP_STDIN = 3,
    /**
     * The same for standard output.
     */
    UNTTY_STEP_STDOUT = 4,
    /**
     * The same for standard error.
     */
    UNTTY_STEP_STDERR = 5,
    /**
     * Making the report pipe.
     */
    UNTTY_STEP_PIPE = 6,
    /**
     * The first fork.
     */
    UNTTY_STEP_FORK = 7,
    /**
     * setsid.
     */
    UNTTY_STEP_SETSID = 8,
    /**
     * The second fork.
     */
    UNTTY_STEP_FORK_AGAIN = 9,
    /**
     * Blocking signals, or resetting them in the daemon.
     */
    UNTTY_STEP_SIGNALS = 10,
    /**
     * chdir.
     */
    UNTTY_STEP_DIRECTORY = 11,
    /**
     * umask.
     */
    UNTTY_STEP_UMASK = 12,
    /**
     * Closing the other descriptors.
     */
    UNTTY_STEP_CLOSE = 13,
    /**
     * Telling the caller that the daemon is ready: EPIPE when the caller is gone.
     */
    UNTTY_STEP_READY = 14,
    /**
     * Waiting for the daemon: ESRCH when it died before it was ready, ETIMEDOUT at the deadline.
     */
    UNTTY_STEP_WAIT = 15,
    /**
     * Executing a program.
     */
    UNTTY_STEP_EXEC = 16,
    /**
     * The daemon called untty_fail; errnum is the exit status.
     */
    UNTTY_STEP_FAIL = 17,
};

/**
 * Where one of the daemon's standard streams goes. All zero: /dev/null.
 */
struct untty_stdio {
    /**
     * One of the UNTTY_STDIO_ constants.
     */
    uint32_t kind;
    /**
     * For UNTTY_STDIO_FD.
     */
    int fd;
    /**
     * For UNTTY_STDIO_FILE.
     */
    const char *path;
};

/**
 * How to become a daemon. Begin with UNTTY_OPTIONS_INIT and change what you need: everything zero is the safe default.
 */
struct untty_options {
    /**
     * sizeof(struct untty_options), so that the structure can grow: a smaller one, of an older program, is served, and
     * a larger one is refused (E2BIG) if it holds anything that this library does not know.
     */
    size_t size;
    /**
     * UNTTY_RETURN_IN_CALLER and its like, or-ed together.
     */
    uint32_t flags;
    /**
     * With UNTTY_SET_UMASK: the daemon's umask, 0 to 0777. Otherwise it is 027.
     */
    uint32_t umask;
    /**
     * The daemon's working directory; NULL: "/".
     */
    const char *directory;
    /**
     * The daemon's standard input.
     */
    struct untty_stdio input;
    /**
     * The daemon's standard output.
     */
    struct untty_stdio output;
    /**
     * The daemon's standard error.
     */
    struct untty_stdio error;
    /**
     * Descriptors that stay open, in any order; numbers that are not open do no harm.
     */
    const int *keep;
    /**
     * How many.
     */
    size_t keep_count;
    /**
     * How long the caller waits for the daemon to be ready, in milliseconds; then the start is ended and fails with
     * ETIMEDOUT. 0: as long as the daemon lives.
     */
    uint32_t deadline_ms;
    /**
     * Zero.
     */
    uint32_t reserved;
};

/**
 * What the daemon holds until it is ready. Do not look inside, do not copy it.
 */
struct untty_handle {
    int32_t private_members[8];
};

/**
 * Why there is no daemon.
 */
struct untty_error {
    /**
     * The step that failed: an enum untty_step.
     */
    int32_t step;
    /**
     * Its error number, as in errno.
     */
    int32_t errnum;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Turns the calling process into a daemon.
 *
 * Returns 0 in the daemon. On failure it returns -1 in the caller, which is as it was before, with *error filled, and
 * no other process is left. On success the caller exits 0 when the daemon is ready (with _exit: no atexit handlers,
 * nothing flushed); with UNTTY_RETURN_IN_CALLER it returns the daemon's process id (> 0) instead, as fork does.
 *
 * With a handle, the daemon is ready when it calls untty_ready, and the caller waits for that. With NULL it is ready at
 * once. error may be NULL.
 *
 * The calling process must have only one thread. Descriptors above 2 that are not in options->keep are closed:
 * whatever owns one (a FILE, a database, a socket) must not be used afterwards.
 */
int untty_detach(const struct untty_options *options, struct untty_handle *handle, struct untty_error *error);

/**
 * The daemon is ready: the caller exits 0, or returns the daemon's process id.
 *
 * Returns 0, or -1 with *error filled. EPIPE: the caller was killed while it waited, and nobody was told that the
 * daemon runs; whether it should, is yours to decide. EALREADY: this was said before.
 */
int untty_ready(struct untty_handle *handle, struct untty_error *error);

/**
 * There will be no daemon: ends this process with _exit, and the waiting caller with that exit status, 1 to 255.
 * A status of 0 would claim success and becomes 1. Never returns.
 *
 * With UNTTY_RETURN_IN_CALLER the caller's untty_detach fails with UNTTY_STEP_FAIL, and errnum is the status.
 */
void untty_fail(struct untty_handle *handle, int exit_status) UNTTY_NORETURN;

/**
 * A drop-in for daemon(3) that forks twice and tells the truth.
 *
 * Like daemon(3) it changes the directory to "/" unless nochdir, puts standard input, output and error on /dev/null
 * unless noclose, and leaves everything else alone: it closes nothing above 2, leaves umask, signal mask and handlers
 * as they are, and accepts threads. Unlike it, the caller exits 0 only when all of that has been done.
 *
 * Returns 0 in the daemon. On failure, in the caller: -1 with errno set; in a library built without libc, -errno.
 */
int untty_daemon(int nochdir, int noclose);

/**
 * Closes every descriptor from lowest up; a negative number counts as 0. Returns 0.
 */
int untty_close_from(int lowest);

/**
 * Closes every descriptor from lowest up, except the count ones in keep: in any order, repeated, negative or not open,
 * as they come. Needs no free descriptor, no /proc and no new kernel.
 *
 * Returns 0. If keep is NULL and count is not 0 (EFAULT), or count is more than memory can hold (EINVAL), nothing is
 * closed, and it returns -1 with errno set; in a library built without libc, -errno.
 */
int untty_close_except(int lowest, const int *keep, size_t count);

/**
 * The name of a step, such as "setsid"; "unknown" for a number that is none. Never NULL, never to be freed.
 */
const char *untty_step_name(int step);

/**
 * Writes one line, "STEP: what: ERRNO", such as "setsid: cannot start a new session: EPERM".
 *
 * As snprintf: at most size bytes are written, the last of them a NUL, and the whole text's length without the NUL is
 * returned. buffer may be NULL if size is 0. A NULL error, or one that is all zero, gives "no error".
 */
size_t untty_error_message(const struct untty_error *error, char *buffer, size_t size);

/**
 * The library's version, such as "0.1.0".
 */
const char *untty_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* UNTTY_H */
