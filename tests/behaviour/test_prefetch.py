"""A prefetch brings a release to hosts' disks, so that its deployment is only the switch."""

from __future__ import annotations

import asyncio

import pytest

from protocol.access import TokenParams
from protocol.errors import ConflictError, InvalidRequestError, NotFoundError
from protocol.messages import PREFETCH_MINOR, Heartbeat, HeartbeatAck, InstanceState, Inventory
from protocol.states import InstanceStatus, Phase, Receipt, TaskState
from tests.behaviour.world import OFTEN, World, asked, part_of
from tests.parts.coming_in import approved, dialled
from tests.parts.packages import sha256
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_the_deployment_after_it_downloads_nothing(world: World) -> None:
    first, second = await world.places(2)
    await world.deployed("v1", first, second)
    status = await world.prefetched("v2", first, second)
    assert (status.status, status.progress.completed) == (TaskState.COMPLETED, 2)
    assert status.digest == sha256(world.package("v2"))
    assert {part.target_version for part in status.instances} == {"v2"}
    for place in (first, second):
        assert await place.runs() == "v1"
        assert len(place.driver.starts) == 1, "nothing that serves was touched"
        assert place.agent.on_disk(place.id) == {"v1", "v2"}
    downloads = world.downloads("v2")

    deployed = await world.deployed("v2", first, second)
    assert deployed.status is TaskState.COMPLETED
    assert deployed.digest == status.digest
    assert world.downloads("v2") == downloads
    assert [await place.runs() for place in (first, second)] == ["v2", "v2"]


async def test_a_deployment_that_names_the_digest_uses_it_whatever_the_url(world: World) -> None:
    place = await world.place("v1")
    await world.prefetched("v2", place)
    downloads = world.downloads("v2")
    url = world.put("v2") + "?X-Signature=another"
    await world.deployed("v2", place, package_url=url, sha256=sha256(world.package("v2")))
    assert world.downloads("v2") == downloads
    assert await place.runs() == "v2"


async def test_an_instance_without_it_must_get_the_very_same_package(world: World) -> None:
    first, second = await world.places(2)
    await world.prefetched("v1", first)
    url = world.put("v1")
    world.site.packages.put(world.name("v1"), world.package("other bytes"))
    status = await world.ended(
        await world.deploy("v1", first, second, package_url=url, retry_count=0)
    )
    assert part_of(status, first).status is TaskState.COMPLETED
    failed = part_of(status, second)
    assert failed.status is TaskState.FAILED
    assert "package changed" in failed.error_message


async def test_another_url_has_a_digest_of_its_own(world: World) -> None:
    place = await world.place()
    await world.prefetched("v1", place)
    url = world.site.packages.put(f"{world.service}/mirror.tar.gz", world.package("mirrored"))
    status = await world.deployed("v1", place, package_url=url)
    assert (status.status, status.digest) == (
        TaskState.COMPLETED,
        sha256(world.package("mirrored")),
    )


async def test_it_is_in_no_history_and_no_target_of_a_rollback(world: World) -> None:
    place = await world.place("v1")
    await world.prefetched("v2", place)
    assert [row.version for row in await world.history(place)] == ["v1"]
    with pytest.raises(ConflictError, match="has no release v2 on disk"):
        await world.roll_back("v2", place)
    never = await world.place()
    await world.prefetched("v1", never)
    with pytest.raises(ConflictError, match=f"never ran {world.service}"):
        await world.roll_one_back("v1", never)
    assert len(await world.task_ids()) == 1, "it is neither a deployment nor a rollback"


async def test_an_instance_takes_part_in_one_unfinished_task(world: World) -> None:
    place = await world.place()
    url, gate = world.put("v1"), asyncio.Event()
    world.site.packages.slow(world.name("v1"), chunk=10, gate=gate)
    prefetch_id = await world.prefetch("v1", place, package_url=url)
    with pytest.raises(ConflictError, match=f"{place.id} is held by {prefetch_id}"):
        await world.deploy("v2", place)
    gate.set()
    await world.prefetch_ended(prefetch_id)
    await world.away(place)
    deploy_id = await world.deploy("v2", place)
    with pytest.raises(ConflictError, match=f"{place.id} is held by {deploy_id}"):
        await world.prefetch("v3", place)


