"""What consumer.c is, in Python, through ctypes: consumer.py LIBRARY MODE [SOCKET]"""

import ctypes
import os
import socket
import sys

RETURN_IN_CALLER = 1
STEP_DIRECTORY = 11


class Stdio(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_uint32), ("fd", ctypes.c_int), ("path", ctypes.c_char_p)]


class Options(ctypes.Structure):
    _fields_ = [
        ("size", ctypes.c_size_t),
        ("flags", ctypes.c_uint32),
        ("umask", ctypes.c_uint32),
        ("directory", ctypes.c_char_p),
        ("input", Stdio),
        ("output", Stdio),
        ("error", Stdio),
        ("keep", ctypes.POINTER(ctypes.c_int)),
        ("keep_count", ctypes.c_size_t),
        ("deadline_ms", ctypes.c_uint32),
        ("ready_fd", ctypes.c_int),
        ("pid_file", ctypes.c_char_p),
        ("root", ctypes.c_char_p),
        ("groups", ctypes.POINTER(ctypes.c_uint32)),
        ("group_count", ctypes.c_size_t),
        ("uid", ctypes.c_uint32),
        ("gid", ctypes.c_uint32),
        ("environment", ctypes.POINTER(ctypes.c_char_p)),
        ("on_late_failure", ctypes.c_void_p),
    ]


class Handle(ctypes.Structure):
    _fields_ = [("private_members", ctypes.c_int32 * 8)]


class Error(ctypes.Structure):
    _fields_ = [("step", ctypes.c_int32), ("errnum", ctypes.c_int32)]


class Failure(Exception):
    pass


class Untty:
    def __init__(self, path):
        self.library = ctypes.CDLL(path)
        declare = self.library
        declare.untty_detach.argtypes = [ctypes.POINTER(Options), ctypes.POINTER(Handle), ctypes.POINTER(Error)]
        declare.untty_ready.argtypes = [ctypes.POINTER(Handle), ctypes.POINTER(Error)]
        declare.untty_fail.argtypes = [ctypes.POINTER(Handle), ctypes.c_int]
        declare.untty_fail.restype = None
        declare.untty_error_message.argtypes = [ctypes.POINTER(Error), ctypes.c_char_p, ctypes.c_size_t]
        declare.untty_error_message.restype = ctypes.c_size_t
        declare.untty_version.restype = ctypes.c_char_p
        self.handle = Handle()

    def message(self, error):
        line = ctypes.create_string_buffer(self.library.untty_error_message(ctypes.byref(error), None, 0) + 1)
        self.library.untty_error_message(ctypes.byref(error), line, len(line))
        return line.value.decode()

    def detach(self, **members):
        options, error = Options(size=ctypes.sizeof(Options), **members), Error()
        pid = self.library.untty_detach(ctypes.byref(options), ctypes.byref(self.handle), ctypes.byref(error))
        if pid < 0:
            raise Failure(self.message(error), error.step, error.errnum)
        return pid

    def ready(self):
        return self.library.untty_ready(ctypes.byref(self.handle), None)

    def fail(self, status):
        self.library.untty_fail(ctypes.byref(self.handle), status)


def main(library, mode, path=""):
    untty = Untty(library)
    if mode == "layout":
        print(*map(ctypes.sizeof, (Options, Stdio, Handle, Error)))
        print(untty.library.untty_version().decode())
        return 0
    if mode == "threads":
        import threading

        gate = threading.Lock()
        gate.acquire()
        thread = threading.Thread(target=gate.acquire)
        thread.start()
        try:
            untty.detach()
        except Failure as failure:
            print(f"consumer: {failure.args[0]}", file=sys.stderr)
        gate.release()
        thread.join()
        return 1
    try:
        pid = untty.detach(
            flags=RETURN_IN_CALLER if mode == "return" else 0,
            directory=b"/nonexistent" if mode == "refused" else None,
        )
    except Failure as failure:
        message, step, _ = failure.args
        print(f"consumer: {message}", file=sys.stderr)
        return 1 if step == STEP_DIRECTORY else 96
    if pid > 0:
        print(f"daemon {pid}")
        return 3
    if mode == "fail":
        untty.fail(7)
    with socket.socket(socket.AF_UNIX) as call:
        call.connect(path)
        lines = call.makefile("rw", buffering=1)
        print(f"daemon {os.getpid()}", file=lines)
        if not lines.readline():
            return 94
        print(f"ready {untty.ready()}", file=lines)
        while lines.readline():
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
