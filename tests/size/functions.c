/* Calls the functions of the library, as its arguments say one after the other, and has them measured (stack.c): with
 * and without a C library (RAW). */

#include "marks.h"
#include <untty.h>

#ifdef RAW
#include "start.h"
static void leave(int status) { call(SYS_exit_group, status, 0, 0); }
static void rest(void) {
    for (;;)
        call(SYS_pause, 0, 0, 0);
}
#else
#include <unistd.h>
static void leave(int status) { _exit(status); }
static void rest(void) {
    for (;;)
        pause();
}
#endif

#define MEASURED(call) \
    do { \
        MARK(MARK_BEGIN); \
        result = (long)(call); \
        MARK(MARK_END); \
    } while (0)

static struct untty_options options = UNTTY_OPTIONS_INIT;
static struct untty_handle handle;
static struct untty_error error;
static const int keep[] = {9, 3, 3, -1, 70000, 5};
static int many[26000];
static const unsigned groups[] = {65534, 100, 101};

static int is(const char *left, const char *right) {
    while (*left != '\0' && *left == *right) {
        left++;
        right++;
    }
    return *left == *right;
}

static int number(const char *text) {
    int value = 0;
    for (; *text != '\0'; text++)
        value = value * 10 + (*text - '0');
    return value;
}

/* An option of a start; 0 when that is none. Those with a value come in pairs. */
static int set_option(const char *name, const char *value) {
    if (is(name, "-return"))
        options.flags |= UNTTY_RETURN_IN_CALLER;
    else if (is(name, "-supervised"))
        options.flags |= UNTTY_STAY_IF_SUPERVISED;
    else if (is(name, "-keep"))
        options.keep = keep, options.keep_count = sizeof keep / sizeof keep[0];
    else if (is(name, "-keep-many")) {
        for (int fd = 0; fd < (int)(sizeof many / sizeof many[0]); fd++)
            many[fd] = fd + 3;
        options.keep = many, options.keep_count = sizeof many / sizeof many[0];
    } else if (is(name, "-user"))
        options.flags |= UNTTY_SET_USER, options.uid = options.gid = 65534, options.groups = groups,
            options.group_count = sizeof groups / sizeof groups[0];
    else if (is(name, "-umask"))
        options.flags |= UNTTY_SET_UMASK, options.umask = 077;
    else if (is(name, "-console"))
        options.output.kind = UNTTY_STDIO_CONSOLE;
    else if (is(name, "-stdout"))
        options.error.kind = UNTTY_STDIO_STDOUT;
    else if (value == 0)
        return 0;
    else if (is(name, "-fd"))
        options.input.kind = UNTTY_STDIO_FD, options.input.fd = number(value);
    else if (is(name, "-in"))
        options.input.kind = UNTTY_STDIO_FILE, options.input.path = value;
    else if (is(name, "-out"))
        options.output.kind = UNTTY_STDIO_FILE, options.output.path = value;
    else if (is(name, "-err"))
        options.error.kind = UNTTY_STDIO_FILE, options.error.path = value;
    else if (is(name, "-pid"))
        options.pid_file = value;
    else if (is(name, "-root"))
        options.root = value;
    else if (is(name, "-dir"))
        options.directory = value;
    else if (is(name, "-deadline"))
        options.deadline_ms = (unsigned)number(value);
    else if (is(name, "-ready"))
        options.ready_fd = number(value);
    else
        return 0;
    return 1;
}

static int has_value(const char *name) {
    static const char *const names[] = {"-fd", "-in", "-out", "-err", "-pid", "-root", "-dir", "-deadline", "-ready"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
        if (is(name, names[i]))
            return 1;
    return 0;
}

/* Uses 1,112 bytes, 104 of them below the stack pointer and 8 for the way back, and asks for memory once: so much the
 * tracer has to see. */
int known(void);
__asm__("known: sub $1000, %rsp\n\tmovq $1, -104(%rsp)\n\tmov $12, %eax\n\txor %edi, %edi\n\tsyscall\n\t"
        "xor %eax, %eax\n\tadd $1000, %rsp\n\tret");

/* A function; what it says about itself is the business of other tests. */
static int call_function(const char *name, const char *const *environment) {
    char line[128];
    long result = 0;
    options.environment = environment;
    if (is(name, "daemon"))
        MEASURED(untty_daemon(0, 0));
    else if (is(name, "known"))
        MEASURED(known());
    else if (is(name, "detach"))
        MEASURED(untty_detach(&options, 0, &error));
    else if (is(name, "detach-handle"))
        MEASURED(untty_detach(&options, &handle, &error));
    else if (is(name, "notify"))
        MEASURED(untty_notify(&handle, "STATUS=measured\nRELOADING=1", &error));
    else if (is(name, "ready"))
        MEASURED(untty_ready(&handle, &error));
    else if (is(name, "fail"))
        MEASURED((untty_fail(&handle, 7), 0));
    else if (is(name, "close-from"))
        MEASURED(untty_close_from(3));
    else if (is(name, "close-except"))
        MEASURED(untty_close_except(3, keep, sizeof keep / sizeof keep[0]));
    else if (is(name, "pid-file-read"))
        MEASURED(untty_pid_file_read(options.pid_file, &error));
    else if (is(name, "pid-file-remove"))
        MEASURED(untty_pid_file_remove(options.pid_file, &error));
    else if (is(name, "reopen-log"))
        MEASURED(untty_reopen_log(2, options.output.path, &error));
    else if (is(name, "listen-fds"))
        MEASURED(untty_listen_fds(environment));
    else if (is(name, "supervisor"))
        MEASURED(untty_supervisor(environment));
    else if (is(name, "step-name"))
        MEASURED(untty_step_name(UNTTY_STEP_SETSID));
    else if (is(name, "error-message")) {
        error.step = UNTTY_STEP_SETSID, error.errnum = 1;
        MEASURED(untty_error_message(&error, line, sizeof line));
    } else if (is(name, "version"))
        MEASURED(untty_version());
    else
        leave(99);
    return (int)result;
}

static void run(char **argv, const char *const *environment) {
    for (char **word = argv + 1; *word != 0; word++) {
        int result;
        if (set_option(*word, word[1])) {
            word += has_value(*word);
            continue;
        }
        if (is(*word, "rest"))
            break;
        result = call_function(*word, environment);
        if (result < 0)
            leave(100 + error.step);
        if (is(*word, "detach-handle") && result > 0)
            leave(0); /* the caller, which has a daemon */
        if (is(*word, "detach") && result > 0)
            leave(0);
    }
    MARK(MARK_REST);
    rest();
}

#ifdef RAW
__attribute__((used)) static void start(long *stack) {
    char **argv = (char **)(stack + 1);
    run(argv, (const char *const *)(argv + stack[0] + 1));
}
#else
int main(int argc, char **argv, char **environment) {
    (void)argc;
    run(argv, (const char *const *)environment);
    return 0;
}
#endif
