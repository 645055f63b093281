"""Field notes that show in what the twelve functions tell (docs/field-notes.md)."""

from __future__ import annotations

import pytest

from agent.ports import StepError
from protocol.errors import ConflictError
from protocol.messages import (
    Cancel,
    Prepare,
)
from protocol.models import AssignmentStatus
from protocol.states import InstanceStatus, Phase, Receipt, TaskState
from tests.behaviour.world import OFTEN, Place, World, part_of
from tests.parts.listener import listening
from tests.parts.local_agent import LocalInstance
from tests.parts.waiting import until
from tests.parts.wire import Wire

pytestmark = pytest.mark.asyncio(loop_scope="session")


# ---- cancelling --------------------------------------------------------------


async def test_field_note_2_no_cancel_is_sent_for_what_the_agent_has_never_seen(own: World) -> None:
    place = await own.place()
    await own.away(place)
    unseen = await own.deploy("v1", place)
    assert (await own.door.cancel_deployment(unseen)).status is TaskState.CANCELLED
    assert (await own.part(unseen, place)).receipt is Receipt.NEVER_STARTED

    async with listening(own.site.url, place.agent, place.id, place.local.service) as listener:
        await listener.hello(place.agent.host_id)
        await listener.inventory()
        assert await listener.caught_up() == []

        seen = await own.deploy("v2", place)
        await own.door.cancel_deployment(seen)
        commands = await listener.caught_up()
        assert [type(command) for command in commands] == [Prepare, Cancel]
        assert {command.task_id for command in commands} == {seen}

    await place.agent.let_back()
    await own.connected(place)
    assert (await own.deployed("v3", place)).status is TaskState.COMPLETED


async def test_field_note_5_cancelling_ends_when_the_agent_falls_silent(own: World) -> None:
    place = await own.place("v1")
    gate = place.driver.hold("start")
    deploy_id = await own.deploy("v2", place)
    await gate.reached.wait()
    assert (await own.door.cancel_deployment(deploy_id)).status is TaskState.IN_PROGRESS

    await place.agent.cut_off()

    part = part_of(await own.ended(deploy_id), place)
    assert (part.status, part.receipt) == (TaskState.CANCELLED, Receipt.UNKNOWN)
    assert "is not known until it returns" in part.reason
    gate.open()


async def test_field_note_7_no_command_leaves_before_the_agent_has_told_what_it_has(
    own: World,
) -> None:
    place = await own.place()
    await own.away(place)
    async with listening(own.site.url, place.agent, place.id, place.local.service) as listener:
        await listener.hello(place.agent.host_id)
        deploy_id = await own.deploy("v1", place)
        assert await listener.caught_up() == []

        await listener.inventory()
        commands = await listener.caught_up()
        assert [(type(one), one.task_id) for one in commands] == [(Prepare, deploy_id)]

    await place.agent.let_back()
    assert (await own.ended(deploy_id)).status is TaskState.COMPLETED


# ---- versions and the way back -----------------------------------------------


async def test_field_note_9_a_version_is_provisional_until_it_was_healthy(own: World) -> None:
    place = await own.place("v1", keep_releases=1)
    place.check.sick["v2"] = "database unreachable"
    gate = place.driver.hold("start")
    deploy_id = await own.deploy("v2", place)
    await gate.reached.wait()
    assert place.current == "v2", "the link leads to it already"
    assert (await own.row(place)).version == "v1"

    gate.open()
    await own.ended(deploy_id)
    assert (await place.runs(), (await own.row(place)).version) == ("v1", "v1")
    with pytest.raises(ConflictError, match="has no release v2 on disk"):
        await own.roll_back("v2", place)


async def test_field_note_13_without_a_version_to_go_back_to_the_host_is_left_alone(
    own: World,
) -> None:
    place = await own.place()
    with pytest.raises(ConflictError, match="there is no version to go back to") as refused:
        await own.roll_back("v1", place, package_url=own.put("v1"))
    assert refused.value.details[0]["instance_id"] == place.id
    assert await own.task_ids() == set()
    assert place.driver.starts == []
    assert not place.agent.root(place.id).exists()
    assert (await own.row(place)).reason == "never deployed"


async def test_field_note_14_the_way_back_is_the_last_verified_release(own: World) -> None:
    place = await own.place("v1", keep_releases=1)
    await own.deployed("v2", place)
    place.check.sick |= dict.fromkeys(("v3", "v4", "v5"), "database unreachable")
    for broken in ("v3", "v4"):
        part = part_of(await own.deployed(broken, place), place)
        assert part.error_message.endswith("; v2 was put back")

    assert (await own.rolled_back("v1", place)).status is TaskState.COMPLETED
    assert own.downloads("v1") == 1, "it was on disk"
    part = part_of(await own.deployed("v5", place), place)
    assert part.error_message.endswith("; v1 was put back"), "v2 was verified, and not the last"


