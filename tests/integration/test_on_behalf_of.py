"""The service on behalf of a restricted caller, with a past that no scenario makes quickly."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from coordinator.audit import Audit
from coordinator.caller import IN_PROCESS, Caller, Proof, Role
from coordinator.core.task import Moment
from coordinator.engine import Engine
from coordinator.fleet import Fleet
from coordinator.news import News
from coordinator.ports import Changes, EventRow
from coordinator.reception import Reception
from coordinator.service import CoordinatorService
from coordinator.token_ends import TokenEnds
from protocol.events import Event
from tests.contract.rows import NOW, ended, instance
from tests.lab.model.coordinator import LoopClock, NoBeliefs, NoRenewals
from tests.parts.memory_store import MemoryStore

WEB = Caller(proof=Proof.TOKEN, name="ci", role=Role.DEPLOYER, services=("web-?", "api"))


@pytest.fixture
async def service() -> CoordinatorService:
    """An instance that was of another service before, and events of all kinds and ages."""
    store, clock, news = MemoryStore(), LoopClock(), News()
    await store.commit(
        Changes(
            instances=[instance("i-1", service="web-a")],
            history=[
                ended("i-1", "d-1", service="db"),
                ended("i-1", "d-2", service="web-a"),
                ended("i-1", "d-3", service="web-b"),
            ],
            events=[
                EventRow(NOW, "assignment", {"task_id": "d-1", "instance_id": "i-1"}),
                EventRow(NOW, "assignment", {"task_id": "d-2", "service": "web-a"}),
                EventRow(NOW, "task", {"task_id": "d-1", "service": "db"}),
                EventRow(NOW, "instance", {"instance_id": "i-1", "service": ""}),
                EventRow(NOW, "task", {"task_id": "d-2", "service": "api"}),
            ],
        )
    )
    fleet = Fleet(clock, 10.0)
    fleet.load([], await store.instances())
    reception = Reception(fleet, clock, NoRenewals(), NoBeliefs())
    engine = Engine(store, reception, clock, fleet, news.publish)
    return CoordinatorService(
        store=store,
        engine=engine,
        fleet=fleet,
        clock=clock,
        news=news,
        audit=Audit(engine, clock),
        new_id=lambda: "1",
    )


async def seen_by(service: CoordinatorService, caller: Caller) -> list[int]:
    """The numbers of all events that there are for the caller."""
    found: list[Event] = []

    async def read() -> None:
        async for event in service.on_behalf_of(caller).events(after=0):
            found.append(event)

    reading = asyncio.create_task(read())
    for _ in range(20):
        await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    return [event.seq for event in found]


async def test_an_event_that_names_no_service_is_for_those_who_see_all(
    service: CoordinatorService,
) -> None:
    """Older assignments' events do not tell their service, and newer kinds may have none."""
    assert await seen_by(service, WEB) == [2, 5]
    assert await seen_by(service, Caller(proof=Proof.TOKEN, services=("*",))) == [2, 3, 5]
    assert await seen_by(service, IN_PROCESS) == [1, 2, 3, 4, 5]


async def test_an_instance_shows_what_it_did_as_what_it_is_now(
    service: CoordinatorService,
) -> None:
    shown = await service.on_behalf_of(WEB).get_instance_version_history("i-1")
    assert ([row.deploy_id for row in shown.history], shown.total) == (["d-2"], 1)
    everything = await service.get_instance_version_history("i-1")
    assert [row.deploy_id for row in everything.history] == ["d-3", "d-2", "d-1"]


async def test_acting_for_a_caller_leaves_the_coordinator_as_it_was(
    service: CoordinatorService,
) -> None:
    nobody = service.on_behalf_of(Caller(proof=Proof.TOKEN, services=("none",)))
    assert (await nobody.list_services()).total == 0
    assert (await nobody.on_behalf_of(IN_PROCESS).list_services()).total == 1
    assert (await service.list_services()).total == 1


# ---- patterns ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("web-*", ["web-", "web-1", "web-a.b"], ["web", "my-web-1", "WEB-1"]),
        ("web-?", ["web-1"], ["web-", "web-12"]),
        ("[a-c]pi", ["api", "cpi"], ["dpi", "pi", "[a-c]pi"]),
        ("[!a]pi", ["bpi"], ["api", "pi"]),
        ("a.b", ["a.b"], ["axb"]),
        ("*", ["anything", "a"], []),
    ],
)
def test_a_pattern_matches_whole_names_and_their_case(
    pattern: str, matching: list[str], others: list[str]
) -> None:
    caller = Caller(proof=Proof.TOKEN, services=("nothing-else", pattern))
    assert [name for name in (*matching, *others) if caller.sees(name)] == matching


# ---- ends of tokens ------------------------------------------------------------


class HandClock:
    def now(self) -> Moment:
        return Moment(0.0, datetime(2026, 1, 1, tzinfo=UTC))


async def test_only_those_who_wait_for_this_token_are_told_and_none_is_kept() -> None:
    ends = TokenEnds(HandClock())
    here = Caller(proof=Proof.TOKEN, token_id="token-1")
    there = Caller(proof=Proof.TOKEN, token_id="token-2")
    waiting = [asyncio.create_task(ends.of(caller)) for caller in (here, here, there)]
    await asyncio.sleep(0)
    ends.revoked("token-1")
    await asyncio.wait(waiting[:2], timeout=10)
    assert [task.done() for task in waiting] == [True, True, False]
    waiting[2].cancel()
    await asyncio.gather(waiting[2], return_exceptions=True)
    assert ends.waiting == 0
    ends.revoked("token-2")


async def test_a_token_that_expired_before_anybody_waited_is_over_at_once() -> None:
    ends = TokenEnds(HandClock())
    over = HandClock().now().wall - timedelta(seconds=1)
    async with asyncio.timeout(10):
        await ends.of(Caller(proof=Proof.TOKEN, token_id="token-1", expires_at=over))
