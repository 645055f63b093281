"""One scenario's own service, hosts and packages on a coordinator, asked through one door.

The coordinator is shared by all scenarios of a test process. They can't meet: each has a
service, instances and packages with names of its own.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

from protocol.api import CoordinatorAPI
from protocol.errors import NotFoundError
from protocol.models import (
    AssignmentStatus,
    BatchRollbackParams,
    DeployParams,
    DeployStatus,
    HistoryEntry,
    InstanceQueryParams,
    InstanceRollbackParams,
    RollbackStatus,
    ServiceInstance,
)
from protocol.releases import PrefetchParams, PrefetchStatus
from protocol.states import InstanceStatus, Phase
from tests.behaviour.installation import Site
from tests.parts import doors
from tests.parts.fake_driver import FakeDriver
from tests.parts.local_agent import FakeCheck, LocalAgent, LocalInstance
from tests.parts.packages import tar_gz
from tests.parts.waiting import until

OFTEN = 0.02
"""Seconds between two looks at a condition."""


@dataclass(frozen=True)
class Place:
    """One instance of the scenario, and the levers behind it."""

    id: str
    local: LocalInstance
    agent: LocalAgent

    @property
    def driver(self) -> FakeDriver:
        return self.local.driver

    @property
    def check(self) -> FakeCheck:
        return self.local.check

    @property
    def current(self) -> str:
        return self.agent.current(self.id)

    async def runs(self) -> str:
        """The version whose service runs; "" if none does."""
        return self.current if (await self.driver.state()).running else ""


class World:
    """One scenario: a service, its places and its packages. Questions go through `door`."""

    def __init__(self, site: Site, door: CoordinatorAPI, stack: AsyncExitStack) -> None:
        self.site = site
        self.door = door
        self.number = next(site.numbers)
        self.service = f"service-{self.number}"
        self._stack = stack
        self._letters = itertools.count()
        self._tasks = itertools.count(1)

    # ---- hosts and packages ------------------------------------------------

    async def places(
        self,
        count: int,
        *,
        service: str = "",
        keep_releases: int = 3,
        url: str = "",
        **settings: Any,
    ) -> list[Place]:
        """So many instances on one new host, connected (by way of `url`)."""
        locals_ = [
            LocalInstance(
                f"{chr(ord('a') + next(self._letters))}-{self.number}",
                service or self.service,
                **settings,
            )
            for _ in range(count)
        ]
        agent = await self._stack.enter_async_context(
            self.site.agent(locals_, keep_releases=keep_releases, url=url)
        )
        places = [Place(local.instance_id, local, agent) for local in locals_]
        await self.connected(*places)
        return places

    async def place(self, version: str = "", **options: Any) -> Place:
        """One instance on a host of its own; with `version`, deployed."""
        (place,) = await self.places(1, **options)
        if version:
            await self.deployed(version, place)
        return place

    def package(self, version: str) -> bytes:
        return tar_gz({"VERSION": f"{self.service} {version}\n".encode()})

    def name(self, version: str) -> str:
        """The package's name on the server."""
        return f"{self.service}/{version}.tar.gz"

    def put(self, version: str) -> str:
        """Offer the package of a version; returns its URL."""
        return self.site.packages.put(self.name(version), self.package(version))

    def downloads(self, version: str) -> int:
        return sum(one.name == self.name(version) for one in self.site.packages.requests)

    # ---- deployments -------------------------------------------------------

    def new_id(self) -> str:
        return f"deploy-{self.number}-{next(self._tasks)}"

    def params(self, version: str, *places: Place, **options: Any) -> DeployParams:
        fields: dict[str, Any] = {
            "service": self.service,
            "version": version,
            "instances": [place.id for place in places],
            "deploy_id": self.new_id(),
            "timeout": 60,
            "retry_count": 0,
        }
        options.setdefault("package_url", "")
        options["package_url"] = options["package_url"] or self.put(version)
        return DeployParams(**(fields | options))

    async def deploy(self, version: str, *places: Place, **options: Any) -> str:
        """Start a deployment; returns its id."""
        result = await self.door.execute_deployment(self.params(version, *places, **options))
        return result.deploy_id

    async def deployed(self, version: str, *places: Place, **options: Any) -> DeployStatus:
        """Deploy and wait for the end."""
        return await self.ended(await self.deploy(version, *places, **options))

    async def ended(self, deploy_id: str) -> DeployStatus:
        """Wait for the end, and ask for it through the door."""
        coordinator = self.site.coordinator
        await until(
            lambda: coordinator.get_deployment_status(deploy_id),
            lambda seen: seen.status.ended,
            every=OFTEN,
        )
        return await self.door.get_deployment_status(deploy_id)

    async def part(self, deploy_id: str, place: Place) -> AssignmentStatus:
        return part_of(await self.door.get_deployment_status(deploy_id), place)

    async def in_phase(self, deploy_id: str, place: Place, *phases: Phase) -> AssignmentStatus:
        """Wait until the instance's assignment is in one of these phases."""
        coordinator = self.site.coordinator
        return await until(
            lambda: _look(coordinator.get_deployment_status(deploy_id), place),
            lambda part: part.phase in phases,
            every=OFTEN,
        )

    # ---- prefetches --------------------------------------------------------

    def prefetch_params(self, version: str, *places: Place, **options: Any) -> PrefetchParams:
        fields: dict[str, Any] = {
            "service": self.service,
            "version": version,
            "instances": [place.id for place in places],
            "timeout": 60,
        }
        options["package_url"] = options.get("package_url") or self.put(version)
        return PrefetchParams(**(fields | options))

    async def prefetch(self, version: str, *places: Place, **options: Any) -> str:
        """Start a prefetch; returns its id."""
        made = await asked(self, "prefetch", self.prefetch_params(version, *places, **options))
        return str(made.prefetch_id)

    async def prefetched(self, version: str, *places: Place, **options: Any) -> PrefetchStatus:
        """Prefetch and wait for the end."""
        return await self.prefetch_ended(await self.prefetch(version, *places, **options))

    async def prefetch_ended(self, prefetch_id: str) -> PrefetchStatus:
        """Wait for the end, and ask for it through the door."""
        coordinator = self.site.coordinator
        await until(
            lambda: coordinator.get_prefetch_status(prefetch_id),
            lambda seen: seen.status.ended,
            every=OFTEN,
        )
        seen = await asked(self, "get_prefetch_status", prefetch_id)
        return PrefetchStatus.model_validate(seen)

    # ---- rollbacks ---------------------------------------------------------

    async def roll_back(self, version: str, *places: Place, **options: Any) -> str:
        """Start a batch rollback; returns its id."""
        fields: dict[str, Any] = {
            "service": self.service,
            "target_version": version,
            "instances": [place.id for place in places],
            "timeout": 60,
        }
        result = await self.door.rollback_batch(BatchRollbackParams(**(fields | options)))
        return result.rollback_id

    async def roll_one_back(self, version: str, place: Place, **options: Any) -> str:
        """Start a rollback of one instance; returns its id."""
        fields: dict[str, Any] = {
            "instance_id": place.id,
            "target_version": version,
            "timeout": 60,
        }
        result = await self.door.rollback_instance(InstanceRollbackParams(**(fields | options)))
        return result.rollback_id

    async def rollback_ended(self, rollback_id: str) -> RollbackStatus:
        coordinator = self.site.coordinator
        await until(
            lambda: coordinator.get_rollback_status(rollback_id),
            lambda seen: seen.status.ended,
            every=OFTEN,
        )
        return await self.door.get_rollback_status(rollback_id)

    async def rolled_back(self, version: str, *places: Place, **options: Any) -> RollbackStatus:
        return await self.rollback_ended(await self.roll_back(version, *places, **options))

    # ---- instances ---------------------------------------------------------

    async def row(self, place: Place) -> ServiceInstance:
        """The instance's row of reference 2.2."""
        found = await self.door.get_service_instances(
            InstanceQueryParams(service_name=place.local.service)
        )
        return next(row for row in found.instances if row.instance_id == place.id)

    async def connected(self, *places: Place) -> None:
        """Wait until the instances are known and connected."""
        for place in places:
            await until(partial(self._seen, place), lambda row: row and row.connected, every=OFTEN)

    async def away(self, *places: Place) -> None:
        """Cut the instances' hosts off, and wait until the coordinator has noticed."""
        for place in places:
            await place.agent.cut_off()
        for place in places:
            await until(partial(self._seen, place), lambda row: not row.connected, every=OFTEN)

    async def in_status(self, place: Place, status: InstanceStatus) -> ServiceInstance:
        """Wait until the instance is shown so."""
        await until(lambda: self._seen(place), lambda row: row.status is status, every=OFTEN)
        return await self.row(place)

    async def _seen(self, place: Place) -> Any:
        try:
            found = await self.site.coordinator.get_service_instances(
                InstanceQueryParams(service_name=place.local.service)
            )
        except NotFoundError:
            return None
        return next((row for row in found.instances if row.instance_id == place.id), None)

    async def history(self, place: Place) -> list[HistoryEntry]:
        return (await self.door.get_instance_version_history(place.id)).history

    async def task_ids(self) -> set[str]:
        """Every task of the scenario's service that is stored."""
        deployments = await self.site.coordinator.list_deployments(service=self.service)
        rollbacks = await self.site.coordinator.list_rollbacks(service=self.service)
        return {one.deploy_id for one in deployments.deployments} | {
            one.rollback_id for one in rollbacks.rollbacks
        }


