"""The fsynced record of each instance: what runs, what is in hand, what is not yet reported.

One file an instance, replaced as a whole, so that a state and the report of it are saved
in the same moment. It is written before the agent acts. What has ended is appended to the
host's past right after; what a crash kept from it is made up for at the next start,
since the record still holds it. Nothing here decides anything.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from agent.past import Past
from agent.ports import StepError
from protocol.durable import sync_folder, write_durably
from protocol.messages import Ended, Prepared, Regressed, Result, Step, Taken, TaskTold
from protocol.states import TaskKind


class JournalError(Exception):
    """A journal can't be read; its text names the file."""


@dataclass(frozen=True, slots=True)
class Known:
    """A release that is known by its version and digest."""

    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class Work:
    """The assignment in hand."""

    task_id: str
    attempt: int
    version: str
    step: Step
    digest: str = ""
    """The prepared release's digest, "" while preparing."""
    old: Known | None = None
    putting_back: bool = False
    failure: str = ""
    passing: bool = False
    """Whether the failure that is being undone may pass."""
    recoveries: int = 0
    kind: TaskKind = TaskKind.DEPLOY
    service: str = ""
    """The task's service; "" in a record of an older agent."""
    allowed: float = 0.0
    """Seconds that the coordinator gave the assignment, or its wait for the word, last."""
    until: float = 0.0
    """When these are over, in seconds of the boot `boot_id`; 0 in a record of an older agent."""
    boot_id: str = ""
    hold: float = 0.0
    """Seconds for which it waits for the word once it is prepared; 0: until `until`."""
    watch: float = 0.0
    """Seconds for which the service is to be watched after the commit."""
    generation: str = ""
    """What the service was when its check had passed; "" before."""

    @property
    def task(self) -> TaskTold | None:
        """What the past and a report tell of the task; None of a prefetch, since nothing ran."""
        if not self.service or self.kind is TaskKind.PREFETCH:
            return None
        return TaskTold(kind=self.kind, service=self.service, version=self.version)


@dataclass(frozen=True, slots=True)
class Watch:
    """A release that was switched to, and whose service is watched for a regression."""

    task_id: str
    attempt: int
    digest: str
    generation: str
    """What the service must stay; "" until it is healthy after a boot of the host."""
    left: float
    """Seconds that were left when this was written."""
    until: float
    """When it is over, in seconds of the boot `boot_id`."""
    boot_id: str
    asked: float | None = None
    """Seconds in all, from the commit on; None where a watch had ended before this one began."""

    def renewed(self, now: float, seconds: float) -> Watch:
        """This watch, for so many seconds from `now` on at least."""
        until = max(self.until, now + seconds)
        asked = None if self.asked is None else self.asked + (until - self.until)
        return replace(self, left=until - now, until=until, asked=asked)

    def lasted(self, moment: float) -> float | None:
        """For how many of its seconds it had lasted then; None if nobody knows."""
        if self.asked is None:
            return None
        return min(self.asked, max(0.0, self.asked - (self.until - moment)))


Told = Taken | Prepared | Ended | Regressed
"""What is reported of an attempt."""


@dataclass(frozen=True, slots=True)
class Unsent:
    """A report that the coordinator has not acknowledged."""

    number: int
    task_id: str
    attempt: int
    event: Told
    task: TaskTold | None = None
    """What the attempt was of, once it has ended; None if this host never knew."""


