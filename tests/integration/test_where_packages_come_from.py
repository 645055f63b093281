"""Packages come from allowed hosts and addresses only, whatever a name or a redirect says."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp import web

from agent.allowed_hosts import AllowedHosts, HostRule
from agent.connector import CheckedConnector, refusal_in
from agent.download import PackageSource
from agent.fetch import fetch_release
from agent.minisign import PublicKey
from agent.releases import Releases
from agent.terms import Terms
from agent.trust import Trust
from tests.parts.names import Names
from tests.parts.package_scene import PACKAGE, failure
from tests.parts.package_server import PackageServer
from tests.parts.signing import Signer

HOST = "packages.example.com"
CDN = "cdn.example.net"
LINK_LOCAL = "is link-local, and allowed_hosts does not name it"


def terms(*rules: str) -> Terms:
    return Terms(hosts=AllowedHosts([HostRule.parse(rule) for rule in rules]))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[PackageServer]:
    async with PackageServer(tmp_path, names=[HOST, CDN]) as running:
        yield running


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(tmp_path / "root")


def told(server: PackageServer, why: str, host: str = HOST) -> str:
    return f"{server.url('a.tar.gz', host)}: refused: {why}"


# ---- hosts -------------------------------------------------------------------


async def test_a_named_host_at_a_named_address_serves(
    server: PackageServer, releases: Releases
) -> None:
    server.put("a.tar.gz", PACKAGE)
    names = Names(packages=[["127.0.0.1"]])
    allowed = terms(f"{HOST}:{server.port}", "127.0.0.0/8")
    async with PackageSource(server.ca_file, allowed, resolver=names) as source:
        await fetch_release(source, releases, version="v1", url=server.url("a.tar.gz", HOST))
    assert names.asked == [HOST]


async def test_a_host_that_is_not_named_is_not_even_looked_up(
    server: PackageServer, releases: Releases
) -> None:
    server.put("a.tar.gz", PACKAGE)
    names = Names(packages=[["127.0.0.1"]])
    allowed = terms("other.example.com", "127.0.0.0/8")
    async with PackageSource(server.ca_file, allowed, resolver=names) as source:
        error = await failure(source, releases, server.url("a.tar.gz", HOST))
    why = f"allowed_hosts does not name {HOST}:{server.port}"
    assert error.message == told(server, why)
    assert not error.passing
    assert (names.asked, server.requests) == ([], [])


async def test_with_hosts_set_loopback_must_be_named_by_its_address(
    server: PackageServer, releases: Releases
) -> None:
    url = server.put("a.tar.gz", PACKAGE)
    names = Names(packages=[["127.0.0.1"]])
    async with PackageSource(server.ca_file, terms(HOST), resolver=names) as source:
        named = await failure(source, releases, server.url("a.tar.gz", HOST))
        literal = await failure(source, releases, url)
    why = "127.0.0.1 is loopback, and allowed_hosts does not name it"
    assert named.message == told(server, f"{HOST} leads to {why}")
    assert literal.message == told(server, why, "127.0.0.1")
    assert not named.passing
    assert not literal.passing
    assert server.requests == []
    async with PackageSource(server.ca_file, terms("127.0.0.1")) as source:
        await fetch_release(source, releases, version="v1", url=url)


# ---- addresses ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("169.254.169.254", "link-local"),
        ("::ffff:169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("0.0.0.0", "no host's address"),
        ("224.0.0.1", "multicast"),
        ("fd00:ec2::254", "a cloud's metadata service"),
    ],
)
async def test_a_name_that_leads_to_an_address_of_no_package_is_refused_without_any_rule(
    server: PackageServer, releases: Releases, address: str, what: str
) -> None:
    names = Names(packages=[[address]])
    async with PackageSource(server.ca_file, resolver=names) as source:
        error = await failure(source, releases, server.url("a.tar.gz", HOST))
        shown = f"[{address}]" if ":" in address else address
        literal = await failure(source, releases, f"https://{shown}/a.tar.gz")
    why = f"{address} is {what}, and allowed_hosts does not name it"
    assert error.message == told(server, f"{HOST} leads to {why}")
    assert f"refused: {address.rpartition(':ffff:')[0]}" in literal.message
    assert what in literal.message
    assert not error.passing
    assert not literal.passing


async def test_a_name_with_one_refused_address_among_good_ones_is_refused_whole(
    server: PackageServer, releases: Releases
) -> None:
    server.put("a.tar.gz", PACKAGE)
    names = Names(packages=[["127.0.0.1", "169.254.169.254"]])
    async with PackageSource(server.ca_file, resolver=names) as source:
        error = await failure(source, releases, server.url("a.tar.gz", HOST))
    assert error.message == told(server, f"{HOST} leads to 169.254.169.254 {LINK_LOCAL}")
    assert server.requests == []


async def test_a_name_that_is_bound_anew_between_check_and_connection_gains_nothing(
    server: PackageServer, releases: Releases
) -> None:
    """The server is asked where the first answer led; the second answer is never heard."""
    server.put("a.tar.gz", PACKAGE)
    names = Names(packages=[["127.0.0.1"], ["169.254.169.254"]])
    async with PackageSource(server.ca_file, resolver=names) as source:
        await fetch_release(source, releases, version="v1", url=server.url("a.tar.gz", HOST))
    assert names.asked == [HOST]
    assert [one.status for one in server.requests] == [200]


async def test_a_name_that_is_bound_anew_for_the_rest_of_a_package_is_checked_again(
    server: PackageServer, releases: Releases
) -> None:
    """A broken download is resumed on a new connection: the name's new address is refused."""
    server.put("a.tar.gz", PACKAGE)
    server.truncate("a.tar.gz", at=300_000)
    names = Names(packages=[["127.0.0.1"], ["169.254.169.254"]])
    async with PackageSource(server.ca_file, resolver=names, resume_pause=0.001) as source:
        error = await failure(source, releases, server.url("a.tar.gz", HOST))
    assert f"{HOST} leads to 169.254.169.254 {LINK_LOCAL}" in error.message
    assert names.asked == [HOST, HOST]


