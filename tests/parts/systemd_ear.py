"""What systemd hears of a daemon: the other end of NOTIFY_SOCKET."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from types import TracebackType
from typing import Self

from tests.parts.waiting import LONG_ENOUGH


class SystemdEar:
    """Listens at an abstract address (`@name`); `watchdog` is how long systemd would wait."""

    def __init__(self, address: str, *, watchdog: float) -> None:
        self._address = address
        self._watchdog = watchdog
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(address.replace("@", "\0", 1))

    def environment(self) -> dict[str, str]:
        """What systemd gives to the daemon."""
        return {
            "NOTIFY_SOCKET": self._address,
            "WATCHDOG_USEC": str(round(self._watchdog * 1_000_000)),
        }

    async def hears(self, state: str, *, times: int = 1) -> None:
        """Wait until it was told so often, and nothing else meanwhile."""
        async with asyncio.timeout(LONG_ENOUGH):
            for _ in range(times):
                if (told := await self._next()) != state:
                    raise AssertionError(f"systemd was told {told}, not {state}")

    async def hears_nothing_for(self, seconds: float) -> None:
        """Wait so long; what came before does not count."""
        self.forget()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                raise AssertionError(f"systemd was told {await self._next()}")

    def forget(self) -> None:
        """Let go of what was told so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(100)

    async def _next(self) -> str:
        return (await asyncio.get_running_loop().sock_recv(self._socket, 100)).decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
