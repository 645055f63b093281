"""Versions that are pinned: hosts keep them whatever `keep_releases` says."""

from __future__ import annotations

import pytest

from protocol.access import TokenParams
from protocol.errors import InvalidRequestError, NotFoundError
from tests.behaviour.world import OFTEN, Place, World, asked
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def through(world: World, place: Place, *versions: str) -> None:
    for version in versions:
        await world.deployed(version, place)


async def kept(place: Place, *versions: str) -> None:
    """Wait until exactly these are on the host's disk: it tidies up once it has reported."""
    await until(
        lambda: place.agent.on_disk(place.id), lambda seen: seen == set(versions), every=OFTEN
    )


async def told(place: Place, version: str, pinned: bool) -> None:
    """Wait until the host knows that a version is pinned, or not any more."""
    await until(
        lambda: place.agent.pins.holds(place.local.service, version),
        lambda holds: holds is pinned,
        every=OFTEN,
    )


async def test_a_pinned_version_stays_on_disk_until_it_is_unpinned(world: World) -> None:
    place = await world.place("v1", keep_releases=1)
    pinned = await asked(world, "pin_release", world.service, "v1")
    assert (pinned.service, pinned.version) == (world.service, "v1")
    assert (pinned.on_disk, pinned.instances) == (1, 1)
    await told(place, "v1", True)

    await through(world, place, "v2", "v3", "v4")
    await kept(place, "v1", "v3", "v4")
    assert (await world.rolled_back("v1", place)).progress.completed == 1
    assert world.downloads("v1") == 1, "the one of the deployment"

    await world.deployed("v4", place)
    assert (await asked(world, "unpin_release", world.service, "v1")).version == "v1"
    await told(place, "v1", False)
    await through(world, place, "v5", "v6")
    await kept(place, "v5", "v6")


async def test_an_agent_that_was_away_hears_of_it_when_it_returns(world: World) -> None:
    place = await world.place("v1", keep_releases=1)
    await world.away(place)
    await asked(world, "pin_release", world.service, "v1")
    assert not place.agent.pins.holds(world.service, "v1")
    await place.agent.let_back()
    await told(place, "v1", True)

    await world.away(place)
    await asked(world, "unpin_release", world.service, "v1")
    await place.agent.let_back()
    await told(place, "v1", False)


async def test_a_host_keeps_to_it_also_when_it_starts_without_its_coordinator(
    world: World,
) -> None:
    place = await world.place("v1", keep_releases=1)
    await asked(world, "pin_release", world.service, "v1")
    await told(place, "v1", True)
    await through(world, place, "v2", "v3", "v4")
    await kept(place, "v1", "v3", "v4")
    await place.agent.stop()
    await place.agent.start()
    await kept(place, "v1", "v3", "v4")
    assert place.agent.pins.holds(world.service, "v1"), "it tidied up before it was told anew"


async def test_a_version_may_be_pinned_before_anybody_has_it(world: World) -> None:
    place = await world.place("v1", keep_releases=1)
    pinned = await asked(world, "pin_release", world.service, "1.0+build.7")
    assert (pinned.on_disk, pinned.instances) == (0, 1)
    await told(place, "1.0+build.7", True)


async def test_the_list_tells_how_many_instances_have_it_and_who_pinned_it(world: World) -> None:
    first, _ = await world.places(2)
    await world.deployed("v1", first)
    await asked(world, "pin_release", world.service, "v1")
    await asked(world, "pin_release", world.service, "v0")

    listed = (await asked(world, "list_pins", world.service)).pins
    assert [(pin.version, pin.on_disk, pin.instances) for pin in listed] == [
        ("v0", 0, 2),
        ("v1", 1, 2),
    ], "newest first"
    assert all(pin.created_by for pin in listed)
    everywhere = (await asked(world, "list_pins")).pins
    assert [pin for pin in everywhere if pin.service == world.service] == listed


async def test_pinning_again_changes_nothing(world: World) -> None:
    await world.place()
    first = await asked(world, "pin_release", world.service, "v1")
    assert await asked(world, "pin_release", world.service, "v1") == first
    assert len((await asked(world, "list_pins", world.service)).pins) == 1


async def test_what_is_unknown_or_malformed_is_refused_by_name(world: World) -> None:
    await world.place()
    with pytest.raises(NotFoundError, match="no service nobodys"):
        await asked(world, "pin_release", "nobodys", "v1")
    with pytest.raises(NotFoundError, match=f"version: v1 of {world.service} is not pinned"):
        await asked(world, "unpin_release", world.service, "v1")
    for name in ("pin_release", "unpin_release"):
        with pytest.raises(InvalidRequestError, match="version: must be 1 to 128 of"):
            await asked(world, name, world.service, "v..1")
        with pytest.raises(InvalidRequestError, match="service: must be 1 to 128 of"):
            await asked(world, name, "a/b", "v1")
    assert (await asked(world, "list_pins", world.service)).pins == []


async def test_the_pins_of_other_services_do_not_exist_for_a_restricted_token(own: World) -> None:
    await own.places(1)
    await own.places(1, service=f"other-{own.number}")
    for service in (own.service, f"other-{own.number}"):
        await own.site.coordinator.pin_release(service, "v1")
    made = await own.site.coordinator.create_token(
        TokenParams(role="deployer", services=[own.service])
    )
    listed = await own.site.ask("GET", "/v1/pin", token=made.secret)
    assert [pin["service"] for pin in listed.data["pins"]] == [own.service]
    for way, path in (
        ("GET", f"/v1/pin?service=other-{own.number}"),
        ("POST", f"/v1/service/other-{own.number}/version/v1/unpin"),
        ("POST", f"/v1/service/other-{own.number}/version/v2/pin"),
        ("POST", "/v1/service/nobodys/version/v2/pin"),
    ):
        refused = await own.site.ask(way, path, token=made.secret)
        assert (refused.status, refused.data["type"]) == (403, "permission_denied"), path
