"""Dials that nobody answers: at each stage the agent gives up, and dials again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiohttp import web

from agent.connection import Connection, Patience
from agent.dialogue import Dialogue
from tests.integration.test_connection_end import Handler, answering, greet
from tests.parts.waiting import until

SOON = Patience(upgrade=0.3, answer=0.2)
PATIENT = Patience(upgrade=600.0, answer=600.0)
SWALLOWED = 2
"""So many dials get no answer; then it is well again."""


@contextmanager
def never_accepts() -> Iterator[str]:
    """The queue of this listener is full: the kernel drops every further dial."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            filling = stack.enter_context(socket.socket())
            filling.setblocking(False)
            filling.connect_ex(listener.getsockname())
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def never_speaks_tls() -> Iterator[str]:
    """The kernel takes the connection, and that is all."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"


async def never_upgrades(request: web.Request) -> web.WebSocketResponse:
    await until(lambda: request.transport is None)
    return web.WebSocketResponse()


async def never_welcomes(request: web.Request) -> web.WebSocketResponse:
    answer = web.WebSocketResponse()
    await answer.prepare(request)
    await until(lambda: request.transport is None)
    return answer


async def dials_until_connected(
    tls: ssl.SSLContext,
    urls: Iterator[str],
    log: pytest.LogCaptureFixture,
    patience: Patience = SOON,
) -> None:
    async def find_url() -> str:
        return next(urls)

    log.set_level(logging.INFO)
    connection = Connection("host-a", "boot-1", Dialogue(), lambda: 0.0, patience)
    running = asyncio.create_task(connection.run(lambda: tls, find_url))
    try:
        await until(lambda: "connected to" in log.text)
    finally:
        running.cancel()
        await asyncio.wait([running])


async def test_a_dial_into_a_network_that_is_cut_off_is_given_up_by_the_kernel(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with answering(greet) as (coordinator, tls):
        with never_accepts() as nowhere:
            urls = iter([nowhere, coordinator])
            await dials_until_connected(tls, urls, caplog, PATIENT)
    assert caplog.text.count("can't be reached: Cannot connect to host") == 1


async def test_a_dial_that_gets_no_tls_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    async with answering(greet) as (coordinator, tls):
        with never_speaks_tls() as nowhere:
            urls = iter([nowhere] * SWALLOWED + [coordinator])
            await dials_until_connected(tls, urls, caplog)
    assert caplog.text.count("can't be reached: no answer in time") == SWALLOWED


@pytest.mark.parametrize("silence", [never_upgrades, never_welcomes])
async def test_a_coordinator_that_does_not_answer_is_given_up(
    silence: Handler, caplog: pytest.LogCaptureFixture
) -> None:
    handlers = iter([silence] * SWALLOWED + [greet])

    async def answer(request: web.Request) -> web.WebSocketResponse:
        return await next(handlers)(request)

    async with answering(answer) as (coordinator, tls):
        await dials_until_connected(tls, iter([coordinator] * (SWALLOWED + 1)), caplog)
    assert caplog.text.count("can't be reached: no answer in time") == SWALLOWED
