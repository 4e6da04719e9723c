/* The header is enough for all of it, in C and in C++, and without any warning. */

#include <untty.h>
#include <untty.h> /* twice does no harm */

#include <stdio.h>

/* Where everything lies, on machines of 64 and of 32 bits; older programs rely on it. */
#define OF(bits_64, bits_32) (sizeof(void *) == 8 ? (bits_64) : (bits_32))
#define LIES_AT(member, bits_64, bits_32) \
    typedef char member##_lies_there[offsetof(struct untty_options, member) == OF(bits_64, bits_32) ? 1 : -1]
#define HAS_SIZE(type, bits_64, bits_32) \
    typedef char type##_has_its_size[sizeof(struct type) == OF(bits_64, bits_32) ? 1 : -1]

LIES_AT(size, 0, 0);
LIES_AT(flags, 8, 4);
LIES_AT(umask, 12, 8);
LIES_AT(directory, 16, 12);
LIES_AT(input, 24, 16);
LIES_AT(output, 40, 28);
LIES_AT(error, 56, 40);
LIES_AT(keep, 72, 52);
LIES_AT(keep_count, 80, 56);
LIES_AT(deadline_ms, 88, 60);
LIES_AT(ready_fd, 92, 64);
LIES_AT(pid_file, 96, 68);
LIES_AT(root, 104, 72);
LIES_AT(groups, 112, 76);
LIES_AT(group_count, 120, 80);
LIES_AT(uid, 128, 84);
LIES_AT(gid, 132, 88);
LIES_AT(environment, 136, 92);
LIES_AT(on_late_failure, 144, 96);
HAS_SIZE(untty_options, 152, 100);
HAS_SIZE(untty_stdio, 16, 12);
HAS_SIZE(untty_handle, 32, 32);
HAS_SIZE(untty_error, 8, 8);

static struct untty_options in_static_storage = UNTTY_OPTIONS_INIT;
static const struct untty_options constant = UNTTY_OPTIONS_INIT;

static void say(const struct untty_error *error) { (void)error; }

/* Never called: it is enough that it compiles and links. */
static int use_everything(void) {
    struct untty_options options = UNTTY_OPTIONS_INIT;
    struct untty_handle handle;
    struct untty_error error;
    enum untty_step step = UNTTY_STEP_SETSID;
    const int keep[2] = {3, 4};
    const uint32_t groups[1] = {1};
    const char *const environment[1] = {NULL};
    char line[128];
    options.flags = UNTTY_RETURN_IN_CALLER | UNTTY_KEEP_SIGNALS | UNTTY_KEEP_DIRECTORY | UNTTY_KEEP_UMASK |
                    UNTTY_SET_UMASK | UNTTY_KEEP_DESCRIPTORS | UNTTY_ACCEPT_THREADS | UNTTY_STAY_IF_SUPERVISED |
                    UNTTY_SET_USER | UNTTY_IGNORE_SUPERVISOR | UNTTY_HANDOVER;
    options.umask = 022;
    options.directory = "/";
    options.input.kind = UNTTY_STDIO_NULL;
    options.input.kind = UNTTY_STDIO_INHERIT;
    options.output.kind = UNTTY_STDIO_FD;
    options.output.fd = 3;
    options.output.kind = UNTTY_STDIO_FILE;
    options.output.path = "/dev/null";
    options.error.kind = UNTTY_STDIO_CONSOLE;
    options.error.kind = UNTTY_STDIO_STDOUT;
    options.keep = keep;
    options.keep_count = 2;
    options.deadline_ms = 1000;
    options.ready_fd = 0;
    options.pid_file = "/run/example.pid";
    options.root = "/";
    options.groups = groups;
    options.group_count = 1;
    options.uid = options.gid = 1;
    options.environment = environment;
    options.on_late_failure = say;
    if (untty_supervisor(environment) == UNTTY_SUPERVISOR_SYSTEMD + UNTTY_SUPERVISOR_S6 + UNTTY_SUPERVISOR_RUNIT) {
        return UNTTY_LISTEN_FDS_START + untty_listen_fds(environment);
    }
    if (untty_detach(&options, &handle, &error) < 0) {
        return (int)untty_error_message(&error, line, sizeof line);
    }
    if (untty_way(&handle) > UNTTY_WAY_HANDOVER || untty_ready(&handle, &error) < 0) {
        untty_fail(&handle, 1);
    }
    if (untty_notify(&handle, "STATUS=", &error) < 0 || untty_pid_file_read(options.pid_file, &error) < 0 ||
        untty_reopen_log(1, "log", &error) < 0 || untty_pid_file_remove(options.pid_file, &error) < 0) {
        return 1;
    }
    return untty_daemon(0, 0) + untty_close_from(3) + untty_close_except(3, keep, 2) + untty_step_name(step)[0];
}

int main(int argc, char **argv) {
    (void)argv;
    if (argc > 100) {
        return use_everything();
    }
    /* The layout is part of the interface: it must not depend on language or compiler. */
    printf("%lu %lu %lu %lu\n", (unsigned long)sizeof(struct untty_options), (unsigned long)sizeof(struct untty_stdio),
           (unsigned long)sizeof(struct untty_handle), (unsigned long)sizeof(struct untty_error));
    printf("%s\n", untty_version());
    return in_static_storage.size == sizeof in_static_storage && constant.size == sizeof constant ? 0 : 1;
}
