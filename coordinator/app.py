"""The wiring: the only place that knows which class stands behind which port.

`Coordinator` is the whole coordinator in process. `serve` gives it its door: one TLS
port for people and agents.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from aiohttp import web

from coordinator.access import Access
from coordinator.audit import Audit
from coordinator.auth import Tokens
from coordinator.beliefs import Beliefs
from coordinator.caller import IN_PROCESS
from coordinator.clock import SteadyClock
from coordinator.config import Settings, load_settings
from coordinator.data_dir import ADMIN_TOKEN, look_before_start
from coordinator.discovery import Announcer
from coordinator.engine import Engine
from coordinator.evidence import Evidence
from coordinator.fleet import Fleet
from coordinator.gate import LIMITS as GATE_LIMITS
from coordinator.gate import Gate, GateLimits
from coordinator.hosts import Hosts
from coordinator.http.app import RUN, build_app
from coordinator.http.fairness import LIMITS as REQUEST_LIMITS
from coordinator.http.fairness import RequestLimits
from coordinator.hub import FRAMES, Hub
from coordinator.ids import new_id
from coordinator.news import News
from coordinator.pinning import Pinning
from coordinator.pki import Authority
from coordinator.prefetching import Prefetching
from coordinator.reception import Reception
from coordinator.renewals import Renewals
from coordinator.rotation import Rotation
from coordinator.service import CoordinatorService
from coordinator.store import SqlStore
from coordinator.strategies import Strategies
from protocol.bucket import Rate
from protocol.endpoints import format_endpoint
from protocol.errors import UnavailableError
from protocol.ownership import own_folder
from protocol.settings import SettingsError

log = logging.getLogger(__name__)

SAVE_CLOCK_EVERY = 60.0
FINISH_WITHIN = 10.0

DIALS_AT_ONCE = 4096
"""Connections that the kernel keeps until they are taken: more are dropped and dial again a
second later. The kernel's own limit (`net.core.somaxconn`) may be lower."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What strangers, askers and agents may take of the port."""

    gate: GateLimits = GATE_LIMITS
    requests: RequestLimits = REQUEST_LIMITS
    frames: Rate = FRAMES


LIMITS = Limits()


class Coordinator(Prefetching, Access, Hosts, Evidence, Rotation, Pinning):
    """The coordinator in process: `async with Coordinator(data_dir="…") as coordinator: …`.

    It makes what is missing in `data_dir`, loads what is unfinished and works until the
    block ends. Raises `SettingsError` (of what can't be used) and `UnavailableError`.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        data_dir: Path | str | None = None,
        limits: Limits = LIMITS,
    ) -> None:
        self.limits = limits
        self.settings = settings or load_settings(data_dir=Path(data_dir) if data_dir else None)
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self.hub: Hub
        self.reception: Reception
        self.certificates: Authority

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await self._open(stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def _open(self, stack: AsyncExitStack) -> None:
        settings = self.settings
        stack.enter_context(own_folder("data_dir", settings.data_dir, "coordinator", 0o700))
        look_before_start(settings)
        authority = Authority.open(settings.data_dir, settings.tls.names)
        store = await SqlStore.open(settings.database_url)
        stack.push_async_callback(store.close)
        clock = await SteadyClock.open(store)
        fleet = Fleet(clock, settings.heartbeat_interval)
        fleet.load(await store.hosts(), await store.instances())
        fleet.load_pins(await store.pins())
        reception = Reception(fleet, clock, Renewals(authority, clock), Beliefs(authority, clock))
        news = News()
        engine = Engine(store, reception, clock, fleet, news.publish)
        audit = Audit(engine, clock)
        reception.attach(engine, audit)
        tokens = Tokens(store, clock, lambda: authority.ca_digest)
        await tokens.ensure_admin(
            settings.data_dir / ADMIN_TOKEN, audit.row(IN_PROCESS, "create_token")
        )
        CoordinatorService.__init__(
            self,
            store=store,
            engine=engine,
            fleet=fleet,
            clock=clock,
            news=news,
            audit=audit,
            new_id=new_id,
            strategies=Strategies(settings.strategy, settings.default_strategy),
        )
        Access.__init__(self, store=store, clock=clock, tokens=tokens, audit=audit)
        Hosts.__init__(
            self,
            clock=clock,
            tokens=tokens,
            authority=authority,
            engine=engine,
            fleet=fleet,
            reception=reception,
            audit=audit,
        )
        Evidence.__init__(self, store=store, clock=clock, audit=audit)
        Rotation.__init__(
            self, authority=authority, reception=reception, fleet=fleet, engine=engine, audit=audit
        )
        Pinning.__init__(
            self, clock=clock, engine=engine, fleet=fleet, reception=reception, audit=audit
        )
        self.hub = Hub(reception, clock, audit, authority, self.limits.frames)
        self.reception = reception
        self.certificates = authority
        await engine.start()
        stack.push_async_callback(_save_quietly, clock, store)
        stack.push_async_callback(self._finish, engine)
        self._tasks = [
            asyncio.create_task(engine.run()),
            asyncio.create_task(reception.watch()),
            asyncio.create_task(audit.watch()),
            asyncio.create_task(self.forget_old_audit(settings.audit.keep_days)),
            asyncio.create_task(_save_clock(clock, store)),
        ]

    def ready(self) -> bool:
        """Whether requests can be served now."""
        return bool(self._tasks) and not any(task.done() for task in self._tasks)

    async def turned(self) -> None:
        """Wait until the engine is done with what it has in hand; for ever if it is stuck."""
        await self._engine.turned()

    async def failed(self) -> None:
        """Wait until a part that must run for ever has ended; raise what ended it."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def _finish(self, engine: Engine) -> None:
        """Work off what was asked and refused, and end."""
        self._audit.hand_in()
        engine.stop()
        loop, *others = self._tasks
        await asyncio.wait([loop], timeout=FINISH_WITHIN)
        for task in (loop, *others):
            task.cancel()
        await asyncio.wait(self._tasks)


