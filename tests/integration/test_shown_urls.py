"""What the agent says of a package URL and of where it was led: never the query or user info."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agent.download import PackageSource
from agent.ports import StepError
from tests.parts.package_server import PackageServer

MARK = "s1gnature"
QUERY = f"?X-Signature={MARK}#{MARK}"
BODY = b"x" * 100_000


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[PackageServer]:
    async with PackageServer(tmp_path) as serving:
        yield serving


def led(server: PackageServer, to: str) -> str:
    server.redirect("start", to)
    return server.url("start")


def broken(server: PackageServer) -> str:
    server.truncate("broken", at=10, times=100)
    return server.put("broken", BODY)


def changing(server: PackageServer) -> str:
    server.vary("changing", [BODY, BODY + b"y"])
    server.truncate("changing", at=10)
    return server.put("changing", BODY)


SCENES: list[tuple[Callable[[PackageServer], str], str]] = [
    (lambda server: server.url("missing"), "missing: the server answered 404"),
    (lambda server: "https://127.0.0.1:1/p", "can't connect"),
    (lambda server: "http://127.0.0.1:1/p", "http://127.0.0.1:1/p is not https"),
    (lambda server: led(server, server.url("there") + QUERY), "there: the server answered 404"),
    (lambda server: led(server, server.url("start") + QUERY), "more than 3 redirects"),
    (lambda server: led(server, f"https://127.0.0.1:0/p{QUERY}"), "redirects to no valid URL"),
    (
        lambda server: led(server, f"http://me:{MARK}@127.0.0.1:1/p{QUERY}"),
        "redirects to http://127.0.0.1:1/p, which is not https",
    ),
    (broken, "broke off after"),
    (changing, "the package changed meanwhile"),
]


@pytest.mark.parametrize(("scene", "reason"), SCENES, ids=[reason for _, reason in SCENES])
async def test_no_reason_tells_a_query(
    server: PackageServer,
    caplog: pytest.LogCaptureFixture,
    scene: Callable[[PackageServer], str],
    reason: str,
) -> None:
    caplog.set_level(logging.DEBUG)
    async with PackageSource(server.ca_file, resume_pause=0.001) as source:
        with pytest.raises(StepError) as raised:
            await read_all(source, scene(server) + QUERY)
    assert reason in raised.value.message
    assert MARK not in raised.value.message
    assert MARK not in caplog.text
    assert raised.value.__cause__ is None


async def read_all(source: PackageSource, url: str) -> None:
    async with source.open(url) as stream:
        while await stream.read():
            pass
