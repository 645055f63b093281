"""Durations as Go prints them: interface section 3, "Health"."""

from __future__ import annotations

import pytest

from coordinator.views import go_duration


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (0.999, "0s"),
        (5, "5s"),
        (59.9, "59s"),
        (60, "1m0s"),
        (3599, "59m59s"),
        (3600, "1h0m0s"),
        (3605, "1h0m5s"),
        (93785, "26h3m5s"),
    ],
)
def test_a_duration_reads_as_go_prints_it_in_whole_seconds(seconds: float, shown: str) -> None:
    assert go_duration(seconds) == shown
