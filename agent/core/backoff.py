"""Pauses between tries to connect: growing, with full jitter. Pure: the draw is an argument.

`LONGEST` and the dial's bounds in `agent.connection` are small enough that an agent whose
network is back has told the truth within ten seconds. What keeps a whole fleet from coming
back in the same moment is the spread, which the coordinator names (ADR 14).
"""

from __future__ import annotations

FIRST = 0.5
LONGEST = 5.0


def pause(tries: int, draw: float, spread: float = 0.0) -> float:
    """Seconds to wait after `tries` failures in a row, 0 for a connection that was lost.

    `draw` is uniform in [0, 1). `spread` is over how many seconds the fleet is to come back:
    the least width of the pause, up to `LONGEST`.
    """
    return draw * min(LONGEST, max(spread, FIRST * 2.0 ** min(tries, 16)))
