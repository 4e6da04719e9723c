// Exceptions pass through frames that were entered before, with all destructors; and threads, thread_local objects and
// static ones are as they should be.

#include "daemon.h"
#include <exception>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static int destroyed;

struct Counted {
    std::string text;
    explicit Counted(const char *name) : text(name) {}
    ~Counted() { destroyed += text == "from before" ? 100 : 1; }
};

struct Last {
    ~Last() {
        say("ok static objects are destroyed\nend\n");
    }
};
static Last last;

struct OfThread {
    int value = 1;
    ~OfThread() { say("ok a thread_local object is destroyed: %d\n", value); }
};
static thread_local OfThread of_thread;

[[noreturn]] static __attribute__((noinline)) void fail(int depth) {
    Counted here("from after");
    if (depth > 0) {
        fail(depth - 1);
    }
    throw std::runtime_error("thrown in the daemon");
}

static __attribute__((noinline)) void entered_before(const char *how) {
    Counted here("from before");
    become_daemon(how);
    try {
        fail(3);
    } catch (const std::exception &error) {
        holds(error.what() == std::string("thrown in the daemon") && destroyed == 4, "caught where it was entered before");
    }
    fail(9);
}

static void in_threads() {
    auto task = std::async(std::launch::async, []() -> int {
        of_thread.value = 3;
        fail(0);
    });
    try {
        task.get();
        holds(0, "an exception of a thread's");
    } catch (const std::runtime_error &) {
        holds(1, "an exception of a thread's is passed on");
    }
    std::vector<std::thread> threads;
    int caught[8] = {0};
    for (int index = 0; index < 8; index++) {
        threads.emplace_back([&caught, index] {
            for (int turn = 0; turn < 200; turn++) {
                try {
                    throw index;
                } catch (int value) {
                    caught[index] += value == index;
                }
            }
        });
    }
    int all = 0;
    for (auto &thread : threads) {
        thread.join();
    }
    for (int count : caught) {
        all += count;
    }
    holds(all == 1600, "threads throw and catch at once");
}

int main(int argc, char **argv) {
    of_thread.value = 2;
    std::set_terminate([] {
        say("ok std::terminate is called for what nobody catches\n");
        std::abort();
    });
    try {
        entered_before(argv[1]);
    } catch (const std::runtime_error &error) {
        holds(error.what() == std::string("thrown in the daemon"), "caught in a frame that was entered before");
    }
    holds(destroyed == 4 + 10 + 100, "all objects on the way were destroyed");
    in_threads();
    if (is_waited_for) {
        be_ready();
    }
    if (argc > 2) {
        throw 5;
    }
    return 0;
}
