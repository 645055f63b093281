"""The agents' websockets: who a host is, and frames as bytes.

A host is who its certificate says, while that is valid by the coordinator's clock. What it
says is the reception's business. What is no frame ends the connection with the code 1008 and
the rule that it breaks, what is no websocket with the websocket's own code; who says more than
its share is read more slowly, and nothing is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket as sockets
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from aiohttp import WebSocketError, WSCloseCode, WSMsgType, web

from coordinator.audit import Audit
from coordinator.caller import Caller
from coordinator.gate import hear_no_more
from coordinator.pki import Authority, host_id_of, out_of_date
from coordinator.ports import Clock
from coordinator.reception import Reception, RefusalError
from coordinator.session import Session
from coordinator.shares import Shares
from coordinator.turns import Turns
from coordinator.x509 import Life, fingerprint_of, generation_of
from protocol.bucket import Rate
from protocol.codec import MAX_FRAME, DecodeError, cost, decode_from_agent, encode
from protocol.errors import PermissionDeniedError, UnauthenticatedError
from protocol.lines import close_reason
from protocol.messages import ToCoordinator

log = logging.getLogger(__name__)

HELLO_WITHIN = 10.0

GREETED_AT_ONCE = 50
"""Agents between their websocket and the commit of their inventory; the others wait."""

LONGEST_WAIT = 5.0
"""Seconds until an agent is greeted all the same: agents wait ten for their welcome."""

MOST_NOTED = 100_000
"""Hosts of which it is kept what was logged last."""

LONGEST_GREETING = 2.0
"""Seconds after which an agent that is slow makes place for another."""

LONGEST_GOODBYE = 2.0
"""Seconds that an agent has for hearing why it is let go; then its connection is cut."""


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a host's certificate says."""

    host_id: str
    life: Life
    issuer: str
    """The digest of the authority that has signed it."""
    generation: int
    fingerprint: str

    @classmethod
    def of(cls, host_id: str, certificate: Mapping[str, Any], der: bytes, issuer: str) -> _Shown:
        generation = generation_of(certificate)
        return cls(host_id, Life.of(certificate), issuer, generation, fingerprint_of(der))


FRAMES = Rate(each_second=300, burst=600)
"""Of one host: what `protocol.codec.cost` says of each frame and ping."""

CONNECTING = 50.0
"""What a connection costs its host."""


