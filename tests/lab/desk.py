"""The test's own place in a network namespace, such as that of a port of the lab's switch.

A thread's sockets are opened in the namespace that it stands in. What a test opens there,
its package server and its clients, reaches the hosts and is reached by them, and the
machine's own network has no part in it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from tests.lab.network import Port, Switch

_CLONE_NEWNET = 0x40000000


@asynccontextmanager
async def desk(lan: Switch) -> AsyncIterator[Port]:
    """Plug the test in like a host, for as long as the block runs."""
    async with lan.plugged() as port:
        with standing_in(port.namespace):
            yield port


@contextmanager
def standing_in(namespace: str) -> Iterator[None]:
    """Open sockets of this thread, and of threads and processes that it begins, there."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(Path("/run/netns") / namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _step_into(there)
        finally:
            os.close(there)
        try:
            yield
        finally:
            _step_into(home)
    finally:
        os.close(home)


def _step_into(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET):
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")
