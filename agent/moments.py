"""The clocks of this host, as one moment: see `core.age` for what each of them is good for."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from agent.core.age import Moment

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """Return the id of this boot of the machine."""
    return _BOOT_ID.read_text().strip()


def host_clock() -> Callable[[], Moment]:
    """A clock that tells the present moment; seconds count on while the host sleeps."""
    boot = boot_id()
    return lambda: Moment(boot, time.clock_gettime(time.CLOCK_BOOTTIME), time.time())
