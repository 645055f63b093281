"""A coordinator, two hosts with an instance each, and all that can happen to them.

Every public method that returns nothing is something that may happen; a trace is a sequence
of such calls with time between them. `settle` ends all misfortune, lets time pass until
nothing moves any more, and compares what the coordinator answers with what is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

from agent.journal import Journal, Record
from agent.ports import StepError
from coordinator.ports import Changes, HostRow
from protocol.errors import FerrymanError
from protocol.models import BatchRollbackParams, DeployParams, InstanceRollbackParams
from protocol.states import TaskKind
from tests.lab.model.agent import SimulatedHost
from tests.lab.model.coordinator import HEARTBEAT, START, ModelStore, SimulatedCoordinator
from tests.lab.model.host import SERVICE, JournalWatch, Packages, Place
from tests.lab.model.network import Network, Weather
from tests.lab.model.truth import Truth, Violation, check_history, check_host, check_outcome

HOSTS = {"host-a": ("a-1",), "host-b": ("b-1",)}
INSTANCES = [name for names in HOSTS.values() for name in names]
LONGEST_SETTLING = 1200.0
"""Seconds: the longest timeout, the grace for putting back, and time to reconnect."""


class _Watch(JournalWatch):
    """Shows a host's journal to the truth, and kills its agent at a save if that was planned."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self.kill: Callable[[], None] = lambda: None
        self.kill_at = 0
        """At the how-manyth save from now; negative: right after it; 0: at none."""

    def loaded(self, record: Record) -> None:
        self._truth.loaded(record)

    def before_save(self) -> None:
        if self.kill_at > 0:
            self.kill_at -= 1
            if not self.kill_at:
                self.kill()

    def saved(self, record: Record) -> None:
        self._truth.saved(record)
        if self.kill_at < 0:
            self.kill_at += 1
            if not self.kill_at:
                self.kill()


