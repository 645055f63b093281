"""Commands that come late, twice or in another order: what the agent makes of them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.dialogue import Dialogue
from agent.journal import Journal
from agent.worker import Worker
from protocol.messages import Cancel, Ended, Prepare, Report, Result
from protocol.states import TaskKind
from tests.lab.model.host import SERVICE, Hands, Packages, Place, SimulatedPreparer, instance_of


@dataclass
class Desk:
    """One instance's worker on a connection."""

    worker: Worker
    dialogue: Dialogue

    def prepare(self, task_id: str, attempt: int = 1) -> None:
        self.dialogue.hear(
            Prepare(
                task_id=task_id,
                instance_id="i-1",
                attempt=attempt,
                kind=TaskKind.DEPLOY,
                service=SERVICE,
                version="v1",
                package_url="https://packages.example/v1.tar.gz",
                time_left=60.0,
            )
        )

    def cancel(self, task_id: str, attempt: int = 1) -> None:
        self.dialogue.hear(Cancel(task_id=task_id, instance_id="i-1", attempt=attempt))

    @property
    def in_hand(self) -> tuple[str, int] | None:
        work = self.worker.in_hand
        return (work.task_id, work.attempt) if work else None

    @property
    def ends(self) -> list[tuple[str, Result]]:
        """The ends that wait to be acknowledged."""
        return [
            (one.task_id, one.event.result)
            for one in self.worker.unsent
            if isinstance(one.event, Ended)
        ]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    place, hands = Place("i-1", tmp_path / "i-1"), Hands(random.Random(1))
    journal = Journal(tmp_path / "journal")
    journal.open()
    dialogue = Dialogue()
    preparer = SimulatedPreparer({"i-1": place}, Packages(), hands)
    worker = Worker(instance_of(place, hands), journal, preparer, dialogue, "boot")
    dialogue.attach({"i-1": worker}, journal.past)
    dialogue.catch_up()
    yield Desk(worker, dialogue)
    await worker.stop()


async def test_a_late_repeat_of_an_earlier_task_changes_nothing(desk: Desk) -> None:
    desk.prepare("first")
    desk.cancel("first")
    desk.prepare("second")
    desk.prepare("first")
    assert desk.in_hand == ("second", 1)


async def test_what_a_newer_task_displaces_is_reported_as_given_up(desk: Desk) -> None:
    desk.prepare("first")
    desk.prepare("second")
    assert desk.ends == [("first", Result.CANCELLED)]
    assert desk.in_hand == ("second", 1)


async def test_a_late_cancel_of_an_older_attempt_leaves_the_newer_one(desk: Desk) -> None:
    desk.prepare("first", attempt=2)
    desk.cancel("first", attempt=1)
    assert desk.in_hand == ("first", 2)
    desk.cancel("first", attempt=2)
    assert desk.in_hand is None


async def test_a_repeat_on_the_wire_is_answered_with_what_is_known(desk: Desk) -> None:
    desk.prepare("first")
    desk.cancel("first")
    outbox = desk.dialogue.catch_up()
    desk.prepare("first")
    told = [outbox.get_nowait() for _ in range(outbox.qsize())]
    assert isinstance(told[-1], Report)
    assert isinstance(told[-1].event, Ended)
