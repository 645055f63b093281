"""A service's log that is cut while the service writes: its last lines are never lost."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from agent.output import last_lines, rotate, trim
from tests.lab.needs import need_files_cut_from_the_front

LIMIT = 200_000
CUTS = 30
COUNTS = """
import itertools, os
for number in itertools.count():
    os.write(1, b"line %d\\n" % number)
"""


@pytest.fixture
def in_memory() -> Iterator[Path]:
    """A folder on a file system that can't take away the beginning of a file."""
    if not Path("/dev/shm").is_dir():
        pytest.skip("needs /dev/shm")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


@contextmanager
def counting(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that writes numbered lines as fast as it can."""
    with log.open("ab") as out:
        process = subprocess.Popen([sys.executable, "-c", COUNTS], stdout=out)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_nothing_that_is_written_during_a_cut_is_lost(tmp_path: Path) -> None:
    need_files_cut_from_the_front(tmp_path)
    log, kept = tmp_path / "output.log", tmp_path / "output.log.1"
    with counting(log) as writer:
        for _ in range(CUTS):
            while log.stat().st_size <= LIMIT:
                assert writer.poll() is None
            trim(log, LIMIT)
            (first, *_) = numbers_in(log)[1:]
            assert first <= numbers_in(kept)[-1] + 1

    last = numbers_in(log)[-1]
    assert last_lines(log).splitlines()[-2:] == [f"line {last - 1}", f"line {last}"]


def numbers_in(file: Path) -> list[int]:
    """The numbers of a file's whole lines, and of what is left of the one that was cut."""
    return [int(line.rpartition(b" ")[2] or 0) for line in file.read_bytes().split(b"\n")[:-1]]


def test_the_last_lines_outlive_a_cut_on_any_file_system(tmp_path: Path, in_memory: Path) -> None:
    for folder in (tmp_path, in_memory):
        log = folder / "output.log"
        log.write_bytes(b"y\n" * LIMIT + b"the end\n")
        trim(log, LIMIT)
        assert log.stat().st_size < LIMIT
        assert (folder / "output.log.1").stat().st_size == LIMIT
        assert last_lines(log).splitlines()[-2:] == ["y", "the end"]
        rotate(log, LIMIT)
        assert last_lines(log) == ""
