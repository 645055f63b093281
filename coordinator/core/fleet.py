"""When a host counts as away, and what an instance looks like from outside. Pure.

An instance's agent that has been silent for three heartbeats makes it `error`
(interface section 3, "Instance status"); its reported status comes back with it.
"""

from __future__ import annotations

from protocol.states import InstanceStatus

MISSED_HEARTBEATS = 3


def is_away(last_heard: float | None, now: float, interval: float) -> bool:
    """Whether a host last heard of at `last_heard` (steady seconds) counts as away."""
    return last_heard is None or now - last_heard > MISSED_HEARTBEATS * interval


def shown_status(
    reported: InstanceStatus, reason: str, connected: bool, last_seen: str
) -> tuple[InstanceStatus, str]:
    """The status to show, and its reason."""
    if connected:
        return reported, reason
    since = f"silent since {last_seen}" if last_seen else "not heard of since the start"
    return InstanceStatus.ERROR, f"agent not connected: {since}; it last said {reported.value}"
