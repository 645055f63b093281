"""A coordinator that serves, with its three doors, a package server, and hosts to hand out."""

from __future__ import annotations

import asyncio
import itertools
import os
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from agent.download import PackageSource
from coordinator.app import Coordinator, serve
from coordinator.client import AsyncClient
from coordinator.config import DiscoverySettings, Settings
from protocol.access import TokenParams
from protocol.api import CoordinatorAPI
from protocol.strategy import UnnamedStrategy
from tests.parts.command_line import Ended
from tests.parts.doors import InThread
from tests.parts.local_agent import LocalAgent, LocalInstance
from tests.parts.package_server import PackageServer

HEARTBEAT = 0.5
CAREFUL = UnnamedStrategy(canary=1, promote="manual", max_failures=0)
"""The named strategy of coordinators here, by default of services called `careful-…`."""

DOORS = ("Coordinator", "AsyncClient", "Client")


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, as it came over the wire."""

    status: int
    body: dict[str, Any]

    @property
    def data(self) -> Any:
        return self.body["data"]


class Site:
    """A coordinator that serves, its three doors, a package server, and hosts to hand out."""

    def __init__(self, folder: Path, coordinator: Coordinator, url: str) -> None:
        self.folder = folder
        self.coordinator = coordinator
        self.url = url
        self.token = (coordinator.settings.data_dir / "admin.token").read_text().strip()
        self.ca_file = coordinator.settings.data_dir / "ca.pem"
        self.doors: dict[str, CoordinatorAPI] = {}
        self.packages: PackageServer
        self.source: PackageSource
        self.client: AsyncClient
        self.join_token = ""
        self.numbers = itertools.count(1)
        self._hosts: list[str] = []
        self._host_numbers = itertools.count(1)
        self._http: aiohttp.ClientSession

    @classmethod
    @asynccontextmanager
    async def open(
        cls, folder: Path, heartbeat: float = HEARTBEAT, *, strategies: bool = True
    ) -> AsyncIterator[Site]:
        settings = Settings(
            data_dir=folder / "coordinator",
            listen="127.0.0.1:0",
            heartbeat_interval=heartbeat,
            discovery=DiscoverySettings(enabled=False),
            strategy={"careful": CAREFUL} if strategies else {},
            default_strategy={"careful-*": "careful"} if strategies else {},
        )
        async with (
            AsyncExitStack() as stack,
            Coordinator(settings) as coordinator,
            serve(coordinator) as url,
        ):
            site = cls(folder, coordinator, url)
            await site._furnish(stack)
            yield site
            await stack.aclose()

    async def _furnish(self, stack: AsyncExitStack) -> None:
        self.packages = await stack.enter_async_context(PackageServer(self.folder))
        self.source = await stack.enter_async_context(PackageSource(self.packages.ca_file))
        self.client = await stack.enter_async_context(
            AsyncClient(self.url, self.token, self.ca_file)
        )
        blocking = InThread(self.url, self.token, str(self.ca_file))
        stack.push_async_callback(blocking.close)
        self.doors = dict(zip(DOORS, (self.coordinator, self.client, blocking), strict=True))
        connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=self.ca_file))
        self._http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        made = await self.coordinator.create_token(TokenParams(role="join", ttl=3600))
        self.join_token = made.secret

    @asynccontextmanager
    async def agent(
        self, instances: Sequence[LocalInstance], *, keep_releases: int, url: str = ""
    ) -> AsyncIterator[LocalAgent]:
        """An agent on a host that no other scenario uses meanwhile."""
        host_id = self._hosts.pop() if self._hosts else f"host-{next(self._host_numbers)}"
        agent = LocalAgent(
            self.folder,
            host_id,
            instances,
            url=url or self.url,
            join_token=self.join_token,
            source=self.source,
            keep_releases=keep_releases,
        )
        async with agent:
            yield agent
        self._hosts.append(host_id)

    async def ask(
        self, method: str, path: str, json: Any = None, *, raw: bytes = b"", token: str = ""
    ) -> Answer:
        """One HTTP request, by default with the admin's token; nothing was checked before."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        async with self._http.request(
            method, self.url + path, json=json, data=raw or None, headers=headers
        ) as answer:
            return Answer(answer.status, await answer.json())

    @asynccontextmanager
    async def events(self, token: str, after: int | None = None) -> AsyncIterator[Any]:
        """The stream of events as it comes over the wire."""
        query = "" if after is None else f"?after={after}"
        headers = {"Authorization": f"Bearer {token}"}
        async with self._http.get(f"{self.url}/v1/events{query}", headers=headers) as answer:
            yield answer

    async def ferryman(self, *arguments: str, token: str = "") -> Ended:
        """Run the command line as a process, with nothing but the environment to find us."""
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / "ferryman"),
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                **self.environment(),
                "FERRYMAN_TOKEN": token or self.token,
            },
        )
        out, err = await process.communicate()
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())

    def environment(self) -> dict[str, str]:
        return {
            "FERRYMAN_URL": self.url,
            "FERRYMAN_TOKEN": self.token,
            "FERRYMAN_CA_FILE": str(self.ca_file),
        }
