"""Whoever holds the coordinator, but none of the trusted keys, makes no host run anything unsigned.

A worker is given the commands that a stolen coordinator could send. What serves is never
even stopped, and nothing unsigned gets a name on the disk.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.download import PackageSource
from agent.minisign import PublicKey
from agent.terms import Terms
from agent.trust import Trust
from protocol.messages import Ended, Prepared, Result
from tests.parts.local_agent import LocalInstance
from tests.parts.one_worker import PACKAGES, OneWorker
from tests.parts.package_server import PackageServer
from tests.parts.packages import sha256, tar_gz
from tests.parts.signing import Signer, comment_of
from tests.parts.waiting import until

pytestmark = pytest.mark.sweep

EVIL = tar_gz({"VERSION": b"evil"})

SIGNER, RETIRED = Signer(), Signer()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[PackageServer]:
    async with PackageServer(tmp_path) as running:
        for version in ("v1", "v2"):
            signature = SIGNER.sign(PACKAGES[version], comment_of("user-service", version))
            running.put(f"{version}.tar.gz.minisig", signature)
        yield running


@asynccontextmanager
async def trusting(
    *signers: Signer, folder: Path, server: PackageServer, local: LocalInstance | None = None
) -> AsyncIterator[OneWorker]:
    """The host's worker as it starts with these trusted keys."""
    trust = Trust([PublicKey.parse(signer.public) for signer in signers])
    async with PackageSource(server.ca_file, Terms(trust=trust)) as source:
        worker = OneWorker(folder, server, source, local)
        await worker.worker.recover()
        try:
            yield worker
        finally:
            await worker.worker.stop()


@pytest.fixture
async def host(tmp_path: Path, server: PackageServer) -> AsyncIterator[OneWorker]:
    """v1, which the operator signed, serves."""
    async with trusting(SIGNER, folder=tmp_path, server=server) as worker:
        await worker.install("honest", "v1")
        assert serves(worker, "v1", starts=1)
        yield worker


def serves(host: OneWorker, version: str, *, starts: int) -> bool:
    """Whether this version is the current one, and runs since the last of so many starts."""
    current = host.instance.releases.current()
    driver = host.local.driver
    return (
        current is not None
        and (current.version, current.digest) == (version, sha256(PACKAGES[version]))
        and driver.running
        and len(driver.starts) == starts
    )


async def end_of(host: OneWorker, task_id: str) -> Ended:
    await until(lambda: host.coordinator.said(task_id, Ended))
    ends = [
        one.event
        for one in host.coordinator.reports.values()
        if one.task_id == task_id and isinstance(one.event, Ended)
    ]
    return ends[0]


async def refusal(host: OneWorker, task_id: str, version: str, **other: Any) -> str:
    """Why the host does not prepare it. Then it is told to switch all the same."""
    host.worker.handle(host.prepare(task_id, version, **other))
    ended = await end_of(host, task_id)
    assert ended.result is Result.FAILED
    assert not ended.passing
    for digest in (sha256(EVIL), sha256(PACKAGES[version])):
        for attempt in (1, 2):
            switch = host.activate(task_id, version)
            host.worker.handle(switch.model_copy(update={"digest": digest, "attempt": attempt}))
    assert host.worker.in_hand is None
    assert not host.coordinator.said(task_id, Prepared)
    return ended.message


# ---- packages ----------------------------------------------------------------


async def test_what_nobody_signed(host: OneWorker, server: PackageServer) -> None:
    url = server.put("evil.tar.gz", EVIL)
    why = await refusal(host, "evil", "v2", package_url=url)
    assert why == f"no signature: {url}.minisig: the server answered 404"
    assert serves(host, "v1", starts=1)
    assert host.on_disk() == {"v1"}


def theirs(server: PackageServer) -> None:
    """The thief's own key."""
    signature = Signer().sign(EVIL, comment_of("user-service", "v2"))
    server.put("evil.tar.gz.minisig", signature)


