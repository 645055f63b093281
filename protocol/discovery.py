"""Who announces itself on the LAN by mDNS: the words of it, and looking.

An announcement proves nothing and is only a suggestion where to dial; what it says is
checked before it is shown. The mDNS library is loaded when it is first used, so that a
command that does not look starts quickly.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from protocol.endpoints import format_endpoint
from protocol.names import check_name

if TYPE_CHECKING:
    from zeroconf import Zeroconf
    from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

COORDINATOR_TYPE = "_ferryman._tcp.local."
AGENT_TYPE = "_ferryman-agent._tcp.local."

CA_DIGITS = 16
"""How much of the authority's SHA-256 (hex) a coordinator announces."""

MAX_SIGHTINGS = 10_000
ASK_WITHIN = 3000
"""Milliseconds that an announcer has for telling its address."""

_VERSION = re.compile(r"[A-Za-z0-9.+-]{0,64}", re.ASCII)
_COUNT = re.compile(r"[0-9]{1,6}", re.ASCII)
_CA = re.compile(rf"[0-9a-f]{{{CA_DIGITS}}}", re.ASCII)
_log = logging.getLogger(__name__)


class DiscoveryError(Exception):
    """This machine can't use mDNS now; the text says why."""


@dataclass(frozen=True, slots=True)
class CoordinatorSighting:
    """A coordinator that announces itself."""

    urls: tuple[str, ...]
    """`https://ADDRESS:PORT` for each address, IPv4 first."""
    ca: str
    """The first 16 hex digits of its authority's SHA-256."""
    version: str
    other_ca: str = ""
    """The same of the second one that it has while its authority is rotated; "" without."""


@dataclass(frozen=True, slots=True)
class AgentSighting:
    """An agent that announces itself; `joined` tells whether it has a coordinator."""

    host_id: str
    addresses: tuple[str, ...]
    instances: int
    joined: bool
    version: str


Sighting = CoordinatorSighting | AgentSighting


async def browse(timeout: float = 3.0, interfaces: Sequence[str] | None = None) -> list[Sighting]:
    """Look for `timeout` seconds; return coordinators, then agents by host id.

    `interfaces` are addresses of this machine to look through; by default all. Raises
    `DiscoveryError` if this machine can't use mDNS.
    """
    async with Lookout((COORDINATOR_TYPE, AGENT_TYPE), interfaces) as lookout:
        await asyncio.sleep(timeout)
        found = set(lookout.found.values())
    coordinators = [one for one in found if isinstance(one, CoordinatorSighting)]
    agents = [one for one in found if isinstance(one, AgentSighting)]
    return [
        *sorted(coordinators, key=lambda one: (one.ca, one.urls)),
        *sorted(agents, key=lambda one: (one.host_id, one.addresses)),
    ]


class Lookout:
    """Looks for announcements of some types for as long as the block runs."""

    def __init__(self, types: Sequence[str], interfaces: Sequence[str] | None = None) -> None:
        self.found: dict[str, Sighting] = {}
        """What is announced now, by the announcement's name."""
        self.arrivals: asyncio.Queue[Sighting] = asyncio.Queue()
        """Every sighting that is new or has changed, once."""
        self._types = list(types)
        self._interfaces = interfaces
        self._asking: set[asyncio.Task[None]] = set()
        self._lan: AsyncZeroconf
        self._browser: AsyncServiceBrowser

    async def __aenter__(self) -> Self:
        from zeroconf.asyncio import AsyncServiceBrowser  # noqa: PLC0415

        self._lan = await open_lan(self._interfaces)
        self._browser = AsyncServiceBrowser(self._lan.zeroconf, self._types, handlers=[self._heard])
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._browser.async_cancel()
        for task in self._asking:
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        await self._lan.async_close()

    def _heard(self, zeroconf: Zeroconf, service_type: str, name: str, state_change: Any) -> None:
        from zeroconf import ServiceStateChange  # noqa: PLC0415

        if state_change is ServiceStateChange.Removed:
            self.found.pop(name, None)
        elif len(self.found) + len(self._asking) < MAX_SIGHTINGS:
            task = asyncio.create_task(self._ask(zeroconf, service_type, name))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _ask(self, zeroconf: Zeroconf, service_type: str, name: str) -> None:
        from zeroconf import Error  # noqa: PLC0415
        from zeroconf.asyncio import AsyncServiceInfo  # noqa: PLC0415

        try:
            info = AsyncServiceInfo(service_type, name)
            told = await info.async_request(zeroconf, ASK_WITHIN)
            sighting = _read(service_type, info) if told else None
        except (Error, OSError, ValueError) as error:
            _log.debug("an announcement on the LAN is malformed: %s", error)
            return
        if sighting and self.found.get(name) != sighting:
            self.found[name] = sighting
            self.arrivals.put_nowait(sighting)


