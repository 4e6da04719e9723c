/* What the functions refuse: a line each. No process is made, unless one of them does not refuse. */

#define _POSIX_C_SOURCE 200809L

#include "observe.h"
#include <errno.h>
#include <limits.h>
#include <untty.h>

static const struct untty_options defaults = UNTTY_OPTIONS_INIT;
static struct text before;
static struct text after;

static void attempt(const char *name, const struct untty_options *options) {
    struct untty_handle handle;
    struct untty_error error = {-7, -7};
    int result;
    observe(&before);
    result = untty_detach(options, &handle, &error);
    if (result == 0) {
        untty_fail(&handle, 99);
    }
    observe(&after);
    say(1, "%s: %d %d %d%s\n", name, result, (int)error.step, (int)error.errnum,
        strcmp(before.bytes, after.bytes) == 0 ? "" : " CHANGED");
}

static struct untty_options stream(const char *which, uint32_t kind, int fd, const char *path) {
    struct untty_options options = defaults;
    struct untty_stdio stdio;
    stdio.kind = kind;
    stdio.fd = fd;
    stdio.path = path;
    switch (which[0]) {
    case 'i':
        options.input = stdio;
        break;
    case 'o':
        options.output = stdio;
        break;
    default:
        options.error = stdio;
    }
    return options;
}

static void attempt_stream(const char *name, uint32_t kind, int fd, const char *path) {
    static const char *const streams[3] = {"input", "output", "error"};
    int index;
    for (index = 0; index < 3; index++) {
        char full[128];
        struct untty_options options = stream(streams[index], kind, fd, path);
        snprintf(full, sizeof full, "%s %s", streams[index], name);
        attempt(full, &options);
    }
}

static const uint32_t groups[2] = {1, UINT32_MAX};

static void options_of_all_kinds(void) {
    struct untty_options options;
    int bit;
    attempt("no options", NULL);
    options = defaults;
    options.size = 0;
    attempt("size 0", &options);
    options.size = sizeof(size_t) + sizeof(uint32_t) - 1;
    attempt("size without flags", &options);
    options.size = 4097;
    attempt("size above a page", &options);
    options.size = SIZE_MAX;
    attempt("size SIZE_MAX", &options);
    for (bit = 20; bit < 32; bit++) {
        char name[32];
        options = defaults;
        options.flags = (uint32_t)1 << bit;
        snprintf(name, sizeof name, "flag %d", bit);
        attempt(name, &options);
    }
    options = defaults;
    options.flags = UNTTY_SET_USER;
    options.size = offsetof(struct untty_options, environment) - 1;
    attempt("a user without the members for it", &options);
    options = defaults;
    options.uid = 1;
    attempt("a user without the flag", &options);
    options = defaults;
    options.gid = 1;
    attempt("a group without the flag", &options);
    options = defaults;
    options.groups = groups;
    attempt("groups without the flag", &options);
    options = defaults;
    options.group_count = 1;
    attempt("a count of groups without the flag", &options);
    options.flags = UNTTY_SET_USER;
    attempt("groups NULL", &options);
    options.groups = groups;
    options.group_count = SIZE_MAX;
    attempt("group_count SIZE_MAX", &options);
    options.group_count = 2;
    attempt("a group of -1", &options);
    options.group_count = 0;
    options.uid = UINT32_MAX;
    attempt("uid -1", &options);
    options.uid = 1;
    options.gid = UINT32_MAX;
    attempt("gid -1", &options);
    options = defaults;
    options.flags = UNTTY_KEEP_UMASK | UNTTY_SET_UMASK;
    attempt("umask kept and set", &options);
    options.flags = UNTTY_SET_UMASK;
    options.umask = 01000;
    attempt("umask 01000", &options);
    options.umask = UINT32_MAX;
    attempt("umask UINT32_MAX", &options);
    options = defaults;
    options.keep_count = 1;
    attempt("keep NULL", &options);
    options.keep = &bit;
    options.keep_count = SIZE_MAX;
    attempt("keep_count SIZE_MAX", &options);
    options = defaults;
    options.directory = "/no/such/directory";
    attempt("directory missing", &options);
    options.directory = "";
    attempt("directory empty", &options);
    options = defaults;
    options.root = "/no/such/directory";
    attempt("root missing", &options);
    options.root = "";
    attempt("root empty", &options);
}

