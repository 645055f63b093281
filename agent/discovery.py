"""The agent on the LAN: it looks for its coordinator, and says that it is there.

Looking only suggests an address. Whoever answers there must prove itself by the authority
that the agent knows, from its join token or from having joined.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Sequence

from protocol import __version__
from protocol.announcement import Announcement
from protocol.discovery import (
    AGENT_TYPE,
    CA_DIGITS,
    COORDINATOR_TYPE,
    CoordinatorSighting,
    DiscoveryError,
    Lookout,
    own_addresses,
)
from protocol.endpoints import parse_endpoint

CONNECT_WITHIN = 1.0
"""Seconds that an announced address has to accept a connection."""

_log = logging.getLogger(__name__)


async def find_coordinator(
    timeout: float, ca_digests: Collection[str], interfaces: Sequence[str] | None = None
) -> str | None:
    """Return the URL of an announced coordinator that accepts connections, or None.

    Looks for at most `timeout` seconds. With `ca_digests` (SHA-256 in hex) only coordinators
    that claim one of these authorities count. `interfaces` are addresses of this machine;
    default all.
    """
    others: dict[str, str] = {}
    try:
        async with Lookout((COORDINATOR_TYPE,), interfaces) as lookout:
            async with asyncio.timeout(timeout):
                return await _first_reachable(lookout, ca_digests, others)
    except TimeoutError:
        for url, ca in others.items():
            _log.error(
                "%s announces the authority %s…, and this host trusts %s: it was not dialled. If "
                "this host is to belong to that coordinator, remove ca.pem and agent.pem in its "
                "state_dir and join anew",
                url,
                ca,
                " and ".join(ca_digests),
            )
        return None
    except DiscoveryError as error:
        _log.warning("no coordinator can be found on the LAN: %s", error)
        return None


async def _first_reachable(
    lookout: Lookout, ca_digests: Collection[str], others: dict[str, str]
) -> str:
    wanted = {digest[:CA_DIGITS] for digest in ca_digests}
    while True:
        sighting = await lookout.arrivals.get()
        if not isinstance(sighting, CoordinatorSighting):
            continue
        if wanted and wanted.isdisjoint((sighting.ca, sighting.other_ca)):
            others[sighting.urls[0]] = sighting.ca
            continue
        answers = await asyncio.gather(*(_accepts(url) for url in sighting.urls))
        for url, accepted in zip(sighting.urls, answers, strict=True):
            if accepted:
                return url
        _log.info("%s is announced and can't be reached", ", ".join(sighting.urls))


async def _accepts(url: str) -> bool:
    host, port = parse_endpoint(url.removeprefix("https://"))
    try:
        async with asyncio.timeout(CONNECT_WITHIN):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


class AgentAnnouncer:
    """Announces the agent as `_ferryman-agent._tcp.local.` while it is started."""

    def __init__(
        self,
        host_id: str,
        instances: int,
        *,
        joined: bool = False,
        interfaces: Sequence[str] | None = None,
    ) -> None:
        """`instances` is their count; `interfaces` are addresses of this machine, default all."""
        self._facts = {"id": host_id, "instances": str(instances), "v": __version__}
        self._announcement = Announcement(
            AGENT_TYPE,
            host_id,
            port=0,
            properties={**self._facts, "joined": str(int(joined))},
            addresses=_addresses,
            interfaces=interfaces,
        )

    @property
    def problem(self) -> str:
        """Why nothing is announced, for people; "" while it is."""
        return self._announcement.problem

    async def start(self) -> None:
        """Begin announcing; returns at once and never fails."""
        self._announcement.start()

    async def joined(self) -> None:
        """Announce from now on that the host has joined."""
        self._announcement.tell({**self._facts, "joined": "1"})

    async def stop(self) -> None:
        """Take the announcement back."""
        await self._announcement.stop()


async def _addresses() -> list[str]:
    return own_addresses()
