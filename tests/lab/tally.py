"""The table of what a lab run tried: scenario, points, lost, wrong, time.

Given to pytest as a plugin (`make lab` does), it prints the table at the end of a run,
whatever process each scenario ran in. A test counts by the fixture `tally`, as it goes, so
that one that fails tells how far it came; a scenario that counts nothing is one point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

KEY = "tally"


class Tally:
    """What a scenario has tried so far: `tally(points=1)` after each point; it adds up."""

    def __init__(self, record: Callable[[str, object], None]) -> None:
        self._counts = [0, 0, 0]
        self._record: Callable[[str, object], None] | None = record

    @property
    def points(self) -> int:
        """How many points were tried."""
        return self._counts[0]

    def __call__(self, *, points: int = 0, lost: int = 0, wrong: int = 0) -> None:
        """Count some more."""
        if self._record is not None:
            self._record(KEY, self._counts)
            self._record = None
        for at, more in enumerate((points, lost, wrong)):
            self._counts[at] += more

    @contextmanager
    def trying(self) -> Iterator[None]:
        """One point, counted in this block; if it fails, it was tried, and is wrong."""
        try:
            yield
        except BaseException:
            self(points=1, wrong=1)
            raise


@pytest.fixture
def tally(record_property: Callable[[str, object], None]) -> Tally:
    """The scenario's row of the table."""
    return Tally(record_property)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a line for each scenario that ran, in the order of their names."""
    rows = sorted(_rows(terminalreporter))
    if not rows:
        return
    width = max(len(name) for name, *_ in rows)
    terminalreporter.section("what the lab tried")
    head = f"{'scenario':<{width}}  {'points':>6}  {'lost':>5}  {'wrong':>5}  {'seconds':>7}"
    terminalreporter.write_line(head)
    for name, points, lost, wrong, seconds in rows:
        line = f"{name:<{width}}  {points:>6}  {lost:>5}  {wrong:>5}  {seconds:>7.1f}"
        terminalreporter.write_line(line)
    points, seconds = sum(row[1] for row in rows), sum(row[4] for row in rows)
    terminalreporter.write_line(f"{len(rows)} scenarios, {points} points, {seconds:.0f} s")


def _rows(reporter: pytest.TerminalReporter) -> Iterator[tuple[str, int, int, int, float]]:
    for outcome in ("passed", "failed"):
        for report in reporter.stats.get(outcome, []):
            if report.when == "call":
                points, lost, wrong = dict(report.user_properties).get(KEY, (1, 0, 0))
                wrong += outcome == "failed" and not lost and not wrong
                name = report.nodeid.rpartition("::")[2].removeprefix("test_").replace("_", " ")
                yield name, points, lost, wrong, report.duration
