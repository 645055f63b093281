"""One connection to the coordinator at a time, for ever: dial, greet, talk.

A coordinator that is silent for three heartbeats is given up and dialled anew, after a
growing pause with full jitter. Losing the connection never changes what runs. What is
said is the dialogue's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
import socket as sockets
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import aiohttp

from agent.core.backoff import pause
from agent.dialogue import Dialogue, Outbox
from agent.frames import BadFrameError, ConnectionLostError, Frames, refusal_in
from protocol import __version__
from protocol.codec import MAX_FRAME
from protocol.messages import FIXED_SERVER_NAME, Heartbeat, Hello, Welcome

log = logging.getLogger(__name__)

MISSED_HEARTBEATS = 3

DIAL_REPEATS = 1
"""How often the kernel repeats a dial that nobody answers; with one it gives up after three
seconds. With the longest pause that is less than ten to a network that is back."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How many seconds each part of a dial may take before it is given up."""

    upgrade: float = 20.0
    """From the dial to the websocket. A network that is cut off ends a dial sooner; this is for
    a coordinator that a whole fleet dials at once: who gives up then makes it do its work twice."""
    answer: float = 10.0
    """From the hello to the welcome: a whole fleet that returns is taken in by turns."""


PATIENCE = Patience()


class Connection:
    """Carries a `Dialogue` over a websocket with mutual TLS."""

    def __init__(
        self,
        host_id: str,
        boot_id: str,
        dialogue: Dialogue,
        draw: Callable[[], float] = random.random,
        patience: Patience = PATIENCE,
    ) -> None:
        """`draw` spreads the pauses between tries: uniform in [0, 1)."""
        self._host_id = host_id
        self._boot_id = boot_id
        self._dialogue = dialogue
        self._draw = draw
        self._patience = patience
        self._welcomed = False
        self._spread = 0.0
        self._refusal = ""

    # ---- for ever ----------------------------------------------------------

    async def run(
        self,
        tls: Callable[[], ssl.SSLContext],
        find_url: Callable[[], Awaitable[str]],
        why_not_ours: Callable[[str], Awaitable[str]] | None = None,
    ) -> None:
        """Stay connected until cancelled.

        The first two are asked before each try: `tls` for what to show and whom to trust, and
        `find_url` for the address; it raises `ConnectionLostError` if it finds none.
        `why_not_ours` tells of a coordinator that could not prove to be the host's own.
        """
        failures = 0
        answers = aiohttp.TraceConfig()
        answers.on_request_end.append(self._hear_refusal)
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True, socket_factory=_dialling),
            timeout=aiohttp.ClientTimeout(total=self._patience.upgrade),
            trace_configs=[answers],
        ) as http:
            while True:
                self._welcomed = False
                url = ""
                try:
                    url = await find_url()
                    await self._serve(http, url, tls())
                except ConnectionLostError as lost:
                    log.warning("connection lost: %s", lost)
                except aiohttp.WSServerHandshakeError as refused:
                    told = f"HTTP {refused.status} {self._refusal}".strip()
                    log.warning("the coordinator refused the connection: %s", told)
                except aiohttp.ClientConnectorCertificateError as error:
                    told = await why_not_ours(url) if why_not_ours else "nobody was asked why"
                    log.error("%s. %s", self._not_ours(error), told)
                except (aiohttp.ClientError, OSError, TimeoutError, ssl.SSLError) as error:
                    log.warning("the coordinator can't be reached: %s", _plain(error))
                finally:
                    self._dialogue.hang_up()
                failures = 0 if self._welcomed else failures + 1
                await asyncio.sleep(pause(failures, self._draw(), self._spread))

    async def _serve(self, http: aiohttp.ClientSession, url: str, tls: ssl.SSLContext) -> None:
        async with http.ws_connect(
            f"{url}/v1/agent/connect",
            ssl=tls,
            server_hostname=FIXED_SERVER_NAME,
            max_msg_size=MAX_FRAME,
            compress=0,
            autoping=False,
            timeout=aiohttp.ClientWSTimeout(ws_close=2.0),
        ) as socket:
            frames = Frames(socket, self._patience.answer)
            try:
                await self._talk(frames, url)
            except BadFrameError as bad:
                await frames.close(bad)
                raise
            except (aiohttp.ClientError, OSError) as error:
                if not self._welcomed:
                    raise
                raise ConnectionLostError(_plain(error)) from None

    def _not_ours(self, error: aiohttp.ClientConnectorCertificateError) -> str:
        known = " or ".join(digest[:16] for digest in self._dialogue.believed)
        return (
            f"{error.host}:{error.port} is not the coordinator of this host: its certificate is "
            f"not of the authority {known}… that the host believes ({error.certificate_error}). "
            "Nothing was said to it. If the authority was rotated without this host, join again"
        )

    async def _talk(self, frames: Frames, url: str) -> None:
        welcome = await self._greet(frames)
        interval = welcome.heartbeat_interval
        self._welcomed = True
        log.info("connected to %s", url)
        await self._dialogue.look_around()
        if welcome.tell_past_after is not None:
            await self._tell_past(frames, welcome.tell_past_after)
        outbox = self._dialogue.catch_up()
        await _until_one_ends(
            _write(frames, outbox),
            _beat(outbox, interval),
            self._look_around(interval),
            self._read(frames, MISSED_HEARTBEATS * interval),
        )

    async def _hear_refusal(
        self, _session: object, _context: object, ended: aiohttp.TraceRequestEndParams
    ) -> None:
        """Keep the reason in a refusal: the library lets go of the body unread."""
        self._refusal = ""
        if ended.response.status != 101:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with asyncio.timeout(self._patience.answer):
                    self._refusal = await refusal_in(ended.response)

    async def _tell_past(self, frames: Frames, after: int) -> None:
        """Tell what the coordinator has lost; what it has to say meanwhile waits."""
        log.info("telling the coordinator what ended here, from entry %d on", after + 1)
        for frame in self._dialogue.past_after(after):
            await frames.send(frame)

    async def _greet(self, frames: Frames) -> Welcome:
        hello = Hello(
            host_id=self._host_id,
            agent_version=__version__,
            boot_id=self._boot_id,
            past_number=self._dialogue.past_number,
            authorities=list(self._dialogue.believed),
        )
        await frames.send(hello)
        async with asyncio.timeout(self._patience.answer):
            frame = await frames.receive()
        if not isinstance(frame, Welcome):
            raise ConnectionLostError(f"a {frame.type} came instead of a welcome")
        self._spread = frame.reconnect_spread
        return frame

    async def _read(self, frames: Frames, patience: float) -> None:
        while True:
            try:
                async with asyncio.timeout(patience):
                    frame = await frames.receive()
            except TimeoutError:
                raise ConnectionLostError(
                    f"the coordinator was silent for {patience:g} s"
                ) from None
            self._dialogue.hear(frame)

    async def _look_around(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            await self._dialogue.look_around()


def _dialling(address: aiohttp.AddrInfoType) -> sockets.socket:
    family, kind, protocol, _, _ = address
    dialling = sockets.socket(family, kind, protocol)
    dialling.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_SYNCNT, DIAL_REPEATS)
    return dialling


async def _beat(outbox: Outbox, interval: float) -> None:
    for number in itertools.count(1):
        outbox.put_nowait(Heartbeat(number=number))
        await asyncio.sleep(interval)


async def _write(frames: Frames, outbox: Outbox) -> None:
    while True:
        await frames.send(await outbox.get())


async def _until_one_ends(*parts: Coroutine[Any, Any, None]) -> None:
    """Run all until one of them ends, end the others, and raise what that one raised.

    No task group: before Python 3.13 one that ends by an error of its own forgets a
    cancellation that comes from outside in the same moment, or leaves one behind.
    """
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def _plain(error: BaseException) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    return str(error) or type(error).__name__
