"""A switch in a network namespace of its own, and hosts plugged into it by veth pairs.

Nothing of it touches the machine's own network, so any number of labs can run at once.
Multicast crosses the switch.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.lab.commands import call

_serial = itertools.count(1)


@dataclass(frozen=True)
class Port:
    """One plugged-in host: its namespace and its address there."""

    namespace: str
    address: str
    switch: str
    link: str

    async def connect(self, plugged: bool) -> None:
        """Plug the cable in, or pull it."""
        await call("ip", "-n", self.switch, "link", "set", self.link, "up" if plugged else "down")

    async def lose(self, other: Port) -> None:
        """Send what is for `other` to a place that there is not: it is lost without a sign."""
        nowhere = ("lladdr", "02:00:00:00:00:00", "nud", "permanent")
        await call(*self._neighbour("replace", other), *nowhere)

    async def find(self, other: Port) -> None:
        """Undo `lose`; without one, nothing."""
        await call(*self._neighbour("delete", other), check=False)

    def _neighbour(self, order: str, other: Port) -> tuple[str, ...]:
        here = ("ip", "-n", self.namespace)
        return (*here, "neighbour", order, other.address, "dev", "host0")


@dataclass
class Switch:
    """Plugs hosts in at 10.77.0.1, .2 and so on."""

    namespace: str
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    @asynccontextmanager
    async def plugged(self) -> AsyncIterator[Port]:
        """Make a namespace for one host, with the link `host0`; gone at the end."""
        number = next(self._numbers)
        port = Port(f"{self.namespace}-{number}", f"10.77.0.{number}", self.namespace, f"p{number}")
        async with _namespace(port.namespace):
            await self._plug(port)
            yield port

    async def _plug(self, port: Port) -> None:
        pair = ("type", "veth", "peer", "name", "host0", "netns", port.namespace)
        await call("ip", "-n", self.namespace, "link", "add", port.link, *pair)
        await call("ip", "-n", self.namespace, "link", "set", port.link, "master", "br0", "up")
        here = ("ip", "-n", port.namespace)
        await call(*here, "address", "add", f"{port.address}/24", "dev", "host0")
        await call(*here, "link", "set", "lo", "up")
        await call(*here, "link", "set", "host0", "up")
        await call(*here, "route", "add", "224.0.0.0/4", "dev", "host0")


@asynccontextmanager
async def switch() -> AsyncIterator[Switch]:
    """A switch without hosts; its namespace is gone at the end."""
    name = f"ferryman-{os.getpid()}-{next(_serial)}"
    async with _namespace(name):
        await call("ip", "-n", name, "link", "add", "br0", "type", "bridge")
        await call("ip", "-n", name, "link", "set", "br0", "up")
        yield Switch(name)


@asynccontextmanager
async def _namespace(name: str) -> AsyncIterator[None]:
    await call("ip", "netns", "add", name)
    try:
        yield
    finally:
        await call("ip", "netns", "delete", name, check=False)
