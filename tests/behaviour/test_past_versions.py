"""What ran when: the versions of a service at a past moment, through every door."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from coordinator.ports import Changes, HistoryRow
from coordinator.store import SqlStore
from protocol.errors import InvalidRequestError, NotFoundError
from protocol.models import InstanceVersion, ServiceVersions
from protocol.states import InstanceStatus
from tests.behaviour.world import Place, World
from tests.parts.command_line import piped

pytestmark = pytest.mark.asyncio(loop_scope="session")

LONG_AGO = datetime(2025, 11, 1, 12, tzinfo=UTC)


async def told(world: World, at: datetime, *, service: str = "") -> ServiceVersions:
    """All instances as they were, those with nothing deployed too."""
    return await world.door.get_service_instance_versions(service or world.service, True, at)


async def then(world: World, place: Place, at: datetime) -> InstanceVersion:
    found = await told(world, at)
    return next(row for row in found.instances if row.instance_id == place.id)


async def now(world: World) -> datetime:
    return (await world.site.coordinator.get_system_health()).timestamp


async def keep(world: World, *rows: HistoryRow) -> None:
    """Rows of the history as a coordinator of long ago wrote them."""
    store = await SqlStore.open(world.site.coordinator.settings.database_url)
    await store.commit(Changes(history=list(rows)))
    await store.close()


def old(world: World, instance_id: str, version: str, minutes: float) -> HistoryRow:
    at = LONG_AGO + timedelta(minutes=minutes)
    task_id = f"old-{instance_id}-{version}"
    return HistoryRow(instance_id, world.service, version, "deploy", task_id, at, "success")


async def test_the_version_is_that_of_the_last_success_up_to_then(world: World) -> None:
    place = await world.place()
    before = await now(world)
    first = await world.deployed("v1", place)
    between = await now(world)
    await world.deployed("v2", place)
    after = await now(world)

    row = await then(world, place, between)
    assert (row.version, row.status) == ("v1", InstanceStatus.RUNNING)
    assert first.instances[0].completed_at == row.last_updated
    told_at = row.last_updated.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert row.reason == f"deployed by {first.deploy_id} at {told_at}"
    assert (row.host_id, row.connected) == ("", False), "neither is known of the past"
    assert (await then(world, place, row.last_updated)).version == "v1", "from that very moment on"
    assert (await then(world, place, after)).version == "v2"
    never = await then(world, place, before)
    assert (never.version, never.status) == ("", InstanceStatus.STOPPED)
    assert never.reason == "nothing was deployed here before then"


async def test_what_failed_and_was_put_back_changes_nothing_and_is_told(world: World) -> None:
    place = await world.place("v1")
    place.check.sick["v2"] = "database unreachable"
    failed = await world.deployed("v2", place)
    row = await then(world, place, await now(world))
    assert row.version == "v1"
    assert f"; {failed.deploy_id} failed at 20" in row.reason
    assert "database unreachable" in row.reason

    fresh = await world.place()
    fresh.check.sick["v3"] = "no such table"
    await world.deployed("v3", fresh)
    row = await then(world, fresh, await now(world))
    assert (row.version, row.status) == ("", InstanceStatus.STOPPED)
    assert row.reason.startswith("nothing was deployed here before then; ")
    assert "no such table" in row.reason


async def test_a_rollback_counts_from_its_end(world: World) -> None:
    place = await world.place("v1")
    await world.deployed("v2", place)
    before = await now(world)
    back = await world.rolled_back("v1", place)
    assert (await then(world, place, before)).version == "v2"
    row = await then(world, place, await now(world))
    assert row.version == "v1"
    assert row.reason.startswith(f"brought back by {back.rollback_id} at ")


async def test_the_summary_counts_and_stopped_ones_are_left_out_unless_asked_for(
    world: World,
) -> None:
    one, other, fresh = await world.places(3)
    await world.deployed("v1", one, other)
    before = await now(world)
    await world.deployed("v2", one)
    await world.deployed("v2", fresh)

    found = await told(world, before)
    assert found.at == before
    assert [row.instance_id for row in found.instances] == sorted([one.id, other.id, fresh.id])
    assert found.version_summary == {"v1": 2, "": 1}
    ask = world.door.get_service_instance_versions
    running = await ask(world.service, at=before)
    assert [row.instance_id for row in running.instances] == sorted([one.id, other.id])
    assert (running.total_instances, running.version_summary) == (2, {"v1": 2})
    present = await ask(world.service)
    assert (present.at, present.version_summary) == (None, {"v1": 1, "v2": 2})


async def test_instances_that_the_service_had_are_in_it_too(world: World) -> None:
    place = await world.place()
    gone = f"gone-{world.number}"
    await keep(world, old(world, gone, "v1", 0), old(world, gone, "v2", 10))
    for minutes, version in ((-1, ""), (0, "v1"), (9.9, "v1"), (10, "v2"), (10_000, "v2")):
        found = await told(world, LONG_AGO + timedelta(minutes=minutes))
        assert {row.instance_id: row.version for row in found.instances} == {
            gone: version,
            place.id: "",
        }


async def test_a_service_that_has_no_instance_any_more_still_has_its_past(world: World) -> None:
    gone = f"gone-{world.number}"
    await keep(world, old(world, gone, "v1", 0))
    found = await told(world, LONG_AGO)
    assert [row.version for row in found.instances] == ["v1"]
    with pytest.raises(NotFoundError):
        await world.door.get_service_instance_versions(world.service)
    with pytest.raises(NotFoundError, match="no service"):
        await told(world, LONG_AGO, service=f"unheard-of-{world.number}")


async def test_an_instance_that_was_another_services_then_ran_nothing_of_this_one(
    world: World,
) -> None:
    name = f"moved-{world.number}"
    elsewhere = f"elsewhere-{world.number}"
    own = old(world, name, "v1", 0)
    other = HistoryRow(
        name, elsewhere, "v9", "deploy", f"x-{name}", own.timestamp + timedelta(1), "success"
    )
    await keep(world, own, other)
    (row,) = (await told(world, own.timestamp)).instances
    assert row.version == "v1"
    (row,) = (await told(world, other.timestamp)).instances
    assert (row.version, row.reason) == ("", "was of another service then")


async def test_what_regressed_after_its_success_had_run_until_it_fell(world: World) -> None:
    name = f"gone-{world.number}"
    fell = replace(
        old(world, name, "v2", 10),
        status="failed",
        reason="healthy at first, then: it exited with 3",
        regressed_at=LONG_AGO + timedelta(minutes=15),
    )
    back = replace(old(world, name, "v1", 20), action="rollback", task_id=f"back-{name}")
    await keep(world, old(world, name, "v1", 0), fell, back)

    (row,) = (await told(world, LONG_AGO + timedelta(minutes=14.9))).instances
    assert (row.version, row.status) == ("v2", InstanceStatus.RUNNING)
    assert row.reason == f"deployed by old-{name}-v2 at 2025-11-01T12:10:00Z"
    (row,) = (await told(world, LONG_AGO + timedelta(minutes=15))).instances
    assert (row.version, row.status) == ("v2", InstanceStatus.ERROR)
    assert row.reason == (
        f"deployed by old-{name}-v2 at 2025-11-01T12:10:00Z;"
        " healthy at first, then: it exited with 3"
    )
    (row,) = (await told(world, LONG_AGO + timedelta(minutes=20))).instances
    assert (row.version, row.status) == ("v1", InstanceStatus.RUNNING)
    assert row.reason == f"brought back by back-{name} at 2025-11-01T12:20:00Z"


async def test_any_zone_will_do(world: World) -> None:
    await world.place("v1")
    east = (await now(world)).astimezone(timezone(timedelta(hours=5, minutes=30)))
    found = await told(world, east)
    assert found.at == east
    assert found.version_summary == {"v1": 1}


async def test_the_future_is_refused(world: World) -> None:
    await world.place()
    with pytest.raises(InvalidRequestError, match=r"^at: must not be in the future; it is 20"):
        await told(world, datetime.now(UTC) + timedelta(days=1))


async def test_what_is_no_time_with_a_zone_is_refused_by_name(world: World) -> None:
    for wrong in (datetime(2026, 11, 1, 12), "yesterday", 7):
        with pytest.raises(InvalidRequestError, match=r"^at: must be a time as RFC 3339") as caught:
            await told(world, wrong)  # type: ignore[arg-type]
        assert caught.value.details[0]["field"] == "at"


async def test_over_http_seconds_may_be_left_out_and_all_else_is_refused(own: World) -> None:
    await own.place()
    await keep(own, old(own, f"gone-{own.number}", "v1", 0))
    path = f"/v1/service/{own.service}/versions?at="
    for text in (
        "2025-11-01T12:00Z",
        "2025-11-01T12:00:00Z",
        "2025-11-01T12:00:00.5Z",
        "2025-11-01T14:00%2B02:00",
        "2025-11-01T14:00:59%2B02:00",
    ):
        answer = await own.site.ask("GET", path + text)
        assert answer.status == 200, answer
        assert answer.data["version_summary"] == {"v1": 1}, text
    for text in (
        "",
        "2025-11-01",
        "2025-11-01T12Z",
        "2025-11-01T12:00",
        "2025-11-01 12:00Z",
        "2025-11-01T24:00Z",
        "2025-02-29T12:00Z",
        "2025-11-01T14:00+02:00",
        "2100-01-01T00:00Z",
        "1762000000",
    ):
        answer = await own.site.ask("GET", path + text)
        assert (answer.status, answer.data["details"][0]["field"]) == (400, "at"), text


async def test_the_command_line_says_what_its_answer_rests_on(own: World) -> None:
    place = await own.place("v1")
    await keep(own, old(own, f"gone-{own.number}", "v0", 0))
    asked = ("versions", own.service, "--at")
    shown, refused, later = await asyncio.gather(
        *(
            asyncio.to_thread(piped, (*asked, text), own.site.environment())
            for text in ("2025-11-01T12:00Z", "noon", "2100-01-01T00:00Z")
        )
    )
    assert shown.code == 0, shown.err
    header, line, _, summary = shown.out.splitlines()
    assert header.split() == ["INSTANCE", "VERSION", "SINCE", "REASON"]
    assert line.split()[:3] == [f"gone-{own.number}", "v0", "2025-11-01T12:00:00Z"]
    assert place.id not in shown.out
    assert summary == "v0: 1 instance"
    assert shown.err.startswith("as of 2025-11-01T12:00:00Z, by the history")
    assert "by hand" in shown.err
    assert refused.code == 2
    assert "--at" in refused.err
    assert "RFC 3339" in refused.err
    assert (later.code, later.err.startswith("ferryman: at: must not be in the future")) == (
        2,
        True,
    )
