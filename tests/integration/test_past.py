"""The host's own past: durable lines, cut where torn, bounded, and never in the way."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.journal import Journal, Known, Record, Work
from agent.past import KEEP, LONGEST_MESSAGE, Past
from protocol.messages import MAX_PAST, Ended, PastEntry, Result, Step, TaskTold
from protocol.states import TaskKind

HEALTHY = Ended(result=Result.SUCCEEDED, step=Step.COMMIT, message="healthy", digest="a" * 64)
TASK = TaskTold(kind=TaskKind.DEPLOY, service="user-service", version="v1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "past.jsonl"


def opened(path: Path, keep: int = KEEP) -> Past:
    past = Past(path, keep)
    assert past.open()
    return past


def add(past: Past, task_id: str, instance_id: str = "i-1", attempt: int = 1) -> bool:
    return past.append(instance_id, task_id, attempt, TASK, HEALTHY)


def told(past: Past, after: int = 0) -> list[PastEntry]:
    return [entry for some in past.after(after) for entry in some]


def tasks(past: Past, after: int = 0) -> list[tuple[int, str]]:
    return [(entry.number, entry.task_id) for entry in told(past, after)]


# ---- the file --------------------------------------------------------------


def test_entries_come_back_in_order_with_numbers_that_go_on(path: Path) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    past = Past(path, wall_clock=lambda: at)
    assert (past.open(), past.number, told(past)) == (True, 0, [])
    assert add(past, "d-1")
    assert add(past, "d-2", "i-2", attempt=4)

    again = opened(path)
    assert (again.number, again.newest("i-1"), again.newest("i-2")) == (2, ("d-1", 1), ("d-2", 4))
    assert add(again, "d-3")
    assert tasks(again) == [(1, "d-1"), (2, "d-2"), (3, "d-3")]
    assert tasks(again, after=2) == [(3, "d-3")]
    first, *_ = told(again)
    assert first == PastEntry(
        number=1, at=at, task_id="d-1", instance_id="i-1", attempt=1, task=TASK, ended=HEALTHY
    )
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("torn", [b'{"number":3,"task', b"\0\0\0\0", b"\n\n", b"{}\n[1"])
def test_a_torn_end_is_cut_off(path: Path, torn: bytes) -> None:
    past = opened(path)
    add(past, "d-1")
    add(past, "d-2")
    whole = path.read_bytes()
    path.write_bytes(whole + torn)

    again = opened(path)
    assert path.read_bytes() == whole
    add(again, "d-3")
    assert tasks(opened(path)) == [(1, "d-1"), (2, "d-2"), (3, "d-3")]


def test_every_cut_through_the_last_line_leaves_the_lines_before_it(path: Path) -> None:
    past = opened(path)
    add(past, "d-1")
    first = path.stat().st_size
    add(past, "d-2")
    whole = path.read_bytes()
    for length in range(first, len(whole)):
        path.write_bytes(whole[:length])
        assert tasks(opened(path)) == [(1, "d-1")], length


def test_a_damaged_line_in_the_middle_is_left_out(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    past = opened(path)
    for number in range(3):
        add(past, f"d-{number}")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"x" * 20 + b"\n" + lines[2])
    assert tasks(opened(path)) == [(1, "d-0"), (3, "d-2")]
    assert "damaged line" in caplog.text


def test_the_older_half_goes_when_there_are_too_many(path: Path) -> None:
    past = opened(path, keep=10)
    for number in range(1, 12):
        add(past, f"d-{number}")
    assert tasks(past) == [(n, f"d-{n}") for n in range(7, 12)]
    add(past, "d-12")
    again = opened(path, keep=10)
    assert tasks(again) == [(n, f"d-{n}") for n in range(7, 13)], "the numbers go on"
    for number in range(13, 200):
        add(again, f"d-{number}")
    assert len(path.read_bytes().splitlines()) <= 10
    assert [file.name for file in path.parent.iterdir()] == ["past.jsonl"]


def test_what_a_crash_left_while_it_was_shortened_is_removed(path: Path) -> None:
    add(opened(path), "d-1")
    (path.parent / ".past.jsonl.0a1b2c3d.tmp").write_text("half")
    assert tasks(opened(path)) == [(1, "d-1")]
    assert [file.name for file in path.parent.iterdir()] == ["past.jsonl"]


def test_it_is_told_in_pieces_that_fit_into_a_frame(path: Path) -> None:
    entry = PastEntry(
        number=1,
        at=datetime(2026, 1, 1, tzinfo=UTC),
        task_id="d-1",
        instance_id="i-1",
        attempt=1,
        task=TASK,
        ended=HEALTHY,
    )
    lines = (entry.model_copy(update={"number": n}).model_dump_json() for n in range(1, 451))
    path.write_text("".join(f"{line}\n" for line in lines))
    assert [len(some) for some in opened(path).after(0)] == [MAX_PAST, MAX_PAST, 50]


def test_a_long_message_is_cut(path: Path) -> None:
    past = opened(path)
    long = HEALTHY.model_copy(update={"message": "ü" * 4000})
    past.append("i-1", "d-1", 1, TASK, long)
    assert told(past)[0].ended.message == "ü" * LONGEST_MESSAGE


@contextmanager
def disk_full_at(size: int) -> Iterator[None]:
    """No file can grow beyond `size` bytes: a write takes what fits and then fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_costs_the_line_and_nothing_else(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    past = opened(path)
    add(past, "d-1")
    whole = path.read_bytes()
    for room in (0, 1, len(whole) // 2):
        with disk_full_at(len(whole) + room):
            assert not add(past, "d-2")
        assert path.read_bytes() == whole, "half a line is taken back"
    assert "can't be written" in caplog.text
    assert add(past, "d-3")
    assert tasks(opened(path)) == [(1, "d-1"), (2, "d-3")]


# ---- with the journal ------------------------------------------------------


def work(task_id: str, attempt: int = 1) -> Work:
    return Work(
        task_id,
        attempt,
        "v1",
        Step.COMMIT,
        "a" * 64,
        kind=TaskKind.ROLLBACK,
        service="user-service",
    )


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(tmp_path / "journal")
    made.open()
    return made


def restarted(journal: Journal) -> Journal:
    again = Journal(journal.past._path.parent)
    again.open()
    return again


def test_an_end_that_is_saved_is_in_the_past(journal: Journal) -> None:
    taken = Record("i-1", work=work("d-1"))
    journal.save(taken)
    assert told(journal.past) == []
    record = taken.ending(work("d-1"), HEALTHY)
    journal.save(record)
    journal.save(replace(record, good=(Known("v1", "a" * 64),)))
    (entry,) = told(journal.past)
    assert (entry.task_id, entry.instance_id, entry.ended) == ("d-1", "i-1", HEALTHY)
    assert entry.task == TaskTold(kind=TaskKind.ROLLBACK, service="user-service", version="v1")


def test_a_crash_between_the_record_and_the_past_loses_nothing(journal: Journal) -> None:
    record = Record("i-1").ending(work("d-1"), HEALTHY)
    journal.save(record)
    journal.save(record.without(1).ending(work("d-2"), HEALTHY).ending(work("d-3"), HEALTHY))
    whole = journal.past._path.read_bytes().splitlines(keepends=True)
    for kept in range(1, 4):
        journal.past._path.write_bytes(b"".join(whole[:kept]))
        assert tasks(restarted(journal).past) == [(1, "d-1"), (2, "d-2"), (3, "d-3")]
        assert tasks(restarted(journal).past) == [(1, "d-1"), (2, "d-2"), (3, "d-3")]


def test_what_the_disk_would_not_take_follows_with_the_next_save(journal: Journal) -> None:
    past = journal.past._path
    past.mkdir()
    record = Record("i-1").ending(work("d-1"), HEALTHY)
    journal.save(record)
    assert journal.load("i-1") == record, "the journal does not depend on it"
    past.rmdir()
    journal.save(record.ending(work("d-2"), HEALTHY))
    assert tasks(journal.past) == [(1, "d-1"), (2, "d-2")]


def test_a_refusal_of_something_unknown_is_no_past(journal: Journal) -> None:
    journal.save(Record("i-1").reporting("d-1", 1, HEALTHY))
    assert told(journal.past) == []


def test_a_journal_of_an_older_agent_is_read(journal: Journal) -> None:
    journal.save(Record("i-1", work=work("d-2")).reporting("d-1", 1, HEALTHY))
    file = journal.past._path.parent / "i-1.json"
    raw = json.loads(file.read_bytes())
    del raw["work"]["kind"], raw["work"]["service"], raw["last"]["task"], raw["unsent"][0]["task"]
    raw["work"]["from_the_future"] = 1
    file.write_text(json.dumps(raw))

    read = restarted(journal).load("i-1")
    assert read.work is not None
    assert (read.work.task_id, read.work.kind, read.work.task) == ("d-2", TaskKind.DEPLOY, None)
    assert read.last is not None
    assert read.last.task is None
