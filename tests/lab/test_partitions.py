"""Hosts that the coordinator can't reach: they go on alone, or wait, and the truth comes later.

A host is cut off from everybody, or, where it must still reach its package server, from the
coordinator only.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from protocol.messages import Step
from protocol.models import DeployStatus, HistoryEntry
from protocol.states import InstanceStatus, Phase, TaskState
from tests.lab.fleet import FleetOnHosts, fleet_on_hosts
from tests.lab.needs import need_hosts
from tests.lab.tally import Tally
from tests.parts.waiting import until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.sweep,
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]

TRUE_WITHIN = 10.0
"""Seconds after a partition healed: what the coordinator promises."""

HERE = ["unit-a", "command-a"]
RUNNING_V1 = {(InstanceStatus.RUNNING, True, "v1")}
RUNNING_V2 = {(InstanceStatus.RUNNING, True, "v2")}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def booted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FleetOnHosts]:
    need_hosts()
    async with fleet_on_hosts(tmp_path_factory.mktemp("lab"), "a") as fleet:
        yield fleet


@pytest_asyncio.fixture(loop_scope="module")
async def fleet(booted: FleetOnHosts) -> AsyncIterator[FleetOnHosts]:
    await booted.everywhere("v1")
    booted.agents["a"].files("/srv/well").unlink(missing_ok=True)
    yield booted
    await booted.mended()


async def checking(fleet: FleetOnHosts, **options: int) -> str:
    """A deployment of v2 that waits in its check until the host has the file /srv/well."""
    url = fleet.put("v2", well_while="/srv/well")
    task = await fleet.deploy("v2", HERE, url=url, **options)
    await until(fleet.steps, lambda steps: steps == {Step.CHECK})
    return task


def releases_on_disk(fleet: FleetOnHosts, version: str) -> int:
    return sum(fleet.releases(name).find(version) is not None for name in HERE)


async def finished_alone(fleet: FleetOnHosts, version: str) -> None:
    """Wait until the host has made the version the one to go back to, whoever knows of it."""
    await until(
        lambda: [fleet.journal(name) for name in HERE],
        lambda seen: all(one.current and one.current.version == version for one in seen),
    )


def says_until_when(seen: DeployStatus, what: str) -> None:
    """Each part waits for its silent agent, and says how long."""
    for part in seen.instances:
        assert part.deadline is not None
        assert part.reason.startswith(f"{what}; agent silent since ")
        assert part.reason.endswith(f"; until {part.deadline:%Y-%m-%dT%H:%M:%SZ}")


async def rows_of(fleet: FleetOnHosts, task: str) -> list[HistoryEntry]:
    """What the histories of the host's instances tell of a task."""
    histories = [await fleet.client.get_instance_version_history(name) for name in HERE]
    return [row for told in histories for row in told.history if row.deploy_id == task]


async def test_a_host_that_was_told_to_switch_finishes_alone(
    fleet: FleetOnHosts, tally: Tally
) -> None:
    host, task = fleet.agents["a"], await checking(fleet)

    await host.cut_off()
    await fleet.seen_away_in_time("unit-a")
    host.files("/srv/well").touch()
    await finished_alone(fleet, "v2")
    waiting = await fleet.client.get_deployment_status(task)
    says_until_when(waiting, "told to switch: the agent finishes or puts back alone")
    assert await fleet.shown() == {(InstanceStatus.ERROR, False, "v1")}

    await host.heal()
    await until(fleet.shown, lambda seen: seen == RUNNING_V2, within=TRUE_WITHIN)
    assert (await fleet.ended(task)).status is TaskState.COMPLETED
    assert await fleet.answers() == {"v2"}
    tally(points=len(HERE))


async def test_a_host_that_was_not_told_keeps_the_old_version_and_lets_go_at_the_deadline(
    fleet: FleetOnHosts, tally: Tally
) -> None:
    gate, url = asyncio.Event(), fleet.put("v3")
    fleet.packages.slow("user-service-v3.tar.gz", chunk=500, gate=gate)
    asked = len(fleet.packages.requests)
    task = await fleet.deploy("v3", HERE, url=url, timeout=12)
    await until(lambda: len(fleet.packages.requests), lambda seen: seen == asked + len(HERE))

    await fleet.agents["a"].cut_off(fleet.coordinator)
    gate.set()
    await until(fleet.steps, lambda steps: steps == {Step.PREPARED})
    assert releases_on_disk(fleet, "v3") == len(HERE)
    await fleet.seen_away_in_time("unit-a")
    waiting = await fleet.client.get_deployment_status(task)
    says_until_when(waiting, "was fetching; goes on when its agent returns")
    assert await fleet.answers() == {"v1"}

    ended = await fleet.ended(task)
    assert [part.phase for part in ended.instances] == [Phase.FAILED] * len(HERE)
    await until(lambda: releases_on_disk(fleet, "v3"), lambda left: left == 0, within=20)
    assert fleet.steps() == {None}
    assert await fleet.answers() == {"v1"}

    await fleet.agents["a"].heal(fleet.coordinator)
    await until(fleet.shown, lambda seen: seen == RUNNING_V1, within=TRUE_WITHIN)
    rows = await rows_of(fleet, task)
    assert [row.status for row in rows] == ["failed"] * len(HERE)
    assert all(row.reason.startswith("timed out after 12 s before the switch") for row in rows)
    tally(points=len(HERE))


async def test_a_deadline_that_passed_meanwhile_is_corrected_and_the_history_says_both(
    fleet: FleetOnHosts, tally: Tally
) -> None:
    host, task = fleet.agents["a"], await checking(fleet, timeout=10)

    await host.cut_off()
    host.files("/srv/well").touch()
    await finished_alone(fleet, "v2")
    assumed = await fleet.ended(task)
    assert assumed.status is TaskState.FAILED
    timed_out = "timed out after 10 s during the switch; what runs there is not known"
    assert all(part.error_message.startswith(timed_out) for part in assumed.instances)

    await host.heal()
    await until(
        lambda: fleet.client.get_deployment_status(task),
        lambda seen: seen.status is TaskState.COMPLETED,
        within=TRUE_WITHIN,
    )
    rows = await rows_of(fleet, task)
    assert [row.status for row in rows] == ["success"] * len(HERE)
    both = f"healthy; corrected: it had been counted as failed ({timed_out}"
    assert all(row.reason.startswith(both) for row in rows)
    assert await fleet.shown() == RUNNING_V2
    assert await fleet.answers() == {"v2"}
    tally(points=len(HERE))
