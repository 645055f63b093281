"""Frames to and from the coordinator, over one websocket.

A coordinator is trusted no more than its frames are: what is none ends the connection with
the code 1008 and the rule that it breaks; a flood is read slowly, and what is not read in
time is given up. What frames mean is not known here.
"""

from __future__ import annotations

import asyncio
import json

import aiohttp
from aiohttp import WSCloseCode, WSMsgType

from protocol.bucket import Bucket, Rate
from protocol.codec import DecodeError, cost, decode_from_coordinator, encode
from protocol.lines import close_reason, one_line
from protocol.messages import ToAgent, ToCoordinator

SHARE = Rate(each_second=1_000, burst=20_000)
"""What the coordinator may say, in `protocol.codec.cost`: commands for 4,096 instances fit."""

LONGEST_SAID = 500
"""Characters of what a coordinator says when it refuses or closes."""

LONGEST_REFUSAL = 65_536
"""Bytes of a refusal that are read."""


class ConnectionLostError(Exception):
    """The connection ended; the text says why."""


class BadFrameError(ConnectionLostError):
    """The coordinator said what is no frame."""

    def __init__(self, what: str) -> None:
        super().__init__(f"bad frame from the coordinator: {what}")
        self.what = what


class Frames:
    """One connection's frames, both ways."""

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse, patience: float, share: Rate = SHARE
    ) -> None:
        """`patience` bounds, in seconds, how long the coordinator may leave a frame unread."""
        self._socket = socket
        self._patience = patience
        self._share = Bucket(share, self._now())

    async def send(self, frame: ToCoordinator) -> None:
        """Send one frame; raises `ConnectionLostError` if it can't be."""
        try:
            async with asyncio.timeout(self._patience):
                await self._socket.send_bytes(encode(frame))
        except TimeoutError:
            raise ConnectionLostError(
                f"the coordinator read nothing for {self._patience:g} s"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionLostError(str(error) or type(error).__name__) from None

    async def receive(self) -> ToAgent:
        """The next frame; raises `ConnectionLostError` when none will come."""
        while True:
            message = await self._socket.receive()
            match message.type:
                case WSMsgType.BINARY:
                    await self._pay(message.data)
                    return _decoded(message.data)
                case WSMsgType.PING | WSMsgType.PONG:
                    await self._pay(message.data)
                    if message.type is WSMsgType.PING:
                        await self._socket.pong(message.data)
                case WSMsgType.TEXT:
                    raise BadFrameError("frames are binary")
                case WSMsgType.CLOSE if message.extra:
                    raise ConnectionLostError(one_line(str(message.extra), LONGEST_SAID))
                case WSMsgType.CLOSE:
                    raise ConnectionLostError(f"closed with code {message.data}")
                case WSMsgType.ERROR:
                    raise BadFrameError(str(message.data))
                case _:
                    raise ConnectionLostError("closed")

    async def close(self, bad: BadFrameError) -> None:
        """Tell the coordinator which of its frames was none."""
        reason = close_reason(f"bad frame: {bad.what}")
        await self._socket.close(code=WSCloseCode.POLICY_VIOLATION, message=reason)

    async def _pay(self, data: bytes) -> None:
        if wait := self._share.take(cost(data), self._now()):
            await asyncio.sleep(wait)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _decoded(data: bytes) -> ToAgent:
    try:
        return decode_from_coordinator(data)
    except DecodeError as error:
        raise BadFrameError(str(error)) from None


async def refusal_in(answer: aiohttp.ClientResponse) -> str:
    """The message in a refusal's envelope; "" if there is none."""
    try:
        envelope = json.loads(await answer.content.read(LONGEST_REFUSAL))
    except (ValueError, RecursionError):
        return ""
    message = envelope.get("message", "") if isinstance(envelope, dict) else ""
    return one_line(str(message), LONGEST_SAID)
