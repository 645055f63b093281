"""A user of no name, so that no process of this machine is one of his."""

from __future__ import annotations

from agent.walls import UnpackUser

STRANGER = UnpackUser(61_234, 61_235)
