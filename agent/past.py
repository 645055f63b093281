"""What ended on this host, in one append-only file: the coordinator's history if it is lost.

Each line is one `PastEntry` as JSON, durable before `append` returns. Numbers only grow.
A last line that a power cut tore is cut off; when there are too many lines, the older half
goes. Nothing here decides what runs, so a disk that won't take a line is only warned
about: the journal follows with that line later.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from protocol.durable import sync_folder, write_durably
from protocol.messages import MAX_PAST, Ended, PastEntry, TaskTold

KEEP = 10_000
"""Lines: when there are more, the older half is removed."""

LONGEST_MESSAGE = 1000
"""Characters of a message that are kept."""

log = logging.getLogger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class Past:
    """The file of what ended."""

    def __init__(
        self, path: Path, keep: int = KEEP, wall_clock: Callable[[], datetime] = _now
    ) -> None:
        self._path = path
        self._keep = keep
        self._wall_clock = wall_clock
        self._opened = False
        self._number = 0
        self._lines = 0
        self._size = 0
        self._newest: dict[str, tuple[str, int]] = {}
        self._numbers: dict[str, int] = {}

    @property
    def number(self) -> int:
        """The newest entry's number; 0 if there is none."""
        return self._number

    def newest(self, instance_id: str) -> tuple[str, int] | None:
        """The task and the attempt of the instance's newest entry."""
        return self._newest.get(instance_id)

    def number_of(self, instance_id: str, task_id: str, attempt: int) -> int:
        """The number of this entry if it is the instance's newest; else 0."""
        same = self._newest.get(instance_id) == (task_id, attempt)
        return self._numbers[instance_id] if same else 0

    def open(self) -> bool:
        """Look through the file and cut off what is torn; False, with a warning, if it can't be."""
        try:
            self._look_through()
        except OSError as error:
            self._warn("can't be read", error)
        return self._opened

    def append(
        self, instance_id: str, task_id: str, attempt: int, task: TaskTold, ended: Ended
    ) -> bool:
        """Add an entry durably; False, with a warning, if the disk won't take it."""
        if not self._opened and not self.open():
            return False
        short = ended.model_copy(update={"message": ended.message[:LONGEST_MESSAGE]})
        entry = PastEntry(
            number=self._number + 1,
            at=self._wall_clock(),
            task_id=task_id,
            instance_id=instance_id,
            attempt=attempt,
            task=task,
            ended=short,
        )
        line = entry.model_dump_json().encode() + b"\n"
        try:
            self._write(line)
        except OSError as error:
            self._warn("can't be written", error)
            return False
        self._number += 1
        self._lines += 1
        self._size += len(line)
        self._newest[instance_id] = (task_id, attempt)
        self._numbers[instance_id] = self._number
        if self._lines > self._keep:
            self._drop_older_half()
        return True

    def after(self, number: int) -> Iterator[list[PastEntry]]:
        """All entries with a greater number, in order, by so many as fit into a frame."""
        entries = self._entries_after(number)
        while some := list(islice(entries, MAX_PAST)):
            yield some

    # ---- the file ----------------------------------------------------------

    def _look_through(self) -> None:
        for draft in self._path.parent.glob(f".{self._path.name}.*"):
            draft.unlink()
        self._lines = self._size = offset = 0
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            self._opened = True
            return
        with file:
            for line in file:
                offset += len(line)
                if (seen := _glance(line)) is not None:
                    number, instance_id, task_id, attempt = seen
                    self._number = max(self._number, number)
                    self._newest[instance_id] = (task_id, attempt)
                    self._numbers[instance_id] = number
                    self._lines += 1
                    self._size = offset
        if offset > self._size:
            log.warning("%s: cut off %d torn bytes", self._path, offset - self._size)
            self._cut_off()
        self._opened = True

    def _write(self, line: bytes) -> None:
        """Append durably; on failure leave the file as it was."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(self._path, flags, 0o600)
        try:
            written = 0
            while written < len(line):
                written += os.write(handle, line[written:])
            os.fsync(handle)
            if not self._size:
                sync_folder(self._path.parent)
        except OSError:
            self._opened = False
            self._cut_off()
            self._opened = True
            raise
        finally:
            os.close(handle)

    def _cut_off(self) -> None:
        """Remove what stands behind the last whole line."""
        handle = os.open(self._path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.ftruncate(handle, self._size)
            os.fsync(handle)
        finally:
            os.close(handle)

    def _drop_older_half(self) -> None:
        try:
            lines = self._path.read_bytes().splitlines(keepends=True)[-(self._keep // 2) :]
            write_durably(self._path, b"".join(lines))
        except OSError as error:
            self._warn("can't be shortened", error)
            return
        self._lines, self._size = len(lines), sum(map(len, lines))

    def _entries_after(self, number: int) -> Iterator[PastEntry]:
        try:
            with self._path.open("rb") as file:
                for line in file:
                    entry = _entry(line)
                    if entry is None:
                        log.warning("%s: a damaged line was left out", self._path)
                    elif entry.number > number:
                        yield entry
        except FileNotFoundError:
            return
        except OSError as error:
            self._warn("can't be read", error)

    def _warn(self, problem: str, error: OSError) -> None:
        log.warning("%s %s: %s", self._path, problem, error.strerror or error)


def _glance(line: bytes) -> tuple[int, str, str, int] | None:
    """Number, instance, task and attempt of a whole line; None for a damaged one."""
    try:
        raw = json.loads(line)
        seen = raw["number"], raw["instance_id"], raw["task_id"], raw["attempt"]
    except (ValueError, KeyError, TypeError):
        return None
    whole = line.endswith(b"\n") and isinstance(seen[0], int)
    return seen if whole else None


def _entry(line: bytes) -> PastEntry | None:
    try:
        return PastEntry.model_validate_json(line)
    except ValueError:
        return None
