"""What a hostile archive is to the tests, and all of them.

A builder gets the scene that the archive is aimed at, so that an escape would hit something
that is there, and yields the archive's bytes; nobody keeps them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.parts.packages import END, header


@dataclass(frozen=True)
class Scene:
    """What is around the folder that an archive is unpacked into."""

    root: Path

    @property
    def staging(self) -> Path:
        """Where it is unpacked."""
        return self.root / "host/releases/staging"

    @property
    def outside(self) -> Path:
        """A folder that it wants to reach, with the file `secret` and the folder `folder`."""
        return self.root / "outside"

    @property
    def up(self) -> str:
        """The way there, as seen from the staging folder."""
        return "../../../outside"


Builder = Callable[[Scene], Iterable[bytes]]


@dataclass(frozen=True)
class Hostile:
    """One archive: `says` is what its refusal must hold, above all the member's name.

    One that is not refused but made harmless says nothing, and leaves files of these `modes`.
    `length` says whether the server tells it.
    """

    name: str
    build: Builder
    says: str = ""
    modes: dict[str, int] = field(default_factory=dict)
    length: bool = False


def members(*parts: bytes) -> bytes:
    """An archive that begins with a harmless file."""
    return header("fine", b"x") + b"".join(parts) + END


def of(*parts: bytes) -> Builder:
    """A builder of an archive that is the same everywhere."""
    whole = members(*parts)
    return lambda scene: [whole]


def everything() -> dict[str, Hostile]:
    """All hostile archives by name."""
    from tests.archives import bombs, cut, escapes, numbers, published, twins, types

    modules = (escapes, twins, types, numbers, bombs, published, cut)
    entries = [entry for module in modules for entry in module.ARCHIVES]
    named = {entry.name: entry for entry in entries}
    assert len(named) == len(entries)
    return named
