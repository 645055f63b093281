"""Package servers that misbehave: no switch, the right reason, inside the timeout.

All kinds run at once, each on an instance of its own of one agent, so that the test also
shows that a server which stalls keeps no other package of its host waiting.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.releases import Releases
from protocol.models import AssignmentStatus
from protocol.states import TaskState
from tests.e2e.conftest import System, running
from tests.lab.commands import call
from tests.lab.needs import need_programs, need_root
from tests.lab.package_faults import GOOD, KINDS, TIMEOUT, Kind, site
from tests.lab.tally import Tally
from tests.parts.packages import sha256
from tests.parts.service import service_package

pytestmark = pytest.mark.sweep

FLOOR = 18
"""Kinds that are tried at least."""

CHECK = {"timeout": 60}


@pytest.fixture
async def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[System]:
    """A fleet on a host that gives up a dead name server quickly."""
    monkeypatch.setenv("RES_OPTIONS", "timeout:1 attempts:1")
    async with running(tmp_path) as started:
        yield started


async def test_package_servers_that_misbehave(system: System, tally: Tally) -> None:
    names = [kind.name for kind in KINDS]
    agent = await system.agent(
        "host-a", *(system.http_instance(name, check=CHECK) for name in names)
    )
    first = await system.deployed("v1", names)
    assert first.status is TaskState.COMPLETED, first
    served = {name: agent.service_pids(name) for name in names}
    on_disk = {name: agent.release_names(name) for name in names}

    wrong: list[str] = []
    async with site(system.folder, system.packages) as servers:
        for kind in KINDS:
            url = kind.order(servers, f"{kind.name}.tar.gz")
            options = {"sha256": kind.digest} if kind.digest else {}
            await system.deploy(
                "v2",
                [kind.name],
                url=url,
                deploy_id=kind.name,
                timeout=TIMEOUT,
                retry_count=1,
                **options,
            )
        for kind in KINDS:
            (part,) = (await system.ended(kind.name)).instances
            wrong += said_wrong(kind, part)
            wrong += asked_too_early(kind, system)

    for kind in KINDS:
        name = kind.name
        if await system.serving(name) != ("v2" if kind.succeeds else "v1"):
            wrong.append(f"{name}: the wrong version serves")
        if (agent.service_pids(name) == served[name]) is kind.succeeds:
            wrong.append(f"{name}: stopped or not, against what was due")
        if (agent.release_names(name) == on_disk[name]) is kind.succeeds:
            wrong.append(f"{name}: on the disk are {agent.release_names(name)}")
    tally(points=len(KINDS), wrong=len(wrong))
    assert not wrong, "\n".join(wrong)
    assert len(KINDS) >= FLOOR


def said_wrong(kind: Kind, part: AssignmentStatus) -> Iterator[str]:
    """What is not as the table says about how it ended."""
    assert part.started_at is not None
    assert part.completed_at is not None
    if (part.status is TaskState.COMPLETED) is not kind.succeeds:
        yield f"{kind.name}: it ended as {part.status.value}: {part.reason}"
    if kind.says not in part.error_message or "secret" in part.error_message:
        yield f"{kind.name}: it says {part.error_message!r}, not {kind.says!r}"
    if part.attempt != kind.attempts:
        yield f"{kind.name}: {part.attempt} attempts, not {kind.attempts}"
    took = (part.completed_at - part.started_at).total_seconds()
    if took > TIMEOUT:
        yield f"{kind.name}: it took {took} s"


def asked_too_early(kind: Kind, system: System) -> Iterator[str]:
    """Whether the server was asked again before the time that it had told."""
    at = [one.at for one in system.packages.requests if one.name == f"{kind.name}.tar.gz"]
    if any(later - earlier < kind.not_before for earlier, later in itertools.pairwise(at)):
        yield f"{kind.name}: asked again too early, at {at}"


async def test_a_package_that_changes_between_hosts(system: System, tally: Tally) -> None:
    agents = {name: await system.agent(f"host-{name}", name) for name in ("one", "two")}
    names = list(agents)
    await system.deployed("v1", names)
    served = {name: agents[name].service_pids(name) for name in names}
    bodies = [GOOD, service_package("v2", ballast=b"rebuilt")]
    system.packages.vary("v2.tar.gz", bodies)

    ended = await system.deployed(
        "v2", names, url=system.packages.url("v2.tar.gz"), timeout=TIMEOUT, retry_count=1
    )

    lucky, other = sorted(ended.instances, key=lambda part: part.status is TaskState.FAILED)
    assert ended.digest in {sha256(body) for body in bodies}
    assert lucky.status is TaskState.COMPLETED
    assert await system.serving(lucky.instance_id) == "v2"
    assert (other.status, other.attempt) == (TaskState.FAILED, 1)
    assert other.error_message.startswith("package changed: ")
    assert await system.serving(other.instance_id) == "v1"
    assert agents[other.instance_id].service_pids(other.instance_id) == served[other.instance_id]
    tally(points=2)


@pytest.fixture
async def small_disk(tmp_path: Path) -> AsyncIterator[Path]:
    """8 MiB of disk; the test is skipped by name where there can't be one."""
    need_root("a small disk")
    need_programs("mount", "umount")
    folder = tmp_path / "small"
    folder.mkdir()
    await call("mount", "-t", "tmpfs", "-o", "size=8M", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        await call("umount", "--lazy", str(folder))


@pytest.mark.root
async def test_free_space_is_checked_before_the_download(
    small_disk: Path, system: System, tally: Tally
) -> None:
    folder = small_disk / "instance-1"
    instance = system.http_instance("instance-1", extra={"root": str(folder)})
    await system.agent("host-a", instance)
    assert (await system.deployed("v1", ["instance-1"])).status is TaskState.COMPLETED
    on_disk = sorted(path.name for path in (folder / "releases").iterdir())
    package = service_package("v2", ballast=random.Random(4).randbytes(6_000_000))
    url = system.packages.put("big.tar.gz", package)
    system.packages.slow("big.tar.gz", chunk=1000, gate=asyncio.Event())

    async with system.steady_client("instance-1") as client:
        ended = await system.deployed("v2", ["instance-1"], url=url, timeout=TIMEOUT, retry_count=1)

    (part,) = ended.instances
    needed = f"no space for a package of {len(package)} bytes: {2 * len(package)} must be free"
    assert needed in part.error_message, "it was decided by the length: no more than 1000 came"
    assert (part.status, part.attempt) == (TaskState.FAILED, 1)
    assert set(client.answers) == {"v1"}
    assert sorted(path.name for path in (folder / "releases").iterdir()) == on_disk
    current = Releases(folder).current()
    assert current is not None
    assert current.version == "v1"
    tally(points=1)
