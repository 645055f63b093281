"""From where an instance would get exactly what it runs again, once something else does."""

from __future__ import annotations

from coordinator.core.task import Target
from coordinator.ports import InstanceRow, Retained
from coordinator.rollbacks import (
    Source,
    WayBack,
    WaysBack,
    has_release,
    refuse_to_leave_no_way_back,
    running,
)
from protocol.errors import ConflictError
from protocol.states import Phase
from tests.contract.rows import create, instance, moved, task
from tests.parts.memory_store import MemoryStore

SERVICE = "user-service"
URL = "https://packages.example.com/v1.tar.gz"
DIGEST, OTHER = "cd" * 32, "ef" * 32
"""What `instance` runs and retains, and what the same version has become elsewhere."""
GONE = instance(retained=())


async def store_with(*digests: str) -> MemoryStore:
    """A store in which tasks have brought v1 elsewhere, each with another package."""
    store = MemoryStore()
    for digest in digests:
        made = task(f"by-{digest}", "i-9", version="v1", digest=digest, package_url=URL)
        await create(store, made)
        await store.commit(moved(made, Phase.COMPLETED))
    return store


async def back(row: InstanceRow, *digests: str) -> WayBack:
    return await WaysBack(await store_with(*digests), SERVICE).to_what_runs(row)


async def test_from_its_own_disk_first() -> None:
    way = await back(instance(), DIGEST)
    assert way.kept is not None
    assert (way.kept.digest, way.problem) == (DIGEST, "")


async def test_else_from_the_url_of_its_last_successful_task() -> None:
    way = await back(GONE, DIGEST)
    assert (way.kept, way.problem, way.lacks) == (None, "v1 is not on the host's disk", "")
    assert way.source == Source(URL, DIGEST)


async def test_a_damaged_release_is_no_way_back() -> None:
    damaged = instance(retained=(Retained("v1", DIGEST, damaged="bin/server"),))
    way = await back(damaged)
    assert not way
    assert way.why_not == (
        "v1 is damaged on the host's disk: bin/server, and no successful task has a URL for it"
    )


async def test_another_package_of_that_version_is_no_way_back() -> None:
    assert not await back(instance(retained=(Retained("v1", OTHER),)))
    rebuilt = await back(GONE, DIGEST, OTHER)
    assert not rebuilt
    assert rebuilt.lacks == "the last successful task that has a URL for it had another package"
    assert await back(GONE, OTHER, DIGEST)


async def test_without_a_digest_the_sound_release_of_the_host_says_which_package_it_is() -> None:
    ways = WaysBack(await store_with(OTHER), SERVICE)
    own = await ways.to(instance(), "v1")
    assert own.kept is not None
    assert (own.kept.digest, own.source) == (DIGEST, None)
    damaged = instance(retained=(Retained("v1", DIGEST, damaged="bin/server"),))
    assert (await ways.to(damaged, "v1")).source == Source(URL, OTHER)


async def refused(row: InstanceRow, version: str, digest: str = "", *known: str) -> bool:
    """Whether this deployment is refused, as it would leave no way back."""
    store = await store_with(*known)
    try:
        await refuse_to_leave_no_way_back(
            store, [row], service=SERVICE, version=version, digest=digest
        )
    except ConflictError as error:
        (detail,) = error.details
        assert (detail["instance_id"], detail["version"]) == ("i-1", "v1")
        return True
    return False


async def test_what_another_build_of_the_version_left_no_way_back_to_is_not_given_up() -> None:
    assert await refused(GONE, "v2", "", OTHER)
    assert not await refused(GONE, "v2", "", DIGEST)
    assert not await refused(instance(), "v2", "", OTHER)


async def test_the_same_version_with_another_package_gives_it_up_too() -> None:
    assert await refused(GONE, "v1", OTHER)
    assert not await refused(GONE, "v1", DIGEST)
    assert not await refused(GONE, "v1"), "which package it is the first download decides"


async def test_what_runs_is_told_with_a_url_only_if_that_has_the_same_package() -> None:
    row = instance()
    assert await running(await store_with(OTHER, DIGEST), [row]) == {
        "i-1": Target("v1", URL, DIGEST)
    }
    assert await running(await store_with(OTHER), [row]) == {"i-1": Target("v1", "", DIGEST)}
    assert await running(await store_with(), [instance(version="")]) == {}


def test_only_the_very_release_need_not_be_fetched() -> None:
    row = instance(retained=(Retained("v1", DIGEST),), fetched=(Retained("v2", OTHER),))
    assert has_release(row, "v1", DIGEST)
    assert has_release(row, "v2", OTHER)
    assert not has_release(row, "v2", DIGEST)
    assert not has_release(row, "v1", "")
