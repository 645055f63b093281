"""`ferryman timeline`: bars on one scale of time, the slowest instance first."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.parts.command_line import on_terminal
from tests.parts.fake_coordinator import fake_coordinator, ok
from tests.parts.shell import ESCAPE, Shell

START = datetime(2026, 11, 24, 0, 31, 23, tzinfo=UTC)
PATH = "/v1/deployment/d-1/timeline"
ANSI = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def text(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).isoformat()


def instance(name: str, *steps: tuple[float, str], end: float, attempts: int = 1) -> dict[str, Any]:
    """An instance that went through these phases and was last looked at at `end`."""
    ends = [*(at for at, _ in steps[1:]), end] if steps else []
    over = {"completed", "failed", "cancelled"}
    took = [None if p in over else after - at for (at, p), after in zip(steps, ends, strict=True)]
    phases: dict[str, float] = {}
    for (_, phase), seconds in zip(steps, took, strict=True):
        if seconds is not None:
            phases[phase] = phases.get(phase, 0.0) + seconds
    last = steps[-1][1] if steps else "completed"
    began = [at for at, p in steps if p not in ("queued", "waiting", "failed", "cancelled")]
    return {
        "instance_id": name,
        "status": last if last in over else "in_progress",
        "phase": last,
        "attempts": attempts,
        "began_at": text(began[0]) if began else None,
        "ended_at": text(steps[-1][0]) if last in over and steps else None,
        "seconds": sum(seconds for phase, seconds in phases.items() if phase != "queued"),
        "phases": phases,
        "steps": [
            {"at": text(at), "phase": phase, "attempt": 1, "reason": "", "seconds": seconds}
            for (at, phase), seconds in zip(steps, took, strict=True)
        ],
    }


def timeline(*rows: dict[str, Any], seconds: float, **more: Any) -> dict[str, Any]:
    phases: dict[str, float] = {}
    for row in rows:
        for phase, took in row["phases"].items():
            phases[phase] = phases.get(phase, 0.0) + took
    return {
        "task_id": "d-1",
        "kind": "deploy",
        "service": "web",
        "version": "v2",
        "status": "failed",
        "started_at": text(0),
        "ended_at": text(seconds),
        "as_of": text(seconds + 100),
        "seconds": seconds,
        "phases": phases,
        "instances": list(rows),
    } | more


FAST = instance("fast", (0, "waiting"), (10, "preparing"), (30, "completed"), end=30)
SLOW = instance(
    "slow-one",
    (0, "waiting"),
    (10, "preparing"),
    (20, "retrying"),
    (40, "preparing"),
    (50, "activating"),
    (60, "failed"),
    end=60,
    attempts=2,
)
QUEUED = instance("late", (0, "queued"), (60, "cancelled"), end=60)
AWAY = instance("away", (0, "waiting"), (55, "failed"), end=55)
ALL = timeline(FAST, QUEUED, SLOW, AWAY, seconds=60)


def shown(shell: Shell, *arguments: str, data: dict[str, Any] = ALL) -> list[str]:
    shell.fake.script("GET", PATH, ok(data))
    said = shell("timeline", "d-1", *arguments)
    assert (said.code, said.err) == (0, "")
    return said.out.splitlines()


def test_a_second_is_a_cell_and_the_slowest_stands_first(shell: Shell) -> None:
    assert shown(shell) == [
        "deployment d-1: web v2",
        "failed: 2026-11-24T00:31:23Z to 2026-11-24T00:32:23Z, 60.0 s",
        "",
        f"INSTANCE{' ' * 64}  SECONDS  END",
        f"slow-one  |{'-' * 10}{'=' * 10}{'~' * 20}{'=' * 10}{'#' * 10}|"
        "     60.0  failed, 2 attempts",
        f"away      |{'-' * 55}     |     55.0  failed, never began",
        f"fast      |{'-' * 10}{'=' * 20}{' ' * 30}|     30.0  completed",
        f"late      |{'.' * 60}|      0.0  cancelled, never began",
        "",
        ". queued 60.0 s",
        "- waiting 75.0 s",
        "= preparing 40.0 s",
        "# activating 10.0 s",
        "~ retrying 20.0 s",
    ]


def test_of_a_long_fleet_the_slowest_are_shown_and_the_others_counted(shell: Shell) -> None:
    rows = [instance(f"i-{n:03}", (0, "waiting"), (n, "completed"), end=n) for n in range(1, 1001)]
    data = timeline(*rows, seconds=1000)
    lines = shown(shell, data=data)
    assert [line.split()[0] for line in lines[4:24]] == [f"i-{n:03}" for n in range(1000, 980, -1)]
    assert (
        lines[-1] == "and 980 instances more, the slowest of them 980.0 s; all with --slowest 1000"
    )
    lines = shown(shell, "--slowest", "1", data=data)
    assert [line.split()[0] for line in lines[4:6] if line] == ["i-1000"]
    assert "more" not in " ".join(shown(shell, "--slowest", "1000", data=data))


@pytest.mark.parametrize("wrong", ["0", "-1", "many"])
def test_a_number_that_is_none_is_wrong_use(shell: Shell, wrong: str) -> None:
    said = shell("timeline", "d-1", f"--slowest={wrong}")
    assert said.code == 2
    assert "--slowest" in said.err


def test_what_runs_is_told_as_such(shell: Shell) -> None:
    runs = instance("a", (0, "waiting"), (5, "preparing"), end=10)
    waits = instance("b", (0, "waiting"), end=10)
    data = timeline(runs, waits, seconds=10, status="in_progress", ended_at=None)
    lines = shown(shell, data=data)
    assert lines[1] == "in_progress: 2026-11-24T00:31:23Z to now, 10.0 s"
    assert lines[4].endswith("10.0  preparing")
    assert lines[5].endswith("10.0  waiting, has not begun")


def test_what_was_not_recorded_has_no_bar_and_says_so(shell: Shell) -> None:
    lines = shown(shell, data=timeline(instance("old", end=0), seconds=10))
    assert re.fullmatch(r"old +\| {60}\| +0\.0  completed, not recorded", lines[4])


def test_work_that_is_shorter_than_a_cell_still_has_one(shell: Shell) -> None:
    brief = instance("brief", (0, "queued"), (3000, "preparing"), (3001, "completed"), end=3001)
    longer = instance("long", (0, "waiting"), (6000, "failed"), end=6000)
    lines = shown(shell, data=timeline(brief, longer, seconds=6000))
    assert f"|{'.' * 30}={' ' * 29}|" in lines[5]


def test_a_task_that_took_no_time_is_drawn_without_bars(shell: Shell) -> None:
    row = instance("a", (0, "waiting"), (0, "completed"), end=0)
    assert f"|{' ' * 60}|" in shown(shell, data=timeline(row, seconds=0))[4]


def test_with_json_the_whole_answer_is_printed(shell: Shell) -> None:
    shell.fake.script("GET", PATH, ok(ALL))
    told = json.loads(shell("-o", "json", "timeline", "d-1", "--slowest", "1").out)
    assert [row["instance_id"] for row in told["instances"]] == ["fast", "late", "slow-one", "away"]
    assert told["instances"][2]["phases"]["retrying"] == 20.0


def test_a_rollback_is_found_by_its_id(shell: Shell) -> None:
    data = ALL | {"task_id": "rollback-1", "kind": "rollback"}
    shell.fake.script("GET", "/v1/rollback/rollback-1/timeline", ok(data))
    assert shell("timeline", "rollback-1").out.startswith("rollback rollback-1: web v2\n")
    said = shell("timeline", "nobody")
    assert said.code == 3
    assert "no deployment or rollback nobody" in said.err


def test_names_cannot_act_on_a_terminal(shell: Shell) -> None:
    lines = shown(shell, data=timeline(FAST | {"instance_id": ESCAPE}, seconds=60))
    assert "\x1b" not in "".join(lines)


# ---- on a terminal ---------------------------------------------------------------


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_terminal_is_filled_in_colours_and_no_line_is_broken(
    tmp_path: Path, columns: int
) -> None:
    name = "user-service-" + "x" * 80 + "-0017"
    with fake_coordinator(tmp_path) as fake:
        fake.script("GET", PATH, ok(timeline(SLOW | {"instance_id": name}, AWAY, seconds=60)))
        seen = on_terminal(["timeline", "d-1"], fake.environment, columns=columns)
    assert seen.code == 0
    plain = [line.rstrip("\r") for line in ANSI.sub("", seen.out).split("\n")]
    assert max(len(line) for line in plain[3:]) <= columns
    bars = [line for line in plain if "|" in line]
    assert len(bars) == 2, "one line each"
    longest = bars[0].partition("|")[2].partition("|")[0]
    assert {"-", "=", "~", "#"} == set(longest)
    assert len(longest) >= 24
    assert any(line.rstrip().endswith("failed, 2 attempts") for line in plain)
    assert "…" in "".join(plain), "a long name loses its middle"
    assert "0017 " in "".join(plain)
    assert seen.out.count("\x1b[36m") >= 2, "preparing has its colour, in the legend too"
