"""Makes the calling thread stand back for everything else on the host, as far as the host lets it.

Its CPU priority is lower, but not the lowest: it holds the interpreter's lock now and then, for
which the rest of the agent waits. The disk serves it only when nobody else wants it.
"""

from __future__ import annotations

import ctypes
import os
import threading

_NICE = 10
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
"""The number of the system call, for which there is no function in the C library."""
_THIS_THREAD = (1, 0)
_IDLE = 3 << 13


def stand_back() -> None:
    """Lower the priority of this thread. What a host does not allow or know is left as it is."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
    except OSError:
        return
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        ctypes.CDLL(None).syscall(number, *_THIS_THREAD, _IDLE)
