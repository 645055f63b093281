"""A coordinator that is killed under many agents: the fleet, the return, and its figures."""

from __future__ import annotations

import asyncio
import contextlib
import io
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import psutil

from agent import csr, identity
from coordinator.client import AsyncClient
from coordinator.pki import Authority
from coordinator.ports import Changes, HostRow
from coordinator.store import SqlStore
from protocol.models import DeployParams
from tests.lab.returning import COMPLAINED, DIALLED, WELCOMED, Crowd, Seen, host_name
from tests.parts.daemons import CoordinatorDaemon
from tests.parts.waiting import until

PROCESSES = 2
SERVICE = "user-service"
TASK = "deploy-to-look-at"


def join(authority: Authority, state_dir: Path, host: str) -> identity.Identity:
    """What joining leaves on a host, without a coordinator that runs."""
    state_dir.mkdir(mode=0o700)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert csr.main([str(state_dir / identity.KEY_FILE), host]) == 0
    signed = authority.sign_agent(said.getvalue().encode(), host).decode()
    return identity.save(state_dir, host, authority.ca_pem.decode(), signed)


async def remember(data_dir: Path, count: int) -> None:
    """Write so many hosts that joined into the database of a coordinator that does not run."""
    store = await SqlStore.open(f"sqlite+aiosqlite:///{data_dir}/coordinator.db")
    now = datetime.now(UTC)
    await store.commit(Changes(hosts=[HostRow(host_name(n), now) for n in range(count)]))
    await store.close()


async def join_all(coordinator: CoordinatorDaemon, folder: Path, count: int) -> None:
    """Let so many hosts have joined a coordinator that has not started yet."""
    authority = Authority.open(coordinator.data_dir)
    for host in map(host_name, range(count)):
        join(authority, folder / host, host)
    await remember(coordinator.data_dir, count)


@dataclass
class Return:
    """How a fleet came back; seconds from when the port was open again, unless told."""

    agents: int
    killed: float = 0.0
    opened: float = 0.0
    back: float = 0.0
    memory: int = 0
    """The most that the coordinator had resident, in bytes."""
    work: float = 0.0
    """Seconds of a core that the coordinator spent until all were back."""
    seen: list[Seen] = field(default_factory=list)
    livez: list[float] = field(default_factory=list)
    """How long each `/livez` took in the storm, on a connection of its own."""
    status: list[float] = field(default_factory=list)
    """How long each look at a deployment took."""
    complaints: str = ""
    """Warnings and errors in the coordinator's log."""

    @property
    def dials(self) -> list[Seen]:
        """Those that found the port open, the earliest first."""
        return [one for one in self.seen if one.what == DIALLED and self._after(one)]

    @property
    def errors(self) -> list[Seen]:
        """What agents complained of that dialled when the port was open."""
        last: dict[str, Seen] = {}
        wrong = []
        for one in self.seen:
            if one.what == COMPLAINED and self._after(last[one.host]):
                wrong.append(one)
            elif one.what == DIALLED:
                last[one.host] = one
        return wrong

    @property
    def welcomes(self) -> list[float]:
        """How long it took each agent from its dial to the welcome, the shortest first."""
        last: dict[str, float] = {}
        took = []
        for one in self.seen:
            if one.what == DIALLED:
                last[one.host] = one.at
            elif one.what == WELCOMED and self._after(one):
                took.append(one.at - last[one.host])
        return sorted(took)

    @property
    def peak(self) -> int:
        """The most dials within any 100 ms."""
        times = [one.at for one in self.dials]
        first = most = 0
        for number, at in enumerate(times):
            while times[first] < at - 0.1:
                first += 1
            most = max(most, number - first + 1)
        return most

    def _after(self, one: Seen) -> bool:
        return one.at >= self.opened

    def __str__(self) -> str:
        return (
            f"{self.agents} agents back {self.back - self.opened:.1f} s after the port was open "
            f"({self.back - self.killed:.1f} s after the kill); {len(self.dials)} dials, at most "
            f"{self.peak} within 100 ms; dial to welcome {_figures(self.welcomes)}; "
            f"{len(self.errors)} errors; /livez {_figures(sorted(self.livez))}; "
            f"status of a deployment {_figures(sorted(self.status))}; "
            f"coordinator {self.work:.1f} s of a core, at most {self.memory / 1e6:.0f} MB"
        )


