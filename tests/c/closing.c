/* untty_close_from and untty_close_except: prints what is still open afterwards. */

#define _POSIX_C_SOURCE 200809L

#include "observe.h"
#include <errno.h>
#include <limits.h>
#include <untty.h>

static void open_many(void) {
    int fd;
    for (fd = 3; fd < 1024; fd++) {
        close(fd); /* whatever was inherited */
    }
    for (fd = 3; fd <= 40; fd++) {
        dup2(0, fd);
    }
    dup2(0, 777);
    dup2(0, 1000);
}

static int count_open(void) {
    int fd;
    int count = 0;
    for (fd = 0; fd < 1024; fd++) {
        count += fcntl(fd, F_GETFD) >= 0;
    }
    return count;
}

static void tell_open(int result, int errnum) {
    struct text line;
    int fd;
    line.length = 0;
    add(&line, "%d %d:", result, errnum);
    for (fd = 0; fd < 1024; fd++) {
        if (fcntl(fd, F_GETFD) >= 0) {
            add(&line, " %d", fd);
        }
    }
    add(&line, "\n");
    put(1, line.bytes);
}

int main(int argc, char **argv) {
    static const int keep[] = {777, 5, -1, 5, INT_MIN, 4, 2, INT_MAX, 900, 39, 40};
    const char *mode = argc == 2 ? argv[1] : "";
    int result;
    int errnum;
    open_many();
    errno = 0;
    if (strcmp(mode, "from 3") == 0) {
        result = untty_close_from(3);
        tell_open(result, errno);
    } else if (strcmp(mode, "from 40") == 0) {
        result = untty_close_from(40);
        tell_open(result, errno);
    } else if (strcmp(mode, "from INT_MAX") == 0) {
        result = untty_close_from(INT_MAX);
        tell_open(result, errno);
    } else if (strcmp(mode, "from -5") == 0) {
        return untty_close_from(-5) == 0 ? count_open() : 99;
    } else if (strcmp(mode, "from INT_MIN") == 0) {
        return untty_close_from(INT_MIN) == 0 ? count_open() : 99;
    } else if (strcmp(mode, "except") == 0) {
        result = untty_close_except(3, keep, sizeof keep / sizeof keep[0]);
        tell_open(result, errno);
    } else if (strcmp(mode, "except nothing") == 0) {
        result = untty_close_except(6, NULL, 0);
        tell_open(result, errno);
    } else if (strcmp(mode, "except NULL") == 0) {
        int before = count_open();
        errno = 0;
        result = untty_close_except(-3, NULL, 2);
        errnum = errno;
        say(1, "%d %d: %s\n", result, errnum, count_open() == before ? "nothing closed" : "something closed");
    } else if (strcmp(mode, "except count") == 0) {
        int before = count_open();
        errno = 0;
        result = untty_close_except(3, keep, SIZE_MAX);
        errnum = errno;
        say(1, "%d %d: %s\n", result, errnum, count_open() == before ? "nothing closed" : "something closed");
    } else if (strcmp(mode, "except -1") == 0) {
        static const int one[] = {1};
        result = untty_close_except(-1, one, 1);
        tell_open(result, errno);
    } else {
        return 95;
    }
    return 0;
}