async def open_lan(interfaces: Sequence[str] | None = None) -> AsyncZeroconf:
    """The mDNS library on these interfaces (by address; default all); `DiscoveryError` if not."""
    from zeroconf import Error, InterfaceChoice, IPVersion  # noqa: PLC0415
    from zeroconf.asyncio import AsyncZeroconf  # noqa: PLC0415

    try:
        if interfaces is not None:
            return await _started(AsyncZeroconf(interfaces=list(interfaces)))
        try:
            lan = AsyncZeroconf(interfaces=InterfaceChoice.All, ip_version=IPVersion.All)
        except (OSError, RuntimeError):  # a machine without IPv6
            lan = AsyncZeroconf(interfaces=InterfaceChoice.All, ip_version=IPVersion.V4Only)
        return await _started(lan)
    except OSError as error:
        raise DiscoveryError(f"mDNS can't be used: {error.strerror or error}") from None
    except (Error, RuntimeError) as error:
        raise DiscoveryError(f"mDNS can't be used: {error}") from None


async def _started(lan: AsyncZeroconf) -> AsyncZeroconf:
    try:
        await lan.zeroconf.async_wait_for_start()
    except BaseException:
        await lan.async_close()
        raise
    return lan


def own_addresses(family: socket.AddressFamily | None = None) -> list[str]:
    """This machine's addresses that others can use; the loopback ones if there are no others."""
    import ifaddr  # noqa: PLC0415 - comes with the mDNS library

    found = {
        ip.ip if isinstance(ip.ip, str) else ip.ip[0]
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
        if family is None or ip.is_IPv4 == (family == socket.AF_INET)
    }
    usable = _usable(found)
    others = [text for text in usable if not ipaddress.ip_address(text).is_loopback]
    return others or usable


def _usable(addresses: set[str]) -> list[str]:
    """IPv4 first; without what needs a zone (IPv6 link-local) or is no host's address."""
    parsed = {ipaddress.ip_address(text.split("%")[0]) for text in addresses}
    sound = [
        address
        for address in parsed
        if not (address.version == 6 and address.is_link_local)
        and not address.is_multicast
        and not address.is_unspecified
    ]
    return [str(address) for address in sorted(sound, key=lambda a: (a.version, int(a)))]


def _read(service_type: str, info: AsyncServiceInfo) -> Sighting | None:
    """What an announcement says, if it is sound; None or ValueError if not."""
    from zeroconf import IPVersion  # noqa: PLC0415

    addresses = tuple(_usable(set(info.parsed_addresses(IPVersion.All))))
    said: Mapping[str, str | None] = info.decoded_properties
    version = said.get("v") or ""
    if not addresses or not _VERSION.fullmatch(version):
        return None
    if service_type == COORDINATOR_TYPE:
        ca, other = said.get("ca") or "", said.get("ca2") or ""
        if not info.port or not _CA.fullmatch(ca) or not (not other or _CA.fullmatch(other)):
            return None
        urls = tuple(f"https://{format_endpoint(host, info.port)}" for host in addresses)
        return CoordinatorSighting(urls, ca, version, other)
    instances = said.get("instances") or ""
    if not _COUNT.fullmatch(instances):
        return None
    return AgentSighting(
        host_id=check_name(said.get("id") or ""),
        addresses=addresses,
        instances=int(instances),
        joined=said.get("joined") == "1",
        version=version,
    )
