"""Hosts that ask to be let in without a token: remembered until somebody decides.

Strangers fill this, so all of it is bounded and none of it reaches the database: so many in
all, so many of one address, and who does not ask again is forgotten. A coordinator that
restarts begins with an empty room, and agents that wait ask again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime

from coordinator.core.task import Moment
from protocol.errors import UnavailableError

MOST = 1000
MOST_OF_ONE_ADDRESS = 50
FORGOTTEN_AFTER = 24 * 3600.0
"""Seconds since it last asked."""


@dataclass(frozen=True, slots=True)
class Request:
    """One key that asks to be a host."""

    host_id: str
    fingerprint: str
    address: str
    asked_at: datetime
    last_asked: datetime
    last_asked_steady: float


class WaitingRoom:
    """The requests that nobody has decided of, the oldest first."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str], Request] = {}

    def ask(self, host_id: str, fingerprint: str, address: str, now: Moment) -> bool:
        """Remember that this key asks to be this host; True if it asks for the first time.

        Raises `UnavailableError` if too many wait.
        """
        self._forget_silent(now)
        key = (host_id, fingerprint)
        known = self._requests.get(key)
        if known is not None:
            self._requests[key] = replace(
                known, address=address, last_asked=now.wall, last_asked_steady=now.steady
            )
            return False
        if len(self._requests) >= MOST:
            raise UnavailableError(f"{MOST} hosts wait to be let in: no more are taken in now")
        if Counter(one.address for one in self._requests.values())[address] >= MOST_OF_ONE_ADDRESS:
            raise UnavailableError(
                f"{MOST_OF_ONE_ADDRESS} hosts wait to be let in from {address}: "
                "no more of that address are taken in now"
            )
        self._requests[key] = Request(host_id, fingerprint, address, now.wall, now.wall, now.steady)
        return True

    def all(self, now: Moment) -> list[Request]:
        """Everyone who waits."""
        self._forget_silent(now)
        return list(self._requests.values())

    def of(self, host_id: str, now: Moment) -> dict[str, Request]:
        """Those who ask to be this host, by fingerprint."""
        return {one.fingerprint: one for one in self.all(now) if one.host_id == host_id}

    def forget(self, host_id: str, fingerprint: str = "") -> None:
        """One of them was decided of; without a fingerprint, all who ask to be this host."""
        for key in [key for key in self._requests if key[0] == host_id]:
            if fingerprint in ("", key[1]):
                del self._requests[key]

    def _forget_silent(self, now: Moment) -> None:
        silent = [
            key
            for key, one in self._requests.items()
            if now.steady - one.last_asked_steady >= FORGOTTEN_AFTER
        ]
        for key in silent:
            del self._requests[key]