async def test_field_note_15_a_release_that_fails_over_itself_ends_named_and_does_not_loop(
    own: World,
) -> None:
    place = await own.place("v1")
    place.check.sick["v1"] = "database unreachable"

    part = part_of(await own.rolled_back("v1", place, force=True), place)

    assert (part.status, part.attempt) == (TaskState.FAILED, 1)
    assert part.error_message.startswith("check: database unreachable")
    assert "putting back failed, too: database unreachable" in part.error_message
    row = await own.in_status(place, InstanceStatus.ERROR)
    assert row.reason == part.error_message
    starts = len(place.driver.starts)
    assert starts == 3, "deployed, forced, and once more as its own old release"

    await place.agent.stop()
    await place.agent.start()
    await own.connected(place)
    assert (await own.in_status(place, InstanceStatus.ERROR)).version == "v1"
    assert len(place.driver.starts) == starts


async def test_field_note_16_a_rollback_is_an_operation_of_its_own(own: World) -> None:
    place = await own.place("v1")
    undone = await own.deployed("v2", place)

    rollback = await own.rolled_back("v1", place)

    assert rollback.rollback_id.startswith("rollback-")
    runs_now = {"instances": [await own.part(undone.deploy_id, place)], "versions": {"v1": 1}}
    assert await own.door.get_deployment_status(undone.deploy_id) == undone.model_copy(
        update=runs_now
    )
    assert undone.status is TaskState.COMPLETED, "what it undid stays as it was"
    newest, before, _ = await own.history(place)
    assert (newest.action, newest.deploy_id) == ("rollback", rollback.rollback_id)
    assert (before.action, before.deploy_id) == ("deploy", undone.deploy_id)
    with pytest.raises(ConflictError, match=rollback.rollback_id):
        await own.deploy("v3", place, deploy_id=rollback.rollback_id)


async def test_field_note_18_two_services_on_one_host_have_nothing_in_common(own: World) -> None:
    names = (f"left-{own.number}", f"right-{own.number}")
    locals_ = [LocalInstance(name, service=name) for name in names]
    async with own.site.agent(locals_, keep_releases=1) as agent:
        left, right = (Place(local.instance_id, local, agent) for local in locals_)
        await own.connected(left, right)
        for version in ("v1", "v2"):
            for place in (left, right):
                await own.deployed(version, place, service=place.id)
        right.driver.refusals.append(StepError("no such command"))
        await own.deployed("v3", right, service=right.id)
        await own.deployed("v4", left, service=left.id)

        assert (await left.runs(), await right.runs()) == ("v4", "v2")
        await until(lambda: agent.on_disk(left.id) == {"v2", "v4"}, every=OFTEN)
        await until(lambda: agent.on_disk(right.id) == {"v1", "v2"}, every=OFTEN)
        assert [one.version for one in await own.history(right)] == ["v3", "v2", "v1"]
        assert [one.version for one in await own.history(left)] == ["v4", "v2", "v1"]
        with pytest.raises(ConflictError, match="has no release v4 on disk"):
            await own.roll_back("v4", right, service=right.id)


async def test_field_note_20_pruning_counts_verified_releases_only(own: World) -> None:
    place = await own.place("v1", keep_releases=1)
    place.check.sick |= dict.fromkeys(("v3", "v4"), "database unreachable")
    for version in ("v2", "v3", "v4"):
        await own.deployed(version, place)
    # One that failed may stay for as long as another attempt of it would want it.
    await until(lambda: place.agent.on_disk(place.id) == {"v1", "v2", "v4"}, every=OFTEN)

    await own.deployed("v5", place)
    await until(lambda: place.agent.on_disk(place.id) == {"v2", "v5"}, every=OFTEN)


async def test_field_note_28_what_had_put_itself_back_can_be_given_the_same_again(
    own: World,
) -> None:
    place = await own.place("v1")
    place.check.sick["v2"] = "database unreachable"
    failed = part_of(await own.deployed("v2", place), place)
    assert (failed.status, failed.current_version) == (TaskState.FAILED, "v1")

    place.check.sick.clear()
    again = part_of(await own.deployed("v2", place), place)
    assert (again.status, again.current_version) == (TaskState.COMPLETED, "v2")
    assert again.reason == "healthy", "it was taken for installed"


# ---- time and states ---------------------------------------------------------


