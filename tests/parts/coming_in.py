"""Hosts that come in without a token, and what an operator does: all real but processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from agent.approval import Approval
from agent.identity import Identity
from coordinator.app import LIMITS, Coordinator, Limits, serve
from coordinator.config import DiscoverySettings, Settings
from protocol.access import Host
from protocol.codec import decode_from_coordinator, encode
from protocol.messages import FIXED_SERVER_NAME, Hello, ToAgent, ToCoordinator, Welcome
from tests.parts.local_agent import csr_here

HEARTBEAT = 0.5


def settings(data_dir: Path, heartbeat: float = HEARTBEAT) -> Settings:
    """A coordinator's settings on a free port of the loopback."""
    return Settings(
        data_dir=data_dir,
        listen="127.0.0.1:0",
        heartbeat_interval=heartbeat,
        discovery=DiscoverySettings(enabled=False),
    )


@asynccontextmanager
async def serving(
    data_dir: Path, limits: Limits = LIMITS, heartbeat: float = HEARTBEAT
) -> AsyncIterator[tuple[Coordinator, str]]:
    """A coordinator that serves, and its URL."""
    made = Coordinator(settings(data_dir, heartbeat), limits=limits)
    async with made as coordinator, serve(coordinator) as url:
        yield coordinator, url


def asking(state_dir: Path, host_id: str, expected: str = "") -> Approval:
    """An agent that asks to be let in; its keys are made without a process."""

    async def request(file: Path, host: str) -> str:
        return csr_here(str(file), host)

    return Approval(
        state_dir, host_id, expected, make_request=request, fingerprint=fingerprint_here
    )


async def fingerprint_here(key_file: Path) -> str:
    """What the agent says of its key."""
    return csr_here("--fingerprint", str(key_file)).strip()


async def approved(coordinator: Coordinator, url: str, state_dir: Path, host_id: str) -> Identity:
    """Let a host come in by approval."""
    agent = asking(state_dir, host_id)
    assert await agent.ask(url) is None
    await coordinator.approve_host(host_id)
    identity = await agent.ask(url)
    assert identity is not None
    return identity


async def hosts(coordinator: Coordinator) -> dict[str, list[Host]]:
    """All rows of the list, by host."""
    found: dict[str, list[Host]] = {}
    for row in (await coordinator.list_hosts(limit=1000)).hosts:
        found.setdefault(row.host_id, []).append(row)
    return found


class Line:
    """One agent's websocket, frame by frame."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def say(self, frame: ToCoordinator) -> None:
        await self.socket.send_bytes(encode(frame))

    async def hears(self) -> ToAgent:
        return decode_from_coordinator(await self.socket.receive_bytes())

    async def ends(self) -> str:
        """Wait for the end; what the coordinator said of it."""
        while (message := await self.socket.receive()).type is aiohttp.WSMsgType.BINARY:
            pass
        return str(message.extra or "")

    async def greet(self, host_id: str, **fields: int) -> None:
        """Say hello, and wait for the welcome."""
        await self.say(Hello(host_id=host_id, agent_version="1", **fields))
        assert isinstance(await self.hears(), Welcome)


@asynccontextmanager
async def dialled(url: str, identity: Identity) -> AsyncIterator[Line]:
    """A websocket with the host's certificate."""
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(
            f"{url}/v1/agent/connect",
            ssl=identity.client_context(),
            server_hostname=FIXED_SERVER_NAME,
            autoclose=False,
        ) as socket,
    ):
        yield Line(socket)


async def refusal(url: str, identity: Identity) -> str:
    """What the coordinator says to a host that it does not let connect."""
    async with (
        aiohttp.ClientSession() as http,
        http.get(
            f"{url}/v1/agent/connect",
            ssl=identity.client_context(),
            server_hostname=FIXED_SERVER_NAME,
        ) as answer,
    ):
        assert answer.status == 401, await answer.text()
        told: str = (await answer.json())["message"]
        return told