@dataclass(frozen=True, slots=True)
class Record:
    """Everything that the agent must not forget about one instance."""

    instance_id: str
    current: Known | None = None
    """What was last committed as running here."""
    good: tuple[Known, ...] = ()
    """Releases that were healthy here, the latest last; `current` is the last of them."""
    fetched: tuple[Known, ...] = ()
    """Releases that were brought here ahead of time and have not run yet, the latest last."""
    work: Work | None = None
    watch: Watch | None = None
    """What is watched after its commit."""
    last: Unsent | None = None
    """The last attempt's end, to answer a repeated command."""
    regressed: Unsent | None = None
    """The last regression, which belongs to the answer if it was that attempt's."""
    unsent: tuple[Unsent, ...] = ()
    next_number: int = 1
    trouble: str = ""
    """Why the instance is in `error` although nothing is in hand."""
    boot_id: str = ""
    """The boot in which this record was last made true."""

    @property
    def ends(self) -> list[Unsent]:
        """The ends of attempts that this record still holds, oldest first."""
        held = [*self.unsent, *([self.last] if self.last else [])]
        ends = {one.number: one for one in held if isinstance(one.event, Ended)}
        return [ends[number] for number in sorted(ends)]

    @property
    def answer(self) -> list[Unsent]:
        """All that was reported of how the last attempt ended."""
        if self.last is None:
            return []
        attempt = (self.last.task_id, self.last.attempt)
        after = self.regressed
        if after is None or (after.task_id, after.attempt) != attempt:
            return [self.last]
        return [self.last, after]

    def stands(self, task_id: str, attempt: int, digest: str) -> bool:
        """Whether this attempt ended last and well, and what it switched to is what runs here."""
        last, current = self.last, self.current
        if self.work is not None or self.trouble or last is None or current is None:
            return False
        told = last.event
        committed = (
            isinstance(told, Ended)
            and told.result is Result.SUCCEEDED
            and told.step is Step.COMMIT
            and told.digest == current.digest == digest
        )
        same = (last.task_id, last.attempt) == (task_id, attempt)
        return committed and same and self.answer == [last]

    def ending(self, work: Work, ended: Ended) -> Record:
        """This record with nothing in hand, and the end of `work` to deliver."""
        return replace(self, work=None).reporting(work.task_id, work.attempt, ended, work.task)

    def reporting(
        self,
        task_id: str,
        attempt: int,
        event: Told,
        task: TaskTold | None = None,
    ) -> Record:
        """This record with one more report to deliver."""
        report = Unsent(self.next_number, task_id, attempt, event, task)
        return replace(
            self,
            unsent=(*self.unsent, report),
            next_number=self.next_number + 1,
            last=report if isinstance(event, Ended) else self.last,
            regressed=report if isinstance(event, Regressed) else self.regressed,
        )

    def without(self, number: int) -> Record:
        """This record with a report delivered."""
        return replace(self, unsent=tuple(one for one in self.unsent if one.number != number))


class Journal:
    """The folder of records, with the host's past beside them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.past = Past(folder / "past.jsonl")

    def open(self) -> None:
        """Make the folder, durably, and bring the past up to the records."""
        if not self._folder.is_dir():
            self._folder.mkdir(parents=True, mode=0o700)
            sync_folder(self._folder.parent)
        for draft in self._folder.glob(".*.json.*"):
            draft.unlink()
        self.past.open()
        for path in sorted(self._folder.glob("*.json")):
            with contextlib.suppress(JournalError):
                self._follow(self.load(path.stem))

    def load(self, instance_id: str) -> Record:
        """The instance's record; an empty one if there is none. Raises `JournalError`."""
        path = self._path(instance_id)
        try:
            return _record(json.loads(path.read_bytes()))
        except FileNotFoundError:
            return Record(instance_id)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise JournalError(f"{path} can't be read: {error}") from None

    def save(self, record: Record) -> None:
        """Write the record durably. Raises `StepError` if the disk won't take it."""
        data = json.dumps(_plain(record), separators=(",", ":")).encode()
        try:
            write_durably(self._path(record.instance_id), data)
        except OSError as error:
            raise StepError(f"the journal can't be written: {error.strerror}") from None
        self._follow(record)

    def _follow(self, record: Record) -> None:
        """Append to the past what the record knows to have ended and the past does not."""
        known = self.past.newest(record.instance_id)
        ends = record.ends
        there = [n for n, one in enumerate(ends, 1) if (one.task_id, one.attempt) == known]
        for one in ends[max(there, default=0) :]:
            if one.task is None or not isinstance(one.event, Ended):
                continue
            if not self.past.append(
                record.instance_id, one.task_id, one.attempt, one.task, one.event
            ):
                return

    def _path(self, instance_id: str) -> Path:
        return self._folder / f"{instance_id}.json"