async def test_the_same_id_again_starts_nothing_and_with_another_body_conflicts(
    world: World,
) -> None:
    place = await world.place()
    await world.away(place)
    params = world.prefetch_params("v1", place, prefetch_id=f"ahead-{world.number}")
    first = await asked(world, "prefetch", params)
    assert first.prefetch_id == f"ahead-{world.number}"
    assert await asked(world, "prefetch", params) == first
    other = world.prefetch_params("v2", place, prefetch_id=first.prefetch_id)
    with pytest.raises(ConflictError, match=f"prefetch_id: {first.prefetch_id} exists already"):
        await asked(world, "prefetch", other)
    deploy = world.params("v1", place, deploy_id=first.prefetch_id)
    with pytest.raises(ConflictError, match=f"deploy_id: {first.prefetch_id} exists already"):
        await world.door.execute_deployment(deploy)
    given = await world.place()
    assert (await world.prefetch("v1", given)).startswith("prefetch-")


async def test_what_is_not_on_disk_yet_is_cancelled(world: World) -> None:
    place = await world.place("v1")
    url, gate = world.put("v2"), asyncio.Event()
    world.site.packages.slow(world.name("v2"), chunk=10, gate=gate)
    prefetch_id = await world.prefetch("v2", place, package_url=url)
    await until(
        lambda: world.site.coordinator.get_prefetch_status(prefetch_id),
        lambda seen: seen.instances[0].phase is Phase.PREPARING,
        every=OFTEN,
    )
    cancelled = await asked(world, "cancel_prefetch", prefetch_id)
    assert (cancelled.prefetch_id, cancelled.status) == (prefetch_id, TaskState.CANCELLED)
    status = await world.prefetch_ended(prefetch_id)
    assert part_of(status, place).receipt is Receipt.STOPPED_BEFORE_SWITCH
    gate.set()
    with pytest.raises(ConflictError, match="has ended already: cancelled"):
        await asked(world, "cancel_prefetch", prefetch_id)
    await until(lambda: place.agent.on_disk(place.id), lambda seen: seen == {"v1"}, every=OFTEN)


async def test_one_that_fails_says_why_and_leaves_nothing(world: World) -> None:
    place = await world.place("v1")
    url = world.put("v2")
    world.site.packages.fail(world.name("v2"), 404)
    status = await world.prefetched("v2", place, package_url=url)
    assert status.status is TaskState.FAILED
    assert "the server answered 404" in part_of(status, place).error_message
    wrong = await world.prefetched("v3", place, sha256="ab" * 32)
    assert wrong.status is TaskState.FAILED
    assert place.agent.on_disk(place.id) == {"v1"}
    assert await place.runs() == "v1"


async def test_a_host_that_is_away_fetches_when_it_returns(world: World) -> None:
    place = await world.place("v1")
    await world.away(place)
    prefetch_id = await world.prefetch("v2", place)
    seen = await asked(world, "get_prefetch_status", prefetch_id)
    assert "waiting for its agent to return" in part_of(seen, place).reason
    await place.agent.let_back()
    assert (await world.prefetch_ended(prefetch_id)).status is TaskState.COMPLETED


async def test_it_survives_a_start_of_the_agent(world: World) -> None:
    place = await world.place("v1")
    await world.prefetched("v2", place)
    await place.agent.stop()
    await place.agent.start()
    await world.connected(place)
    downloads = world.downloads("v2")
    assert (await world.deployed("v2", place)).status is TaskState.COMPLETED
    assert world.downloads("v2") == downloads


