"""A fleet that dials all at once finds room: open files, and a queue for its dials."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.parts.daemons import CoordinatorDaemon
from tests.parts.waiting import until

DIALS = 500


@contextmanager
def few_open_files(soft: int) -> Iterator[int]:
    """Processes started meanwhile get this soft limit; yields the hard one."""
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        yield hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


def open_files_allowed(pid: int) -> int:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("Max open files"))
    return int(line.split()[3])


def dial(port: int) -> socket.socket:
    dialling = socket.socket()
    dialling.setblocking(False)
    dialling.connect_ex(("127.0.0.1", port))
    return dialling


def is_connected(dialling: socket.socket) -> bool:
    try:
        dialling.getpeername()
    except OSError:
        return False
    return True


async def test_there_is_room_for_a_fleet_that_dials_at_once(tmp_path: Path) -> None:
    with few_open_files(256) as hard:
        coordinator = CoordinatorDaemon(tmp_path / "coordinator")
        await coordinator.start()
    try:
        assert open_files_allowed(coordinator.pid) == hard

        os.kill(coordinator.pid, signal.SIGSTOP)
        with ExitStack() as stack:
            port = int(coordinator.url.rpartition(":")[2])
            dialled = [stack.enter_context(dial(port)) for _ in range(DIALS)]
            await until(lambda: all(map(is_connected, dialled)), within=20)
        os.kill(coordinator.pid, signal.SIGCONT)

        async with coordinator.client() as client:
            await asyncio.wait_for(client.get_system_health(), 30)
    finally:
        os.kill(coordinator.pid, signal.SIGCONT)
        await coordinator.stop()
