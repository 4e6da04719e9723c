"""python-daemon, with its defaults, as its documentation has it."""

import ctypes
import signal

import daemon

MARKER = 0x756E7474  # marker.h has the words
BEGIN, DAEMON = 1, 2

prctl = ctypes.CDLL(None).prctl
prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4

prctl(MARKER, BEGIN, 0, 0, 0)
with daemon.DaemonContext():
    prctl(MARKER, DAEMON, 0, 0, 0)
    while True:
        signal.pause()
