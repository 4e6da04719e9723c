/* A daemon that has taken its caller's memory over and then fails before it is ready, in the way that the arguments say:
 *
 *     handover_late PID_FILE HOW NUMBER [untold]
 *
 * The caller, which cannot return any more, says what it is told. */

#define _GNU_SOURCE

#include "observe.h"
#include <errno.h>
#include <untty.h>

static long caller, daemon_is;
static const char *pid_file;
static int was_none;

/* What a signal handler may do. */
static void append(char *line, const char *text) { strcat(line, text); }

static void append_number(char *line, int number) {
    char digits[16];
    int place = 15;
    digits[place] = 0;
    do {
        digits[--place] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    append(line, digits + place);
}

static int pid_file_is_the_dead_ones(void) {
    char content[32];
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int file = open(pid_file, O_RDWR);
    ssize_t length = read(file, content, sizeof content);
    int is = length == 9 && memcmp(content, "99999999\n", 9) == 0;
    int unlocked = fcntl(file, F_OFD_GETLK, &lock) == 0 && lock.l_type == F_UNLCK;
    close(file);
    return is && unlocked;
}

static int pid_file_is_as_it_was(void) {
    if (was_none) {
        return access(pid_file, F_OK) < 0 && errno == ENOENT;
    }
    return pid_file_is_the_dead_ones();
}

static void on_late_failure(const struct untty_error *error) {
    char line[200] = "";
    append(line, getpid() == caller ? "caller: step " : "somebody: step ");
    append_number(line, (int)error->step);
    append(line, " errno ");
    append_number(line, (int)error->errnum);
    append(line, kill((pid_t)daemon_is, 0) < 0 && errno == ESRCH ? ", the daemon is gone" : ", the daemon is there");
    append(line, pid_file_is_as_it_was() ? ", the pid file is as it was\n" : ", the pid file is another\n");
    put(1, line);
}

/* The daemon's program goes on, and uses what the call has used: the stack, and what the options pointed to. */
static int scribble(int depth) {
    volatile char frame[1024];
    memset((void *)frame, 0xee, sizeof frame);
    return depth > 0 ? scribble(depth - 1) + frame[depth] : 0;
}

int main(int argc, char **argv) {
    static char path[4096];
    struct untty_options options = UNTTY_OPTIONS_INIT;
    struct untty_handle handle;
    struct untty_error error;
    const char *how = argc > 3 ? argv[2] : "";
    int number = argc > 3 ? atoi(argv[3]) : 0;

    caller = (long)getpid();
    options.flags = UNTTY_HANDOVER;
    options.output.kind = UNTTY_STDIO_INHERIT;
    pid_file = argv[1];
    was_none = access(pid_file, F_OK) < 0;
    strncpy(path, argv[1], sizeof path - 1);
    options.pid_file = path;
    options.on_late_failure = argc > 4 ? NULL : on_late_failure;
    if (strncmp(how, "deadline", 8) == 0) {
        options.deadline_ms = (uint32_t)number;
    }
    if (untty_detach(&options, &handle, &error) < 0) {
        say(1, "failed: %d %d\n", (int)error.step, (int)error.errnum);
        return 99;
    }
    daemon_is = (long)getpid();
    memset(path, 'x', sizeof path);
    memset(&options, 0xee, sizeof options);
    scribble(100);
    say(1, "daemon: way %d\n", untty_way(&handle));
    if (strcmp(how, "exit") == 0) {
        exit(number);
    } else if (strcmp(how, "die") == 0) {
        kill(getpid(), number);
    } else if (strcmp(how, "fail") == 0) {
        untty_fail(&handle, number);
    } else if (strcmp(how, "deadline in a session of its own") == 0) {
        setsid();
    }
    for (;;) {
        pause();
    }
}
