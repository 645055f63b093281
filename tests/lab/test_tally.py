"""The table of a run: a scenario that fails tells what it had tried, lost and got wrong."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.parts.run import run

SCENARIOS = """
def test_fails_at_its_third_point(tally):
    for point in range(5):
        with tally.trying():
            assert point < 2
            tally(points=1)

def test_loses_what_was_acknowledged(tally):
    tally(points=7, lost=2)
    assert False

def test_falls_below_its_floor(tally):
    tally(points=3)
    assert tally.points >= 4

def test_holds(tally):
    tally(points=6)

def test_counts_nothing():
    assert False
"""


async def test_a_scenario_that_fails_tells_how_far_it_came(tmp_path: Path) -> None:
    (tmp_path / "test_scenarios.py").write_text(SCENARIOS)
    pytest = [sys.executable, "-m", "pytest", "-c", "/dev/null", "-p", "no:cacheprovider"]
    ended = await run(*pytest, "-p", "tests.lab.tally", str(tmp_path))
    _, _, table = ended.out.partition("what the lab tried")
    rows = [line.rsplit(maxsplit=4) for line in table.splitlines()[2:7]]
    assert {name: told[:3] for name, *told in rows} == {
        "counts nothing": ["1", "0", "1"],
        "fails at its third point": ["3", "0", "1"],
        "falls below its floor": ["3", "0", "1"],
        "holds": ["6", "0", "0"],
        "loses what was acknowledged": ["7", "2", "0"],
    }
