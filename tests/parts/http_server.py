"""The HTTP door over a fake service, on a real loopback socket."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

from coordinator.http.app import RUN, build_app
from coordinator.http.events import PACE, Pace
from tests.parts.fake_doors import FakeDoors

DEPLOYMENT: dict[str, Any] = {
    "service": "user-service",
    "version": "v1.2.3",
    "instances": ["instance-1", "instance-2"],
    "package_url": "https://packages.example.com/user-service/v1.2.3.tar.gz",
    "deploy_id": "deploy-1",
}


@dataclass(frozen=True)
class Answer:
    """One answer, read to its end."""

    status: int
    headers: Any
    body: Any

    @property
    def type(self) -> str:
        return str(self.body["data"]["type"])

    @property
    def fields(self) -> set[str]:
        return {detail["field"] for detail in self.body["data"]["details"]}


class Door:
    """A served `FakeDoors` with a client; requests go out with an admin token."""

    def __init__(self, doors: FakeDoors, client: TestClient[web.Request, web.Application]) -> None:
        self.doors = doors
        self.client = client

    async def ask(self, method: str, path: str, *, token: str = "admin", **parts: Any) -> Answer:
        """Send `path` as it stands, escapes and all, and hold the answer to the envelope."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers.update(parts.pop("headers", {}))
        url = URL(str(self.client.make_url("")).rstrip("/") + path, encoded=True)
        async with self.client.session.request(method, url, headers=headers, **parts) as response:
            body = await response.json()
            assert set(body) == {"code", "message", "data"}
            assert body["code"] == response.status
            if response.status == 200:
                assert body["message"] == "success"
            else:
                assert set(body["data"]) == {"type", "details"}
            return Answer(response.status, response.headers, body)


@asynccontextmanager
async def served(pace: Pace = PACE, tls: ssl.SSLContext | None = None) -> AsyncIterator[Door]:
    """Serve a `FakeDoors` for as long as the block runs."""
    doors = FakeDoors()

    async def agents(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str("hello")
        await socket.close()
        return socket

    server = TestServer(build_app(doors, agent_endpoint=agents, pace=pace), host="127.0.0.1")
    await server.start_server(**RUN, ssl=tls)
    async with TestClient(server, cookie_jar=aiohttp.DummyCookieJar()) as client:
        yield Door(doors, client)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    """A served `FakeDoors`, new for each test."""
    async with served() as serving:
        yield serving


async def until(condition: Any, deadline: float = 20.0) -> None:
    """Wait until `condition()` holds."""
    async with asyncio.timeout(deadline):
        while not condition():  # noqa: ASYNC110 - any condition, not only our own events
            await asyncio.sleep(0.01)
