"""When a host last found a release whole: told as an age, kept as a moment.

The same proof is told again with every word about its instance, each time as old as it is by
then, give or take what the frame was under way. It stays the same moment here, so that what is
only told again changes no row.
"""

from __future__ import annotations

LEAST_DIFFERENCE = 1.0
"""Seconds."""

OF_ITS_AGE = 0.01


def proven_at(ago: float | None, now: float, before: float | None) -> float | None:
    """The steady second of a proof that is `ago` seconds old at `now`.

    `before` is the moment that is kept already: if it may be the same proof's, that one.
    """
    if ago is None:
        return None
    told = now - ago
    if before is not None and abs(told - before) <= max(LEAST_DIFFERENCE, ago * OF_ITS_AGE):
        return before
    return told


def age_of(proven: float | None, now: float) -> float | None:
    """How old a proof is, in seconds."""
    return None if proven is None else max(0.0, now - proven)