@asynccontextmanager
async def serve(coordinator: Coordinator) -> AsyncIterator[str]:
    """Open the coordinator's port, announce it on the LAN, and yield its URL."""
    settings = coordinator.settings
    certificates, company = coordinator.certificates, settings.tls.company
    app = build_app(
        coordinator,
        agent_endpoint=coordinator.hub.endpoint,
        names=certificates.server_names(company),
        limits=coordinator.limits.requests,
    )
    runner = web.AppRunner(app, **RUN, shutdown_timeout=FINISH_WITHIN)
    await runner.setup()
    gate = Gate(_protocol_of(runner), certificates.server_context(company), coordinator.limits.gate)
    try:
        try:
            port = await gate.open(settings.host, settings.port, DIALS_AT_ONCE)
        except OSError as error:
            raise SettingsError(f"listen: {settings.listen}: {error.strerror or error}") from None
        log.info("the authority has the SHA-256 %s", certificates.ca_digest)
        async with _announced(coordinator, port):
            yield f"https://{format_endpoint(_reachable(settings.host), port)}"
            await coordinator.hub.close()
    finally:
        await gate.close()
        await runner.cleanup()


def _protocol_of(runner: web.AppRunner) -> Callable[[], asyncio.BaseProtocol]:
    """What serves one connection; the runner has it once it is set up."""
    if runner.server is None:
        raise TypeError("the runner is not set up")
    return runner.server


@asynccontextmanager
async def _announced(coordinator: Coordinator, port: int) -> AsyncIterator[None]:
    if not coordinator.settings.discovery.enabled:
        yield
        return
    authority = coordinator.certificates
    announcer = Announcer(coordinator.settings.host, port, *authority.digests)
    authority.follow(lambda: announcer.authorities_are(*authority.digests))
    await announcer.start()
    try:
        yield
    finally:
        await announcer.stop()


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared only


async def _save_clock(clock: SteadyClock, store: SqlStore) -> None:
    while True:
        await asyncio.sleep(SAVE_CLOCK_EVERY)
        await _save_quietly(clock, store)


async def _save_quietly(clock: SteadyClock, store: SqlStore) -> None:
    try:
        await clock.save(store)
    except UnavailableError as error:
        log.warning("the clock's anchor was not saved: %s", error.message)
