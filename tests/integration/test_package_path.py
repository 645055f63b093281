"""A package on its whole way: from a real HTTPS server to a published release."""

from __future__ import annotations

import asyncio
import os
import random
import site
import stat
import subprocess
import threading
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.download import PackageSource
from agent.fetch import fetch_release
from agent.limits import Limits
from agent.ports import StepError
from agent.releases import Release, Releases
from agent.turns import OPEN_AT_ONCE
from tests.integration.test_releases import all_of
from tests.parts.package_scene import FILES, PACKAGE, Telling, failure, on_disk
from tests.parts.package_server import PackageServer
from tests.parts.packages import sha256, tar, tar_gz, tar_zst
from tests.parts.waiting import until


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[PackageServer]:
    async with PackageServer(tmp_path) as running:
        yield running


@pytest.fixture
async def source(server: PackageServer) -> AsyncIterator[PackageSource]:
    async with PackageSource(server.ca_file, resume_pause=0.001) as made:
        yield made


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(tmp_path / "root")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.tar.gz", PACKAGE),
        ("a.tgz", PACKAGE),
        ("a.tar.zst", tar_zst(FILES)),
        ("a.tar", tar(FILES)),
        ("download", PACKAGE),
    ],
)
async def test_a_package_becomes_a_verified_release(
    server: PackageServer, source: PackageSource, releases: Releases, name: str, data: bytes
) -> None:
    telling = Telling()
    release = await fetch_release(
        source,
        releases,
        version="v1",
        url=server.put(name, data),
        digest=sha256(data),
        on_progress=telling,
    )
    assert release == releases.find("v1", sha256(data))
    releases.verify(release)
    assert (release.path / "run").read_bytes() == b"#!/bin/sh\n"
    assert os.access(release.path / "bin/server", os.X_OK)
    assert (release.path / "lib/data").read_bytes() == FILES["lib/data"]
    assert telling.told[0] == (0, len(data))
    assert telling.told[-1] == (len(data), len(data))
    assert on_disk(releases) == sorted(all_of(release))
    assert releases.current() is None


async def test_without_a_digest_the_release_tells_the_one_of_what_came(
    server: PackageServer, source: PackageSource, releases: Releases
) -> None:
    url = server.put("a.tar.gz", PACKAGE)
    release = await fetch_release(source, releases, version="v1", url=url)
    assert release.digest == sha256(PACKAGE)


async def test_a_server_that_tells_no_length_will_do(tmp_path: Path, releases: Releases) -> None:
    telling = Telling()
    async with (
        PackageServer(tmp_path, lengths=False) as server,
        PackageSource(server.ca_file) as source,
    ):
        url = server.put("a.tar.gz", PACKAGE)
        await fetch_release(source, releases, version="v1", url=url, on_progress=telling)
    assert telling.told[-1] == (len(PACKAGE), None)


async def test_redirects_are_followed_over_https(
    server: PackageServer, source: PackageSource, releases: Releases
) -> None:
    server.put("real.tar.gz", PACKAGE)
    server.redirect("one", "/two?key=a%2Bb")
    server.redirect("two", server.url("three"))
    server.redirect("three", "real.tar.gz")
    await fetch_release(source, releases, version="v1", url=server.url("one"))
    assert [request.name for request in server.requests] == ["one", "two", "three", "real.tar.gz"]


async def test_the_same_package_again_changes_nothing(
    server: PackageServer, source: PackageSource, releases: Releases
) -> None:
    url = server.put("a.tar.gz", PACKAGE)
    first = await fetch_release(source, releases, version="v1", url=url)
    inode = first.path.stat().st_ino
    assert await fetch_release(source, releases, version="v1", url=url) == first
    assert first.path.stat().st_ino == inode
    assert len(releases.all()) == 1


