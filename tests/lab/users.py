"""Who uses a folder of this machine, as /proc tells."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


def pids() -> Iterator[int]:
    """All processes of this machine."""
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def users_of(folder: Path) -> list[int]:
    """The processes that work in a folder or hold a file of it open, but for this one."""
    prefix = f"{folder}/"
    return [pid for pid in pids() if pid != os.getpid() and _uses(pid, prefix)]


def _uses(pid: int, prefix: str) -> bool:
    try:
        handles = [f"/proc/{pid}/cwd", *(entry.path for entry in os.scandir(f"/proc/{pid}/fd"))]
    except OSError:
        return False
    for handle in handles:
        with contextlib.suppress(OSError):
            if os.readlink(handle).startswith(prefix):
                return True
    return False
