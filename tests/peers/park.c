/* The COMMAND that the commands start: says that it runs, and waits for ever. No system call comes before that (so
 * there is no C library, whose start makes some): what fails before it is never this program's own. Where NOTIFY_SOCKET
 * is set it sends READY=1 there first, and as "park -R N" it writes a newline to descriptor N first, and closes it; it
 * exits 1 if it cannot. */

#include "marker.h"
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#ifndef __x86_64__
#error "the entry point and the system call of this machine are missing here"
#endif
__asm__(".globl _start\n_start: mov %rsp, %rdi\n\tand $-16, %rsp\n\tcall start\n");

static long call(long number, long a, long b, long c) {
    __asm__ volatile("xor %%r10, %%r10\n\txor %%r8, %%r8\n\tsyscall" /* two more arguments: 0 */
                     : "+a"(number) : "D"(a), "S"(b), "d"(c) : "rcx", "r8", "r10", "r11", "memory", "cc");
    return number;
}

static void tell(long fd, const char *text, long length) {
    if (call(SYS_write, fd, (long)text, length) != length) {
        call(SYS_exit_group, 1, 0, 0);
    }
    call(SYS_close, fd, 0, 0);
}

static void notify(const char *path) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    unsigned n = 0;
    for (; path[n] && n < sizeof to.sun_path; n++) {
        to.sun_path[n] = n == 0 && path[0] == '@' ? '\0' : path[n];
    }
    long fd = call(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    call(SYS_connect, fd, (long)&to, sizeof to - sizeof to.sun_path + n); /* if it fails, the write does too */
    tell(fd, "READY=1", 7);
}

static const char *after(const char *text, const char *prefix) { /* NULL: it does not begin so */
    return *prefix == '\0' ? text : *text == *prefix ? after(text + 1, prefix + 1) : 0;
}

__attribute__((used)) static void start(long *stack) { /* argc, the arguments, NULL, the environment, NULL */
    char **word = (char **)(stack + 1);
    for (char **variable = word + stack[0] + 1; *variable; variable++) {
        if (after(*variable, "NOTIFY_SOCKET=")) {
            notify(after(*variable, "NOTIFY_SOCKET="));
        }
    }
    if (stack[0] == 3 && after(word[1], "-R")) {
        long fd = 0;
        for (; *word[2]; word[2]++) {
            fd = fd * 10 + (*word[2] - '0');
        }
        tell(fd, "\n", 1);
    }
    for (call(SYS_prctl, MARKER, MARKER_DAEMON, 0);; call(SYS_pause, 0, 0, 0)) {
    }
}
