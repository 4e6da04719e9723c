#define _GNU_SOURCE
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void notify(const char *name) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(name);
    if (length == 0 || length >= sizeof address.sun_path)
        return;
    memcpy(address.sun_path, name, length);
    if (name[0] == '@')
        address.sun_path[0] = 0;
    int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sendto(s, "READY=1", 7, MSG_NOSIGNAL, (struct sockaddr *)&address,
           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (name[0] == '@' ? 0 : 1)));
    close(s);
}

int main(int argc, char **argv) {
    const char *name = getenv("NOTIFY_SOCKET");
    if (name)
        notify(name);
    if (argc > 2 && strcmp(argv[1], "-R") == 0) {
        int fd = atoi(argv[2]);
        if (write(fd, "\n", 1) != 1)
            return 1;
        close(fd);
    }
    prctl(0x756e7474, 2L, 0L, 0L, 0L);
    for (;;)
        pause();
}