static void streams_of_all_kinds(const char *directory) {
    char missing[512];
    char link[512];
    char fifo[512];
    char file[512];
    snprintf(missing, sizeof missing, "%s/missing/file", directory);
    snprintf(link, sizeof link, "%s/link", directory);
    snprintf(fifo, sizeof fifo, "%s/fifo", directory);
    snprintf(file, sizeof file, "%s/link-target", directory);
    if (symlink(file, link) < 0 || mkfifo(fifo, 0600) < 0) {
        say(1, "cannot prepare the files\n");
        exit(96);
    }
    attempt_stream("kind 6", 6, 0, NULL);
    attempt_stream("kind UINT32_MAX", UINT32_MAX, 0, NULL);
    attempt_stream("file NULL", UNTTY_STDIO_FILE, 0, NULL);
    attempt_stream("file empty", UNTTY_STDIO_FILE, 0, "");
    attempt_stream("file missing", UNTTY_STDIO_FILE, 0, missing);
    attempt_stream("fd -1", UNTTY_STDIO_FD, -1, NULL);
    attempt_stream("fd not open", UNTTY_STDIO_FD, 987, NULL);
    attempt_stream("fd INT_MAX", UNTTY_STDIO_FD, INT_MAX, NULL);
    {
        /* Standard input may be a link, and a FIFO without a writer waits for one. */
        struct untty_options options = stream("output", UNTTY_STDIO_FILE, 0, link);
        attempt("output link", &options);
        options = stream("error", UNTTY_STDIO_FILE, 0, link);
        attempt("error link", &options);
        options = stream("output", UNTTY_STDIO_FILE, 0, fifo);
        attempt("output fifo", &options);
        options = stream("error", UNTTY_STDIO_FILE, 0, fifo);
        attempt("error fifo", &options);
        options = stream("output", UNTTY_STDIO_FILE, 0, directory);
        attempt("output directory", &options);
        options = stream("input", UNTTY_STDIO_STDOUT, 0, NULL);
        attempt("input stdout", &options);
        options = stream("output", UNTTY_STDIO_STDOUT, 0, NULL);
        attempt("output stdout", &options);
    }
}

/* A directory that has what streams_of_all_kinds made. */
static void pid_files_of_all_kinds(const char *directory) {
    static const char *const names[] = {"link", "fifo", "text", "long", "two", "missing/pid", ""};
    struct untty_error error;
    char path[512];
    size_t index;
    int result;
    for (index = 0; index < sizeof names / sizeof names[0]; index++) {
        struct untty_options options = defaults;
        char name[64];
        snprintf(path, sizeof path, "%s/%s", directory, names[index]);
        options.pid_file = path;
        snprintf(name, sizeof name, "pid file '%s'", names[index]);
        attempt(name, &options);
        error.step = error.errnum = -7;
        result = untty_pid_file_read(path, &error);
        say(1, "read '%s': %d %d %d\n", names[index], result, (int)error.step, (int)error.errnum);
        error.step = error.errnum = -7;
        result = untty_pid_file_remove(path, &error);
        say(1, "remove '%s': %d %d %d\n", names[index], result, (int)error.step, (int)error.errnum);
    }
    error.step = error.errnum = -7;
    result = untty_pid_file_read(NULL, &error);
    say(1, "read NULL: %d %d %d\n", result, (int)error.step, (int)error.errnum);
    error.step = error.errnum = -7;
    result = untty_pid_file_remove(NULL, &error);
    say(1, "remove NULL: %d %d %d\n", result, (int)error.step, (int)error.errnum);
    result = untty_pid_file_read(NULL, NULL) + untty_pid_file_remove(NULL, NULL);
    say(1, "neither of them: %d\n", result);
}

