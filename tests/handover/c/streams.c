/* What is in the buffers of streams is in them afterwards, and comes out once; functions for exit run once, in the
 * daemon, and in their order. */

#include "daemon.h"

static FILE *input;

static void first_registered(void) { printf("ok the function registered first runs last\n"); }
static void second_registered(void) { printf("ok the function registered last runs first\n"); }
static void in_the_daemon(void) { printf("ok the daemon's own runs before\n"); }

static __attribute__((destructor)) void destructor(void) {
    printf("ok destructors of the program run after them\nend\n");
}

int main(int argc, char **argv) {
    char line[64];
    int fd = memfd_create("input", 0);
    (void)argc;
    /* Of a pipe, it is buffered as a whole. */
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    CHECK(write(fd, "first\nsecond\nthird\n", 19) != 19);
    lseek(fd, 0, SEEK_SET);
    input = fdopen(fd, "r");
    CHECK(fgets(line, sizeof line, input) == NULL);
    CHECK(atexit(first_registered));
    CHECK(atexit(second_registered));
    printf("ok this was printed before, ");
    ungetc('!', input);
    become_daemon(argv[1]);
    printf("and this afterwards\n");
    CHECK(atexit(in_the_daemon));
    printf("%s a character that was put back is there\n", getc(input) == '!' ? "ok" : "not ok");
    printf("%s an input stream goes on\n",
           fgets(line, sizeof line, input) != NULL && strcmp(line, "second\n") == 0 ? "ok" : "not ok");
    printf("%s fopen\n", fopen("/dev/null", "r") != NULL ? "ok" : "not ok");
    if (is_waited_for) {
        be_ready();
    }
    return 0;
}
