"""A token that is restricted to services sees and acts on those, and the rest does not exist.

A service that is named and is none of them is refused, whether it exists or not. Tasks and
instances of other services are unknown, in the very words for those that never were.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from coordinator.caller import Caller
from coordinator.client import AsyncClient
from protocol.access import CreatedToken, TokenParams
from protocol.api import CoordinatorAPI
from protocol.errors import ConflictError, FerrymanError, NotFoundError, PermissionDeniedError
from protocol.models import (
    BatchRollbackParams,
    DeployParams,
    InstanceQueryParams,
    InstanceRollbackParams,
)
from protocol.states import TaskState
from tests.behaviour.installation import DOORS, Site
from tests.behaviour.world import OFTEN, Place, World
from tests.parts.doors import InThread, asked
from tests.parts.local_agent import LocalInstance
from tests.parts.waiting import until

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.sweep]

URL = "https://packages.example.com/p.tar.gz"
LONG_AGO = datetime(2025, 11, 1, tzinfo=UTC)
DENIED = "the token is restricted to the services {}, nobodys-?; {} is none of them"


class Scene:
    """A service of the token's and one that is not, each with an instance on one host."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.own = world.service
        self.other = f"other-{world.number}"
        self.pattern = f"ser[u-w]ice-{world.number}"
        self.token: CreatedToken
        self.mine: Place
        self.foreign: Place

    async def set_up(self, stack: AsyncExitStack, door: str) -> None:
        site = self.world.site
        (self.mine,) = await self.world.places(1)
        (self.foreign,) = await self.world.places(1, service=self.other)
        params = TokenParams(
            role="deployer", name="ci", ttl=3600, services=[self.pattern, "nobodys-?"]
        )
        self.token = await site.coordinator.create_token(params)
        self.door = await self.through(stack, door)

    async def through(self, stack: AsyncExitStack, door: str) -> CoordinatorAPI:
        """A door at which the token is shown, or its caller named."""
        site = self.world.site
        if door == "Coordinator":
            row = await site.coordinator.authenticate(self.token.secret)
            return site.coordinator.on_behalf_of(Caller.of_token(row))
        if door == "AsyncClient":
            client = AsyncClient(site.url, self.token.secret, site.ca_file)
            return await stack.enter_async_context(client)
        blocking = InThread(site.url, self.token.secret, str(site.ca_file))
        stack.push_async_callback(blocking.close)
        return blocking

    def deployment(self, service: str, *instances: str, **fields: Any) -> DeployParams:
        return DeployParams(
            **{
                "service": service,
                "version": "v1",
                "instances": list(instances),
                "package_url": URL,
                "deploy_id": self.world.new_id(),
                **fields,
            }
        )

    def rollback(self, service: str, *instances: str) -> BatchRollbackParams:
        return BatchRollbackParams(
            service=service, target_version="v1", instances=list(instances), package_url=URL
        )

    async def timeline(self, task_id: str, name: str = "get_deployment_timeline") -> Any:
        return await asked(self.door, name, task_id)

    async def deployed_to_the_other(self) -> str:
        """A deployment of the service that is none of the token's; its id."""
        params = self.deployment(
            self.other, self.foreign.id, package_url=self.world.put("v1"), retry_count=0
        )
        await self.world.site.coordinator.execute_deployment(params)
        return params.deploy_id

    async def get(self, path: str) -> Any:
        answer = await self.world.site.ask("GET", path, token=self.token.secret)
        assert answer.status == 200, answer
        return answer.data


