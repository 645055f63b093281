"""Each fault on a package's way has its own reason, and leaves nothing on the disk."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from agent.download import PackageSource
from agent.fetch import fetch_release
from agent.limits import Limits
from agent.ports import StepError
from agent.releases import Releases
from tests.parts.package_scene import PACKAGE, failure, on_disk
from tests.parts.package_server import PackageServer, Request
from tests.parts.packages import Content, header, sha256, tar, tar_gz


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
    ("status", "passing"),
    [
        *((status, False) for status in (204, 304, 400, 403, 404, 410)),
        *((status, True) for status in (408, 429, 500, 502, 503)),
    ],
)
async def test_a_status_is_told_and_passing_where_it_may_pass(
    server: PackageServer,
    source: PackageSource,
    releases: Releases,
    status: int,
    passing: bool,
) -> None:
    url = server.put("a.tar.gz", PACKAGE)
    server.fail("a.tar.gz", status)
    error = await failure(source, releases, url)
    assert error.message == f"{url}: the server answered {status}"
    assert error.passing is passing


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("7", 7), ("0", 0), ("soon", 0), ("-3", 0), ("9" * 400, 86_400)],
)
async def test_a_server_may_say_how_long_it_wants_to_be_left_alone(
    server: PackageServer,
    source: PackageSource,
    releases: Releases,
    retry_after: str,
    seconds: float,
) -> None:
    url = server.put("a.tar.gz", PACKAGE)
    server.fail("a.tar.gz", 429, retry_after=retry_after)
    error = await failure(source, releases, url)
    assert error.passing
    assert error.retry_after == seconds
    said = f"{url}: the server answered 429"
    assert error.message == (f"{said} (retry after {seconds} s)" if seconds else said)


async def test_a_date_to_retry_after_is_read_by_the_servers_own_clock(
    server: PackageServer, source: PackageSource, releases: Releases
) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        headers = {
            "Date": "Wed, 21 Oct 2015 07:28:00 GMT",
            "Retry-After": "Wed, 21 Oct 2015 07:29:30 GMT",
        }
        return web.Response(status=503, headers=headers)

    error = await failure(source, releases, server.script("a.tar.gz", answer))
    assert error.retry_after == 90


async def test_a_resume_waits_as_long_as_it_is_asked_to(
    server: PackageServer, source: PackageSource, releases: Releases
) -> None:
    url = server.put("a.tar.gz", PACKAGE)
    server.truncate("a.tar.gz", at=300_000)

    def busy_after_the_first_answer(done: int, total: int | None) -> None:
        if done == 0:
            server.fail("a.tar.gz", 503, retry_after="1")

    await fetch_release(
        source, releases, version="v1", url=url, on_progress=busy_after_the_first_answer
    )
    assert [one.status for one in server.requests] == [200, 503, 206]
    assert server.requests[2].at - server.requests[1].at >= 1


async def test_500_twice_then_200_is_two_passing_failures_and_a_release(
    server: PackageServer, source: PackageSource, releases: Releases
) -> None:
    url = server.put("a.tar.gz", PACKAGE)
    server.fail("a.tar.gz", 500, 500)
    for _ in range(2):
        assert (await failure(source, releases, url)).passing
    await fetch_release(source, releases, version="v1", url=url)
    assert server.requests == [Request("a.tar.gz", "", status) for status in (500, 500, 200)]


async def test_a_changed_package_is_told_with_both_digests(
    server: PackageServer, source: PackageSource, releases: Releases
) -> None:
    other = tar_gz({"bin/server": b"other"})
    url = server.put("a.tar.gz", other)
    error = await failure(source, releases, url, digest=sha256(PACKAGE))
    assert error.message == (
        f"package changed: expected sha256 {sha256(PACKAGE)}, got {sha256(other)}"
    )
    assert not error.passing


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<html>please log in</html>", "it is not an archive (it begins with '<html>please"),
        (b"", "it is empty"),
        (tar_gz({"../evil": b"x"}), "'../evil' leads upwards"),
        (tar_gz({"a\x1b]0;title": b"x"}), r"'a\x1b]0;title' has a control character"),
        (PACKAGE[:-100], "the compressed data ends in the middle"),
    ],
)
async def test_a_refused_archive_is_told_and_not_tried_again(
    server: PackageServer, source: PackageSource, releases: Releases, data: bytes, reason: str
) -> None:
    error = await failure(source, releases, server.put("a.tar.gz", data))
    assert error.message.startswith("package refused: ")
    assert reason in error.message
    assert not error.passing


async def test_a_redirect_to_http_is_refused(
    server: PackageServer, source: PackageSource, releases: Releases
) -> None:
    server.redirect("a.tar.gz", "http://127.0.0.1/a.tar.gz?token=s3cret")
    error = await failure(source, releases, server.url("a.tar.gz"))
    assert "redirects to http://127.0.0.1/a.tar.gz, which is not https" in error.message
    assert not error.passing


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("/loop", "more than 3 redirects"),
        ("https://[broken", "no valid URL"),
        ("https://a..b/", "no valid URL"),
        ("", "no valid URL"),
    ],
)
async def test_a_redirect_to_nowhere_is_refused(
    server: PackageServer, source: PackageSource, releases: Releases, location: str, reason: str
) -> None:
    server.redirect("a.tar.gz", location or "\t")
    server.redirect("loop", "/loop")
    error = await failure(source, releases, server.url("a.tar.gz"))
    assert reason in error.message
    assert not error.passing


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1/a.tar", "http://127.0.0.1/a.tar is not https"),
        ("https://", "not a valid https:// URL"),
        ("https://host:99999/a", "not a valid https:// URL"),
        ("/a.tar", "not a valid https:// URL"),
        (f"https://{'a' * 64}.example/a.tar", "not a valid https:// URL"),
        ("https://a..b/a.tar", "not a valid https:// URL"),
    ],
)
async def test_a_url_that_is_not_https_is_refused(
    source: PackageSource, releases: Releases, url: str, reason: str
) -> None:
    error = await failure(source, releases, url)
    assert reason in error.message
    assert not error.passing


async def test_a_server_of_a_foreign_authority_is_not_trusted(
    server: PackageServer, releases: Releases, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign.pem"
    trustme.CA().cert_pem.write_to_path(foreign)
    for ca_file in (None, foreign):
        async with PackageSource(ca_file) as source:
            error = await failure(source, releases, server.put("a.tar.gz", PACKAGE))
            assert "certificate is not trusted" in error.message
            assert not error.passing


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_a_bad_package_ca_file_is_named(
    server: PackageServer, releases: Releases, tmp_path: Path, content: str | None
) -> None:
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_text(content)
    async with PackageSource(ca_file) as source:
        error = await failure(source, releases, server.put("a.tar.gz", PACKAGE))
    assert f"package_ca_file {ca_file}" in error.message
    assert not error.passing


async def test_a_server_that_is_away_may_come_back(
    server: PackageServer, source: PackageSource, releases: Releases
) -> None:
    url = server.put("a.tar.gz", PACKAGE)
    await server.stop()
    error = await failure(source, releases, url)
    assert error.message == f"{url}: can't connect (Connection refused)"
    assert error.passing
    await server.start()
    await fetch_release(source, releases, version="v1", url=url)


async def test_a_server_that_speaks_no_tls_is_told(releases: Releases) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ready\r\n")
        await writer.drain()
        writer.close()

    plain = await asyncio.start_server(greet, "127.0.0.1", 0, family=socket.AF_INET)
    port = plain.sockets[0].getsockname()[1]
    async with plain, PackageSource(None) as source:
        error = await failure(source, releases, f"https://127.0.0.1:{port}/a.tar")
    assert "TLS could not be set up" in error.message
    assert error.passing


async def test_a_silent_server_is_given_up(server: PackageServer, releases: Releases) -> None:
    url = server.put("a.tar.gz", PACKAGE)
    server.slow("a.tar.gz", chunk=1000, gate=asyncio.Event())
    async with PackageSource(server.ca_file, read_timeout=0.2, resume_pause=0.001) as source:
        error = await failure(source, releases, url)
    assert f"000 of {len(PACKAGE)} bytes: stalled for 0.2 s; gave up" in error.message
    assert error.passing


@pytest.mark.parametrize(
    ("pause", "told", "reason"),
    [
        (60.0, True, "the download stalled for "),
        (0.01, True, "the server was too slow: "),
        (0.01, False, "the server told no length"),
    ],
)
async def test_a_fetch_whose_time_runs_out_says_what_took_so_long(
    server: PackageServer,
    source: PackageSource,
    releases: Releases,
    *,
    pause: float,
    told: bool,
    reason: str,
) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if told:
            response.content_length = len(PACKAGE)
        await response.prepare(request)
        for byte in PACKAGE:
            await response.write(bytes([byte]))
            await asyncio.sleep(pause)
        return response

    url = server.script("a.tar.gz", drip)
    soon = asyncio.get_running_loop().time() + 3
    with pytest.raises(StepError, match="timed out while preparing: ") as raised:
        await fetch_release(source, releases, version="v1", url=url, until=soon)
    assert reason in raised.value.message
    assert not raised.value.passing
    assert on_disk(releases) == []


async def test_a_package_without_a_length_is_cut_at_the_largest_size(
    server: PackageServer, source: PackageSource, releases: Releases
) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(tar({"bin/server": b"#!/bin/sh"}))
        while True:
            await response.write(bytes(100_000))

    url = server.script("a.tar", endless)
    with pytest.raises(StepError, match="larger than allowed") as raised:
        await fetch_release(
            source, releases, version="v1", url=url, limits=Limits(unpacked=1_000_000)
        )
    assert not raised.value.passing
    assert on_disk(releases) == []


async def test_a_refused_archive_ends_the_download_without_waiting_for_the_rest(
    server: PackageServer, releases: Releases
) -> None:
    hostile = header("fine", b"x") + header("../evil", b"x") + bytes(10_000_000)
    url = server.put("a.tar", hostile)
    server.slow("a.tar", chunk=100_000, gate=asyncio.Event())
    async with PackageSource(server.ca_file, read_timeout=3600) as patient:
        error = await failure(patient, releases, url)
    assert "leads upwards" in error.message


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4M", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("needs root and mount")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.root
@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"a": random.Random(2).randbytes(3_000_000)}, "no space for a package of"),
        ({"a": bytes(8_000_000)}, "no space left for the package: 'a' needs 8000000 bytes"),
        ({f"f{n}": bytes(900_000) for n in range(8)}, "no space left for the package"),
    ],
    ids=["by-length", "by-a-file", "while-writing"],
)
async def test_a_full_disk_is_named_and_left_as_it_was(
    server: PackageServer,
    source: PackageSource,
    small_disk: Path,
    files: dict[str, Content],
    reason: str,
) -> None:
    releases = Releases(small_disk / "root")
    error = await failure(source, releases, server.put("a.tar.gz", tar_gz(files)))
    assert reason in error.message
    assert not error.passing
