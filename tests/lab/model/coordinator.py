"""The coordinator: the real service, engine and reception in a process that can be killed.

Its store outlives it. A commit takes a moment, may be refused, and the process may be
killed before it or right after it, with nothing sent yet.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from coordinator.audit import Audit
from coordinator.beliefs import Beliefs
from coordinator.core.task import Moment
from coordinator.engine import Engine
from coordinator.fleet import Fleet
from coordinator.news import News
from coordinator.ports import Changes, EventRow
from coordinator.reception import Reception, RefusalError
from coordinator.renewals import Renewals
from coordinator.service import CoordinatorService
from coordinator.session import Session
from coordinator.x509 import Life
from protocol.errors import UnavailableError
from protocol.messages import ToAgent, ToCoordinator
from tests.lab.model.network import Network, Wire
from tests.lab.model.process import Process, here
from tests.parts.memory_store import MemoryStore

START = datetime(2026, 1, 1, tzinfo=UTC)
HEARTBEAT = 20.0
COMMIT_TAKES = 0.05
RESTART_AFTER = 2.0
CLOSE_TAKES = 0.05
LIFE = Life(START, START + timedelta(days=365))


class LoopClock:
    """The loop's time as `ports.Clock`: it goes on when a coordinator is gone."""

    def now(self) -> Moment:
        seconds = asyncio.get_running_loop().time()
        return Moment(seconds, START + timedelta(seconds=seconds))


class NoRenewals(Renewals):
    """Certificates outlast every trace."""

    def __init__(self) -> None: ...

    def look(self, session: Session) -> None: ...

    def ask(self, session: Session) -> bool:
        return False


class NoBeliefs(Beliefs):
    """The authority stays as it is."""

    def __init__(self) -> None: ...

    def look(self, session: Session) -> None: ...

    def tell(self, session: Session) -> None: ...


class ModelStore(MemoryStore):
    """The store, and what happens to its coordinator while it commits."""

    def __init__(self) -> None:
        super().__init__()
        self.out_of_order = False
        self.kill_before: Callable[[], None] | None = None
        self.kill_after: Callable[[], None] | None = None
        self.watch: Callable[[Changes], None] = lambda _: None

    async def commit(self, changes: Changes) -> list[EventRow]:
        await asyncio.sleep(COMMIT_TAKES)
        if self.out_of_order:
            raise UnavailableError("the disk is full")
        if kill := self.kill_before:
            self.kill_before = None
            kill()
        here()
        rows = await super().commit(changes)
        self.watch(changes)
        if kill := self.kill_after:
            self.kill_after = None
            kill()
        here()
        return rows

    def coordinator_died(self) -> None:
        """Called at every kill: a true store keeps all that was committed."""


class SimulatedCoordinator:
    """Starts itself again after each kill."""

    def __init__(self, store: ModelStore, network: Network) -> None:
        self.store = store
        self.clock = LoopClock()
        self.service: CoordinatorService | None = None
        self._network = network
        self._ids: Iterator[int] = itertools.count(1)
        self._process = Process()
        self._reception: Reception
        self._wires: list[Wire] = []

    async def start(self) -> None:
        """Load what is saved, and serve."""
        self._process = Process()
        fleet = Fleet(self.clock, HEARTBEAT)
        fleet.load(await self.store.hosts(), await self.store.instances())
        self._reception = Reception(fleet, self.clock, NoRenewals(), NoBeliefs())
        news = News()
        engine = Engine(self.store, self._reception, self.clock, fleet, news.publish)
        audit = Audit(engine, self.clock)
        self._reception.attach(engine, audit)
        await engine.start()
        self._process.spawn(engine.run)
        self._process.spawn(self._reception.watch)
        self.service = CoordinatorService(
            store=self.store,
            engine=engine,
            fleet=fleet,
            clock=self.clock,
            news=news,
            audit=audit,
            new_id=lambda: str(next(self._ids)),
        )

    def kill(self) -> None:
        """SIGKILL; the store stays, and systemd starts it again."""
        if self.service is None:
            return
        self.service = None
        self._process.kill()
        self.store.coordinator_died()
        wires, self._wires = self._wires, []
        for wire in wires:
            wire.end(by_agent=False)
        loop = asyncio.get_running_loop()
        loop.call_later(RESTART_AFTER, lambda: loop.create_task(self.start()))

    def ask(self, request: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Serve a request; if the process dies, the caller hears nothing."""
        self._process.spawn(request)

    # ---- the hub's part ----------------------------------------------------

    def dialled(self, host_id: str, to_agent: Callable[[ToAgent | None], None]) -> Wire | None:
        """Take a host's connection."""
        if self.service is None or host_id in self._network.cut_off:
            return None
        line = _Line(host_id, self._reception, self._process)
        line.wire = Wire(self._network, host_id, line.take, to_agent)
        self._wires.append(line.wire)
        return line.wire


class _Line:
    """The coordinator's end of a wire: what the hub's endpoint does for one agent."""

    wire: Wire

    def __init__(self, host_id: str, reception: Reception, process: Process) -> None:
        self._reception = reception
        self._process = process
        self._session = Session(host_id, "10.0.0.5", self._let_go, LIFE)
        self._greeted = False
        self._open = True

    def take(self, frame: ToCoordinator | None) -> None:
        """One frame, or None for the end; where nobody listens, the agent's host is told so."""
        if self._open and self._process.alive:
            self._process.call(lambda: self._take(frame))
        elif frame is not None:
            self.wire.end(by_agent=False)

    def _take(self, frame: ToCoordinator | None) -> None:
        if frame is None:
            self._close()
            return
        try:
            if self._greeted:
                self._reception.hear(self._session, frame)
            else:
                self._reception.greet(self._session, frame)
                self._greeted = True
                self._process.spawn(self._pump)
        except RefusalError:
            self.wire.end(by_agent=False)
            self._close()

    async def _pump(self) -> None:
        while self._open:
            self.wire.send_down(await self._session.outbox.get())

    def _let_go(self, why: str) -> None:
        asyncio.get_running_loop().call_later(CLOSE_TAKES, self._hang_up)

    def _hang_up(self) -> None:
        self.wire.end(by_agent=False)
        self._process.call(self._close)

    def _close(self) -> None:
        self._open = False
        self._reception.leave(self._session)
