"""The refusals of interface section 3 through `ferryman`: exit code, text, and no trace left."""

from __future__ import annotations

import pytest

from tests.behaviour.world import Place, World

pytestmark = pytest.mark.asyncio(loop_scope="session")

INVALID, NOT_FOUND, CONFLICT = 2, 3, 7
URL = "https://packages.example.com/a.tar.gz"
WITH_USER = "https://user:secret@packages.example.com/a.tar.gz"


async def refused(own: World, code: int, arguments: list[str], *names: str) -> None:
    """Run it; it must say all of `names` on stderr, nothing on stdout, and store nothing."""
    before = await own.task_ids()
    ended = await own.site.ferryman(*arguments)
    assert ended.code == code, ended
    assert ended.out == ""
    for name in names:
        assert name in ended.err, ended.err
    assert "Traceback" not in ended.err
    assert await own.task_ids() == before


def rollback(own: World, place: Place, version: str, *, way: str) -> list[str]:
    """The command that takes the place back, in one of its two ways."""
    if way == "single":
        return ["rollback", "--instance", place.id, version]
    return ["rollback", own.service, version, "--instances", place.id]


async def test_bad_input_exits_with_2_and_names_each_field_with_what_it_accepts(
    own: World,
) -> None:
    names = ["deploy", "a..b", "v 1", "--id=-a", "--instances=a,a"]
    await refused(
        own,
        INVALID,
        [*names, "--package-url=http://packages.example.com/a.tar.gz"],
        "service: must be 1 to 128 of A-Z a-z 0-9 . _ -",
        "version: must be 1 to 128 of A-Z a-z 0-9 . _ + -",
        "deploy_id: must be 1 to 128 of A-Z a-z 0-9 . _ -",
        "instances: a stands there twice",
        "package_url: must be an https:// URL without user info",
    )
    numbers = ["--timeout=0", "--retry-count=101", "--sha256=abc", "--instances=a"]
    await refused(
        own,
        INVALID,
        ["deploy", own.service, "v1", f"--package-url={URL}", *numbers],
        "timeout: must be a whole number of seconds from 1 to 86400",
        "retry_count: must be a whole number from 0 to 100",
        "sha256: must be a SHA-256 as 64 lower-case hex digits",
    )


async def test_bounds_hold_on_both_sides(own: World) -> None:
    numbers = ["--timeout=86401", "--retry-count=-1", "--instances="]
    await refused(
        own,
        INVALID,
        ["deploy", own.service, "v1", f"--package-url={WITH_USER}", *numbers],
        "timeout: must be a whole number of seconds from 1 to 86400",
        "retry_count: must be a whole number from 0 to 100",
        "instances[0]: must be 1 to 20000 different instance ids",
        "package_url: must be an https:// URL without user info",
    )
    limit = "limit: must be a whole number from 1 to 1000"
    offset = "offset: must be a whole number from 0"
    paged = ["instances", own.service, "--limit=1001", "--offset=-1"]
    await refused(own, INVALID, paged, limit, offset)
    place = await own.place()
    await refused(own, INVALID, ["history", place.id, "--limit=1001"], limit)
    await refused(own, INVALID, ["history", place.id, "--offset=-1"], offset)


@pytest.mark.parametrize("way", ["batch", "single"])
async def test_a_rollbacks_own_fields_exit_with_2(own: World, way: str) -> None:
    place = await own.place("v1")
    which = rollback(own, place, "v 0", way=way)
    fields = ["--timeout=0", "--sha256=ABC", f"--package-url={WITH_USER}"]
    await refused(
        own,
        INVALID,
        [*which, *fields],
        "target_version: must be 1 to 128 of A-Z a-z 0-9 . _ + -",
        "timeout: must be a whole number of seconds from 1 to 86400",
        "sha256: must be a SHA-256 as 64 lower-case hex digits",
        "package_url: must be an https:// URL without user info",
    )


async def test_unknown_things_exit_with_3_and_are_named(own: World) -> None:
    deploy = ["deploy", own.service, "v1", "--package-url", URL]
    await refused(own, NOT_FOUND, [*deploy, "--instances", "nobody"], "nobody")
    await refused(own, NOT_FOUND, ["rollback", "--instance", "nobody", "v1"], "nobody")
    await refused(own, NOT_FOUND, ["cancel", "no-such-task"], "no-such-task")
    await refused(own, NOT_FOUND, ["status", "no-such-task"], "no-such-task")
    await refused(own, NOT_FOUND, ["versions", "no-such-service"], "no-such-service")
    await refused(own, NOT_FOUND, ["instances", "no-such-service"], "no-such-service")


async def test_an_instance_of_another_service_exits_with_2(own: World) -> None:
    other = await own.place(service=f"other-{own.number}")
    arguments = ["deploy", own.service, "v1", "--package-url", URL, "--instances", other.id]
    await refused(own, INVALID, arguments, "instances:", other.id, other.local.service)
    back = rollback(own, other, "v1", way="batch")
    await refused(own, INVALID, back, "instances:", other.id, other.local.service)


async def test_conflicts_exit_with_7_and_name_what_stands_in_the_way(own: World) -> None:
    place = await own.place("v1")
    (first,) = await own.task_ids()
    deploy = ["deploy", own.service, "v2", "--package-url", own.put("v2"), "--instances", place.id]
    await refused(own, CONFLICT, [*deploy, "--id", first], first)
    await refused(own, CONFLICT, ["cancel", first], "completed")
    await refused(
        own, CONFLICT, ["rollback", own.service, "v1", "--all"], place.id, "already runs v1"
    )
    gate = place.driver.hold("start")
    holder = await own.deploy("v2", place)
    await gate.reached.wait()
    await refused(own, CONFLICT, deploy, place.id, holder)
    gate.open()
    await own.ended(holder)


@pytest.mark.parametrize("way", ["batch", "single"])
async def test_a_rollback_that_the_fleets_state_forbids_exits_with_7(own: World, way: str) -> None:
    runs, never = await own.places(2)
    await own.deployed("v1", runs)
    for place, version, why in (
        (runs, "v1", "already runs v1"),
        (runs, "v0", "no package_url was given and no successful task brought"),
        (never, "v1", f"never ran {own.service}"),
    ):
        await refused(own, CONFLICT, rollback(own, place, version, way=way), place.id, why)

    gate = runs.driver.hold("start")
    holder = await own.deploy("v2", runs)
    await gate.reached.wait()
    elsewhere = f"--package-url={own.put('v0')}"
    held = [*rollback(own, runs, "v0", way=way), elsewhere]
    await refused(own, CONFLICT, held, runs.id, holder)
    gate.open()
    await own.ended(holder)


async def test_cancelling_an_ended_rollback_exits_with_7(own: World) -> None:
    place = await own.place("v1")
    await own.deployed("v2", place)
    rollback_id = await own.roll_back("v1", place)
    await own.rollback_ended(rollback_id)
    await refused(own, CONFLICT, ["cancel", rollback_id], rollback_id, "completed")