@pytest_asyncio.fixture(loop_scope="session", params=DOORS)
async def scene(site: Site, request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        made = Scene(World(site, site.doors[request.param], stack))
        await made.set_up(stack, request.param)
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def http(site: Site) -> AsyncIterator[Scene]:
    """The same, for what only HTTP has."""
    async with AsyncExitStack() as stack:
        made = Scene(World(site, site.coordinator, stack))
        await made.set_up(stack, "AsyncClient")
        yield made


async def refused(call: Callable[[str], Awaitable[object]], name: str) -> FerrymanError:
    with pytest.raises(FerrymanError) as raised:
        await call(name)
    return raised.value


def said(error: FerrymanError, name: str) -> tuple[type, str, str]:
    """What a refusal says, without the name that it is about."""
    return type(error), error.message.replace(name, "X"), str(error.details).replace(name, "X")


async def test_what_is_its_own_is_done_and_shown(scene: Scene) -> None:
    door, place = scene.door, scene.mine
    params = scene.deployment(scene.own, place.id, package_url=scene.world.put("v1"))
    await door.execute_deployment(params)
    assert (await scene.world.ended(params.deploy_id)).status is TaskState.COMPLETED
    status = await door.get_deployment_status(params.deploy_id)
    assert [part.instance_id for part in status.instances] == [place.id]
    shown = await door.get_service_instances(InstanceQueryParams(service_name=scene.own))
    assert [row.version for row in shown.instances] == ["v1"]
    versions = await door.get_service_instance_versions(scene.own)
    assert versions.version_summary == {"v1": 1}
    past = await door.get_service_instance_versions(scene.own, True, LONG_AGO)
    assert past.version_summary == {"": 1}
    assert (await scene.timeline(params.deploy_id)).task_id == params.deploy_id
    ready = await asked(door, "get_rollback_readiness", scene.own)
    assert [row.instance_id for row in ready.instances] == [place.id]
    history = await door.get_instance_version_history(place.id)
    assert [row.deploy_id for row in history.history] == [params.deploy_id]
    with pytest.raises(ConflictError):
        await door.cancel_deployment(params.deploy_id)
    back = await door.rollback_instance(
        InstanceRollbackParams(instance_id=place.id, target_version="v1", force=True)
    )
    assert (await scene.world.rollback_ended(back.rollback_id)).status is TaskState.COMPLETED
    assert (await door.get_rollback_status(back.rollback_id)).rollback_type == "single"


async def test_a_named_service_that_is_none_of_its_own_is_refused_whether_it_exists_or_not(
    scene: Scene,
) -> None:
    door, instance = scene.door, scene.foreign.id
    before = await everything(scene)
    calls: list[tuple[str, Callable[[str], Awaitable[object]]]] = [
        ("service", lambda name: door.execute_deployment(scene.deployment(name, instance))),
        (
            "service",
            lambda name: asked(door, "plan_deployment", scene.deployment(name, instance)),
        ),
        ("service", lambda name: door.rollback_batch(scene.rollback(name, instance))),
        ("service_name", door.get_service_instance_versions),
        ("service_name", lambda name: door.get_service_instance_versions(name, True, LONG_AGO)),
        ("service_name", partial(asked, door, "get_rollback_readiness")),
        (
            "service_name",
            lambda name: door.get_service_instances(InstanceQueryParams(service_name=name)),
        ),
    ]
    for field, call in calls:
        for name in (scene.other, "never-heard-of"):
            error = await refused(call, name)
            assert isinstance(error, PermissionDeniedError)
            message = DENIED.format(scene.pattern, name)
            assert error.message == f"{field}: {message}"
            assert error.details == [{"field": field, "message": message}]
    assert await everything(scene) == before


async def test_what_is_of_another_service_is_unknown_in_the_words_for_what_never_was(
    scene: Scene,
) -> None:
    door, there, never = scene.door, scene.foreign.id, f"never-{scene.world.number}"
    deploy_id = await scene.deployed_to_the_other()
    await scene.world.ended(deploy_id)
    before = await everything(scene)

    def back(name: str) -> InstanceRollbackParams:
        return InstanceRollbackParams(instance_id=name, target_version="v1", package_url=URL)

    calls: list[tuple[Callable[[str], Awaitable[object]], str]] = [
        (door.get_deployment_status, deploy_id),
        (door.cancel_deployment, deploy_id),
        *(
            (partial(asked, door, f"{what}_deployment"), deploy_id)
            for what in ("pause", "resume", "promote", "retry", "rollback")
        ),
        (door.get_rollback_status, deploy_id),
        (scene.timeline, deploy_id),
        (door.get_instance_version_history, there),
        (lambda name: door.rollback_instance(back(name)), there),
        (lambda name: door.execute_deployment(scene.deployment(scene.own, name)), there),
        (
            lambda name: asked(door, "plan_deployment", scene.deployment(scene.own, name)),
            there,
        ),
        (lambda name: door.rollback_batch(scene.rollback(scene.own, name)), there),
    ]
    for call, hidden in calls:
        error = await refused(call, hidden)
        unknown = await refused(call, never)
        assert isinstance(error, NotFoundError), error
        assert said(error, hidden) == said(unknown, never)
        assert scene.other not in error.message
    assert await everything(scene) == before


async def test_a_rollback_of_another_service_is_neither_shown_nor_cancelled(scene: Scene) -> None:
    await scene.world.ended(await scene.deployed_to_the_other())
    gate = scene.foreign.driver.hold("start")
    params = InstanceRollbackParams(instance_id=scene.foreign.id, target_version="v1", force=True)
    made = await scene.world.site.coordinator.rollback_instance(params)
    await gate.reached.wait()
    added = ("pause_rollback", "resume_rollback", "promote_rollback", "retry_rollback")
    hidden: list[Callable[[str], Awaitable[object]]] = [
        scene.door.cancel_rollback,
        scene.door.get_rollback_status,
        lambda name: scene.timeline(name, "get_rollback_timeline"),
        *(partial(asked, scene.door, name) for name in added),
    ]
    for call in hidden:
        assert isinstance(await refused(call, made.rollback_id), NotFoundError)
    gate.open()
    ended = await scene.world.rollback_ended(made.rollback_id)
    assert (ended.status, ended.cancelled_at) == (TaskState.COMPLETED, None)


async def test_statistics_count_what_is_its_own(scene: Scene) -> None:
    await scene.world.ended(await scene.deployed_to_the_other())
    stats = await scene.door.get_system_stats("1h")
    assert (stats.deployments.total, stats.rollbacks.total) == (0, 0)
    assert stats.instances.total == 1
    assert (await scene.door.get_system_health()).status == "healthy"


# ---- lists and events, over HTTP ---------------------------------------------


async def test_lists_hold_what_is_its_own_and_count_nothing_else(http: Scene) -> None:
    await http.world.ended(await http.deployed_to_the_other())
    own = await http.world.deployed("v1", http.mine)
    found = await http.get("/v1/deployment")
    assert [row["deploy_id"] for row in found["deployments"]] == [own.deploy_id]
    assert found["total"] == 1
    assert (await http.get("/v1/rollback"))["total"] == 0
    found = await http.get("/v1/service")
    assert ([row["service"] for row in found["services"]], found["total"]) == ([http.own], 1)
    for path in ("/v1/deployment", "/v1/rollback", "/v1/host"):
        filtered = f"{path}?service={http.other}"
        answer = await http.world.site.ask("GET", filtered, token=http.token.secret)
        assert (answer.status, answer.data["type"]) == (403, "permission_denied")
        assert (await http.get(f"{path}?service={http.own}"))["total"] == (path != "/v1/rollback")


async def test_hosts_are_those_of_its_services_and_name_only_their_instances(http: Scene) -> None:
    """Beside one of its instances, a host may have one of somebody else's."""
    number = http.world.number
    beside = [
        LocalInstance(f"beside-{number}", http.own),
        LocalInstance(f"hidden-{number}", http.other),
    ]
    async with http.world.site.agent(beside, keep_releases=1) as agent:
        found = await until(
            lambda: http.get("/v1/host"), lambda seen: seen["total"] == 2, every=OFTEN
        )
        everybody = await http.world.site.coordinator.list_hosts(service=http.own)
    assert {row["host_id"]: row["instances"] for row in found["hosts"]} == {
        http.mine.agent.host_id: [http.mine.id],
        agent.host_id: [f"beside-{number}"],
    }
    assert f"hidden-{number}" in everybody.hosts[0].instances + everybody.hosts[1].instances


async def test_events_are_those_of_its_services(http: Scene) -> None:
    coordinator = http.world.site.coordinator
    deploy_id = await http.deployed_to_the_other()
    await http.world.ended(deploy_id)
    own = await http.world.deployed("v1", http.mine)
    seen: list[dict[str, Any]] = []
    async with http.world.site.events(http.token.secret, after=0) as stream, asyncio.timeout(20):
        back = await coordinator.rollback_instance(
            InstanceRollbackParams(
                instance_id=http.foreign.id, target_version="v1", force=True, package_url=URL
            )
        )
        await http.world.rollback_ended(back.rollback_id)
        again = await http.world.deploy("v2", http.mine)
        while not any(is_end_of(event, again) for event in seen):
            line = (await stream.content.readline()).decode()
            if line.startswith("data: "):
                seen.append(json.loads(line.removeprefix("data: ")))
    assert {event["data"]["service"] for event in seen} == {http.own}
    assert {event["kind"] for event in seen} == {"task", "assignment", "instance"}
    assert {event["data"].get("task_id") for event in seen} == {None, own.deploy_id, again}


def is_end_of(event: dict[str, Any], task_id: str) -> bool:
    data = event["data"]
    return event["kind"] == "task" and (data["task_id"], data["status"]) == (task_id, "completed")


# ---- making them ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said_"),
    [
        ({"role": "admin", "services": ["web-*"]}, "a token with the role admin can't be"),
        ({"role": "join", "services": ["web-*"]}, "a token with the role join can't be"),
        ({"role": "viewer", "services": []}, "must be 1 to 32 different patterns"),
        ({"role": "viewer", "services": [""]}, "each 1 to 128 of"),
        ({"role": "viewer", "services": ["web/*"]}, "each 1 to 128 of"),
        ({"role": "viewer", "services": ["[a"]}, "each 1 to 128 of"),
        ({"role": "viewer", "services": ["a", "a"]}, "a stands there twice"),
        ({"role": "viewer", "services": "web-*"}, "must be 1 to 32 different patterns"),
        ({"role": "viewer", "services": [f"a{n}" for n in range(33)]}, "must be 1 to 32"),
    ],
)
async def test_a_restriction_that_cannot_be_is_refused_and_no_token_is_made(
    own: World, fields: dict[str, Any], said_: str
) -> None:
    before = (await own.site.ask("GET", "/v1/token")).data
    answer = await own.site.ask("POST", "/v1/token", fields)
    assert (answer.status, answer.data["type"]) == (400, "invalid_request")
    (detail,) = answer.data["details"]
    assert detail["field"].partition("[")[0] == "services"
    assert said_ in detail["message"]
    assert (await own.site.ask("GET", "/v1/token")).data == before


