"""What a person sees on a terminal: whole ids, words unbroken, nothing lost on a narrow one."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from rich.text import Text

from coordinator.cli.drawing import lines_of
from coordinator.cli.live import shortened
from tests.parts.command_line import FERRYMAN, on_terminal, piped
from tests.parts.fake_coordinator import (
    cause,
    fake_coordinator,
    instance,
    instance_page,
    ok,
    row,
    task,
)
from tests.parts.shell import DEPLOY, ESCAPE, ready_to_deploy

COLUMNS = ("time", "id", "status", "metadata", "reason")
ROW = (
    "2026-01-02T03:04:05Z",
    "rollback-01M85FQWJAV7VTSQ8G2NJH5C7W",
    "completed",
    "-",
    "health check http://127.0.0.1:8080/healthz answered 500; v1 was put back",
)


def drawn(*rows: tuple[str, ...], width: int) -> list[str]:
    return [line.plain for line in lines_of(COLUMNS, rows, width, lambda _, cell: Text(cell))]


def test_a_table_that_fits_has_one_line_for_each_row() -> None:
    header, line = drawn(ROW, width=200)
    assert header.split() == ["TIME", "ID", "STATUS", "REASON"]
    assert line.split()[:3] == [ROW[0], ROW[1], ROW[2]]
    assert line.endswith(ROW[4])


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_on_a_narrow_terminal_no_cell_is_cut_and_no_id_is_broken(width: int) -> None:
    lines = drawn(ROW, width=width)
    assert all(len(line) <= width for line in lines)
    words = " ".join(lines).split()
    assert {ROW[0], ROW[1], ROW[2]} <= set(words)
    assert [word for word in words if word in ROW[4].split()] == ROW[4].split()


def test_columns_stand_below_their_names_on_further_lines() -> None:
    first, second, top, below, *_ = drawn(ROW, width=70)
    assert top.index(ROW[1]) == first.index("ID")
    assert below.index("health") == second.index("REASON")


def test_a_word_wider_than_the_terminal_is_folded_and_not_lost() -> None:
    lines = drawn(("t", "x" * 128, "s", "-", "-"), width=40)
    assert "".join(lines).count("x") == 128
    assert all(len(line) <= 40 for line in lines)


def test_columns_without_anything_in_them_are_left_out_only_where_there_are_rows() -> None:
    assert "METADATA" not in drawn(ROW, width=200)[0]
    assert drawn(width=200)[0].split() == [name.upper() for name in COLUMNS]


@pytest.mark.parametrize("most", [3, 10, 19])
def test_a_shortened_id_keeps_its_end(most: int) -> None:
    name = "user-service-host-0017"
    short = shortened(name, most)
    assert len(short) == most
    assert name.endswith(short.partition("…")[2])
    assert shortened(name, 22) == name


def test_eighty_columns_show_whole_ids_and_phases_while_it_runs(tmp_path: Path) -> None:
    rows = [row(f"instance-{n}", "in_progress", reason="checking " * 12) for n in range(3)]
    ended = [row(f"instance-{n}", reason="healthy") for n in range(3)]
    with fake_coordinator(tmp_path) as fake:
        fake.script(
            "GET", "/v1/deployment/d-1", ok(task("in_progress", rows)), ok(task("completed", ended))
        )
        seen = on_terminal(["status", "d-1", "--watch"], fake.environment, columns=80)
    assert seen.code == 0
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.out)
    for n in range(3):
        assert re.search(rf"instance-{n}  (preparing|activating) +checking", plain)
    assert all(len(line) < 80 for line in plain.splitlines())


def test_the_closing_lines_are_broken_between_words_on_a_terminal_only(tmp_path: Path) -> None:
    words = "health check http://127.0.0.1:8080/healthz answered 500; not healthy within 30 s"
    rows = [row(name, "failed", error_message=words) for name in "ab"]
    failed = task("failed", rows, causes=[cause(words, ["a", "b"])])
    with fake_coordinator(tmp_path) as fake:
        fake.script("GET", "/v1/deployment/d-1", ok(failed))
        shown = on_terminal(["status", "d-1"], fake.environment, columns=60)
        plain = piped(["status", "d-1"], fake.environment)
    assert f"  2 instances, one cause: {words} (a, b)" in plain.out.splitlines()
    told = shown.out.partition("one cause: ")[2].partition("    whose fault")[0]
    assert told.split() == f"{words} (a, b)".split()
    assert all(len(line) <= 60 for line in told.splitlines()[1:])


def test_a_retry_tells_the_attempt_in_hand_and_why_there_is_one(tmp_path: Path) -> None:
    waiting = row("a", "in_progress", attempt=2, error_message="no route", reason="next at noon")
    with fake_coordinator(tmp_path) as fake:
        fake.script("GET", "/v1/deployment/d-1", ok(task("in_progress", [waiting])))
        said = piped(["status", "d-1"], fake.environment)
    assert "attempt 2 · next at noon" in said.out


@pytest.mark.parametrize("closed", ["1", "2"])
def test_a_stream_that_the_caller_closed_is_no_failure(tmp_path: Path, closed: str) -> None:
    with fake_coordinator(tmp_path) as fake:
        fake.script("GET", "/v1/service/web/instances", ok(instance_page([instance("a")], 1)))
        line = f'exec {closed}>&-; exec "$@"'
        argv = ["sh", "-c", line, "sh", *FERRYMAN, "instances", "web"]
        done = subprocess.run(argv, env=fake.environment, capture_output=True, check=False)
    assert done.returncode == 0
    assert b"unexpected" not in done.stderr


def test_on_a_terminal_it_waits_and_draws_no_more_lines_than_fit(tmp_path: Path) -> None:
    rows = [row(f"done-{n:04}") for n in range(980)]
    rows += [row(f"busy-{n:02}", "in_progress", step="prepare", reason=ESCAPE) for n in range(15)]
    rows += [row(f"bad-{n}", "failed", error_message="[bold]no space") for n in range(5)]
    ended_rows = [row(f"done-{n:04}") for n in range(995)] + rows[-5:]
    with fake_coordinator(tmp_path) as fake:
        causes = [cause("[bold]no space", [f"bad-{n}" for n in range(5)])]
        ready_to_deploy(fake, task("in_progress", rows), task("failed", ended_rows, causes=causes))
        ended = on_terminal([*DEPLOY, "--instances", "a"], fake.environment, lines=24)
    assert ended.code == 5
    assert ended.out.startswith("d-1\r\n")
    assert "… and 980 more" in ended.out
    assert "bad-0" in ended.out
    assert "[bold]no space" in ended.out
    assert "5 instances, one cause: [bold]no space" in ended.out
    assert "\x1b]0;" not in ended.out
    assert "\u202e" not in ended.out
    drawn = re.split(r"\x1b\[1A", ended.out)
    assert len(set(re.findall(r"(?:done|busy|bad)-\d+", drawn[0]))) == 20


def test_tables_on_a_terminal_fold_instead_of_cutting(tmp_path: Path) -> None:
    name = "instance-" + "x" * 60
    with fake_coordinator(tmp_path) as fake:
        page = ok(instance_page([instance(name, reason=ESCAPE)], 1))
        fake.script("GET", "/v1/service/web/instances", page)
        ended = on_terminal(["instances", "web"], fake.environment, columns=80)
    assert ended.code == 0
    assert ended.out.count("x") >= 60
    assert "\x1b]0;" not in ended.out
    assert "…" not in ended.out
