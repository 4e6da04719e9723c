/* Who the daemon is, and what it sees.
 *
 *     powers user SOCKET              another user, with groups
 *     powers user alone SOCKET        without any
 *     powers root DIRECTORY LOG       all in another root directory, in which there is the socket
 *     powers root kept DIRECTORY LOG  the same, with the directory "kept"
 */

#define _GNU_SOURCE

#include "start.h"

static void say_who(int call) {
    uid_t uids[3];
    gid_t gids[3];
    gid_t groups[8];
    int count = getgroups(8, groups);
    int index;
    if (getresuid(&uids[0], &uids[1], &uids[2]) < 0 || getresgid(&gids[0], &gids[1], &gids[2]) < 0 || count < 0) {
        _exit(96);
    }
    say(call, "%lu %lu %lu", (unsigned long)uids[0], (unsigned long)uids[1], (unsigned long)uids[2]);
    say(call, " %lu %lu %lu groups", (unsigned long)gids[0], (unsigned long)gids[1], (unsigned long)gids[2]);
    for (index = 0; index < count; index++) {
        say(call, " %lu", (unsigned long)groups[index]);
    }
    say(call, "\n");
}

static void say_where(int call, const char *log) {
    char directory[4096];
    say(call, "%s\n", getcwd(directory, sizeof directory) != NULL ? directory : "nowhere");
    say(call, "the log is %s\n", access(log, F_OK) == 0 ? "here" : "outside");
    SAY(call, untty_pid_file_read("/pid", &error));
    put(1, "outside\n");
    SAY(call, untty_reopen_log(1, "/log", &error));
    put(1, "inside\n");
    SAY(call, untty_pid_file_remove("/pid", &error));
}

int main(int argc, char **argv) {
    static const uint32_t groups[] = {70002, 4, 4294967294}; /* more than 16 bits hold */
    const char *mode = argc > 1 ? argv[1] : "";
    int call;
    if ((is(mode, "user") || is(mode, "user alone")) && argc == 3) {
        options.flags = UNTTY_SET_USER;
        options.uid = 70000;
        options.gid = 70001;
        options.groups = groups;
        options.group_count = is(mode, "user") ? 3 : 0;
        detach(NULL);
        call = call_the_test(argv[2]);
        say_who(call);
    } else if ((is(mode, "root") || is(mode, "root kept")) && argc == 4) {
        char pid_file[512];
        snprintf(pid_file, sizeof pid_file, "%s/pid", argv[2]);
        options.pid_file = pid_file;
        options.root = argv[2];
        options.directory = "below";
        options.flags = is(mode, "root") ? 0 : UNTTY_KEEP_DIRECTORY;
        options.output.kind = UNTTY_STDIO_FILE;
        options.output.path = argv[3];
        detach(NULL);
        call = call_the_test("/meeting");
        say(call, "%ld\n", (long)getpid());
        say_where(call, argv[3]);
    } else {
        return 95;
    }
    wait_for_a_line(call);
    return 0;
}
