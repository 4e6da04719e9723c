/* A TCP server whose start tells the truth: status 0 means that it listens, anything else that nothing runs.
 *
 *     cc -o tcp_server tcp_server.c $(pkg-config --cflags --libs untty)
 *     ./tcp_server 7007 && nc 127.0.0.1 7007
 *
 * What can fail early is done before detaching, where an error still reaches the terminal: "address already in use".
 * What comes later is reported through the handle: the caller waits for untty_ready or untty_fail. */

#define _POSIX_C_SOURCE 200809L

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <untty.h>

/* A socket bound to that port of 127.0.0.1, or -1; *port becomes the real one if it was 0. */
static int bind_to(unsigned short *port) {
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    int on = 1;
    int server = socket(AF_INET, SOCK_STREAM, 0);
    if (server < 0) {
        return -1;
    }
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(*port);
    if (setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        bind(server, (struct sockaddr *)&address, length) < 0 ||
        getsockname(server, (struct sockaddr *)&address, &length) < 0) {
        return -1;
    }
    *port = ntohs(address.sin_port);
    return server;
}

/* One line for everybody who connects. */
static void serve(int server) {
    for (;;) {
        char line[64];
        int length;
        int client = accept(server, NULL, NULL);
        if (client < 0) {
            continue;
        }
        length = snprintf(line, sizeof line, "hello from process %ld\n", (long)getpid());
        /* Without MSG_NOSIGNAL a client that is gone would end the server with SIGPIPE. */
        (void)send(client, line, (size_t)length, MSG_NOSIGNAL);
        close(client);
    }
}

int main(int argc, char **argv) {
    struct untty_options options = UNTTY_OPTIONS_INIT;
    struct untty_handle handle;
    struct untty_error error;
    char *end = NULL;
    unsigned long number = argc == 2 ? strtoul(argv[1], &end, 10) : 0;
    unsigned short port = (unsigned short)number;
    int server;

    if (end == NULL || end == argv[1] || *end != 0 || number > 65535) {
        fprintf(stderr, "usage: tcp_server PORT\n");
        return 2;
    }
    server = bind_to(&port);
    if (server < 0) {
        fprintf(stderr, "tcp_server: 127.0.0.1:%u: ", port);
        perror(NULL);
        return 1;
    }
    printf("tcp_server: 127.0.0.1:%u\n", port);
    fflush(stdout); /* the caller leaves with _exit, which flushes nothing */

    options.keep = &server; /* everything else above 2 is closed */
    options.keep_count = 1;
    options.deadline_ms = 10000;              /* not ready by then: ended, and the start has failed */
    options.error.kind = UNTTY_STDIO_INHERIT; /* until it is ready, errors go to the terminal */
    if (untty_detach(&options, &handle, &error) < 0) {
        char line[128];
        untty_error_message(&error, line, sizeof line);
        fprintf(stderr, "tcp_server: %s\n", line);
        return 1;
    }

    /* The daemon. The caller is waiting. */
    if (listen(server, SOMAXCONN) < 0 || dup2(STDOUT_FILENO, STDERR_FILENO) < 0) {
        perror("tcp_server: listen");
        untty_fail(&handle, 1);
    }
    /* Standard error has left the terminal too: it is where standard output is, on /dev/null. */
    if (untty_ready(&handle, &error) < 0) {
        return 1; /* the caller was killed while it waited: nobody expects this server */
    }
    serve(server);
    return 0;
}
