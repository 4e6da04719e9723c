// What consumer.c is, in C++11 and C++20: exceptions, iostreams, destructors, a lambda.

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <sys/un.h>
#include <type_traits>
#include <unistd.h>
#include <untty.h>

static_assert(std::is_trivially_copyable<untty_options>::value, "C++ may keep one in a container");
static_assert(std::is_standard_layout<untty_handle>::value, "and the other");

namespace {

class Failure : public std::runtime_error {
public:
    explicit Failure(const untty_error &error)
        : std::runtime_error(message(error)), step(static_cast<untty_step>(error.step)) {}
    const untty_step step;

private:
    static std::string message(const untty_error &error) {
        std::string text(untty_error_message(&error, nullptr, 0), '\0');
        untty_error_message(&error, &text[0], text.size() + 1);
        return text;
    }
};

class Daemon {
public:
    // 0 in the daemon, its process id in a caller that returns.
    int detach(const untty_options &options) {
        untty_error error;
        const int pid = untty_detach(&options, &handle_, &error);
        if (pid < 0) {
            throw Failure(error);
        }
        return pid;
    }
    int ready() noexcept { return untty_ready(&handle_, nullptr); }
    [[noreturn]] void fail(int status) noexcept { untty_fail(&handle_, status); }

private:
    untty_handle handle_;
};

class Call {
public:
    explicit Call(const std::string &path) : socket_(socket(AF_UNIX, SOCK_STREAM, 0)) {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        if (socket_ < 0 || connect(socket_, reinterpret_cast<const sockaddr *>(&address), sizeof address) < 0) {
            throw std::runtime_error("nobody waits");
        }
    }
    Call(const Call &) = delete;
    Call &operator=(const Call &) = delete;
    ~Call() { close(socket_); }

    void say(const std::string &line) {
        const std::string text = line + '\n';
        if (write(socket_, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
            throw std::runtime_error("nobody listens");
        }
    }
    bool hear() {
        char byte = 0;
        ssize_t count;
        while ((count = read(socket_, &byte, 1)) == 1 && byte != '\n') {
        }
        return count == 1;
    }

private:
    int socket_;
};

untty_options options_for(const std::string &mode) {
#if __cplusplus >= 202002L
    return untty_options{.size = sizeof(untty_options),
                         .flags = mode == "return" ? std::uint32_t{UNTTY_RETURN_IN_CALLER} : 0u,
                         .umask = 0,
                         .directory = mode == "refused" ? "/nonexistent" : nullptr,
                         .input = {},
                         .output = {},
                         .error = {},
                         .keep = nullptr,
                         .keep_count = 0,
                         .deadline_ms = 0,
                         .ready_fd = 0,
                         .pid_file = nullptr,
                         .root = nullptr,
                         .groups = nullptr,
                         .group_count = 0,
                         .uid = 0,
                         .gid = 0,
                         .environment = nullptr,
                         .on_late_failure = nullptr};
#else
    untty_options options = UNTTY_OPTIONS_INIT;
    options.flags = mode == "return" ? UNTTY_RETURN_IN_CALLER : 0;
    options.directory = mode == "refused" ? "/nonexistent" : nullptr;
    return options;
#endif
}

int run(const std::string &mode, const std::string &path) {
    // What was made before is the daemon's too.
    const std::unique_ptr<Daemon> daemon(new Daemon);
    const int pid = daemon->detach(options_for(mode));
    if (pid > 0) {
        std::cout << "daemon " << pid << std::endl;
        return 3;
    }
    if (mode == "fail") {
        daemon->fail(7);
    }
    Call call(path);
    call.say("daemon " + std::to_string(getpid()));
    // An exception that is thrown and caught in the daemon.
    const auto word = [&call]() -> bool {
        try {
            if (!call.hear()) {
                throw std::runtime_error("hung up");
            }
            return true;
        } catch (const std::runtime_error &) {
            return false;
        }
    };
    if (!word()) {
        return 94;
    }
    call.say("ready " + std::to_string(daemon->ready()));
    while (word()) {
    }
    return 0;
}

} // namespace

int main(int argc, char **argv) {
    try {
        return run(argc > 1 ? argv[1] : "", argc > 2 ? argv[2] : "");
    } catch (const Failure &failure) {
        std::cerr << "consumer: " << failure.what() << std::endl;
        return failure.step == UNTTY_STEP_DIRECTORY ? 1 : 96;
    } catch (const std::exception &exception) {
        std::cerr << exception.what() << std::endl;
        return 97;
    }
}
