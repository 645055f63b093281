"""Announcing this daemon on the LAN by mDNS, for as long as it runs, whatever the network does.

Nothing waits for it and nothing fails with it: without multicast or without a network the
reason is logged and kept in `problem`, and it is tried again. When the machine's addresses
change, they are announced anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from protocol.discovery import DiscoveryError, open_lan

if TYPE_CHECKING:
    from zeroconf import ServiceInfo
    from zeroconf.asyncio import AsyncZeroconf

REFRESH = 30.0
"""Seconds between two looks at the addresses, and between two tries."""

MAX_LABEL = 63
LOOPBACK = ("127.0.0.1",)

_log = logging.getLogger(__name__)


class Announcement:
    """One service of this machine on the LAN."""

    def __init__(
        self,
        type_: str,
        label: str,
        *,
        port: int,
        properties: Mapping[str, str],
        addresses: Callable[[], Awaitable[Sequence[str]]],
        interfaces: Sequence[str] | None = None,
    ) -> None:
        """Announce as `label` what `addresses()` tells.

        `interfaces` are addresses of this machine; by default all, or only the loopback if
        all that is announced is there.
        """
        self.problem = "not announced yet"
        """Why nothing is announced, for people; "" while it is."""
        self._type = type_
        self._wished_name = self._name = f"{_short(label)}.{type_}"
        self._server = f"ferryman-{secrets.token_hex(6)}.local."
        self._port = port
        self._properties = dict(properties)
        self._addresses = addresses
        self._interfaces = interfaces
        self._changed = asyncio.Event()
        self._announced = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin; returns at once. Announcing takes about two seconds."""
        self._task = asyncio.create_task(self._run())

    async def announced(self) -> None:
        """Wait until it is announced."""
        await self._announced.wait()

    def tell(self, properties: Mapping[str, str]) -> None:
        """Announce these properties from now on."""
        self._properties = dict(properties)
        self._changed.set()

    async def stop(self) -> None:
        """Take it back and close. Stopping twice is no error."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self.problem = "stopped"

    async def _run(self) -> None:
        while True:
            problem = ""
            try:
                await self._announce_until_moved()
            except (DiscoveryError, OSError) as error:
                problem = str(error)
            if problem and problem != self.problem:
                _log.warning("not announced on the LAN: %s", problem)
            if problem:
                self.problem = problem
                await asyncio.sleep(REFRESH)

    async def _announce_until_moved(self) -> None:
        addresses = list(await self._addresses())
        if not addresses:
            raise DiscoveryError("this machine has no address to announce")
        lan = await open_lan(self._interfaces or _where(addresses))
        try:
            await self._register(lan, addresses)
            while list(await self._addresses()) == addresses:
                await self._follow_changes(lan, addresses)
        finally:
            self._announced.clear()
            await lan.async_close()

    async def _register(self, lan: AsyncZeroconf, addresses: Sequence[str]) -> None:
        from zeroconf import Error  # noqa: PLC0415

        self._name = self._wished_name
        self._changed.clear()
        info = self._info(addresses)
        try:
            await (await lan.async_register_service(info, allow_name_change=True))
        except Error as error:
            raise DiscoveryError(f"mDNS: {type(error).__name__} {error}".rstrip()) from None
        self._name = info.name
        self.problem = ""
        self._announced.set()
        _log.info("announced on the LAN as %s at %s", self._name, ", ".join(addresses))

    async def _follow_changes(self, lan: AsyncZeroconf, addresses: Sequence[str]) -> None:
        """Announce what `tell` was given, or return when the addresses are due for a look."""
        with suppress(TimeoutError):
            async with asyncio.timeout(REFRESH):
                await self._changed.wait()
            self._changed.clear()
            await (await lan.async_update_service(self._info(addresses)))

    def _info(self, addresses: Sequence[str]) -> ServiceInfo:
        from zeroconf import ServiceInfo  # noqa: PLC0415

        return ServiceInfo(
            self._type,
            self._name,
            port=self._port,
            properties=self._properties,
            server=self._server,
            addresses=[ipaddress.ip_address(text).packed for text in addresses],
        )


def _where(addresses: Sequence[str]) -> Sequence[str] | None:
    """What is on the loopback only must not be announced to other machines."""
    local = all(ipaddress.ip_address(text).is_loopback for text in addresses)
    return LOOPBACK if local else None


def _short(label: str) -> str:
    """A label as long as DNS allows; a longer one keeps its beginning and gets a digest."""
    plain = label.replace(".", "-")
    if len(plain) <= MAX_LABEL - 4:
        return plain
    return f"{plain[:40]}-{hashlib.sha256(label.encode()).hexdigest()[:12]}"
