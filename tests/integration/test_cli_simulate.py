"""`ferryman simulate`: a strategy on imagined hosts, without a coordinator."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from coordinator.cli.main import run
from coordinator.cli.simulated import LEGEND, MOST_BARS, bars
from coordinator.simulation import BatchOutcome, Outcome
from tests.parts.command_line import piped
from tests.parts.shell import Said

SMALL = ["simulate", "--instances", "20", "--prepare-seconds", "2", "--switch-seconds", "1"]


Ran = Callable[..., Said]


@pytest.fixture
def ran(capsys: pytest.CaptureFixture[str]) -> Ran:
    """Runs a command line in this process, which knows of no coordinator."""

    def call(*arguments: str) -> Said:
        code = run(arguments)
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return call


def batch(number: int, began: float | None, *ends: float, **fields: Any) -> BatchOutcome:
    made: dict[str, Any] = {
        "batch": number,
        "canary": False,
        "instances": len(ends),
        "completed": len(ends),
        "failed": 0,
        "cancelled": 0,
        "began": began,
        "ended": max(ends, default=None),
        "ends": sorted(ends),
    }
    return BatchOutcome(**{**made, **fields})


def outcome(*batches: BatchOutcome, seconds: float = 60.0, **fields: Any) -> Outcome:
    made: dict[str, Any] = {
        "state": "completed",
        "stopped": "",
        "instances": sum(one.instances for one in batches),
        "completed": sum(one.instances for one in batches),
        "failed": 0,
        "cancelled": 0,
        "unreachable": 0,
        "taken_back": 0,
        "runs_new": 0,
        "unwell": 0,
        "most_at_work": 1,
        "steps": 1,
        "way_back": None,
    }
    return Outcome(batches=batches, seconds=seconds, **{**made, **fields})


# ---- the command -----------------------------------------------------------


def test_it_tells_what_became_of_all_and_draws_each_batch(ran: Ran) -> None:
    said = ran(*SMALL, "--canary", "10%", "--bake", "30s", "--max-parallel", "9")
    assert (said.code, said.err) == (0, "")
    lines = said.out.splitlines()
    assert lines[0].startswith("completed after 1m")
    assert lines[0].endswith("of 20 instances 20 completed, 0 failed, 0 cancelled")
    assert "at the end 20 run the new version" in lines
    assert "most at work at once: 9" in lines
    assert [line[:12] for line in lines[4:7]] == ["canary      ", "batch 2 of 3", "batch 3 of 3"]
    assert lines[4].endswith("2 completed")
    assert lines[-1] == LEGEND


def test_a_stop_and_the_way_back_are_told(ran: Ran) -> None:
    said = ran(
        *SMALL,
        *("--max-parallel", "2", "--max-failures", "1", "--on-failure", "rollback"),
        *("--fail", "40%", "--retry-count", "0"),
    )
    assert said.code == 0
    assert "stopped: 2 failed, more than max_failures allows (1)" in said.out
    assert "were taken back" in said.out
    assert "\nway back" in said.out


def test_json_is_the_whole_outcome_and_the_same_each_time(ran: Ran) -> None:
    line = [*SMALL, "--fail", "20%", "--regress", "20%", "--unreachable", "5%", "-o", "json"]
    first = json.loads(ran(*line).out)
    assert first["instances"] == 20
    assert first["completed"] + first["failed"] + first["cancelled"] == 20
    assert len(first["batches"][0]["ends"]) == 20
    assert json.loads(ran(*line).out) == first
    assert json.loads(ran(*line, "--seed", "2").out) != first


def test_it_asks_nobody() -> None:
    ended = piped([*SMALL, "--fail", "5%"], {})
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--fail", "3"], "'3' is no percentage from 0% to 100%"),
        (["--fail", "101%"], "'101%' is no percentage from 0% to 100%"),
        (["--fail", "nan%"], "'nan%' is no percentage from 0% to 100%"),
        (["--window", "at night"], "a window is [DAYS] HH:MM-HH:MM"),
        (["--max-parallel", "0"], "max_parallel: must be a whole number from 1"),
        (["--window", "mon 25:00-26:00"], "windows[0].begin: must be a time of day"),
        (["--bake", "soon"], "'soon' is no span of time"),
        (["--strategy", "careful"], "strategies have names at a coordinator"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(ran: Ran, given: list[str], said: str) -> None:
    ended = ran(*SMALL, *given)
    assert ended.code == 2
    assert said in ended.err


# ---- bars ------------------------------------------------------------------


def test_a_bar_tells_when_it_was_at_work_and_how_far() -> None:
    first = batch(0, 0.0, 10.0, 20.0, canary=True)
    second = batch(1, 40.0, 50.0, 60.0)
    canary, other = bars(outcome(first, second))
    assert canary == f"canary        {'0' * 9}{'5' * 10}9{'=' * 20}{' ' * 20}  2 completed"
    assert other == f"batch 2 of 2  {'.' * 40}{'0' * 9}{'5' * 10}9  2 completed"


def test_what_never_began_is_told_so() -> None:
    stopped = batch(1, None, 30.0, 30.0, completed=0, cancelled=2)
    _, never = bars(outcome(batch(0, 0.0, 30.0, 60.0), stopped))
    assert never == f"batch 2 of 2  {'.' * 60}  2 cancelled"


def test_many_batches_share_bars() -> None:
    batches = [batch(number, float(number), number + 1.0) for number in range(1, 500)]
    drawn = bars(outcome(batch(0, 0.0, 1.0, canary=True), *batches, seconds=500.0))
    assert len(drawn) <= MOST_BARS + 1
    assert drawn[0].startswith("canary")
    assert drawn[1].startswith("batches 2 to 22")
    assert drawn[-1].endswith("16 completed")