# ---- records as JSON -------------------------------------------------------

_EVENTS: Mapping[str, type[Told]] = {
    "taken": Taken,
    "prepared": Prepared,
    "ended": Ended,
    "regressed": Regressed,
}
_WORK_FIELDS = tuple(field.name for field in fields(Work))


def _plain(record: Record) -> dict[str, Any]:
    return {
        "format": 1,
        "instance_id": record.instance_id,
        "current": _plain_known(record.current),
        "good": [_plain_known(known) for known in record.good],
        "fetched": [_plain_known(known) for known in record.fetched],
        "work": _plain_work(record.work) if record.work else None,
        "watch": asdict(record.watch) if record.watch else None,
        "last": _plain_unsent(record.last) if record.last else None,
        "regressed": _plain_unsent(record.regressed) if record.regressed else None,
        "unsent": [_plain_unsent(one) for one in record.unsent],
        "next_number": record.next_number,
        "trouble": record.trouble,
        "boot_id": record.boot_id,
    }


def _plain_known(known: Known | None) -> list[str] | None:
    return [known.version, known.digest] if known else None


def _plain_work(work: Work) -> dict[str, Any]:
    return {
        "task_id": work.task_id,
        "attempt": work.attempt,
        "version": work.version,
        "step": work.step.value,
        "digest": work.digest,
        "old": _plain_known(work.old),
        "putting_back": work.putting_back,
        "failure": work.failure,
        "passing": work.passing,
        "recoveries": work.recoveries,
        "kind": work.kind.value,
        "service": work.service,
        "allowed": work.allowed,
        "until": work.until,
        "boot_id": work.boot_id,
        "hold": work.hold,
        "watch": work.watch,
        "generation": work.generation,
    }


def _plain_unsent(one: Unsent) -> dict[str, Any]:
    return {
        "number": one.number,
        "task_id": one.task_id,
        "attempt": one.attempt,
        "event": one.event.model_dump(mode="json"),
        "task": one.task.model_dump(mode="json") if one.task else None,
    }


def _record(raw: Mapping[str, Any]) -> Record:
    return Record(
        instance_id=raw["instance_id"],
        current=_known(raw["current"]),
        good=tuple(known for one in raw["good"] if (known := _known(one))),
        fetched=tuple(known for one in raw.get("fetched", ()) if (known := _known(one))),
        work=_work(raw["work"]) if raw["work"] else None,
        watch=Watch(**raw["watch"]) if raw.get("watch") else None,
        last=_unsent(raw["last"]) if raw["last"] else None,
        regressed=_unsent(raw["regressed"]) if raw.get("regressed") else None,
        unsent=tuple(_unsent(one) for one in raw["unsent"]),
        next_number=raw["next_number"],
        trouble=raw["trouble"],
        boot_id=raw["boot_id"],
    )


def _known(raw: list[str] | None) -> Known | None:
    return Known(*raw) if raw else None


def _work(raw: Mapping[str, Any]) -> Work:
    plain = {name: raw[name] for name in _WORK_FIELDS if name in raw}
    kind = TaskKind(raw.get("kind", TaskKind.DEPLOY.value))
    return Work(**{**plain, "step": Step(raw["step"]), "old": _known(raw["old"]), "kind": kind})


def _unsent(raw: Mapping[str, Any]) -> Unsent:
    event = _EVENTS[raw["event"]["kind"]].model_validate(raw["event"])
    task = TaskTold.model_validate(raw["task"]) if raw.get("task") else None
    return Unsent(raw["number"], raw["task_id"], raw["attempt"], event, task)
