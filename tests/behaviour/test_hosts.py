"""Letting hosts in and out, and releasing instances: the same through every door."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.access import TokenParams
from protocol.errors import ConflictError, InvalidRequestError, NotFoundError
from protocol.states import HostState
from tests.behaviour.world import World, asked
from tests.parts.coming_in import asking

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def row(world: World, host_id: str, **filters: Any) -> Any:
    found = await asked(world, "list_hosts", limit=1000, **filters)
    return next((host for host in found.hosts if host.host_id == host_id), None)


async def test_a_host_is_approved_revoked_and_rejected(world: World) -> None:
    host_id = f"new-{world.number}"
    agent = asking(world.site.folder / host_id, host_id)
    assert await agent.ask(world.site.url) is None
    pending = await row(world, host_id, state="pending")
    assert (pending.state, pending.joined_at) == (HostState.PENDING, None)

    approved = await asked(world, "approve_host", host_id, pending.fingerprint)
    assert (approved.state, approved.fingerprint) == (HostState.APPROVED, pending.fingerprint)
    assert await agent.ask(world.site.url) is not None
    revoked = await asked(world, "revoke_host", host_id)
    assert revoked.state is HostState.REVOKED
    assert await agent.ask(world.site.url) is None
    rejected = await asked(world, "reject_host", host_id)
    assert rejected.state is HostState.REJECTED
    assert await row(world, host_id, state="pending") is None


async def test_what_can_not_be_decided_is_refused_by_name(world: World) -> None:
    for name in ("approve_host", "reject_host", "revoke_host"):
        with pytest.raises(NotFoundError, match="nobody"):
            await asked(world, name, "nobody")
        with pytest.raises(InvalidRequestError, match="host_id: must be 1 to 128 of"):
            await asked(world, name, "a..b")
    place = await world.place()
    with pytest.raises(ConflictError, match="was let in already"):
        await asked(world, "approve_host", place.agent.host_id)
    with pytest.raises(InvalidRequestError, match=r"fingerprint: must be a SHA-256"):
        await asked(world, "approve_host", place.agent.host_id, "x")
    with pytest.raises(InvalidRequestError, match="state: must be pending, approved"):
        await asked(world, "list_hosts", state="unknown")


async def test_an_instance_is_released(world: World) -> None:
    place = await world.place()
    with pytest.raises(NotFoundError, match="no-such-instance"):
        await asked(world, "release_instance", "no-such-instance")
    await place.agent.stop()
    released = await asked(world, "release_instance", place.id)
    assert (released.instance_id, released.host_id) == (place.id, place.agent.host_id)
    assert place.id not in (await row(world, place.agent.host_id)).instances
    await place.agent.start()
    await world.connected(place)


async def test_a_join_token_tells_for_whom_it_is_and_how_often(world: World) -> None:
    params = TokenParams(role="join", host_id="host-x", uses=3)
    made = await asked(world, "create_token", params)
    assert (made.host_id, made.uses, made.used) == ("host-x", 3, 0)
    tokens = (await asked(world, "list_tokens")).tokens
    assert next(one for one in tokens if one.token_id == made.token_id).host_id == "host-x"