class ChangesItsMind:
    """A rule that lets an address through so many times, and refuses it from then on."""

    def __init__(self, times: int) -> None:
        self._times = times

    def refuse_address(self, text: str, port: int) -> str:
        self._times -= 1
        return "" if self._times >= 0 else f"{text} is refused now"


@pytest.mark.parametrize(
    ("times", "greeted"), [(0, 0), (1, 0), (2, 1)], ids=["resolved", "connecting", "connected"]
)
async def test_each_of_the_three_looks_at_an_address_can_refuse_it(
    server: PackageServer, times: int, greeted: int
) -> None:
    server.put("a.tar.gz", PACKAGE)
    trust = ssl.create_default_context(cafile=str(server.ca_file))
    names = Names(packages=[["127.0.0.1"]])
    connector = CheckedConnector(ChangesItsMind(times), trust, names)
    shaken_hands = []
    trace = aiohttp.TraceConfig()

    async def note(*_: object) -> None:
        shaken_hands.append(1)

    trace.on_connection_create_end.append(note)
    async with aiohttp.ClientSession(connector=connector, trace_configs=[trace]) as session:
        with pytest.raises((aiohttp.ClientError, OSError)) as refused:
            await session.get(server.url("a.tar.gz", HOST))
    assert refusal_in(refused.value).endswith("127.0.0.1 is refused now")
    assert len(shaken_hands) == greeted
    assert server.requests == []


# ---- redirects ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        (f"https://{CDN}/a.tar.gz", f"refused: allowed_hosts does not name {CDN}:443"),
        ("https://169.254.169.254/latest", f"refused: 169.254.169.254 {LINK_LOCAL}"),
        ("https://10.0.0.1/a.tar.gz", "refused: 10.0.0.1 is private, and allowed_hosts does not"),
        ("https://[::1]/a.tar.gz", "refused: ::1 is loopback, and allowed_hosts does not name it"),
        ("https://2130706433/a.tar.gz", "its host is no plain name or address: refused"),
        ("https://me:pw@127.0.0.1/a.tar.gz", "redirects to https://127.0.0.1/a.tar.gz with user"),
        ("http://127.0.0.1/a.tar.gz", "which is not https: refused"),
        ("//169.254.169.254/latest", f"refused: 169.254.169.254 {LINK_LOCAL}"),
    ],
)
async def test_a_redirect_leads_only_where_a_url_may(
    server: PackageServer, releases: Releases, to: str, reason: str
) -> None:
    server.redirect("a.tar.gz", f"{to}?key=s3cret")
    async with PackageSource(server.ca_file, terms("127.0.0.1")) as source:
        error = await failure(source, releases, server.url("a.tar.gz"))
    assert reason in error.message
    assert "pw" not in error.message
    assert not error.passing
    assert len(server.requests) == 1


async def test_the_signature_of_a_package_comes_from_an_allowed_host_only(
    server: PackageServer, releases: Releases
) -> None:
    server.redirect("a.tar.gz.minisig", "https://169.254.169.254/latest?key=s3cret")
    trust = Trust([PublicKey.parse(Signer().public)])
    async with PackageSource(server.ca_file, Terms(trust=trust)) as source:
        error = await failure(source, releases, server.put("a.tar.gz", PACKAGE))
    assert error.message == (
        f"no signature: https://169.254.169.254/latest: refused: 169.254.169.254 {LINK_LOCAL}"
    )


