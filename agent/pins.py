"""Versions that the coordinator has pinned: kept on this host's disk whatever else is removed.

The host keeps the whole set in one file, so that it also holds while the agent is away from
its coordinator, which tells it anew on every connection. As long as the file can't be read, every
version counts as pinned: what was removed too early is gone.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

from protocol.durable import write_durably
from protocol.messages import Pins as PinsFrame

log = logging.getLogger(__name__)


class Pins:
    """What is pinned on one host; without a file, only what it was told since its start."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._pinned: frozenset[tuple[str, str]] | None = frozenset()
        """Services with a version each; None if nobody knows."""

    @classmethod
    def open(cls, path: Path) -> Pins:
        """The pins as they were last kept in the file."""
        for draft in path.parent.glob(f".{path.name}.*.tmp"):
            draft.unlink(missing_ok=True)
        pins = cls(path)
        pins._pinned = _read(path)
        return pins

    def holds(self, service: str, version: str) -> bool:
        """Whether this version of the service has to stay."""
        return self._pinned is None or (service, version) in self._pinned

    def keep(self, told: PinsFrame) -> None:
        """Take over the whole set that the coordinator told.

        What the disk does not take holds all the same, and is told again on the next connection.
        """
        pinned = frozenset((pin.service, pin.version) for pin in told.pins)
        if pinned == self._pinned:
            return
        self._pinned = pinned
        if self._path is None:
            return
        try:
            write_durably(self._path, json.dumps({"format": 1, "pins": sorted(pinned)}).encode())
        except OSError as error:
            log.error("the pinned versions can't be written: %s", error.strerror)


def _read(path: Path) -> frozenset[tuple[str, str]] | None:
    try:
        raw = json.loads(path.read_bytes())
        return frozenset((service, version) for service, version in raw["pins"])
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError, KeyError, TypeError) as error:
        log.error("%s can't be read, all releases are kept until it is told anew: %s", path, error)
        return None
