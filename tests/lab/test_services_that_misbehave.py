"""Services that misbehave: each ends on the old version, or says why neither can run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from protocol.models import AssignmentStatus, DeployStatus
from protocol.states import InstanceStatus, TaskState
from tests.lab.grounds import Ground, Process, ground
from tests.lab.misbehaving import BYSTANDER, KINDS, STABLE, Case, Ends, Kind, Spoiled
from tests.lab.needs import need_hosts
from tests.lab.tally import Tally

AT_LEAST_KINDS = 20
WITHIN = timedelta(seconds=15)
"""So long after the agent's verdict on v2 the old version serves, or the reason is told."""

MOST_OUTPUT = 24_000_000
"""Bytes: what is kept of a service's output, that of its last start included."""

QUICK = (
    "exits_0",
    "forks_away",
    "has_lost_its_unit_file",
    "removes_its_own_release_and_the_old_one",
)


@pytest.mark.sweep
@pytest.mark.timeout(300)
@pytest.mark.parametrize("driver", ["process", pytest.param("systemd", marks=pytest.mark.lab)])
async def test_services_that_misbehave_in_every_way(
    driver: str, tmp_path: Path, tally: Tally
) -> None:
    if driver == "systemd":
        need_hosts()
    async with ground(driver, tmp_path, KINDS, stable=STABLE) as there:
        faults = await tried(there, KINDS)
    lost = [name for name, found in faults.items() if "serves" in " ".join(found)]
    tally(points=len(KINDS), lost=len(lost), wrong=len(faults) - len(lost))
    assert not faults, "\n".join(line for found in faults.values() for line in found)
    assert len(KINDS) >= AT_LEAST_KINDS


async def test_services_that_misbehave_in_a_few_ways(tmp_path: Path) -> None:
    kinds = [kind for kind in KINDS if kind.name in QUICK]
    assert len(kinds) == len(QUICK)
    async with ground("process", tmp_path, kinds, stable=0.3) as there:
        assert await tried(there, kinds) == {}


async def tried(there: Ground, kinds: Sequence[Kind]) -> dict[str, list[str]]:
    """Deploy v1, which is well, then each kind's v2, all at once; return what was wrong."""
    await deploy_first(there, kinds)
    trials = [Trial(kind, there, there.noted(kind.name, "v1")) for kind in kinds]
    for trial in trials:
        if trial.case.spoiled is not Spoiled.NOTHING:
            await there.spoil(trial.name, trial.case.spoiled)
    async with verdicts(there, kinds) as given:
        tasks = [await trial.begin() for trial in trials]
        ended = [await there.operator.ended(task) for task in tasks]
    living = await there.living()
    found = await asyncio.gather(
        *(trial.faults(task, given, living) for trial, task in zip(trials, ended, strict=True))
    )
    return {trial.name: wrong for trial, wrong in zip(trials, found, strict=True) if wrong}


async def deploy_first(there: Ground, kinds: Sequence[Kind]) -> None:
    """Bring v1 to every instance, in one task for those whose v1 is the plain one."""
    odd = [kind for kind in kinds if kind.first]
    plain = [BYSTANDER, *(kind.name for kind in kinds if not kind.first)]
    url = there.operator.packages.put("v1.tar.gz", there.package("v1", "", None))
    tasks = [await there.operator.deploy("v1", plain, url=url)]
    for kind in odd:
        package = there.package("v1", kind.first, None)
        url = there.operator.packages.put(f"{kind.name}-v1.tar.gz", package)
        tasks.append(await there.operator.deploy("v1", [kind.name], url=url))
    for task in tasks:
        done = await there.operator.ended(task)
        assert done.status is TaskState.COMPLETED, [one.error_message for one in done.instances]