async def test_nothing_of_one_origin_is_told_to_another(
    server: PackageServer, releases: Releases
) -> None:
    """Neither cookie nor credential nor the other's ETag; and nothing may be compressed."""
    asked: list[tuple[str, dict[str, str]]] = []
    cdn = server.url("b.tar.gz", CDN)

    async def send_on(request: web.Request) -> web.StreamResponse:
        asked.append((request.host.partition(":")[0], dict(request.headers)))
        answer = web.Response(status=302, headers={"Location": f"{cdn}?key=s3cret"})
        answer.set_cookie("session", "s3cret")
        return answer

    async def serve(request: web.Request) -> web.StreamResponse:
        asked.append((request.host.partition(":")[0], dict(request.headers)))
        resumed = "Range" in request.headers
        start = int(request.headers.get("Range", "bytes=0-")[len("bytes=") : -1])
        whole = len(PACKAGE)
        part = {"Content-Range": f"bytes {start}-{whole - 1}/{whole}"} if resumed else {}
        answer = web.StreamResponse(status=206 if resumed else 200, headers=part)
        answer.headers.update({"ETag": '"s3cret"', "Accept-Ranges": "bytes"})
        answer.content_length = whole - start
        await answer.prepare(request)
        await answer.write(PACKAGE[start:] if resumed else PACKAGE[:300_000])
        if not resumed and request.transport is not None:
            request.transport.close()
        return answer

    server.script("a.tar.gz", send_on)
    server.script("b.tar.gz", serve)
    names = Names(packages=[["127.0.0.1"]], cdn=[["127.0.0.1"]])
    async with PackageSource(server.ca_file, resolver=names, resume_pause=0.001) as source:
        await fetch_release(
            source, releases, version="v1", url=server.url("a.tar.gz", HOST) + "?key=s3cret"
        )
    assert [host for host, _ in asked] == [HOST, CDN, HOST, CDN]
    allowed = {"Host", "User-Agent", "Accept", "Accept-Encoding"}
    for _, headers in asked[:3]:
        assert set(headers) <= allowed
        assert "s3cret" not in str(headers)
    assert set(asked[3][1]) == allowed | {"Range", "If-Range"}
    assert {headers["Accept-Encoding"] for _, headers in asked} == {"identity"}


async def test_a_proxy_of_the_environment_is_not_used(
    server: PackageServer, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as proxy:
        proxy.setblocking(False)
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"):
            monkeypatch.setenv(name, address)
        url = server.put("a.tar.gz", PACKAGE)
        async with PackageSource(server.ca_file) as source:
            await fetch_release(source, releases, version="v1", url=url)
        with pytest.raises(BlockingIOError):
            proxy.accept()
    assert len(server.requests) == 1


# ---- limits ------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [True, False])
async def test_a_package_of_more_than_max_bytes_is_refused(
    tmp_path: Path, releases: Releases, *, lengths: bool
) -> None:
    async with PackageServer(tmp_path, lengths=lengths) as server:
        url = server.put("a.tar.gz", PACKAGE)
        async with PackageSource(server.ca_file, Terms(max_bytes=len(PACKAGE) - 1)) as source:
            error = await failure(source, releases, url)
        assert "package refused: larger than allowed: " in error.message
        assert error.message.endswith(f"at most {len(PACKAGE) - 1} are accepted")
        assert not error.passing
        async with PackageSource(server.ca_file, Terms(max_bytes=len(PACKAGE))) as source:
            await fetch_release(source, releases, version="v1", url=url)


def dripping(server: PackageServer, pause: float) -> str:
    """A package of which a byte comes after each pause; returns its URL."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = len(PACKAGE)
        await response.prepare(request)
        for byte in PACKAGE:
            await response.write(bytes([byte]))
            await asyncio.sleep(pause)
        return response

    return server.script("a.tar.gz", drip)


async def test_a_package_that_takes_more_than_max_seconds_is_given_up(
    server: PackageServer, releases: Releases
) -> None:
    url = dripping(server, 0.02)
    async with PackageSource(server.ca_file, Terms(max_seconds=1.0)) as source:
        error = await failure(source, releases, url)
    assert error.message.startswith("max_seconds is over (1 s): the ")
    assert not error.passing


async def test_a_server_slower_than_min_rate_is_given_up_and_may_be_faster_next_time(
    server: PackageServer, releases: Releases
) -> None:
    url = dripping(server, 0.02)
    async with PackageSource(server.ca_file, Terms(min_rate=1000), rate_window=0.5) as source:
        error = await failure(source, releases, url)
    assert re.fullmatch(
        r"the server is too slow: \d{1,3} bytes in \d s, and min_rate asks for 1000 a second",
        error.message,
    )
    assert error.passing


async def test_without_min_rate_a_slow_server_has_until_max_seconds(
    server: PackageServer, releases: Releases
) -> None:
    url = dripping(server, 0.02)
    slow = Terms(min_rate=0, max_seconds=1.5)
    async with PackageSource(server.ca_file, slow, rate_window=0.2) as source:
        error = await failure(source, releases, url)
    assert error.message.startswith("max_seconds is over (1.5 s)")


async def test_an_answer_that_only_drips_in_is_given_up(
    server: PackageServer, releases: Releases
) -> None:
    """Each header line comes in time; the whole answer does not."""

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(b"HTTP/1.1 200 OK\r\n")
            for number in range(1000):
                writer.write(b"X-%d: 1\r\n" % number)
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()

    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    ca_file = releases.current_link.parent.with_name("dripping.pem")
    authority.cert_pem.write_to_path(ca_file)
    listening = await asyncio.start_server(drip, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}/a.tar.gz"
    async with listening, PackageSource(ca_file, answer_timeout=0.5) as source:
        error = await failure(source, releases, url)
    assert error.message == f"{url}: the server did not answer in time"
    assert error.passing