def taken_from_v2(server: PackageServer) -> None:
    """The signature of the honest v2."""
    signature = SIGNER.sign(PACKAGES["v2"], comment_of("user-service", "v2"))
    server.put("evil.tar.gz.minisig", signature)


def of_another_service(server: PackageServer) -> None:
    """A package that the operator signed, for another service."""
    server.put("evil.tar.gz.minisig", SIGNER.sign(EVIL, comment_of("billing", "v2")))


def of_an_older_version(server: PackageServer) -> None:
    """A package that the operator signed, as the vulnerable v0."""
    server.put("evil.tar.gz.minisig", SIGNER.sign(EVIL, comment_of("user-service", "v0")))


@pytest.mark.parametrize(
    ("trick", "reason"),
    [
        (theirs, "which trusted_keys does not name"),
        (taken_from_v2, "is not of these bytes"),
        (of_another_service, "the signature is for the service 'billing', not user-service"),
        (of_an_older_version, "the signature is for the version 'v0', not v2"),
    ],
)
@pytest.mark.parametrize("force", [False, True])
async def test_what_is_signed_by_another_or_as_another(
    host: OneWorker,
    server: PackageServer,
    trick: Callable[[PackageServer], None],
    *,
    reason: str,
    force: bool,
) -> None:
    trick(server)
    url = server.put("evil.tar.gz", EVIL)
    why = await refusal(
        host, "evil", "v2", package_url=url, digest=sha256(EVIL), use_retained=True, force=force
    )
    assert reason in why
    assert serves(host, "v1", starts=1)
    assert host.on_disk() == {"v1"}


async def test_a_package_of_another_service_in_the_name_of_that_service(
    host: OneWorker, server: PackageServer
) -> None:
    of_another_service(server)
    url = server.put("evil.tar.gz", EVIL)
    why = await refusal(host, "evil", "v2", package_url=url, service="billing")
    assert why == "this instance is of the service user-service, not billing"
    assert serves(host, "v1", starts=1)
    assert host.on_disk() == {"v1"}


async def test_another_digest_than_that_of_the_signed_package(host: OneWorker) -> None:
    why = await refusal(host, "evil", "v2", digest=sha256(EVIL))
    assert why.startswith(f"package changed: expected sha256 {sha256(EVIL)}")
    assert serves(host, "v1", starts=1)


async def test_the_word_to_switch_to_something_else_than_was_prepared(host: OneWorker) -> None:
    host.worker.handle(host.prepare("evil", "v2"))
    await until(lambda: host.coordinator.said("evil", Prepared))
    switch = host.activate("evil", "v2").model_copy(update={"digest": sha256(EVIL)})
    host.worker.handle(switch)
    assert (await end_of(host, "evil")).message == "another digest was prepared on this host"
    assert serves(host, "v1", starts=1)


# ---- what is on the disk -----------------------------------------------------


async def test_what_was_taken_in_before_the_keys_were_set(
    tmp_path: Path, server: PackageServer
) -> None:
    """v1 and v2 came unsigned. v2 serves on when the keys are set; v1 is not gone back to."""
    async with trusting(folder=tmp_path, server=server) as careless:
        await careless.install("one", "v1")
        await careless.install("two", "v2")
    url = server.put("evil.tar.gz", PACKAGES["v1"])
    async with trusting(SIGNER, folder=tmp_path, server=server, local=careless.local) as host:
        assert serves(host, "v2", starts=2)
        name = host.instance.releases.all()[0].path.name
        unsigned = f"the release {name} on disk was taken in without a signature"
        digest = sha256(PACKAGES["v1"])
        ways: list[dict[str, Any]] = [
            {"use_retained": True, "package_url": ""},
            {"digest": digest, "package_url": ""},
            {"digest": digest, "use_retained": True, "package_url": ""},
            {"digest": digest, "package_url": url},
        ]
        for number, way in enumerate(ways):
            why = await refusal(host, f"evil-{number}", "v1", force=True, **way)
            assert why.startswith(f"{unsigned}, and trusted_keys is set")
        assert "; fetching it anew: no signature: " in why
        again = await refusal(
            host, "again", "v2", package_url="", digest=sha256(PACKAGES["v2"]), force=True
        )
        assert "was taken in without a signature" in again
        assert serves(host, "v2", starts=2)

        await host.install("honest", "v1")
        assert serves(host, "v1", starts=3)