class Hub:
    """Serves `GET /v1/agent/connect`."""

    def __init__(
        self,
        reception: Reception,
        clock: Clock,
        audit: Audit,
        authority: Authority,
        frames: Rate = FRAMES,
    ) -> None:
        self._shares = Shares(frames)
        """By host, so that a new connection brings nothing new."""
        self._audit = audit
        self._clock = clock
        self._authority = authority
        self._reception = reception
        self._closing: set[asyncio.Task[None]] = set()
        self.greetings = Turns(GREETED_AT_ONCE, LONGEST_WAIT, LONGEST_GREETING)
        self._problems: dict[str, str] = {}
        """Why a host was last refused: each thing is logged once, however often it tries."""

    async def endpoint(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one agent until it goes."""
        who = _who(request)
        with self._audit.asked(who, "connect", who.name):
            if "Origin" in request.headers:
                raise PermissionDeniedError("this is for agents, and browsers are none")
            shown = self._admit(request)
        socket = web.WebSocketResponse(
            max_msg_size=MAX_FRAME, compress=False, autoping=False, timeout=LONGEST_GOODBYE
        )
        await socket.prepare(request)
        await self._pay(shown.host_id, CONNECTING)
        turn = await self.greetings.wait()
        transport = request.transport
        if transport is None:  # the agent went while it waited
            turn.end()
            return socket
        session = Session(
            shown.host_id,
            request.remote or "",
            lambda why: self._let_go(socket, transport, why),
            shown.life,
            shown.issuer,
            generation=shown.generation,
            fingerprint=shown.fingerprint,
        )
        session.greeted = turn.end
        writer = asyncio.create_task(_write(socket, session))
        try:
            await self._serve(session, socket)
        except RefusalError as refusal:
            host_id = session.host_id
            log.warning("host %s was refused: %s", host_id, refusal)
            if not refusal.for_now:
                self._audit.host_refused(host_id, session.address, "connect", host_id, str(refusal))
            await _close(socket, transport, WSCloseCode.POLICY_VIOLATION, str(refusal))
        finally:
            turn.end()
            self._reception.leave(session)
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
        return socket

    def _admit(self, request: web.Request) -> _Shown:
        """What the host's certificate says, if it may come in; raises `UnauthenticatedError`."""
        certificate = _certificate_of(request)
        host_id = host_id_of(certificate)
        if not certificate or host_id is None:
            raise UnauthenticatedError(
                "agents connect with the certificate that they got when they joined"
            )
        link = request.get_extra_info("ssl_object")
        issuer = self._authority.issuer_of(link.getpeercert(binary_form=True))
        now = self._clock.now().wall
        problem, advice = out_of_date(certificate, now), ""
        revoked = self._reception.why_refused(host_id, generation_of(certificate))
        if problem:
            advice = (
                f", and the coordinator's clock says {now:%Y-%m-%dT%H:%M:%SZ}: is that clock right?"
            )
        elif not issuer:
            problem, advice = "is of an authority that was replaced", ": the host must join again"
        refusal = revoked or (problem and f"the certificate of {host_id} {problem}{advice}")
        self._note(host_id, revoked or (problem and f"its certificate {problem}"))
        if refusal:
            raise UnauthenticatedError(refusal)
        return _Shown.of(host_id, certificate, link.getpeercert(binary_form=True), issuer)

    def _note(self, host_id: str, problem: str) -> None:
        if problem and self._problems.get(host_id) != problem:
            log.warning("host %s was refused: %s", host_id, problem)
        if len(self._problems) > MOST_NOTED:
            self._problems.clear()
        self._problems[host_id] = problem

    async def _serve(self, session: Session, socket: web.WebSocketResponse) -> None:
        try:
            async with asyncio.timeout(HELLO_WITHIN):
                hello = await self._receive(session, socket)
        except TimeoutError:
            raise RefusalError(f"no hello within {HELLO_WITHIN:g} s") from None
        if hello is None:
            return
        self._reception.greet(session, hello)
        while (frame := await self._receive(session, socket)) is not None:
            self._reception.hear(session, frame)
            await session.caught_up.wait()

    async def _receive(
        self, session: Session, socket: web.WebSocketResponse
    ) -> ToCoordinator | None:
        """The next frame; None when the connection has ended, but not if the agent broke it."""
        while True:
            message = await socket.receive()
            if message.type is WSMsgType.BINARY:
                await self._pay(session.host_id, cost(message.data))
                return _decode(message.data)
            if message.type is WSMsgType.TEXT:
                raise RefusalError("frames are binary")
            if message.type is WSMsgType.ERROR and isinstance(message.data, WebSocketError):
                raise RefusalError(f"broke the websocket ({message.data.code}): {message.data}")
            if message.type not in (WSMsgType.PING, WSMsgType.PONG):
                return None
            await self._pay(session.host_id, cost(message.data))
            if message.type is WSMsgType.PING and not await _answered(socket, message.data):
                return None

    async def _pay(self, host_id: str, amount: float) -> None:
        """Wait until the host may say so much; what it says meanwhile stays on its side."""
        if wait := self._shares.take(host_id, amount, patience=inf):
            await asyncio.sleep(wait)

    async def close(self) -> None:
        """Let every agent go; they come back to the next coordinator."""
        self._reception.close()
        if self._closing:
            await asyncio.wait(self._closing)

    def _let_go(
        self, socket: web.WebSocketResponse, transport: asyncio.Transport, reason: str
    ) -> None:
        """Close a connection without waiting for an agent that may no longer be there."""
        closing = asyncio.create_task(_end(socket, transport, reason))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


async def _end(socket: web.WebSocketResponse, transport: asyncio.Transport, reason: str) -> None:
    """Tell the agent why, and end the connection even if it neither reads nor answers."""
    _forget_soon(transport)
    try:
        async with asyncio.timeout(LONGEST_GOODBYE):
            await _close(socket, transport, WSCloseCode.GOING_AWAY, reason)
    except (TimeoutError, ConnectionError):
        _reset(transport)
    finally:
        transport.abort()


def _forget_soon(transport: asyncio.Transport) -> None:
    """Let the kernel give up what the agent does not take, once the socket is closed, too."""
    if (link := transport.get_extra_info("socket")) is not None:
        with contextlib.suppress(OSError):
            link.setsockopt(
                sockets.IPPROTO_TCP, sockets.TCP_USER_TIMEOUT, int(LONGEST_GOODBYE * 1000)
            )


def _reset(transport: asyncio.Transport) -> None:
    """Let what the agent does not read be thrown away when the socket is closed."""
    if (link := transport.get_extra_info("socket")) is not None:
        with contextlib.suppress(OSError):
            link.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))


def _certificate_of(request: web.Request) -> Any:
    return request.transport.get_extra_info("peercert") if request.transport else None


def _who(request: web.Request) -> Caller:
    host_id, address = host_id_of(_certificate_of(request)), request.remote or ""
    return Caller.of_host(host_id, address) if host_id else Caller.stranger(address)


async def _close(
    socket: web.WebSocketResponse, transport: asyncio.Transport, code: int, reason: str
) -> bool:
    """Tell the agent why, and end, whatever it still says: the library would read all of it."""
    hear_no_more(transport)
    return await socket.close(code=code, message=close_reason(reason))


async def _answered(socket: web.WebSocketResponse, ping: bytes) -> bool:
    """Whether a ping could be answered: not if its agent has gone meanwhile."""
    try:
        await socket.pong(ping)
    except ConnectionError:
        return False
    return True


async def _write(socket: web.WebSocketResponse, session: Session) -> None:
    """Send what is queued, until the connection ends."""
    with contextlib.suppress(ConnectionError):
        while True:
            await socket.send_bytes(encode(await session.outbox.get()))


def _decode(data: bytes) -> ToCoordinator:
    try:
        return decode_from_agent(data)
    except DecodeError as error:
        raise RefusalError(f"bad frame: {error}") from None
