"""Health checks against real servers and processes, and the wait that adds them up."""

from __future__ import annotations

import asyncio
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web

from agent.drivers.process import ProcessDriver
from agent.health import CommandCheck, HttpCheck, RunningCheck, TcpCheck, wait_healthy
from agent.ports import HealthCheck, StepError
from tests.parts.fake_driver import FakeDriver
from tests.parts.waiting import until

HERE = Path("/")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def served(handler: Handler, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/healthz", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    yield f"{'https' if tls else 'http'}://127.0.0.1:{port}/healthz"
    await runner.cleanup()


def answering(*statuses: int) -> Handler:
    """Answers these, one after the other, then the last one for ever."""
    left = list(statuses)

    async def handle(request: web.Request) -> web.Response:
        return web.Response(
            status=left.pop(0) if len(left) > 1 else left[0], headers={"Location": "/healthz"}
        )

    return handle


async def hang(request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    return web.Response()


# -- one probe ---------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 204, 299])
async def test_http_2xx_is_healthy(status: int) -> None:
    async with served(answering(status)) as url:
        assert await HttpCheck(url).probe(HERE, 5) == ""


@pytest.mark.parametrize("status", [302, 404, 500, 503])
async def test_http_anything_else_is_named(status: int) -> None:
    async with served(answering(status)) as url:
        said = await HttpCheck(url).probe(HERE, 5)
        assert said.startswith(f"health check {url} answered {status}")


async def test_http_query_is_asked_but_never_shown() -> None:
    async with served(answering(500)) as url:
        assert "secret" not in await HttpCheck(f"{url}?token=secret").probe(HERE, 5)


async def test_http_hanging_server_is_bounded() -> None:
    async with served(hang) as url:
        assert "no answer within 0.2 s" in await HttpCheck(url).probe(HERE, 0.2)


async def test_http_without_a_server_says_so(unused_port: int) -> None:
    url = f"http://127.0.0.1:{unused_port}/healthz"
    assert "Connection refused" in await HttpCheck(url).probe(HERE, 5)


async def test_https_with_an_unknown_authority_is_not_healthy() -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    async with served(answering(200), tls) as url:
        assert "certificate is not trusted" in await HttpCheck(url).probe(HERE, 5)


async def test_what_is_not_http_is_named() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail ready\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        said = await HttpCheck(f"http://127.0.0.1:{port}/").probe(HERE, 5)
    assert said.startswith("health check http://127.0.0.1:")


async def test_tcp_open_port_is_healthy_and_a_closed_one_is_not(unused_port: int) -> None:
    async with served(hang) as url:
        port = int(url.rpartition(":")[2].partition("/")[0])
        assert await TcpCheck("127.0.0.1", port).probe(HERE, 5) == ""
    said = await TcpCheck("127.0.0.1", unused_port).probe(HERE, 5)
    assert said.startswith(f"health check tcp 127.0.0.1:{unused_port}: ")
    assert "Connection refused" in said


async def test_command_runs_inside_the_release(tmp_path: Path) -> None:
    check_in(tmp_path, "test -f ./check && test $COLOUR = green")
    assert await CommandCheck(["./check"], {"COLOUR": "green"}).probe(tmp_path, 5) == ""


async def test_command_failure_tells_status_and_output(tmp_path: Path) -> None:
    check_in(tmp_path, "echo queue is full; exit 4")
    said = await CommandCheck(["./check"]).probe(tmp_path, 5)
    assert said == "health check command './check' ended with status 4:\nqueue is full"


async def test_command_that_is_missing_is_not_healthy(tmp_path: Path) -> None:
    assert "not found in" in await CommandCheck(["./check"]).probe(tmp_path, 5)


async def test_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    check_in(tmp_path, "echo $$ >pid; sleep 300 & wait")
    said = await CommandCheck(["./check"]).probe(tmp_path, 0.5)
    assert said == "health check command './check' did not end within 0.5 s"
    group = (tmp_path / "pid").read_text().strip()

    async def nobody_is_left() -> bool:
        search = await asyncio.create_subprocess_exec("pgrep", "-g", group)
        return await search.wait() == 1

    await until(nobody_is_left, within=10)


async def test_command_with_endless_output_is_bounded(tmp_path: Path) -> None:
    check_in(tmp_path, "yes | head -c 3000000; exit 1")
    assert len(await CommandCheck(["./check"]).probe(tmp_path, 30)) < 2000


# -- the wait ----------------------------------------------------------------------------


async def wait(
    driver: FakeDriver | ProcessDriver,
    check: HealthCheck,
    current: Path = HERE,
    *,
    timeout: float = 10,
    stable: float = 0.4,
) -> None:
    await wait_healthy(driver, check, current, interval=0.1, timeout=timeout, stable=stable)


async def refused(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(StepError) as error:
        await wait(*args, **kwargs)
    assert error.value.passing
    return error.value.message


@pytest.fixture
async def running(tmp_path: Path) -> FakeDriver:
    driver = FakeDriver()
    await driver.start(tmp_path, {})
    return driver


async def test_a_service_that_needs_a_moment_is_waited_for(running: FakeDriver) -> None:
    async with served(answering(503, 503, 503, 200)) as url:
        await wait(running, HttpCheck(url))


async def test_a_service_that_never_gets_well_fails_with_its_last_answer(
    running: FakeDriver,
) -> None:
    async with served(answering(500)) as url:
        reason = await refused(running, HttpCheck(url), timeout=0.5)
    assert reason == f"health check {url} answered 500; not healthy within 0.5 s"


async def test_a_service_that_runs_but_does_not_get_well_tells_its_last_lines(
    running: FakeDriver,
) -> None:
    running.written = "database unreachable"
    async with served(answering(500)) as url:
        reason = await refused(running, HttpCheck(url), timeout=0.5)
    assert reason.endswith("not healthy within 0.5 s; last lines:\ndatabase unreachable")


async def test_a_service_that_ended_without_a_trace_still_tells_its_last_lines(
    running: FakeDriver,
) -> None:
    running.written = "all done"
    running.crash("")
    reason = await refused(running, RunningCheck())
    assert reason == "it exited with status 0 or was stopped; last lines:\nall done"


async def test_sick_again_within_the_window_fails(running: FakeDriver) -> None:
    async with served(answering(200, 200, 500)) as url:
        reason = await refused(running, HttpCheck(url), stable=30)
    assert f"health check {url} answered 500, 0." in reason
    assert "after it had become healthy" in reason


async def test_field_note_26_a_restart_within_the_window_fails_though_every_probe_is_well(
    running: FakeDriver,
) -> None:
    asyncio.get_running_loop().call_later(0.2, lambda: running.crash("", restarted=True))
    assert "restarted by itself" in await refused(running, RunningCheck(), stable=30)


async def test_without_a_check_running_through_the_window_is_enough(running: FakeDriver) -> None:
    began = time.monotonic()
    await wait(running, RunningCheck(), stable=0.5)
    assert time.monotonic() - began >= 0.5


async def test_a_crash_inside_the_stable_window_is_caught_with_its_last_lines(
    tmp_path: Path,
) -> None:
    driver = service(tmp_path, "import time; print('out of ink', flush=True); time.sleep(2)", 3)
    await driver.start(tmp_path, {})
    try:
        reason = await refused(driver, RunningCheck(), tmp_path, stable=60)
    finally:
        await driver.stop()
    assert reason.startswith("exited with status 3 2.")
    assert reason.endswith("s after the start; last lines:\nout of ink")


async def test_a_death_ends_the_wait_long_before_the_timeout(
    tmp_path: Path, unused_port: int
) -> None:
    driver = service(tmp_path, "pass", 9)
    await driver.start(tmp_path, {})
    try:
        check = TcpCheck("127.0.0.1", unused_port)
        async with asyncio.timeout(30):
            reason = await refused(driver, check, tmp_path, timeout=3600)
    finally:
        await driver.stop()
    assert reason.startswith("exited with status 9")


def service(tmp_path: Path, code: str, status: int) -> ProcessDriver:
    command = [sys.executable, "-c", f"{code}\nraise SystemExit({status})"]
    return ProcessDriver("instance-1", command, tmp_path / "state", {}, under_systemd=False)


def check_in(folder: Path, line: str) -> None:
    (folder / "check").write_text(f"#!/bin/sh\n{line}\n")
    (folder / "check").chmod(0o755)


@pytest.fixture
async def unused_port() -> int:
    """A port that nothing listens on: it was free a moment ago."""
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port: int = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return port
