/* The smallest program that becomes a daemon, or calls another function of the library: no C library, nothing else. */

#include "start.h"
#include <untty.h>

#ifdef DETACH
static const struct untty_options options = UNTTY_OPTIONS_INIT;
#define FUNCTION untty_detach(&options, 0, 0)
#elif defined CLOSE_FROM
#define FUNCTION untty_close_from(3)
#elif defined NOTIFY
static struct untty_handle handle;
#define FUNCTION untty_notify(&handle, "READY=1", 0)
#else
#define FUNCTION untty_daemon(0, 0)
#endif

__attribute__((used, noreturn)) static void start(void) {
    long failed = FUNCTION;
    for (;;) {
        call(failed < 0 ? SYS_exit_group : SYS_pause, 1, 0, 0);
    }
}
