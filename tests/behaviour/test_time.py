"""Interface section 3, "Time"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from typing import Any, get_args

import pytest
from pydantic import AwareDatetime, BaseModel, FutureDatetime, NaiveDatetime, PastDatetime

from protocol import messages
from tests.behaviour.world import World, part_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

RFC3339_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
TIMES = {
    "started_at",
    "completed_at",
    "updated_at",
    "cancelled_at",
    "last_updated",
    "last_heartbeat",
    "joined_at",
    "timestamp",
    "deadline",
}
CLOCK_TYPES = {
    datetime,
    date,
    time,
    AwareDatetime,
    NaiveDatetime,
    PastDatetime,
    FutureDatetime,
}
"""What a field that carries a wall-clock time may be."""


def times_in(data: Any) -> Iterator[tuple[str, Any]]:
    """Every field that tells a time, wherever it stands."""
    if isinstance(data, list):
        for each in data:
            yield from times_in(each)
    elif isinstance(data, dict):
        for name, value in data.items():
            if name in TIMES and value is not None:
                yield name, value
            else:
                yield from times_in(value)


async def test_times_are_rfc_3339_in_utc_with_z(own: World) -> None:
    place = await own.place("v1")
    deploy_id = await own.deploy("v2", place)
    await own.ended(deploy_id)
    rollback_id = await own.roll_back("v1", place)
    await own.rollback_ended(rollback_id)
    seen: set[str] = set()
    for path in (
        f"/v1/deployment/{deploy_id}",
        f"/v1/rollback/{rollback_id}",
        f"/v1/service/{own.service}/versions",
        f"/v1/service/{own.service}/instances",
        f"/v1/instance/{place.id}/version-history",
        "/v1/system/health",
        "/v1/system/stats",
        "/v1/host",
    ):
        found = list(times_in((await own.site.ask("GET", path)).data))
        assert found, path
        for name, text in found:
            assert RFC3339_UTC.fullmatch(text), (path, name, text)
            seen.add(name)
    assert seen == TIMES - {"cancelled_at", "deadline"}


async def test_the_library_gives_them_as_moments_in_utc(world: World) -> None:
    place = await world.place()
    status = await world.deployed("v1", place)
    part = part_of(status, place)
    row = await world.row(place)
    (entry,) = await world.history(place)
    moments = [
        status.started_at,
        status.updated_at,
        status.completed_at,
        part.started_at,
        part.completed_at,
        row.last_heartbeat,
        entry.timestamp,
    ]
    for moment in moments:
        assert isinstance(moment, datetime)
        assert moment.utcoffset() == UTC.utcoffset(None)


async def test_the_coordinators_receive_time_orders_everything(world: World) -> None:
    async def now() -> datetime:
        return (await world.site.coordinator.get_system_health()).timestamp

    place = await world.place()
    before = await now()
    status = await world.deployed("v1", place)
    between = await now()
    await world.deployed("v2", place)
    after = await now()

    newer, older = (row.timestamp for row in await world.history(place))
    assert before < older < between < newer < after
    part = part_of(status, place)
    assert part.completed_at is not None
    assert before <= status.started_at <= part.started_at < part.completed_at < between
    versions = await world.door.get_service_instance_versions(world.service)
    assert between < versions.instances[0].last_updated < after


async def test_field_note_31_an_agents_wall_clock_decides_nothing() -> None:
    """It is told nowhere but in the past of a host, for people: its order is by number."""

    def told(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
        for name, field in model.model_fields.items():
            yield f"{model.__name__}.{name}", field.annotation
            for inner in inside(field.annotation):
                if isinstance(inner, type) and issubclass(inner, BaseModel):
                    yield from told(inner)

    def inside(annotation: Any) -> Iterator[Any]:
        yield annotation
        for argument in get_args(annotation):
            yield from inside(argument)

    frames = get_args(get_args(messages.ToCoordinator)[0])
    assert len(frames) >= 9
    fields = {field for frame in frames for field in told(frame)}
    assert len(fields) > 30
    clocks = {name for name, annotation in fields if CLOCK_TYPES & {*inside(annotation)}}
    assert clocks == {"PastEntry.at"}
    for name, _ in fields:
        assert not re.search(r"(_at|time|date|clock)$", name), name