async def _look(status: Awaitable[DeployStatus], place: Place) -> AssignmentStatus:
    return part_of(await status, place)


def phases(status: DeployStatus | RollbackStatus) -> list[Phase]:
    return [part.phase for part in status.instances]


def part_of(
    status: DeployStatus | RollbackStatus | PrefetchStatus, place: Place
) -> AssignmentStatus:
    """The instance's row in a task's status."""
    return next(part for part in status.instances if part.instance_id == place.id)


async def asked(world: World, name: str, *arguments: Any, **named: Any) -> Any:
    """Call a method that is added to the twelve, through the scenario's door."""
    return await doors.asked(world.door, name, *arguments, **named)


Scenario = Callable[[World], Awaitable[None]]


async def at_once(worlds: list[World], scenario: Scenario) -> None:
    """Let the scenario pass in each of these worlds."""

    async def one(world: World) -> None:
        try:
            await scenario(world)
        except BaseException as error:
            error.add_note(f"asked through {type(world.door).__name__}")
            raise

    async with asyncio.TaskGroup() as group:
        for world in worlds:
            group.create_task(one(world))


def all_doors_at_once(scenario: Scenario) -> Callable[[list[World]], Awaitable[None]]:
    """A test of a scenario in which time has to pass: it passes for the three doors together."""

    async def test(worlds: list[World]) -> None:
        await at_once(worlds, scenario)

    test.__name__ = scenario.__name__
    test.__module__ = scenario.__module__
    return test
