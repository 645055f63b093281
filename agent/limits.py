"""What one package may unpack to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one package; each is checked before the bytes it bounds are read or kept."""

    unpacked: int = 20 * 1024**3
    """Bytes of all files together."""
    members: int = 80_000
    """Headers, extended ones too; and as many files, links and folders, named or implied."""
    names: int = 24 * 1024**2
    """Bytes of memory that all names and link targets take while they are compared."""
    links: int = 20_000
    """Symbolic links."""


LIMITS = Limits()
