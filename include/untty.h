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
 * Functions return -1 on failure and fill *error, unless they say otherwise. The library has no global state but
 * the small stacks of UNTTY_HANDOVER, installs no signal handlers, prints nothing and allocates nothing. */


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
        sizeof(struct untty_options), 0, 0, NULL, {0, 0, NULL}, {0, 0, NULL}, {0, 0, NULL}, NULL, 0, 0, 0, NULL, \
        NULL, NULL, 0, 0, 0, NULL, NULL \
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
 * The daemon takes the caller's memory over instead of getting a copy: in no time, however much there is, and with what
 * mlock has locked. Where that cannot be, two forks are made as always; untty_way tells.
 *
 * Until untty_detach returns in the daemon (with UNTTY_KEEP_SIGNALS: until its handlers may run, just before), a failure is
 * returned in the caller as always. From then on the caller cannot return, since its stack is the daemon's: if the daemon
 * fails before it is ready, the caller calls options->on_late_failure and exits 1, or exits with the status of untty_fail.
 * While it waits, signals that it handles are held back.
 */
#define UNTTY_HANDOVER 4

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
 * Where systemd, s6 or runit runs this very process as a service, fork nothing: it gets the state that was asked for
 * and untty_detach returns 0 in it. Streams that would go to /dev/null stay where they are, and so do the sockets of
 * untty_listen_fds. If it fails then (-1), the process may have been changed by the steps before, and should exit.
 */
#define UNTTY_STAY_IF_SUPERVISED 256

/**
 * Become the user that the members uid, gid, groups and group_count say.
 */
#define UNTTY_SET_USER 512

/**
 * Say nothing to a supervisor, whatever the environment says.
 */
#define UNTTY_IGNORE_SUPERVISOR 1024

/**
 * The first of the descriptors that untty_listen_fds counts.
 */
#define UNTTY_LISTEN_FDS_START 3

/**
 * untty_supervisor: systemd, for the system or for a user.
 */
#define UNTTY_SUPERVISOR_SYSTEMD 1

/**
 * untty_supervisor: s6-supervise.
 */
#define UNTTY_SUPERVISOR_S6 2

/**
 * untty_supervisor: runsv.
 */
#define UNTTY_SUPERVISOR_RUNIT 3

/**
 * untty_way: by two forks, which copy; or by none, where a supervised process stays what it is.
 */
#define UNTTY_WAY_FORKS 0

/**
 * untty_way: by UNTTY_HANDOVER.
 */
#define UNTTY_WAY_HANDOVER 1

/**
 * untty_way, and all that follow: by two forks, although UNTTY_HANDOVER was asked for. Nobody has written it for this
 * architecture.
 */
#define UNTTY_WAY_UNSUPPORTED 2

/**
 * untty_way: UNTTY_RETURN_IN_CALLER, where both would go on in the same memory.
 */
#define UNTTY_WAY_RETURNS 3

/**
 * untty_way: under valgrind.
 */
#define UNTTY_WAY_VALGRIND 4

/**
 * untty_way: with a user shadow stack.
 */
#define UNTTY_WAY_SHADOW_STACK 5

/**
 * untty_way: there are more threads, or another process has the same memory, or the kernel does not tell.
 */
#define UNTTY_WAY_SHARED 6

/**
 * untty_way: the C library's copy of the thread's id was not found, as with musl.
 */
#define UNTTY_WAY_THREAD_ID 7

/**
 * untty_way: the thread holds a robust mutex.
 */
#define UNTTY_WAY_ROBUST_MUTEX 8

/**
 * untty_way: somebody else than the C library has registered rseq(2).
 */
#define UNTTY_WAY_RSEQ 9

/**
 * untty_way: the kernel, or a filter, refuses such a clone.
 */
#define UNTTY_WAY_CLONE 10

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
     * setsid; EINVAL: the caller, which would exit, is process 1 of a pid namespace, or its children are in another.
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
     * Waiting for the daemon: ESRCH when it died before it was ready, ETIMEDOUT at the deadline, EPERM when it could
     * not be ended.
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
    /**
     * chroot.
     */
    UNTTY_STEP_ROOT = 18,
    /**
     * The pid file: EEXIST when its daemon is running or being started; ELOOP, EMLINK, EISDIR, EINVAL when it is a
     * symbolic link, has a second name, is a directory, is no regular file or holds something else; EPERM when it
     * belongs to another user, or is not the caller's to be removed.
     */
    UNTTY_STEP_PID_FILE = 19,
    /**
     * setgroups.
     */
    UNTTY_STEP_GROUPS = 20,
    /**
     * setresgid.
     */
    UNTTY_STEP_GID = 21,
    /**
     * setresuid.
     */
    UNTTY_STEP_UID = 22,
    /**
     * Proving that privileges are gone for good: EPERM when they are not.
     */
    UNTTY_STEP_PRIVILEGES = 23,
    /**
     * Telling the supervisor.
     */
    UNTTY_STEP_NOTIFY = 24,
    /**
     * Opening a log anew.
     */
    UNTTY_STEP_LOG = 25,
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
     * A descriptor above 2 on which untty_ready writes a newline, and closes it, as s6-supervise wants it; 0: none.
     */
    int ready_fd;
    /**
     * The pid file, for one daemon at a time; NULL: none. It is opened and locked in the caller, written by the daemon
     * before untty_detach is done, and locked as long as the daemon lives.
     */
    const char *pid_file;
    /**
     * The daemon's root directory, in which the working directory then lies; NULL: the caller's. All files above are
     * opened before.
     */
    const char *root;
    /**
     * With UNTTY_SET_USER: the supplementary groups; none of these four is looked at without it, and all are zero.
     */
    const uint32_t *groups;
    /**
     * How many; 0 empties the list.
     */
    size_t group_count;
    /**
     * With UNTTY_SET_USER: real, effective and saved user id; not -1.
     */
    uint32_t uid;
    /**
     * The same for the group id.
     */
    uint32_t gid;
    /**
     * Where to look for a supervisor; NULL: the C library's environ. A library built without libc knows no environ,
     * and finds none then.
     */
    const char *const *environment;
    /**
     * With UNTTY_HANDOVER: called in the caller before it exits 1, because the daemon, which had gone on already, has
     * failed before it was ready, and is gone; NULL: nothing. It runs on a stack of a few kilobytes and in the memory that
     * the daemon has left, so it may only do what a signal handler may: signal-safety(7). If the daemon could not be
     * ended (UNTTY_STEP_WAIT, EPERM), it still has that memory.
     */
    void (*on_late_failure)(const struct untty_error *error);
};

