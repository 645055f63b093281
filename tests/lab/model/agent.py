"""The agent of one host: the real core in a process that can be killed, and its connection.

The connection's loop does what `agent.connection` does, without sockets: greet, look
around, tell what is not acknowledged and what there is, then talk and send heartbeats; a
coordinator that is silent for three heartbeats is given up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from agent.core.backoff import pause
from agent.dialogue import Dialogue, Outbox
from agent.journal import Journal
from agent.worker import Worker
from protocol.messages import Heartbeat, Hello, ToAgent, Welcome
from tests.lab.model.host import (
    Hands,
    JournalWatch,
    Packages,
    Place,
    SimulatedPreparer,
    WatchedJournal,
    instance_of,
)
from tests.lab.model.network import Network, Wire
from tests.lab.model.process import Process

MISSED_HEARTBEATS = 3
RESTART_AFTER = 1.0

Dial = Callable[["SimulatedHost", Callable[[ToAgent | None], None]], Wire | None]
"""Opens a connection, or None if nobody answers."""


class SimulatedHost:
    """One host with its places. The agent starts with `boot`, and again after a kill."""

    def __init__(
        self,
        host_id: str,
        folder: Path,
        places: Sequence[Place],
        *,
        packages: Packages,
        network: Network,
        journal: Callable[[Path], Journal],
        watch: JournalWatch,
        dial: Dial,
    ) -> None:
        self.host_id = host_id
        self.places = {place.instance_id: place for place in places}
        self.workers: dict[str, Worker] = {}
        self.dialogue = Dialogue()
        self.wire: Wire | None = None
        self.folder = folder
        self._packages = packages
        self._network = network
        self._journal = journal
        self._watch = watch
        self._dial = dial
        self._boots = 0
        self._powered = False
        self._process = Process()
        self._process.kill()

    def boot(self) -> None:
        """Switch the machine on: no service runs yet."""
        self._boots += 1
        self._powered = True
        self.start_agent()

    def reboot(self) -> None:
        """Cut the power, and switch it on again."""
        self.kill_agent()
        self._powered = False
        for place in self.places.values():
            place.service.crash("")
        asyncio.get_running_loop().call_later(RESTART_AFTER, self.boot)

    def kill_agent(self) -> None:
        """SIGKILL; services and files stay, and systemd starts it again."""
        self._process.kill()
        if self.wire is not None:
            self.wire.end(by_agent=True)
            self.wire = None
        asyncio.get_running_loop().call_later(RESTART_AFTER, self.start_agent)

    def start_agent(self) -> None:
        """As systemd does it, if it does not run."""
        if self._powered and not self._process.alive:
            self._process = Process()
            self._process.spawn(self._run)

    def break_connection(self) -> None:
        """Both sides see the connection end."""
        if self.wire is not None:
            self.wire.end(by_agent=True)
            self.wire.end(by_agent=False)

    # ---- the process -------------------------------------------------------

    async def _run(self) -> None:
        hands = Hands(self._network.chance)
        boot_id = f"boot-{self._boots}"
        journal = WatchedJournal(self._journal(self.folder / "journal"), self._watch)
        journal.open()
        self.dialogue = Dialogue()
        self.workers = {}
        workers = {}
        preparer = SimulatedPreparer(self.places, self._packages, hands)
        for name, place in self.places.items():
            instance = instance_of(place, hands)
            worker = Worker(instance, journal, preparer, self.dialogue, boot_id)
            await worker.recover()
            workers[name] = worker
        self.workers = workers
        self.dialogue.attach(workers, journal.past)
        await self._stay_connected()

    async def _stay_connected(self) -> None:
        failures = 0
        while True:
            inbox: asyncio.Queue[ToAgent | None] = asyncio.Queue()
            wire = self._dial(self, inbox.put_nowait)
            welcomed = False
            if wire is not None:
                self.wire = wire
                welcomed = await self._talk(wire, inbox)
                self.dialogue.hang_up()
                wire.end(by_agent=True)
                self.wire = None
            failures = 0 if welcomed else failures + 1
            await asyncio.sleep(0.01 + pause(failures, self._network.chance.random()))

    async def _talk(self, wire: Wire, inbox: asyncio.Queue[ToAgent | None]) -> bool:
        past_number = self.dialogue.past_number
        wire.send_up(Hello(host_id=self.host_id, agent_version="0", past_number=past_number))
        welcome = await _within(10.0, inbox)
        if not isinstance(welcome, Welcome):
            return False
        interval = welcome.heartbeat_interval
        if welcome.tell_past_after is not None:
            for past in self.dialogue.past_after(welcome.tell_past_after):
                wire.send_up(past)
        await self.dialogue.look_around()
        outbox = self.dialogue.catch_up()
        parts = [
            asyncio.create_task(_pump(wire, outbox)),
            asyncio.create_task(self._beat(outbox, interval)),
        ]
        try:
            while frame := await _within(MISSED_HEARTBEATS * interval, inbox):
                self.dialogue.hear(frame)
        finally:
            for part in parts:
                part.cancel()
        return True

    async def _beat(self, outbox: Outbox, interval: float) -> None:
        number = 0
        while True:
            number += 1
            outbox.put_nowait(Heartbeat(number=number))
            await asyncio.sleep(interval)
            await self.dialogue.look_around()


async def _pump(wire: Wire, outbox: Outbox) -> None:
    while True:
        wire.send_up(await outbox.get())


async def _within(seconds: float, inbox: asyncio.Queue[ToAgent | None]) -> ToAgent | None:
    """The next frame; None if the connection has ended or is silent for too long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            return await inbox.get()
    return None
