"""Health checks, and the wait for a started service to prove itself.

A probe is one bounded try and never raises for a sick service; it says what is wrong. The
rule for when probes add up to "healthy" is `agent.core.window`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import aiohttp
from yarl import URL

from agent.command import release_directory, resolve_command, service_environment
from agent.core.window import Verdict, Window
from agent.network_reasons import NETWORK_ERRORS, reason_of
from agent.output import has_lines, readable, with_lines
from agent.ports import Driver, HealthCheck, StepError
from agent.service_user import find_user

PROBE_SECONDS = 5.0
"""One probe may take this long."""

LOOK_SECONDS = 0.25
"""A service that died is noticed after this time, however rare the probes are."""

HURRIED_SECONDS = 1.0
"""A probe that may take less than this may fail for the lack of time alone."""

_LEAST_PROBE_SECONDS = 0.1
_DYING_SECONDS = 0.2
_COMMAND_OUTPUT_BYTES = 16 * 1024


class RunningCheck:
    """The default where no check is configured: healthy if it runs, which the driver tells."""

    async def probe(self, current: Path, timeout: float) -> str:
        """Return ""."""
        return ""


class HttpCheck:
    """Healthy if a GET is answered with 2xx. Redirects are not followed; https is verified."""

    def __init__(self, url: str) -> None:
        self._url = URL(url)
        self._name = f"health check {self._url.with_user(None).with_query(None)}"

    async def probe(self, current: Path, timeout: float) -> str:
        """Ask once, on a connection of its own."""
        limit = aiohttp.ClientTimeout(total=timeout)
        try:
            async with (
                aiohttp.ClientSession(timeout=limit, cookie_jar=aiohttp.DummyCookieJar()) as http,
                http.get(self._url, allow_redirects=False) as answer,
            ):
                return "" if answer.status // 100 == 2 else self._answered(answer.status)
        except TimeoutError:
            return f"{self._name}: no answer within {timeout:.1f} s"
        except NETWORK_ERRORS as error:
            return f"{self._name}: {reason_of(error)}"

    def _answered(self, status: int) -> str:
        hint = ", redirects are not followed" if 300 <= status < 400 else ""
        return f"{self._name} answered {status}{hint}"


class TcpCheck:
    """Healthy if a connection can be opened."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    async def probe(self, current: Path, timeout: float) -> str:
        """Connect once and hang up."""
        name = f"health check tcp {self._host}:{self._port}"
        try:
            async with asyncio.timeout(timeout):
                _, writer = await asyncio.open_connection(self._host, self._port)
                # Aborted, not closed: a peer that never hangs up must not hold the probe.
                writer.transport.abort()
        except TimeoutError:
            return f"{name}: no connection within {timeout:.1f} s"
        except OSError as error:
            return f"{name}: {reason_of(error)}"
        return ""


class CommandCheck:
    """Healthy if a command, run inside the release, ends with status 0.

    It gets PATH, HOME and LANG of the agent and `environment`, and runs as `user`, "" for the
    agent's own.
    """

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str] | None = None, user: str = ""
    ) -> None:
        self._argv = tuple(argv)
        self._user = user
        self._environment = dict(environment or {})

    async def probe(self, current: Path, timeout: float) -> str:
        """Run the command once; what it left running after `timeout` is killed."""
        name = f"health check command {self._argv[0]!r}"
        try:
            directory = release_directory(current)
            who = find_user(self._user) if self._user else None
            environment = service_environment(who.environment if who else {}, self._environment)
            argv = resolve_command(self._argv, directory, environment["PATH"])
            status, output = await _run_bounded(
                who.command(argv) if who else argv, directory, environment, timeout
            )
        except TimeoutError:
            return f"{name} did not end within {timeout:.1f} s"
        except StepError as error:
            return f"{name}: {error.message}"
        except OSError as error:
            return f"{name} could not be run: {error.strerror or error}"
        if status == 0:
            return ""
        how = f"ended with status {status}" if status > 0 else f"was killed by signal {-status}"
        return f"{name} {how}" + (f":\n{output}" if output else "")


async def wait_healthy(
    driver: Driver,
    check: HealthCheck,
    current: Path,
    *,
    interval: float,
    timeout: float,
    stable: float,
) -> str:
    """Wait until a service that was just started has proven itself.

    It must become healthy within `timeout` seconds, probed every `interval`, and then stay
    healthy and keep its generation for `stable` seconds: returns that generation. Raises
    `StepError` (passing) with the reason and the last lines of the service's output; at once
    if the service ends.
    """
    now = time.monotonic()
    window = Window(started_at=now, timeout=timeout, stable=stable)
    probe_at = now
    while window.verdict is Verdict.WAITING:
        window = await _look(window, driver)
        now = time.monotonic()
        if window.verdict is Verdict.WAITING and now >= probe_at:
            window = await _probe(window, driver, check, current)
            now = time.monotonic()
            probe_at = min(now + interval, max(now, window.due_at))
        if window.verdict is Verdict.WAITING:
            await asyncio.sleep(min(probe_at - now, LOOK_SECONDS))
    if window.verdict is Verdict.FAILED:
        raise StepError(await with_last_lines(window.reason, driver), passing=True)
    return window.generation


async def with_last_lines(reason: str, driver: Driver) -> str:
    """Add what the service wrote; one that was seen to end with an error has told it already."""
    return reason if has_lines(reason) else with_lines(reason, await driver.last_lines())


async def _look(window: Window, driver: Driver) -> Window:
    state = await driver.state()
    return window.looked(running=state.running, generation=state.generation, detail=state.detail)


async def _probe(window: Window, driver: Driver, check: HealthCheck, current: Path) -> Window:
    left = window.due_at - time.monotonic() if window.healthy_at is None else PROBE_SECONDS
    allowed = min(PROBE_SECONDS, max(left, _LEAST_PROBE_SECONDS))
    problem = await check.probe(current, allowed)
    now = time.monotonic()
    if problem and window.healthy_at is not None:
        # A dying service closes its sockets first, and its end is the better reason.
        await asyncio.sleep(_DYING_SECONDS)
    looked = await _look(window, driver)
    if looked.verdict is Verdict.FAILED:
        return looked
    return looked.probed(now, problem, hurried=allowed < HURRIED_SECONDS)


async def _run_bounded(
    argv: Sequence[str], directory: Path, environment: Mapping[str, str], timeout: float
) -> tuple[int, str]:
    """Run a command as a session of its own; return its status and its last lines."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=directory,
        env=environment,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(timeout):
            output = await _read_tail(process.stdout)
            return await process.wait(), output
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _read_tail(stream: asyncio.StreamReader | None) -> str:
    """Read to the end, however much it is, and keep only the last lines."""
    tail = b""
    while stream is not None and (chunk := await stream.read(_COMMAND_OUTPUT_BYTES)):
        tail = (tail + chunk)[-_COMMAND_OUTPUT_BYTES:]
    return readable(tail.decode(errors="replace"))
