"""One connected host: what it showed when it came, and what waits to go out to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from coordinator.told import KnownPast
from coordinator.x509 import Life
from protocol.messages import ToAgent

LONGEST_QUEUE = 50_000


@dataclass(frozen=True, slots=True)
class Signed:
    """What there is to know of a certificate: its life, and the digest of its authority."""

    life: Life
    issuer: str


class Session:
    """One connected host: what goes out to it waits in `outbox`."""

    def __init__(
        self,
        host_id: str,
        address: str,
        end: Callable[[str], None],
        life: Life,
        issuer: str = "",
        *,
        generation: int = 0,
        fingerprint: str = "",
    ) -> None:
        """`end` closes the connection with a reason, without waiting for it.

        `life`, `generation` and `fingerprint` are those of the certificate that the host showed,
        and `issuer` is the digest of the authority that has signed it.
        """
        self.host_id = host_id
        self.address = address
        self.end = end
        self.generation = generation
        self.fingerprint = fingerprint
        self.greeted: Callable[[], None] = lambda: None
        """Called each time that an inventory of the host was committed."""
        self.outbox: asyncio.Queue[ToAgent] = asyncio.Queue(LONGEST_QUEUE)
        self.minor = 0
        """The minor version of the protocol that the agent speaks."""
        self.compared = False
        """Whether what the host has in hand was compared: no command leaves before."""
        self.life = life
        """That of the newest certificate which the host is known to have on its disk."""
        self.issuer = issuer
        """The digest of the authority that has signed it."""
        self.signed: Signed | None = None
        """A certificate which was sent, and of which the host has said nothing yet."""
        self.asked_at: float | None = None
        """When the host was last asked to renew, in steady seconds."""
        self.owes_request = False
        """Whether it was asked to renew and has not answered yet."""

        self.believes: tuple[str, ...] = (issuer,) if issuer else ()
        """The digests of the authorities that the host believes. One that does not say believes
        the one that it joined with."""
        self.told_at: float | None = None
        """When the host was last told which ones to believe, in steady seconds."""
        self.told: tuple[str, ...] = ()
        """Which ones those were."""
        self.trouble = ""
        """Why it did not take what it was told or did not renew, in its own words."""

        self.refused: set[str] = set()
        """Instances of other hosts that it spoke of: each was told of once."""

        self.past = KnownPast()
        self.caught_up = asyncio.Event()
        """Whether what the host told of its past is committed: it may not tell more before."""
        self.caught_up.set()

    def put(self, frame: ToAgent) -> bool:
        """Queue a frame; False if the host has stopped reading."""
        try:
            self.outbox.put_nowait(frame)
        except asyncio.QueueFull:
            return False
        return True
