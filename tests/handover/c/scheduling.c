/* What a thread asks for itself is done to the daemon, and to nobody else; and another thread of its may ask for it. */

#include "daemon.h"
#include <sys/resource.h>
#include <time.h>

static int processors(long thread) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CHECK(syscall(SYS_sched_getaffinity, thread, sizeof set, &set) < 0);
    return CPU_COUNT(&set);
}

static void *set_the_first_ones(void *first) {
    struct sched_param parameters;
    memset(&parameters, 0, sizeof parameters);
    return (void *)(long)pthread_setschedparam(*(pthread_t *)first, SCHED_IDLE, &parameters);
}

/* In this order: only root may leave SCHED_IDLE again. */
static void policy(void) {
    struct sched_param parameters;
    pthread_t self = pthread_self();
    pthread_t thread;
    void *result;
    int told;
    memset(&parameters, 0, sizeof parameters);
    holds(pthread_setschedparam(self, SCHED_BATCH, &parameters) == 0 && syscall(SYS_sched_getscheduler, 0) == SCHED_BATCH,
          "pthread_setschedparam of itself");
    holds(pthread_getschedparam(self, &told, &parameters) == 0 && told == SCHED_BATCH, "pthread_getschedparam of itself");
    CHECK(pthread_create(&thread, NULL, set_the_first_ones, &self));
    CHECK(pthread_join(thread, &result));
    holds(result == NULL && syscall(SYS_sched_getscheduler, getpid()) == SCHED_IDLE, "pthread_setschedparam of the first thread");
}

static void affinity(void) {
    const int before = processors(0);
    cpu_set_t all;
    cpu_set_t set;
    int one = 0;
    CHECK(pthread_getaffinity_np(pthread_self(), sizeof all, &all));
    holds(CPU_COUNT(&all) == before, "pthread_getaffinity_np of itself");
    while (!CPU_ISSET(one, &all)) {
        one++;
    }
    CPU_ZERO(&set);
    CPU_SET(one, &set);
    holds(pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0 && processors(getpid()) == 1,
          "pthread_setaffinity_np of itself");
    CHECK(pthread_setaffinity_np(pthread_self(), sizeof all, &all));
}

static void clock_of_the_thread(void) {
    clockid_t clock;
    struct timespec asked;
    struct timespec own;
    CHECK(pthread_getcpuclockid(pthread_self(), &clock));
    CHECK(clock_gettime(clock, &asked));
    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &own));
    holds(own.tv_sec - asked.tv_sec < 2 && asked.tv_sec <= own.tv_sec, "pthread_getcpuclockid of itself");
}

static void name(void) {
    char text[32];
    holds(pthread_setname_np(pthread_self(), "handed over") == 0 &&
              strcmp(content("/proc/self/comm", text, sizeof text), "handed over\n") == 0,
          "pthread_setname_np of itself");
    holds(pthread_getname_np(pthread_self(), text, sizeof text) == 0 && strcmp(text, "handed over") == 0,
          "pthread_getname_np of itself");
}

int main(int argc, char **argv) {
    (void)argc;
    become_daemon(argv[1]);
    policy();
    affinity();
    clock_of_the_thread();
    name();
    holds(setpriority(PRIO_PROCESS, 0, 5) == 0 && getpriority(PRIO_PROCESS, (id_t)getpid()) == 5, "setpriority of itself");
    return end();
}
