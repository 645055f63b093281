"""How long to wait before an attempt is made again: growing pauses, spread by a hash."""

from __future__ import annotations

import hashlib

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
"""Seconds, before they are spread."""


def pause_before(task_id: str, instance_id: str, attempt: int) -> float:
    """Seconds before attempt number `attempt`: growing, and spread over 0.5 to 1.5 times."""
    grown = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(attempt - 2, 16))
    draw = hashlib.sha256(f"{task_id}/{instance_id}/{attempt}".encode()).digest()[0] / 255
    return grown * (0.5 + draw)