async def test_field_note_24_every_way_to_end_or_wait_is_told_apart(own: World) -> None:
    good, refused, put_back, retrying, finishing = await own.places(5)
    away, unknown = await own.place("v1"), await own.place("v1")
    everywhere = (good, put_back, retrying, finishing)
    await own.deployed("v1", *everywhere)
    _spoil_disk(refused)
    put_back.driver.refusals.append(StepError("no such command"))
    retrying.check.sick["v2"] = "database unreachable"
    held, lost = finishing.driver.hold("start"), unknown.driver.hold("start")
    await own.away(away)
    deploy_id = await own.deploy(
        "v2", *everywhere, refused, away, unknown, retry_count=50, timeout=300
    )
    await held.reached.wait()
    await lost.reached.wait()
    await own.away(unknown)
    for place, phase in ((good, Phase.COMPLETED), (put_back, Phase.FAILED)):
        await own.in_phase(deploy_id, place, phase)
    await own.in_phase(deploy_id, refused, Phase.FAILED)
    waiting = await own.part(deploy_id, away)
    assert waiting.phase is Phase.WAITING
    assert waiting.reason.startswith("waiting for its agent to return; agent silent since")
    await own.in_phase(deploy_id, retrying, Phase.RETRYING)

    await own.door.cancel_deployment(deploy_id)
    held.open()
    status = await own.ended(deploy_id)
    lost.open()

    def told(place: Place) -> tuple[str, Receipt | None, str]:
        part: AssignmentStatus = part_of(status, place)
        return part.status.value, part.receipt, part.reason

    assert told(good) == ("completed", None, "healthy")
    assert told(finishing) == ("completed", Receipt.TOO_LATE, "healthy")
    assert told(put_back) == ("failed", None, "start: no such command; v1 was put back")
    assert told(refused)[:2] == ("failed", None)
    assert told(refused)[2].startswith("can't make a folder to unpack into")
    asked = "cancelled on request"
    assert told(retrying) == ("cancelled", Receipt.STOPPED_BEFORE_SWITCH, asked)
    assert told(away) == ("cancelled", Receipt.NEVER_STARTED, asked)
    assert told(unknown)[:2] == ("cancelled", Receipt.UNKNOWN)
    assert "not known until it returns" in told(unknown)[2]
    counts = status.progress
    assert (counts.total, counts.completed, counts.failed, counts.cancelled) == (7, 2, 2, 3)


def _spoil_disk(place: Place) -> None:
    """Leave no way to unpack anything there."""
    root = place.agent.root(place.id)
    root.mkdir(parents=True)
    (root / "releases").write_text("a file in the place of a folder\n")


async def test_field_note_27_a_health_check_ends_with_the_time_of_its_assignment(
    own: World,
) -> None:
    place = await own.place(check_timeout=3600)
    await own.deployed("v1", place)
    place.check.sick["v2"] = "still warming up"

    part = part_of(await own.deployed("v2", place, timeout=4, retry_count=5), place)

    assert (part.status, part.attempt) == (TaskState.FAILED, 1)
    assert part.error_message.startswith("check: ")
    assert "3600" not in part.error_message
    assert part.error_message.endswith("; v1 was put back")
    assert await place.runs() == "v1"


async def test_field_note_33_a_half_open_connection_swallows_no_command(
    own: World, caplog: pytest.LogCaptureFixture
) -> None:
    async with Wire(own.site.url) as wire:
        place = await own.place("v1", url=wire.url)
        url, dialled = own.put("v2"), wire.dialled
        wire.freeze()
        deploy_id = await own.deploy("v2", place, package_url=url)

        row = await own.in_status(place, InstanceStatus.ERROR)
        assert not row.connected
        assert "silent since" in row.reason
        part = await own.part(deploy_id, place)
        assert part.phase is Phase.WAITING
        assert part.reason.startswith("waiting for its agent to return")
        await until(lambda: wire.dialled > dialled, every=OFTEN)
        assert "connection lost: the coordinator was silent for" in caplog.text

        wire.mend()
        part = part_of(await own.ended(deploy_id), place)
        assert (part.status, part.attempt) == (TaskState.COMPLETED, 1)
        assert own.downloads("v2") == 1
        assert len(place.driver.starts) == 2
        assert (await own.in_status(place, InstanceStatus.RUNNING)).connected
        await place.agent.stop()


async def test_field_note_35_a_deployment_that_was_put_back_ends_with_exit_code_5(
    own: World,
) -> None:
    place = await own.place("v1")
    place.check.sick["v2"] = "database unreachable"
    options = ("--package-url", own.put("v2"), "--instances", place.id, "--retry-count", "0")

    ended = await own.site.ferryman("deploy", own.service, "v2", *options, "--wait")

    assert ended.code == 5
    assert "v1 was put back" in ended.err
    assert (await own.site.ferryman("status", ended.out.strip())).code == 5