@dataclass(frozen=True)
class Trial:
    """One kind in one place; `before` are the processes that v1 had until then."""

    kind: Kind
    there: Ground
    before: set[Process]

    @property
    def name(self) -> str:
        return self.kind.name

    @property
    def case(self) -> Case:
        return self.kind.on(self.there.driver)

    async def begin(self) -> str:
        """Deploy v2; return the task's id."""
        kind = self.kind
        package = kind.package or self.there.package("v2", kind.behaviour, kind)
        url = self.there.operator.packages.put(f"{kind.name}-v2.tar.gz", package)
        return await self.there.operator.deploy("v2", [kind.name], url=url)

    async def faults(
        self, task: DeployStatus, verdicts: Verdicts, living: set[Process]
    ) -> list[str]:
        """All that is not as the kind's case says."""
        (part,) = task.instances
        wrong = [
            *self._told(part),
            *self._in_time(part, verdicts),
            *await self._shown_and_served(part),
            *self._left_over(living),
            *self._on_disk(),
        ]
        return [f"{self.name}: {one}" for one in wrong]

    def _told(self, part: AssignmentStatus) -> list[str]:
        wanted = TaskState.COMPLETED if self.case.ends is Ends.NEW else TaskState.FAILED
        message = part.error_message
        wrong = [f"told nothing of {pattern!r} in: {message}" for pattern in self._missing(message)]
        return [*wrong, *([f"is {part.status}: {message}"] if part.status is not wanted else [])]

    def _missing(self, message: str) -> list[str]:
        back = {Ends.OLD: ("v1 was put back$",), Ends.UNTOUCHED: ("v1 was put back$",)}
        patterns = (*self.case.tells, *back.get(self.case.ends, ()))
        return [pattern for pattern in patterns if not re.search(pattern, message, re.DOTALL)]

    def _in_time(self, part: AssignmentStatus, verdicts: Verdicts) -> list[str]:
        if self.case.ends is Ends.NEW:
            return ["was put back"] if self.name in verdicts.seen else []
        verdict = verdicts.seen.get(self.name) or verdicts.not_before.get(self.name)
        if verdict is None or part.completed_at is None:
            return [f"no verdict was seen: {part.error_message}"]
        took = part.completed_at - verdict
        return [f"took {took} after the verdict"] if took > WITHIN else []

    async def _shown_and_served(self, part: AssignmentStatus) -> list[str]:
        row = await self.there.operator.instance(self.name)
        serving = await self.there.operator.serving(self.name)
        match self.case.ends:
            case Ends.NEW:
                wanted = (InstanceStatus.RUNNING, "v2", "v2", "")
            case Ends.OLD | Ends.UNTOUCHED:
                wanted = (InstanceStatus.RUNNING, "v1", "v1", "")
            case _:
                wanted = (InstanceStatus.ERROR, "v1", "", part.error_message)
        seen = (row.status, row.version, serving, row.reason)
        return [f"serves and shows {seen}, not {wanted}"] if seen != wanted else []

    def _left_over(self, living: set[Process]) -> list[str]:
        ends = self.case.ends
        there = {version: self.there.noted(self.name, version) for version in ("v1", "v2")}
        wrong = []
        if ends is not Ends.NEW and there["v2"] & living:
            wrong.append(f"v2 left {there['v2'] & living} running")
        if ends is Ends.UNTOUCHED and (there["v1"] != self.before or not self.before <= living):
            wrong.append(f"v1 was stopped: {self.before} became {there['v1'] & living}")
        if ends is not Ends.UNTOUCHED and self.before & living:
            wrong.append(f"the first v1 left {self.before & living} running")
        return wrong

    def _on_disk(self) -> list[str]:
        """Which releases are there; what an attempt that may not be repeated brought is gone."""
        releases = self.there.releases(self.name)
        wanted = {
            Ends.NEW: [{"v1", "v2"}],
            Ends.ERROR: [{"v1", "v2"}],
            Ends.ERROR_WITHOUT_RELEASES: [set[str]()],
        }.get(self.case.ends, [{"v1"}, {"v1", "v2"}])
        wrong = [f"has the releases {releases}"] if releases not in wanted else []
        files = self.there.output(self.name).glob("output.log*")
        size = sum(file.stat().st_size for file in files)
        return [*wrong, *([f"keeps {size} bytes of output"] if size > MOST_OUTPUT else [])]


@dataclass(frozen=True)
class Verdicts:
    """When each agent journalled first that it puts v1 back, by the name of the kind.

    Putting back may be over before anybody looks: then it did not begin before the last look.
    """

    seen: dict[str, datetime] = field(default_factory=dict)
    not_before: dict[str, datetime] = field(default_factory=dict)

    def look(self, name: str, journal: Path) -> None:
        """Read one journal; once its agent puts back, nothing more is to be learnt."""
        if name in self.seen:
            return
        with journal.open("rb") as file:
            work = json.loads(file.read())["work"]
            written = os.fstat(file.fileno()).st_mtime
        if work and work["putting_back"]:
            self.seen[name] = datetime.fromtimestamp(written, UTC)
        elif work:
            self.not_before[name] = datetime.now(UTC)


@asynccontextmanager
async def verdicts(there: Ground, kinds: Sequence[Kind]) -> AsyncIterator[Verdicts]:
    """Watch the journals of all kinds."""
    given = Verdicts()

    async def watch() -> None:
        while True:
            for kind in kinds:
                given.look(kind.name, there.journal(kind.name))
            await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    try:
        yield given
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