static void supervisors_of_all_kinds(void) {
    static char long_name[256] = "NOTIFY_SOCKET=/";
    const char *environment[2] = {NULL, NULL};
    struct untty_options options = defaults;
    memset(long_name + strlen(long_name), 'x', 120);
    options.environment = environment;
    environment[0] = "NOTIFY_SOCKET=/no/such/socket";
    attempt("socket missing", &options);
    environment[0] = "NOTIFY_SOCKET=@no such socket of untty's";
    attempt("socket without a listener", &options);
    environment[0] = "NOTIFY_SOCKET=vsock:2:1";
    attempt("socket of a machine", &options);
    environment[0] = "NOTIFY_SOCKET=@";
    attempt("socket without a name", &options);
    environment[0] = long_name;
    attempt("socket with a long name", &options);
    environment[0] = NULL;
    options.ready_fd = 987;
    attempt("ready_fd not open", &options);
    options.ready_fd = -1;
    attempt("ready_fd -1", &options);
}

static void logs_of_all_kinds(const char *directory) {
    static const char *const names[] = {"link", "fifo", "missing/log", ""};
    struct untty_error error;
    char path[512];
    size_t index;
    int result;
    for (index = 0; index < sizeof names / sizeof names[0]; index++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[index]);
        error.step = error.errnum = -7;
        observe(&before);
        result = untty_reopen_log(0, path, &error);
        observe(&after);
        say(1, "log '%s': %d %d %d%s\n", names[index], result, (int)error.step, (int)error.errnum,
            strcmp(before.bytes, after.bytes) == 0 ? "" : " CHANGED");
    }
    for (index = 0; index < 2; index++) {
        snprintf(path, sizeof path, "%s/log", directory);
        error.step = error.errnum = -7;
        result = untty_reopen_log(index == 0 ? 987 : -1, path, &error);
        say(1, "log in place of %d: %d %d %d\n", index == 0 ? 987 : -1, result, (int)error.step,
            (int)error.errnum);
    }
    error.step = error.errnum = -7;
    result = untty_reopen_log(0, NULL, &error);
    say(1, "log NULL: %d %d %d\n", result, (int)error.step, (int)error.errnum);
    say(1, "log without error: %d\n", untty_reopen_log(0, NULL, NULL));
}

static void notify_of_all_kinds(void) {
    struct untty_handle handle;
    struct untty_error error = {-7, -7};
    int result = untty_notify(NULL, "STATUS=", &error);
    say(1, "notify NULL: %d %d %d\n", result, (int)error.step, (int)error.errnum);
    memset(&handle, 0, sizeof handle);
    error.step = error.errnum = -7;
    result = untty_notify(&handle, "STATUS=", &error);
    say(1, "notify zeroed: %d %d %d\n", result, (int)error.step, (int)error.errnum);
    memset(&handle, 0xff, sizeof handle);
    error.step = error.errnum = -7;
    result = untty_notify(&handle, NULL, &error);
    say(1, "notify garbage: %d %d %d\n", result, (int)error.step, (int)error.errnum);
    say(1, "notify without error: %d\n", untty_notify(NULL, NULL, NULL));
}

static void handles_of_all_kinds(void) {
    struct untty_handle handle;
    struct untty_error error = {-7, -7};
    int result = untty_ready(NULL, &error);
    say(1, "ready NULL: %d %d %d\n", result, (int)error.step, (int)error.errnum);
    memset(&handle, 0, sizeof handle);
    error.step = error.errnum = -7;
    result = untty_ready(&handle, &error);
    say(1, "ready zeroed: %d %d %d\n", result, (int)error.step, (int)error.errnum);
    memset(&handle, 0xff, sizeof handle);
    error.step = error.errnum = -7;
    result = untty_ready(&handle, &error);
    say(1, "ready garbage: %d %d %d\n", result, (int)error.step, (int)error.errnum);
    say(1, "ready without error: %d\n", untty_ready(NULL, NULL));
    say(1, "detach without anything: %d\n", untty_detach(NULL, NULL, NULL));
}

int main(int argc, char **argv) {
    if (argc != 2) {
        return 95;
    }
    options_of_all_kinds();
    streams_of_all_kinds(argv[1]);
    handles_of_all_kinds();
    pid_files_of_all_kinds(argv[1]);
    supervisors_of_all_kinds();
    logs_of_all_kinds(argv[1]);
    notify_of_all_kinds();
    return 0;
}
