"""For every operation that changes something: a request, and what its row must say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from agent.keys import NewKey
from protocol.access import TokenParams
from protocol.states import Phase
from protocol.strategy import Strategy
from tests.behaviour.world import World
from tests.parts.audit_trail import newest, rows_after
from tests.parts.local_agent import csr_here
from tests.parts.waiting import until


@dataclass
class Request:
    """One request that changes something, and what its row must say."""

    path: str
    body: Any = None
    object_id: str = ""
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    by_token: bool = True
    shown: tuple[str, str] = ("token", "join")
    """By what an agent that asks is known, and its role."""


async def deploy(world: World) -> Request:
    place = await world.place("v1")
    params = world.params("v2", place).model_dump(exclude_none=True)
    return Request(
        "/v1/deployment",
        params,
        object_id=params["deploy_id"],
        parameters=params,
        before={"versions": {"v1": 1}, "instances": {place.id: "v1"}},
        after={
            "task_id": params["deploy_id"],
            "service": world.service,
            "version": "v2",
            "instances": 1,
        },
    )


async def cancel(world: World) -> Request:
    place = await world.place()
    await world.away(place)
    task = await world.deploy("v1", place)
    return Request(
        f"/v1/deployment/{task}/cancel",
        object_id=task,
        before={"status": "pending", "progress": progress(pending=1)},
        after={"status": "cancelled", "progress": progress(cancelled=1)},
    )


def progress(**counts: int) -> dict[str, int]:
    names = ("total", "completed", "failed", "pending", "in_progress", "cancelled")
    return {**dict.fromkeys(names, 0), "total": 1, **counts}


async def roll_one_back(world: World) -> Request:
    place = await world.place("v1")
    await world.deployed("v2", place)
    return Request(
        f"/v1/instance/{place.id}/rollback",
        {"target_version": "v1"},
        object_id=place.id,
        before={"versions": {"v2": 1}, "instances": {place.id: "v2"}},
        after={"service": world.service, "version": "v1", "instances": 1},
        parameters={"target_version": "v1", "instance_id": place.id},
    )


async def roll_back(world: World) -> Request:
    place = await world.place("v1")
    await world.deployed("v2", place)
    body = {"service": world.service, "target_version": "v1", "instances": [place.id]}
    return Request(
        "/v1/rollback",
        body,
        object_id=world.service,
        before={"versions": {"v2": 1}, "instances": {place.id: "v2"}},
        after={"service": world.service, "version": "v1", "instances": 1},
        parameters=body,
    )


async def cancel_rollback(world: World) -> Request:
    place = await world.place("v1")
    await world.deployed("v2", place)
    await world.away(place)
    task = await world.roll_back("v1", place)
    return Request(
        f"/v1/rollback/{task}/cancel",
        object_id=task,
        before={"status": "pending", "progress": progress(pending=1)},
        after={"status": "cancelled", "progress": progress(cancelled=1)},
    )


async def held(world: World) -> str:
    """A deployment that waits for its agent; its id."""
    place = await world.place()
    await world.away(place)
    return await world.deploy("v1", place)


async def pause(world: World) -> Request:
    task = await held(world)
    return steered(f"/v1/deployment/{task}/pause", task, after={"paused": True})


async def resume(world: World) -> Request:
    task = await held(world)
    await world.site.coordinator.pause_deployment(task)
    return steered(f"/v1/deployment/{task}/resume", task, before={"paused": True})


async def promote(world: World) -> Request:
    first, second = await world.places(2)
    strategy = Strategy(canary=1, promote="manual")
    task = await world.deploy("v1", first, second, strategy=strategy)
    await world.in_phase(task, first, Phase.COMPLETED)
    return Request(
        f"/v1/deployment/{task}/promote",
        object_id=task,
        before={"status": "in_progress"},
        after={"promoted_by": "release-bot"},
    )


async def held_rollback(world: World) -> str:
    """A rollback that waits for its agent; its id."""
    place = await world.place("v1")
    await world.deployed("v2", place)
    await world.away(place)
    return await world.roll_back("v1", place)


async def pause_rollback(world: World) -> Request:
    task = await held_rollback(world)
    return steered(f"/v1/rollback/{task}/pause", task, after={"paused": True})


async def resume_rollback(world: World) -> Request:
    task = await held_rollback(world)
    await world.site.coordinator.pause_rollback(task)
    return steered(f"/v1/rollback/{task}/resume", task, before={"paused": True})


async def promote_rollback(world: World) -> Request:
    first, second = await world.places(2)
    await world.deployed("v1", first, second)
    await world.deployed("v2", first, second)
    strategy = Strategy(canary=1, promote="manual")
    task = await world.roll_back("v1", first, second, strategy=strategy)
    await until(
        lambda: world.site.coordinator.get_rollback_status(task),
        lambda seen: seen.rollout.waits_for == "promotion",
    )
    return Request(
        f"/v1/rollback/{task}/promote",
        object_id=task,
        before={"status": "in_progress"},
        after={"promoted_by": "release-bot"},
    )


def steered(
    path: str, task: str, before: dict[str, Any] | None = None, after: dict[str, Any] | None = None
) -> Request:
    told = {"status": "pending", "progress": progress(pending=1)}
    return Request(
        path, object_id=task, before={**told, **(before or {})}, after={**told, **(after or {})}
    )


async def retry(world: World) -> Request:
    task = await held(world)
    await world.site.coordinator.cancel_deployment(task)
    body = {"new_id": f"{task}-again", "force": True}
    return Request(
        f"/v1/deployment/{task}/retry",
        body,
        object_id=task,
        before={"versions": {"none": 1}},
        after={"task_id": body["new_id"], "version": "v1", "instances": 1},
        parameters={"deploy_id": task, **body},
    )


async def retry_rollback(world: World) -> Request:
    task = await held_rollback(world)
    await world.site.coordinator.cancel_rollback(task)
    return Request(
        f"/v1/rollback/{task}/retry",
        object_id=task,
        before={"versions": {"v2": 1}},
        after={"service": world.service, "version": "v1", "instances": 1},
        parameters={"rollback_id": task},
    )


async def rollback_deployment(world: World) -> Request:
    place = await world.place("v1")
    task = (await world.deployed("v2", place)).deploy_id
    return Request(
        f"/v1/deployment/{task}/rollback",
        object_id=task,
        before={"versions": {"v2": 1}, "instances": {place.id: "v2"}},
        after={"service": world.service, "version": "v1", "instances": 1},
        parameters={"deploy_id": task},
    )


async def create_token(world: World) -> Request:
    body = {"role": "viewer", "ttl": 60, "name": f"of {world.service}"}
    return Request(
        "/v1/token", body, after={"role": "viewer", "name": body["name"]}, parameters=body
    )


async def revoke_token(world: World) -> Request:
    made = await world.site.coordinator.create_token(TokenParams(role="viewer", name="gone"))
    return Request(
        f"/v1/token/{made.token_id}/revoke",
        object_id=made.token_id,
        before={"role": "viewer", "name": "gone", "revoked_at": None},
        after={"role": "viewer", "name": "gone"},
    )


def csr_of(host_id: str) -> str:
    return NewKey.of(csr_here("-", host_id)).request


async def enroll(world: World) -> Request:
    host_id = f"new-{world.number}"
    body = {
        "token": world.site.join_token,
        "host_id": host_id,
        "csr": csr_of(host_id),
    }
    return Request(
        "/v1/agent/enroll",
        body,
        object_id=host_id,
        parameters={"host_id": host_id},
        by_token=False,
    )


async def asks_to_join(world: World) -> tuple[str, str]:
    """A host that asks to be let in, and its certificate request."""
    host_id, csr = f"asks-{world.number}", csr_of("whoever")
    await world.site.coordinator.ask_to_join(host_id, csr, "10.0.0.9")
    return host_id, csr


async def approve(world: World) -> Request:
    host_id, _ = await asks_to_join(world)
    path = f"/v1/host/{host_id}/approve"
    return Request(path, object_id=host_id, after={"state": "approved", "generation": 0})


async def reject(world: World) -> Request:
    host_id, _ = await asks_to_join(world)
    return Request(f"/v1/host/{host_id}/reject", object_id=host_id, after={"state": "rejected"})


async def revoke(world: World) -> Request:
    host_id, _ = await asks_to_join(world)
    await world.site.coordinator.approve_host(host_id)
    return Request(
        f"/v1/host/{host_id}/revoke",
        object_id=host_id,
        before={"state": "approved", "generation": 0},
        after={"state": "revoked", "generation": 1},
    )


async def release(world: World) -> Request:
    place = await world.place()
    await world.away(place)
    return Request(
        f"/v1/instance/{place.id}/release",
        object_id=place.id,
        before={"host_id": place.agent.host_id},
        after={"host_id": ""},
    )


async def prefetch(world: World) -> Request:
    place = await world.place("v1")
    params = world.prefetch_params("v2", place, prefetch_id=f"ahead-{world.number}")
    body = params.model_dump(exclude_none=True)
    return Request(
        "/v1/prefetch",
        body,
        object_id=body["prefetch_id"],
        parameters=body,
        before={"versions": {"v1": 1}, "instances": {place.id: "v1"}},
        after={
            "task_id": body["prefetch_id"],
            "service": world.service,
            "version": "v2",
            "instances": 1,
        },
    )


async def cancel_prefetch(world: World) -> Request:
    place = await world.place()
    await world.away(place)
    made = await world.site.coordinator.prefetch(world.prefetch_params("v1", place))
    return Request(
        f"/v1/prefetch/{made.prefetch_id}/cancel",
        object_id=made.prefetch_id,
        before={"status": "pending", "progress": progress(pending=1)},
        after={"status": "cancelled", "progress": progress(cancelled=1)},
    )


async def pin(world: World) -> Request:
    await world.place()
    return Request(
        f"/v1/service/{world.service}/version/v1/pin",
        object_id=world.service,
        before={"pinned": []},
        after={"pinned": ["v1"]},
        parameters={"service": world.service, "version": "v1"},
    )


async def unpin(world: World) -> Request:
    await world.place()
    await world.site.coordinator.pin_release(world.service, "v1")
    return Request(
        f"/v1/service/{world.service}/version/v1/unpin",
        object_id=world.service,
        before={"pinned": ["v1"]},
        after={"pinned": []},
        parameters={"service": world.service, "version": "v1"},
    )


async def take_certificate(world: World) -> Request:
    """What a host that was approved is given; that it asks before leaves no row."""
    host_id, csr = await asks_to_join(world)
    before = await newest(world.site)
    await world.site.coordinator.ask_to_join(host_id, csr, "10.0.0.9")
    assert await rows_after(world.site, before) == [], "a stranger writes nothing"
    await world.site.coordinator.approve_host(host_id)
    return Request(
        "/v1/agent/join",
        {"host_id": host_id, "csr": csr},
        object_id=host_id,
        by_token=False,
        shown=("none", ""),
    )


CHANGES: dict[str, Callable[[World], Awaitable[Request]]] = {
    "execute_deployment": deploy,
    "cancel_deployment": cancel,
    "rollback_instance": roll_one_back,
    "rollback_batch": roll_back,
    "cancel_rollback": cancel_rollback,
    "pause_deployment": pause,
    "resume_deployment": resume,
    "promote_deployment": promote,
    "retry_deployment": retry,
    "rollback_deployment": rollback_deployment,
    "pause_rollback": pause_rollback,
    "resume_rollback": resume_rollback,
    "promote_rollback": promote_rollback,
    "retry_rollback": retry_rollback,
    "create_token": create_token,
    "revoke_token": revoke_token,
    "enroll": enroll,
    "approve_host": approve,
    "reject_host": reject,
    "revoke_host": revoke,
    "release_instance": release,
    "prefetch": prefetch,
    "cancel_prefetch": cancel_prefetch,
    "pin_release": pin,
    "unpin_release": unpin,
    "ask_to_join": take_certificate,
}
