"""How long ago something was, on a host whose wall clock anybody may set.

Within one boot the seconds since it tell exactly. From an earlier boot the wall clock is all
that is left: then it is at least as long ago as this boot, however the clock was set.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """One moment of a host: in which boot, how many seconds after it, and the wall clock's."""

    boot: str
    seconds: float
    wall: float


def age(then: Moment, now: Moment) -> float:
    """Seconds from `then` to `now`, never below 0."""
    if then.boot == now.boot:
        return max(0.0, now.seconds - then.seconds)
    return max(0.0, now.seconds, now.wall - then.wall)
