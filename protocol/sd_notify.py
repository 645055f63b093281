"""systemd's notification protocol (sd_notify(3)), by hand because it is one datagram.

Without systemd nothing happens and nothing is raised. Each daemon feeds the watchdog from
the loop that does its work, so a loop that hangs is noticed; and only when its work has turned,
so work that hangs is noticed, too.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"


def notify(state: str) -> bool:
    """Send `state` (such as "READY=1" or "STATUS=text") to systemd; tell whether it went out."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.setblocking(False)
            sender.sendto(state.encode(), address)
    except OSError:
        return False
    return True


def watchdog_interval() -> float | None:
    """Return the seconds between two `WATCHDOG=1`: half of what systemd allows.

    None if systemd watches no one, or another process than this.
    """
    allowed = os.environ.get("WATCHDOG_USEC", "")
    if not allowed.isdigit() or int(allowed) == 0:
        return None
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(allowed) / 2_000_000


async def feed_watchdog(turned: Callable[[], Awaitable[None]]) -> None:
    """Tell systemd for ever that we live, each time once the work has `turned`."""
    interval = watchdog_interval()
    if interval is None:
        await asyncio.Event().wait()
        return
    while True:
        await asyncio.sleep(interval)
        await turned()
        notify(WATCHDOG)
