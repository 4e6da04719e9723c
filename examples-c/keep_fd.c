/* Descriptors that stay: a socket opened before detaching is kept, everything else above 2 is closed.
 *
 *     cc -o keep_fd keep_fd.c $(pkg-config --cflags --libs untty)
 *     ./keep_fd ./socket && nc -U ./socket
 *
 * The path may be relative: the socket is bound before the daemon's directory becomes "/". Descriptors that were
 * inherited (as in `keep_fd ./socket 7<file`) are kept in the same way: by number. */

#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <untty.h>

/* A socket that listens at that path, or -1. */
static int listen_at(const char *path) {
    struct sockaddr_un address;
    int server = socket(AF_UNIX, SOCK_STREAM, 0);
    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    strcpy(address.sun_path, path);
    if (server < 0 || bind(server, (struct sockaddr *)&address, sizeof address) < 0 || listen(server, 8) < 0) {
        return -1;
    }
    return server;
}

/* Tells a client which descriptors are open here. */
static void tell_descriptors(int client) {
    char line[1024];
    size_t length = (size_t)snprintf(line, sizeof line, "open:");
    int fd;
    for (fd = 0; fd < 1024 && length < sizeof line - 16; fd++) {
        if (fd != client && fcntl(fd, F_GETFD) >= 0) {
            length += (size_t)snprintf(line + length, sizeof line - length, " %d", fd);
        }
    }
    line[length++] = '\n';
    /* Without MSG_NOSIGNAL a client that is gone would end the daemon with SIGPIPE. */
    (void)send(client, line, length, MSG_NOSIGNAL);
}

int main(int argc, char **argv) {
    struct untty_options options = UNTTY_OPTIONS_INIT;
    struct untty_error error;
    int keep[1];
    int closed;

    if (argc != 2) {
        fprintf(stderr, "usage: keep_fd SOCKET\n");
        return 2;
    }
    closed = open("/dev/null", O_RDONLY);
    keep[0] = listen_at(argv[1]);
    if (closed < 0 || keep[0] < 0) {
        fprintf(stderr, "keep_fd: %s: ", argv[1]);
        perror(NULL);
        return 1;
    }
    printf("keep_fd: %d is kept, %d is not\n", keep[0], closed);
    fflush(stdout); /* the caller leaves with _exit, which flushes nothing */

    options.keep = keep;
    options.keep_count = 1;
    if (untty_detach(&options, NULL, &error) < 0) {
        char line[128];
        untty_error_message(&error, line, sizeof line);
        fprintf(stderr, "keep_fd: %s\n", line);
        unlink(argv[1]);
        return 1;
    }

    /* The daemon. It listened before it was one, so there is nothing to get ready. */
    for (;;) {
        int client = accept(keep[0], NULL, NULL);
        if (client >= 0) {
            tell_descriptors(client);
            close(client);
        }
    }
}
