/* The interface as a C compiler sees it: the header's functions with nothing in them, compiled with debug information,
 * from which .ci/abi reads the types. The compiler sees to it that header and definitions agree. */

#include <untty.h>

int untty_detach(const struct untty_options *options, struct untty_handle *handle, struct untty_error *error) {
    return options == NULL || handle == NULL || error == NULL;
}
int untty_ready(struct untty_handle *handle, struct untty_error *error) { return handle == NULL || error == NULL; }
int untty_notify(struct untty_handle *handle, const char *state, struct untty_error *error) {
    return handle == NULL || state == NULL || error == NULL;
}
void untty_fail(struct untty_handle *handle, int exit_status) {
    for (;;) {
        (void)handle, (void)exit_status;
    }
}
int untty_way(const struct untty_handle *handle) { return handle == NULL; }
int untty_pid_file_read(const char *path, struct untty_error *error) { return path == NULL || error == NULL; }
int untty_pid_file_remove(const char *path, struct untty_error *error) { return path == NULL || error == NULL; }
int untty_reopen_log(int fd, const char *path, struct untty_error *error) {
    return fd == 0 || path == NULL || error == NULL;
}
int untty_listen_fds(const char *const *environment) { return environment == NULL; }
int untty_supervisor(const char *const *environment) { return environment == NULL; }
int untty_daemon(int nochdir, int noclose) { return nochdir + noclose; }
int untty_close_from(int lowest) { return lowest; }
int untty_close_except(int lowest, const int *keep, size_t count) { return lowest + (keep == NULL) + (count == 0); }
const char *untty_step_name(int step) { return step == UNTTY_STEP_OPTIONS ? "" : NULL; }
size_t untty_error_message(const struct untty_error *error, char *buffer, size_t size) {
    return error == NULL || buffer == NULL ? 0 : size;
}
const char *untty_version(void) { return ""; }

/* No function takes one, because C programs pass plain ints, but it is in the interface all the same. */
enum untty_step step_of_the_interface;
struct untty_stdio stdio_of_the_interface;