async def killed_and_back(
    coordinator: CoordinatorDaemon, folder: Path, count: int, *, jitter: bool
) -> Return:
    """Start everything, kill the coordinator once all are connected, and see them return."""
    told = Return(count)
    logs = folder / f"agents-{'with' if jitter else 'without'}-jitter.log"
    each = count // PROCESSES
    crowds = [
        Crowd(coordinator.url, folder, number * each, each, jitter=jitter, log=logs)
        for number in range(PROCESSES)
    ]
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(coordinator)
        client = await stack.enter_async_context(coordinator.client())
        for crowd in crowds:
            await stack.enter_async_context(crowd)
        await _all_connected(client, count)
        await _something_to_look_at(client)
        said = len(coordinator.said())

        told.killed = time.monotonic()
        await coordinator.kill()
        await coordinator.start()
        told.opened = time.monotonic()
        spent = _cpu_seconds(coordinator.pid)
        async with _people(coordinator, client, told):
            await _all_connected(client, count)
            told.back = time.monotonic()
            told.work = _cpu_seconds(coordinator.pid) - spent

        told.memory = _peak_memory(coordinator.pid)
        told.complaints = "".join(_complaints(coordinator.said()[said:].splitlines(True)))
    told.seen = sorted((one for crowd in crowds for one in crowd.seen), key=lambda one: one.at)
    return told


async def _all_connected(client: AsyncClient, count: int) -> None:
    await until(
        client.list_services,
        lambda seen: [one.connected for one in seen.services] == [count],
        every=0.25,
        within=90,
    )


async def _something_to_look_at(client: AsyncClient) -> None:
    """A deployment whose package nobody serves."""
    await client.execute_deployment(
        DeployParams(
            service=SERVICE,
            version="v1",
            instances=[f"{host_name(0)}-service"],
            package_url="https://127.0.0.1:1/v1.tar.gz",
            deploy_id=TASK,
            timeout=60,
        )
    )
    await until(
        lambda: client.get_deployment_status(TASK), lambda seen: seen.status.ended, within=90
    )


@asynccontextmanager
async def _people(
    coordinator: CoordinatorDaemon, client: AsyncClient, told: Return
) -> AsyncIterator[None]:
    """Meanwhile somebody looks at a deployment all the time, and something at `/livez`."""
    tls = ssl.create_default_context(cafile=coordinator.ca_file)

    async def look() -> None:
        await client.get_deployment_status(TASK)

    async def probe() -> None:
        async with http.get(f"{coordinator.url}/livez") as answer:
            assert answer.status == 200

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, force_close=True)
    ) as http:
        asking = [
            asyncio.create_task(_ask(look, told.status)),
            asyncio.create_task(_ask(probe, told.livez)),
        ]
        try:
            yield
        finally:
            for one in asking:
                one.cancel()
            for ended in await asyncio.gather(*asking, return_exceptions=True):
                assert isinstance(ended, asyncio.CancelledError), ended


async def _ask(request: Callable[[], Awaitable[None]], took: list[float]) -> None:
    while True:
        began = time.monotonic()
        await request()
        took.append(time.monotonic() - began)
        await asyncio.sleep(0.05)


def _cpu_seconds(pid: int) -> float:
    used = psutil.Process(pid).cpu_times()
    return float(used.user + used.system)


def _peak_memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _complaints(lines: Iterable[str]) -> list[str]:
    return [line for line in lines if not line.startswith("INFO ")]


def _figures(durations: list[float]) -> str:
    if not durations:
        return "none"
    at = [durations[min(len(durations) - 1, len(durations) * part // 100)] for part in (50, 99)]
    return (
        f"p50 {at[0] * 1000:.0f} ms, p99 {at[1] * 1000:.0f} ms, max {durations[-1] * 1000:.0f} ms"
    )
