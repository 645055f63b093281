"""The coordinator's announcement on the LAN: where it listens, and whose authority it has.

It announces exactly the addresses that its port can be reached at: what listens on the
loopback is announced there only. It tells nothing secret, and it never stops the daemon.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence

from protocol import __version__
from protocol.announcement import Announcement
from protocol.discovery import CA_DIGITS, COORDINATOR_TYPE, own_addresses


class Announcer:
    """Announces the coordinator as `_ferryman._tcp.local.` while it is started."""

    def __init__(
        self,
        host: str,
        port: int,
        *ca_digests: str,
        version: str = __version__,
        interfaces: Sequence[str] | None = None,
    ) -> None:
        """`host` and `port` are what it listens on, `ca_digests` the authorities' SHA-256 (hex).

        `interfaces` are addresses of this machine to announce through; by default all.
        """
        self._version = version
        self._announcement = Announcement(
            COORDINATOR_TYPE,
            f"{socket.gethostname()[:32]}-{port}-{ca_digests[0][:8]}",
            port=port,
            properties=self._properties(ca_digests),
            addresses=lambda: addresses_of(host),
            interfaces=interfaces,
        )

    @property
    def problem(self) -> str:
        """Why nothing is announced, for people; "" while it is."""
        return self._announcement.problem

    async def start(self) -> None:
        """Begin announcing; returns at once and never fails."""
        self._announcement.start()

    async def announced(self) -> None:
        """Wait until it is announced."""
        await self._announcement.announced()

    def authorities_are(self, *ca_digests: str) -> None:
        """Announce these authorities from now on."""
        self._announcement.tell(self._properties(ca_digests))

    def _properties(self, ca_digests: Sequence[str]) -> dict[str, str]:
        """`ca2` is there while the authority is rotated."""
        names = zip(("ca", "ca2"), ca_digests, strict=False)
        authorities = {name: digest[:CA_DIGITS] for name, digest in names}
        return {**authorities, "v": self._version, "path": "/v1"}

    async def stop(self) -> None:
        """Take the announcement back."""
        await self._announcement.stop()


async def addresses_of(host: str) -> list[str]:
    """The addresses at which a port that listens on `host` can be reached, IPv4 first."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return sorted({str(one[4][0]) for one in found}, key=lambda text: (":" in text, text))
    if not address.is_unspecified:
        return [str(address)]
    return own_addresses(socket.AF_INET if address.version == 4 else socket.AF_INET6)
