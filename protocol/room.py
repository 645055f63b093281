"""How much room a host wants for a package: both sides count with it."""

from __future__ import annotations

ROOM = 2
"""The disk must have so many times the package's length free before a byte is taken."""