/**
 * What the daemon holds until it is ready. Do not look inside, do not copy it.
 */
struct untty_handle {
    int32_t private_members[8];
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
 * With a handle, the daemon is ready when it calls untty_ready, and the caller waits for that. With NULL it is ready
 * at once. error may be NULL.
 *
 * The calling process must have only one thread. Descriptors above 2 that are not in options->keep are closed:
 * whatever owns one (a FILE, a database, a socket) must not be used afterwards.
 */
int untty_detach(const struct untty_options *options, struct untty_handle *handle, struct untty_error *error);

/**
 * The daemon is ready: the caller exits 0, or returns the daemon's process id. Before that, ready_fd gets its newline,
 * and the caller tells a supervisor that the environment named (NOTIFY_SOCKET) READY=1 and MAINPID=; if it cannot be
 * told, the start fails in the caller and this daemon is ended. A process that stays because it is supervised tells it
 * by itself.
 *
 * Returns 0, or -1 with *error filled. UNTTY_STEP_NOTIFY: ready_fd, or a supervised process's supervisor, could not be
 * told; a caller still waits. UNTTY_STEP_READY with EPIPE: the caller was killed while it waited, and nobody was told
 * that the daemon runs; whether it should, is yours to decide. EALREADY: this was said before.
 */
int untty_ready(struct untty_handle *handle, struct untty_error *error);

/**
 * Sends the supervisor a message of the protocol of sd_notify(3), at any time after untty_detach: "STATUS=...",
 * "STOPPING=1", "WATCHDOG=1", "RELOADING=1" (to which the monotonic time is added, as the protocol wants it), several
 * of them with a newline between.
 *
 * Returns 1 when it was sent, 0 when the environment named no supervisor, -1 with *error filled.
 */
int untty_notify(struct untty_handle *handle, const char *state, struct untty_error *error);

/**
 * How the daemon came to be: one of the UNTTY_WAY_ constants. -1 if the handle is NULL or was not filled.
 */
int untty_way(const struct untty_handle *handle);

/**
 * There will be no daemon: ends this process with _exit, and the waiting caller with that exit status, 1 to 255.
 * A status of 0 would claim success and becomes 1. Never returns.
 *
 * With UNTTY_RETURN_IN_CALLER the caller's untty_detach fails with UNTTY_STEP_FAIL, and errnum is the status.
 */
void untty_fail(struct untty_handle *handle, int exit_status) UNTTY_NORETURN;

/**
 * The process id of the live daemon that owns a pid file; 0 when there is none. The kernel, which knows the lock
 * on the file, and the file's text have to agree on it. Also for the daemon itself, which must not open and close its
 * pid file by other means: that would take its lock away (fcntl(2)).
 *
 * -1 with *error filled when it cannot be told; ESRCH: held, but not by the process that it names: its owner
 * lives in another pid namespace, or a stranger has locked it.
 */
int untty_pid_file_read(const char *path, struct untty_error *error);

/**
 * Removes the pid file that this process owns; call it last, since another daemon may start from then on. The path is
 * looked up in the daemon's root and working directory.
 *
 * Returns 0, or -1 with *error filled. EPERM: it is not this process's. EACCES: who has given up privileges often may
 * not remove a file; that does no harm, because a file that nobody holds is taken over by the next start.
 */
int untty_pid_file_remove(const char *path, struct untty_error *error);

/**
 * Opens a log by its path once more and puts it in the place of fd, which is never closed meanwhile: for logrotate(8),
 * which has given the old file another name. Opened as UNTTY_STDIO_FILE says; fd's close-on-exec flag stays.
 *
 * Async-signal-safe, so a handler of SIGHUP may call it; it may change errno. Where two descriptors lead to the log,
 * each is reopened by itself. Returns 0, or -1 with *error filled, and fd is as it was.
 */
int untty_reopen_log(int fd, const char *path, struct untty_error *error);

/**
 * How many sockets the supervisor has opened for this very process (socket activation: LISTEN_FDS and LISTEN_PID):
 * they are the descriptors from UNTTY_LISTEN_FDS_START on. To be asked before untty_detach, after which the process is
 * another one; put them in options->keep. environment is as in struct untty_options.
 */
int untty_listen_fds(const char *const *environment);

/**
 * Who runs this very process as a service: one of the UNTTY_SUPERVISOR_ constants, or 0. environment is as in struct
 * untty_options.
 *
 * The evidence: systemd has set SYSTEMD_EXEC_PID to this process's id (or, before version 248, INVOCATION_ID is set
 * and the parent is named systemd); the parent is s6-supervise, or runsv. A parent's name is read from /proc.
 */
int untty_supervisor(const char *const *environment);

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