class World:
    """One trace's world. Variants of the store and the journal are the tests' own controls."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        store: type[ModelStore] = ModelStore,
        journal: Callable[[Path], Journal] = Journal,
    ) -> None:
        self.truth = Truth()
        self.network = Network(random.Random(seed))
        self.packages = Packages()
        self.store = store()
        self.store.watch = self.truth.committed
        self.coordinator = SimulatedCoordinator(self.store, self.network)
        self.watches = {host_id: _Watch(self.truth) for host_id in HOSTS}
        self.hosts = {
            host_id: SimulatedHost(
                host_id,
                folder / host_id,
                [Place(name, folder / host_id / name) for name in names],
                packages=self.packages,
                network=self.network,
                journal=journal,
                watch=self.watches[host_id],
                dial=lambda host, inbox: self.coordinator.dialled(host.host_id, inbox),
            )
            for host_id, names in HOSTS.items()
        }
        for host_id, host in self.hosts.items():
            self.watches[host_id].kill = host.kill_agent
        self.places = {name: p for host in self.hosts.values() for name, p in host.places.items()}
        self.accepted: list[tuple[TaskKind, str]] = []
        self._requests: list[DeployParams] = []

    async def begin(self) -> None:
        """Switch everything on, and wait until all instances are known."""
        rows = [HostRow(host_id, START) for host_id in HOSTS]
        await self.store.commit(Changes(hosts=rows))
        await self.coordinator.start()
        for host in self.hosts.values():
            host.folder.mkdir()
            host.boot()
        await self._until(self._known, 60.0, "the hosts never appear")

    # ---- what operators do -------------------------------------------------

    def deploy(self, instances: int, version: str, timeout: int, retries: int) -> None:
        params = DeployParams(
            service=SERVICE,
            version=version,
            instances=_chosen(instances),
            package_url=f"https://packages.example/{version}.tar.gz",
            deploy_id=f"deploy-{len(self._requests) + 1}",
            timeout=timeout,
            retry_count=retries,
        )
        self._requests.append(params)
        self._deploy(params)

    async def deployed(self, version: str) -> None:
        """A deployment to all instances in fair weather."""
        self.deploy(2 ** len(INSTANCES) - 1, version, 60, 0)
        await self._until(self._accepted_all, 60.0, "the first deployment is not accepted")
        await self._until(self._at_rest, 60.0, "the first deployment never ends")

    def repeat(self, number: int) -> None:
        """Ask for an earlier deployment again: the client had heard no answer."""
        if self._requests:
            self._deploy(self._requests[number % len(self._requests)])

    def roll_back(self, instance: int, version: str, timeout: int, force: bool) -> None:
        params = InstanceRollbackParams(
            instance_id=INSTANCES[instance],
            target_version=version,
            timeout=timeout,
            force=force,
        )

        async def ask() -> None:
            assert self.coordinator.service
            result = await self.coordinator.service.rollback_instance(params)
            self.accepted.append((TaskKind.ROLLBACK, result.rollback_id))

        self._ask(ask)

    def roll_all_back(self, instances: int, version: str, force: bool) -> None:
        params = BatchRollbackParams(
            service=SERVICE,
            target_version=version,
            instances=_chosen(instances),
            timeout=30,
            force=force,
        )

        async def ask() -> None:
            assert self.coordinator.service
            result = await self.coordinator.service.rollback_batch(params)
            self.accepted.append((TaskKind.ROLLBACK, result.rollback_id))

        self._ask(ask)

    def cancel(self, number: int) -> None:
        """Cancel one of the accepted tasks, the latest first."""
        if not self.accepted:
            return
        kind, task_id = self.accepted[-1 - number % len(self.accepted)]

        async def ask() -> None:
            service = self.coordinator.service
            assert service
            if kind is TaskKind.DEPLOY:
                await service.cancel_deployment(task_id)
            else:
                await service.cancel_rollback(task_id)

        self._ask(ask)

    def _deploy(self, params: DeployParams) -> None:
        async def ask() -> None:
            assert self.coordinator.service
            result = await self.coordinator.service.execute_deployment(params)
            self.accepted.append((TaskKind.DEPLOY, result.deploy_id))

        self._ask(ask)

    def _ask(self, request: Callable[[], Awaitable[None]]) -> None:
        async def ask() -> None:
            with contextlib.suppress(FerrymanError):
                await request()

        if self.coordinator.service is not None:
            self.coordinator.ask(ask)

    # ---- what happens to the network and the machines ----------------------

    def weather(self, loss: float, double: float, overtaken: float, delay: float) -> None:
        self.network.weather = Weather(loss, double, overtaken, delay)

    def break_connection(self, host: int) -> None:
        self._host(host).break_connection()

    def cut_off(self, host: int) -> None:
        """Cut the host off, or heal that."""
        self.network.cut_off ^= {list(HOSTS)[host]}

    def kill_agent(self, host: int) -> None:
        self._host(host).kill_agent()

    def kill_agent_at_save(self, host: int, number: int) -> None:
        """Before the `number`th save from now; negative: right after it."""
        self.watches[list(HOSTS)[host]].kill_at = number

    def reboot(self, host: int) -> None:
        self._host(host).reboot()

    def kill_coordinator(self) -> None:
        self.coordinator.kill()

    def kill_coordinator_before_commit(self) -> None:
        self.store.kill_before = self.coordinator.kill

    def kill_coordinator_after_commit(self) -> None:
        self.store.kill_after = self.coordinator.kill

    def fill_disk(self) -> None:
        """The database refuses every commit, or works again."""
        self.store.out_of_order = not self.store.out_of_order

    # ---- what happens to services and packages -----------------------------

    def starts_fail(self, instance: int, times: int) -> None:
        why = StepError("won't start", passing=True)
        self._place(instance).service.refusals.extend([why] * times)

    def stop_fails(self, instance: int) -> None:
        self._place(instance).service.stubbornness.append(StepError("won't stop"))

    def probes_fail(self, instance: int, times: int) -> None:
        self._place(instance).sickness.extend(["answered 500"] * times)

    def download_fails(self, instance: int, passing: bool) -> None:
        why = StepError("answered 503" if passing else "answered 404", passing=passing)
        self._place(instance).bad_downloads.append(why)

    def dies(self, instance: int) -> None:
        if self._place(instance).service.running:
            self._place(instance).service.crash("killed by signal 9")

    def change_content(self, version: str) -> None:
        changed = self.packages.changed
        changed[version] = changed.get(version, 0) + 1

    # ---- the end -----------------------------------------------------------

    async def settle(self) -> None:
        """End all misfortune, wait, and compare."""
        self.network.weather = Weather()
        self.network.cut_off.clear()
        self.store.out_of_order = False
        self.store.kill_before = self.store.kill_after = None
        for place in self.places.values():
            place.calm()
        for watch in self.watches.values():
            watch.kill_at = 0
        await asyncio.sleep(0.1)
        for host in self.hosts.values():
            if host.wire is not None and host.wire.harmed:
                host.break_connection()
        await self._until(self._at_rest, LONGEST_SETTLING, "nothing settles")
        await asyncio.sleep(2.5 * HEARTBEAT)
        await self._until(self._at_rest, LONGEST_SETTLING, "nothing stays settled")
        await self._compare()

    async def _at_rest(self) -> bool:
        service = self.coordinator.service
        if service is None or not await self._known():
            return False
        if await self.store.unfinished():
            return False
        records = self.truth.records.values()
        workers = [w for host in self.hosts.values() for w in host.workers.values()]
        return not any(record.work for record in records) and not any(w.unsent for w in workers)

    async def _accepted_all(self) -> bool:
        return len(self.accepted) == len(self._requests)

    async def _known(self) -> bool:
        return all(host.wire is not None for host in self.hosts.values()) and len(
            await self.store.instances()
        ) == len(INSTANCES)

    async def _until(
        self, condition: Callable[[], Awaitable[bool]], seconds: float, complaint: str
    ) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not await condition():
            if loop.time() > deadline:
                unfinished = await self.store.unfinished()
                raise Violation(f"{complaint}: {unfinished} {self.truth.records}")
            await asyncio.sleep(2.0)

    async def _compare(self) -> None:
        service = self.coordinator.service
        assert service is not None
        for task in self.truth.tasks.values():
            saved = await self.store.task(task.task_id)
            if saved is None:
                raise Violation(f"{task.task_id} was committed and is lost")
            for part in saved.assignments.values():
                check_outcome(self.truth, saved, part)
                check_history(saved, part, (await self.store.history(part.instance_id))[0])
        for _, task_id in self.accepted:
            if task_id not in self.truth.tasks:
                raise Violation(f"{task_id} was accepted and is lost")
        rows = {row.instance_id: row for row in await self.store.instances()}
        shown = await service.get_service_instance_versions(SERVICE, include_stopped=True)
        for one in shown.instances:
            row = rows[one.instance_id]
            host = self.hosts[row.host_id]
            if not one.connected or (one.version, one.status) != (row.version, row.status):
                raise Violation(f"{one} is shown for {row}")
            worker = host.workers[one.instance_id]
            if worker.unsent:
                raise Violation(f"{one.instance_id}: not acknowledged: {worker.unsent}")
            record = self.truth.records[one.instance_id]
            check_host(self.places[one.instance_id], record, row)

    def _host(self, number: int) -> SimulatedHost:
        return list(self.hosts.values())[number]

    def _place(self, number: int) -> Place:
        return self.places[INSTANCES[number]]


def _chosen(mask: int) -> list[str]:
    """The instances whose bits are set."""
    return [name for bit, name in enumerate(INSTANCES) if mask & 1 << bit]