async def test_pins_count_what_was_fetched(world: World) -> None:
    place = await world.place("v1")
    await world.prefetched("v2", place)
    pinned = await asked(world, "pin_release", world.service, "v2")
    assert (pinned.on_disk, pinned.instances) == (1, 1)


async def test_prefetches_are_listed_newest_first(world: World) -> None:
    place = await world.place()
    made = [(await world.prefetched(version, place)).prefetch_id for version in ("v1", "v2")]
    found = await asked(world, "list_prefetches", service=world.service)
    assert [one.prefetch_id for one in found.prefetches] == made[::-1]
    assert (found.total, found.prefetches[0].version) == (2, "v2")
    failed = await asked(world, "list_prefetches", service=world.service, status="failed")
    assert failed.total == 0


async def test_what_is_unknown_or_malformed_is_refused_by_name(world: World) -> None:
    place = await world.place()
    params = world.prefetch_params("v1", place).model_dump()
    for field, wrong in (("package_url", "http://x/"), ("version", "a..b"), ("timeout", 0)):
        answer = await world.site.ask("POST", "/v1/prefetch", {**params, field: wrong})
        assert (answer.status, answer.data["details"][0]["field"]) == (400, field)
    with pytest.raises(NotFoundError, match="instances: no agent ever reported nobody"):
        await asked(world, "prefetch", world.prefetch_params("v1", instances=["nobody"]))
    deploy_id = await world.deploy("v1", place)
    for name in ("get_prefetch_status", "cancel_prefetch"):
        with pytest.raises(NotFoundError, match=f"no prefetch {deploy_id}"):
            await asked(world, name, deploy_id)
        with pytest.raises(InvalidRequestError, match="prefetch_id: must be"):
            await asked(world, name, "a..b")


async def test_those_of_other_services_do_not_exist_for_a_restricted_token(own: World) -> None:
    mine, foreign = await own.place(), await own.place(service=f"other-{own.number}")
    theirs = await own.site.coordinator.prefetch(
        own.prefetch_params("v1", foreign, service=f"other-{own.number}")
    )
    made = await own.site.coordinator.create_token(
        TokenParams(role="deployer", services=[own.service])
    )
    for way, path, body, status in (
        ("GET", f"/v1/prefetch/{theirs.prefetch_id}", None, 404),
        ("POST", f"/v1/prefetch/{theirs.prefetch_id}/cancel", None, 404),
        ("GET", f"/v1/prefetch?service=other-{own.number}", None, 403),
        (
            "POST",
            "/v1/prefetch",
            own.prefetch_params("v1", foreign, service=f"other-{own.number}").model_dump(),
            403,
        ),
        ("POST", "/v1/prefetch", own.prefetch_params("v1", mine).model_dump(), 200),
    ):
        answer = await own.site.ask(way, path, body, token=made.secret)
        assert answer.status == status, (path, answer.data)
    listed = await own.site.ask("GET", "/v1/prefetch", token=made.secret)
    assert listed.data["total"] == 1


async def test_an_agent_that_is_too_old_fails_it_and_the_reason_names_the_version(
    own: World,
) -> None:
    site, name = own.site, f"old-{own.number}"
    identity = await approved(site.coordinator, site.url, site.folder / name, name)
    state = InstanceState(instance_id=name, service=own.service, status=InstanceStatus.STOPPED)
    async with dialled(site.url, identity) as line:
        await line.greet(name, minor=PREFETCH_MINOR - 1)
        await line.say(Inventory(instances=[state]))
        await until(lambda: site.coordinator.list_hosts(service=own.service), lambda h: h.total)
        params = own.prefetch_params("v1", instances=[name])
        made = await site.coordinator.prefetch(params)
        status = await own.prefetch_ended(made.prefetch_id)
        (part,) = status.instances
        assert part.status is TaskState.FAILED
        assert "its agent speaks protocol 1.2, and a prefetch needs 1.3" in part.error_message
        await line.say(Heartbeat(number=1))
        assert await line.hears() == HeartbeatAck(number=1), "it was sent nothing that is new"
