"""Server-sent events: every change of a task, an assignment or an instance, as it happens.

`id:` is the event's number, `event:` its kind, `data:` the event as JSON. A reader that
comes back with `Last-Event-ID` gets what it missed. Nothing is kept for a reader here:
one that does not read is cut off after `Pace.stall` and may come back.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from coordinator.http.params import MAX_SEQUENCE, EventsParams
from protocol.errors import FerrymanError, InvalidRequestError
from protocol.events import Event

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: a comment keeps an idle stream alive; a reader that stalls so long is cut off.

    The token is looked at again once in `keep_alive`. A stream that is to end waits no longer
    than `farewell` for its reader.
    """

    keep_alive: float = 15.0
    stall: float = 30.0
    farewell: float = 1.0


PACE: Final = Pace()


def starting_point(request: web.Request, params: EventsParams) -> int | None:
    """The number after which the stream begins: `Last-Event-ID`, else `after`, else None.

    Raises `InvalidRequestError` if the header is no such number.
    """
    given = request.headers.get("Last-Event-ID", "").strip()
    if not given:
        return params.after
    if not (given.isascii() and given.isdigit() and len(given) < 20 and int(given) <= MAX_SEQUENCE):
        message = f"must be the number of the last event seen, 0 to {MAX_SEQUENCE}"
        detail = {"field": "Last-Event-ID", "message": message}
        raise InvalidRequestError(f"Last-Event-ID: {message}", [detail])
    return int(given)


async def serve_events(
    request: web.Request,
    source: AsyncIterator[Event],
    *,
    admitted: Callable[[], Awaitable[object]],
    token_ended: Callable[[], Awaitable[None]],
    closing: asyncio.Event,
    pace: Pace,
) -> web.StreamResponse:
    """Stream `source` until the reader goes, its token ends or `closing` is set.

    `token_ended` returns when this coordinator learns of the token's end; `admitted` raises
    if it has ended.
    """
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
    )
    try:
        await response.prepare(request)
        await _until_one_ends(
            token_ended(), closing.wait(), _pump(response, source, admitted, pace)
        )
        async with asyncio.timeout(pace.farewell):
            await response.write_eof()
    except (ConnectionError, TimeoutError):
        if request.transport is not None:
            request.transport.abort()
    except FerrymanError as error:
        _log.info("a stream of events ended: %s", error.message)
        await response.write_eof()
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()
    return response


async def _until_one_ends(*works: Awaitable[object]) -> None:
    """Do all of it until the first one ends; raise what that raised."""
    parts = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        for part in done:
            part.result()
    finally:
        await _end(parts)


async def _end(parts: Sequence[asyncio.Future[Any]]) -> None:
    for part in parts:
        part.cancel()
    await asyncio.gather(*parts, return_exceptions=True)


async def _pump(
    response: web.StreamResponse,
    source: AsyncIterator[Event],
    admitted: Callable[[], Awaitable[object]],
    pace: Pace,
) -> None:
    now = asyncio.get_running_loop().time
    looked = now()
    await admitted()  # the token may have ended before its end was waited for
    await _write(response, b": stream of events\n\n", pace)
    upcoming = asyncio.ensure_future(_next(source))
    try:
        while True:
            await asyncio.wait({upcoming}, timeout=pace.keep_alive)
            if now() - looked >= pace.keep_alive:
                await admitted()
                looked = now()
            if not upcoming.done():
                await _write(response, b": still here\n\n", pace)
                continue
            event = upcoming.result()
            if event is None:
                return
            await _write(response, frame(event), pace)
            upcoming = asyncio.ensure_future(_next(source))
    finally:
        await _end([upcoming])


async def _next(source: AsyncIterator[Event]) -> Event | None:
    return await anext(source, None)


async def _write(response: web.StreamResponse, data: bytes, pace: Pace) -> None:
    async with asyncio.timeout(pace.stall):
        await response.write(data)


def frame(event: Event) -> bytes:
    """One event as it goes over the wire."""
    return f"id: {event.seq}\nevent: {event.kind}\ndata: {event.model_dump_json()}\n\n".encode()
