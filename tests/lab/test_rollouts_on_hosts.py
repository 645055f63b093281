"""Each strategy once on real hosts, and one of them loses its power in the middle.

The middle is when the first instance has its turn behind it and the last one has not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from protocol.models import DeployStatus
from protocol.states import InstanceStatus, Phase, TaskState
from protocol.strategy import Strategy, Window
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

STRATEGIES = {
    "one after the other": Strategy(max_parallel=1),
    "a canary that bakes": Strategy(canary=1, bake=3),
    "batches that bake": Strategy(max_parallel="50%", bake=3),
    "spread over zones": Strategy(max_parallel=1, spread="zone"),
    "all prepared first": Strategy(prepare="all", max_parallel=1),
    "within limits": Strategy(max_parallel=1, max_failures=0, max_unreachable=0),
    "guarded": Strategy(max_parallel=1, guard=5),
    "within a window": Strategy(max_parallel=1, windows=[Window(begin="00:00", until="24:00")]),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def booted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FleetOnHosts]:
    need_hosts()
    async with fleet_on_hosts(tmp_path_factory.mktemp("lab"), "a", "b") as fleet:
        yield fleet


@pytest_asyncio.fixture(loop_scope="module")
async def fleet(booted: FleetOnHosts) -> AsyncIterator[FleetOnHosts]:
    await booted.everywhere("v1")
    yield booted
    await booted.mended()


async def in_the_middle(fleet: FleetOnHosts, task: str) -> DeployStatus:
    """Wait until one instance has switched, while another has not."""
    return await until(
        lambda: fleet.client.get_deployment_status(task),
        lambda seen: 0 < seen.progress.completed < seen.progress.total,
        every=0.01,
    )


async def loses_power(fleet: FleetOnHosts, name: str) -> None:
    """Take a host's power away, and give it back."""
    await fleet.agents[name].power_off()
    await fleet.agents[name].power_on()


@pytest.mark.parametrize("name", STRATEGIES)
async def test_a_rollout_goes_on_after_a_host_lost_its_power(
    fleet: FleetOnHosts, name: str, tally: Tally
) -> None:
    version = name.replace(" ", "-")
    task = await fleet.deploy(
        version, fleet.instances, strategy=STRATEGIES[name], deploy_id=f"rollout-{version}"
    )
    await in_the_middle(fleet, task)
    await loses_power(fleet, "b")
    ended = await fleet.ended(task)
    assert ended.status is TaskState.COMPLETED, ended
    await until(fleet.shown, lambda seen: seen == {(InstanceStatus.RUNNING, True, version)})
    assert await fleet.answers() == {version}
    tally(points=1)


async def test_a_canary_is_promoted_after_a_host_lost_its_power(
    fleet: FleetOnHosts, tally: Tally
) -> None:
    strategy = Strategy(canary=1, promote="manual")
    task = await fleet.deploy("promoted", fleet.instances, strategy=strategy)
    await until(
        lambda: fleet.client.get_deployment_status(task),
        lambda seen: seen.rollout.waits_for == "promotion",
    )
    await loses_power(fleet, "a")
    await fleet.client.promote_deployment(task)
    assert (await fleet.ended(task)).status is TaskState.COMPLETED
    assert await fleet.answers() == {"promoted"}
    tally(points=1)


async def test_nothing_begins_before_its_time_though_a_host_lost_its_power(
    fleet: FleetOnHosts, tally: Tally
) -> None:
    begin = datetime.now(UTC) + timedelta(seconds=8)
    task = await fleet.deploy("later", fleet.instances, strategy=Strategy(not_before=begin))
    await loses_power(fleet, "b")
    ended = await fleet.ended(task)
    assert ended.status is TaskState.COMPLETED, ended
    assert min(part.started_at for part in ended.instances) >= begin
    tally(points=1)


async def test_what_regresses_under_guard_goes_back_alone(
    fleet: FleetOnHosts, tally: Tally
) -> None:
    task = await fleet.deploy("guarded-one", fleet.instances, strategy=Strategy(guard=120))
    assert (await fleet.ended(task)).status is TaskState.COMPLETED
    await loses_power(fleet, "b")
    await fleet.agents["a"].run("systemctl", "restart", "user-service.service")
    fallen = await until(
        lambda: fleet.client.get_deployment_status(task), lambda seen: seen.rollout.led_to
    )
    (back,) = fallen.rollout.led_to
    rollback = await fleet.rolled_back(back)
    assert rollback.status is TaskState.COMPLETED, rollback
    assert [part.instance_id for part in rollback.instances] == ["unit-a"]
    assert await fleet.answers(["unit-a"]) == {"v1"}
    await until(lambda: fleet.answers(fleet.on("b")), lambda seen: seen == {"guarded-one"})
    tally(points=1)


async def test_what_was_switched_goes_back_though_its_host_lost_its_power(
    fleet: FleetOnHosts, tally: Tally
) -> None:
    fleet.agents["a"].files("/srv/well").touch()
    strategy = Strategy(max_parallel=1, max_failures=0, on_failure="rollback")
    task = await fleet.deploy(
        "half-well",
        fleet.instances,
        url=fleet.put("half-well", well_while="/srv/well"),
        strategy=strategy,
    )
    await in_the_middle(fleet, task)
    await loses_power(fleet, "a")
    failed = await fleet.ended(task)
    assert failed.status is TaskState.FAILED, failed
    assert failed.rollout.reason.startswith("1 failed, more than max_failures allows (0)")
    (back,) = failed.rollout.led_to
    rollback = await fleet.rolled_back(back)
    assert rollback.status is TaskState.COMPLETED, rollback
    assert rollback.rollout.relation == "on_failure"
    assert await fleet.answers() == {"v1"}
    fleet.agents["a"].files("/srv/well").unlink()
    tally(points=1)


async def test_a_paused_rollout_stays_paused_through_a_restart_and_goes_on(
    fleet: FleetOnHosts, tally: Tally
) -> None:
    task = await fleet.deploy("paused", fleet.instances, strategy=Strategy(max_parallel=1))
    await in_the_middle(fleet, task)
    await fleet.client.pause_deployment(task)
    await loses_power_of_coordinator(fleet)
    stands = await fleet.client.get_deployment_status(task)
    assert stands.rollout.paused_at is not None
    waiting = [part for part in stands.instances if part.phase is Phase.QUEUED]
    assert waiting
    await fleet.client.resume_deployment(task)
    assert (await fleet.ended(task)).status is TaskState.COMPLETED
    tally(points=1)


async def loses_power_of_coordinator(fleet: FleetOnHosts) -> None:
    """Take the coordinator's power away, and give it back; back when it answers again."""
    await fleet.coordinator.power_off()
    await fleet.coordinator.power_on()
    await until(fleet.shown, lambda seen: all(connected for _, connected, _ in seen))