def look(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything below a folder: kind, and content, executable bit or target."""
    found: dict[str, tuple[object, ...]] = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            value: tuple[object, ...] = ("link", os.readlink(path))
        elif stat.S_ISDIR(status.st_mode):
            value = ("folder",)
        else:
            value = ("file", bool(status.st_mode & 0o111), sha256(path.read_bytes()))
        found[str(path.relative_to(folder))] = value
    return found


@pytest.fixture
def real_tree(tmp_path: Path) -> tuple[bytes, Path]:
    """This environment's own libraries as a package, and what `tar` unpacks it to."""
    libraries = Path(site.getsitepackages()[0])
    archive, by_tar = tmp_path / "site.tar", tmp_path / "by-tar"
    by_tar.mkdir()
    subprocess.run(
        ["tar", "-C", libraries, "--exclude=__pycache__", "--exclude=*.so*", "-cf", archive, "."],
        check=True,
    )
    subprocess.run(["tar", "-C", by_tar, "-xf", archive], check=True)
    subprocess.run(["gzip", "-1", archive], check=True)
    return archive.with_name("site.tar.gz").read_bytes(), by_tar


async def test_a_real_tree_unpacks_just_as_tar_does_it(
    server: PackageServer,
    source: PackageSource,
    releases: Releases,
    real_tree: tuple[bytes, Path],
) -> None:
    package, by_tar = real_tree
    url = server.put("site.tar.gz", package)
    release = await fetch_release(source, releases, version="v1", url=url)

    expected = look(by_tar)
    assert len(expected) > 2000
    assert look(release.path) == expected
    releases.verify(release)


# ---- broken off and resumed --------------------------------------------------


async def test_field_note_22_a_resumed_download_is_hashed_as_one(
    server: PackageServer, source: PackageSource, releases: Releases
) -> None:
    url = server.put("a.tar.gz", PACKAGE)
    server.truncate("a.tar.gz", at=300_000, times=3)
    telling = Telling()
    release = await fetch_release(
        source, releases, version="v1", url=url, digest=sha256(PACKAGE), on_progress=telling
    )
    releases.verify(release)
    assert [request.status for request in server.requests] == [200, 206, 206, 206]
    assert all(request.range.startswith("bytes=") for request in server.requests[1:])
    done = [count for count, _ in telling.told]
    assert done == sorted(done)
    assert done[-1] == len(PACKAGE)


async def test_a_download_that_always_breaks_off_ends(
    server: PackageServer, source: PackageSource, releases: Releases
) -> None:
    url = server.put("a.tar.gz", PACKAGE)
    server.truncate("a.tar.gz", at=50_000, times=100)
    error = await failure(source, releases, url)
    assert f"of {len(PACKAGE)} bytes: the server closed the connection; gave up" in error.message
    assert error.passing
    assert len(server.requests) <= 6


async def test_a_server_that_goes_away_in_the_middle_ends_it_with_the_cause(
    server: PackageServer, source: PackageSource, releases: Releases
) -> None:
    url = server.put("a.tar.gz", PACKAGE)
    server.slow("a.tar.gz", chunk=400_000, gate=asyncio.Event())
    telling = Telling()
    fetching = asyncio.create_task(
        fetch_release(source, releases, version="v1", url=url, on_progress=telling)
    )
    await until(lambda: telling.done > 0)
    await server.stop()
    with pytest.raises(StepError, match=r"broke off after .*; gave up after 2 resumes") as raised:
        await fetching
    assert raised.value.passing
    assert on_disk(releases) == []


async def test_without_ranges_a_break_is_a_passing_failure(
    tmp_path: Path, releases: Releases
) -> None:
    async with (
        PackageServer(tmp_path, ranges=False) as server,
        PackageSource(server.ca_file) as source,
    ):
        url = server.put("a.tar.gz", PACKAGE)
        server.truncate("a.tar.gz", at=300_000)
        error = await failure(source, releases, url)
        assert "the server can't resume it" in error.message
        assert error.passing
        assert len(server.requests) == 1


async def test_field_note_22_two_packages_are_never_mixed(
    server: PackageServer, source: PackageSource, releases: Releases
) -> None:
    url = server.url("a.tar.gz")
    server.vary("a.tar.gz", [PACKAGE, tar_gz({"other": bytes(10), **FILES})])
    server.truncate("a.tar.gz", at=300_000)
    error = await failure(source, releases, url)
    assert "the package changed meanwhile and can't be resumed" in error.message
    assert error.passing


async def test_a_resume_that_is_refused_tells_why(
    server: PackageServer, source: PackageSource, releases: Releases
) -> None:
    url = server.put("a.tar.gz", PACKAGE)
    server.truncate("a.tar.gz", at=300_000)

    def gone_after_the_first_answer(done: int, total: int | None) -> None:
        if done == 0:
            server.fail("a.tar.gz", 404)

    with pytest.raises(StepError, match=r"to resume it: .* answered 404") as raised:
        await fetch_release(
            source, releases, version="v1", url=url, on_progress=gone_after_the_first_answer
        )
    assert raised.value.passing
    assert on_disk(releases) == []


# ---- cancelled, crowded, full ------------------------------------------------


async def test_cancelling_stops_the_thread_and_removes_the_staging_folder(
    server: PackageServer, source: PackageSource, releases: Releases
) -> None:
    url = server.put("a.tar.gz", PACKAGE)
    server.slow("a.tar.gz", chunk=400_000, gate=asyncio.Event())
    fetching = asyncio.create_task(fetch_release(source, releases, version="v1", url=url))
    await until(lambda: bool(list(releases.current_link.parent.rglob("bin/server"))))
    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching
    assert on_disk(releases) == []
    assert not [one for one in threading.enumerate() if one.name.startswith("sync")]

    other = server.put("b.tar.gz", PACKAGE)
    await fetch_release(source, releases, version="v1", url=other)


async def test_packages_that_stall_keep_no_other_one_waiting_up_to_a_cap(
    server: PackageServer, source: PackageSource, tmp_path: Path
) -> None:
    gate = asyncio.Event()
    server.put("a.tar.gz", PACKAGE)
    server.slow("a.tar.gz", chunk=1000, gate=gate)
    server.put("b.tar.gz", PACKAGE)

    def fetch(place: str, name: str) -> asyncio.Task[Release]:
        releases = Releases(tmp_path / place)
        fetching = fetch_release(source, releases, version="v1", url=server.url(name))
        return asyncio.create_task(fetching)

    stalled = [fetch(str(number), "a.tar.gz") for number in range(OPEN_AT_ONCE - 1)]
    await until(lambda: len(server.requests) == OPEN_AT_ONCE - 1)
    await fetch("quick", "b.tar.gz")

    stalled += [fetch("last", "a.tar.gz"), fetch("one too many", "a.tar.gz")]
    await until(lambda: len(server.requests) == OPEN_AT_ONCE + 1)
    assert source.turns.open.locked()
    assert not any(task.done() for task in stalled)
    gate.set()
    assert len({release.path for release in await asyncio.gather(*stalled)}) == OPEN_AT_ONCE + 1
    assert len(server.requests) == OPEN_AT_ONCE + 2


async def test_limits_hold_on_the_whole_way(
    server: PackageServer, source: PackageSource, releases: Releases
) -> None:
    url = server.put("a.tar.gz", PACKAGE)
    with pytest.raises(StepError, match="at most 1000 are accepted"):
        await fetch_release(source, releases, version="v1", url=url, limits=Limits(unpacked=1000))
    assert on_disk(releases) == []


async def test_memory_stays_bounded_however_large_the_package_is(
    server: PackageServer, source: PackageSource, releases: Releases
) -> None:
    url = server.put("big.tar", tar({"big": random.Random(3).randbytes(1_000_000) * 64}))
    tracemalloc.start()
    try:
        release = await fetch_release(source, releases, version="v1", url=url)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (release.path / "big").stat().st_size == 64_000_000
    assert peak < 16_000_000