async def test_what_was_prepared_before_the_keys_were_set(
    tmp_path: Path, server: PackageServer
) -> None:
    async with trusting(folder=tmp_path, server=server) as careless:
        await careless.install("one", "v1")
        evil = {"package_url": server.put("evil.tar.gz", EVIL)}
        careless.worker.handle(careless.prepare("evil", "v2", **evil))
        await until(lambda: careless.coordinator.said("evil", Prepared))
    async with trusting(SIGNER, folder=tmp_path, server=server, local=careless.local) as host:
        switch = host.activate("evil", "v2").model_copy(update={"digest": sha256(EVIL)})
        host.worker.handle(switch)
        assert "was taken in without a signature" in (await end_of(host, "evil")).message
        assert serves(host, "v1", starts=1)


async def test_what_was_signed_by_a_key_that_is_trusted_no_more(
    tmp_path: Path, server: PackageServer
) -> None:
    async with trusting(SIGNER, RETIRED, folder=tmp_path, server=server) as before:
        await before.install("one", "v1")
        signature = RETIRED.sign(PACKAGES["v3"], comment_of("user-service", "v3"))
        server.put("v3.tar.gz.minisig", signature)
        await before.install("three", "v3")
        await before.install("two", "v2")
    async with trusting(SIGNER, folder=tmp_path, server=server, local=before.local) as host:
        why = await refusal(host, "evil", "v3", use_retained=True, package_url="")
        assert "on disk was signed by a key that trusted_keys does not name" in why
        again = await refusal(host, "again", "v3", use_retained=True)
        assert f"is by the key {RETIRED.key_id}, which trusted_keys does not name" in again
        assert serves(host, "v2", starts=3)


async def test_what_was_signed_for_the_service_that_the_folder_was_of_before(
    tmp_path: Path, server: PackageServer
) -> None:
    async with trusting(SIGNER, folder=tmp_path, server=server) as before:
        await before.install("one", "v1")
    local = LocalInstance("instance-1", service="billing")
    async with trusting(SIGNER, folder=tmp_path, server=server, local=local) as host:
        why = await refusal(
            host, "evil", "v1", service="billing", use_retained=True, package_url=""
        )
        assert why.endswith("on disk was signed for the service 'user-service', not billing")


# ---- what an honest coordinator still can ------------------------------------


async def test_going_back_to_a_signed_version_needs_no_package_server(
    host: OneWorker, server: PackageServer
) -> None:
    await host.install("two", "v2")
    assert serves(host, "v2", starts=2)
    await server.stop()
    host.worker.handle(host.prepare("back", "v1", use_retained=True))
    await until(lambda: host.coordinator.said("back", Prepared))
    host.worker.handle(host.activate("back", "v1"))
    assert (await end_of(host, "back")).result is Result.SUCCEEDED
    assert serves(host, "v1", starts=3)


async def test_a_signed_version_that_fails_gives_way_to_an_old_one_from_before_the_keys(
    tmp_path: Path, server: PackageServer
) -> None:
    """What served is put back, signed or not: a host without its service helps nobody."""
    async with trusting(folder=tmp_path, server=server) as careless:
        await careless.install("one", "v1")
    async with trusting(SIGNER, folder=tmp_path, server=server, local=careless.local) as host:
        host.local.check.sick["v2"] = "it does not answer"
        await host.install("two", "v2")
        assert (await end_of(host, "two")).put_back
        assert serves(host, "v1", starts=3)