async def test_a_token_is_listed_with_its_patterns_its_expiry_and_its_last_use(http: Scene) -> None:
    async def row() -> dict[str, Any]:
        tokens = (await http.world.site.ask("GET", "/v1/token")).data["tokens"]
        found: dict[str, Any] = next(t for t in tokens if t["token_id"] == http.token.token_id)
        return found

    assert (await row())["last_used_at"] is None
    await http.get("/v1/service")
    used = await row()
    assert used["services"] == [http.pattern, "nobodys-?"]
    assert used["created_at"] <= used["last_used_at"] < used["expires_at"]
    assert (used["role"], used["name"]) == ("deployer", "ci")
    assert "secret" not in used
    everybody = await http.world.site.ask("GET", "/v1/token")
    assert http.token.secret not in str(everybody.body)


async def test_the_command_line_makes_one_that_holds(http: Scene) -> None:
    site = http.world.site
    made = await site.ferryman(
        "token", "create", "--role", "viewer", "--service", http.pattern, "--ttl", "1h"
    )
    assert made.code == 0, made
    token = made.out.split()[-1]
    assert token.startswith("ferryman-viewer-")
    shown = await site.ferryman("services", token=token)
    assert [line.split()[0] for line in shown.out.splitlines()] == ["SERVICE", http.own]
    denied = await site.ferryman("versions", http.other, token=token)
    assert (denied.code, denied.out) == (4, "")
    assert f"{http.other} is none of them" in denied.err
    unknown = await site.ferryman("history", http.foreign.id, token=token)
    assert unknown.code == 3
    assert token not in denied.err + unknown.err


async def everything(scene: Scene) -> tuple[Any, ...]:
    """All that a refused request could have changed."""
    coordinator = scene.world.site.coordinator
    return (
        (await coordinator.list_deployments(service=scene.other)).deployments,
        (await coordinator.list_rollbacks(service=scene.other)).rollbacks,
        (await coordinator.list_deployments(service=scene.own)).deployments,
        (await coordinator.list_rollbacks(service=scene.own)).rollbacks,
    )
