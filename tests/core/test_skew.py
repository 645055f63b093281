"""What is kept from older agents."""

from __future__ import annotations

from coordinator.core.commands import activate, watch
from coordinator.skew import is_kept_back
from protocol.messages import WATCH_MINOR
from tests.parts.rollouts import at, prepared


def test_a_watch_is_not_renewed_where_nothing_is_watched() -> None:
    """An older agent would take it for a switch that it knows nothing of, and refuse."""
    task = prepared("a")
    part = task.assignments["a"]
    assert is_kept_back(WATCH_MINOR - 1, watch(task, part, 60))
    assert not is_kept_back(WATCH_MINOR, watch(task, part, 60))
    assert not is_kept_back(0, activate(task, part, at(1)))
