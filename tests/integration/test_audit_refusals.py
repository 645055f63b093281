"""Every refusal leaves its row in the audit trail, and changes nothing else."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from coordinator.http.envelope import MAX_BODY
from coordinator.http.route import Route
from protocol.access import TokenParams
from protocol.errors import ConflictError, FerrymanError, InvalidRequestError, NotFoundError
from tests.behaviour.installation import Site
from tests.behaviour.world import World
from tests.parts.audit_trail import ask, newest, rows_after, stored
from tests.parts.routes import CHANGING, WITH_TOKEN, named, path_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.parametrize("route", WITH_TOKEN, ids=named)
async def test_without_a_valid_token_a_refusal_is_left_and_nothing_else(
    site: Site, route: Route
) -> None:
    before, was = await newest(site), await stored(site)
    for token in ("", "ferryman-viewer-unknown"):
        refused = await ask(site, token, route.method, path_of(route))
        assert refused["type"] == "unauthenticated"
    (row,) = await rows_after(site, before)
    assert (row.proof, row.who, row.token_id, row.role) == ("none", "", "", "")
    assert (row.operation, row.result, row.address) == (route.name, "unauthenticated", "127.0.0.1")
    assert (row.count, row.message) == (2, "the token is not known here")
    assert await stored(site) == was


@pytest.mark.parametrize("route", WITH_TOKEN, ids=named)
async def test_who_may_not_do_it_leaves_a_refusal_and_nothing_else(
    site: Site, route: Route
) -> None:
    """Reads, too: a join token may read nothing, and others less than they might want."""
    assert route.role is not None
    role = {"viewer": "join", "deployer": "viewer", "admin": "deployer"}[route.role.value]
    made = await site.coordinator.create_token(
        TokenParams.model_validate({"role": role, "name": "nosy"})
    )
    before, was = await newest(site), await stored(site)
    refused = await ask(site, made.secret, route.method, path_of(route))
    assert refused["type"] == "permission_denied"
    (row,) = await rows_after(site, before)
    assert (row.proof, row.who, row.token_id, row.role) == ("token", "nosy", made.token_id, role)
    assert (row.operation, row.result, row.count) == (route.name, "permission_denied", 1)
    assert f"needs the role {route.role.value}" in row.message
    assert row.object_id == ("some-1" if route.path_fields else "")
    assert await stored(site) == was


@pytest.mark.parametrize("route", CHANGING, ids=named)
async def test_a_change_that_is_asked_for_wrongly_leaves_a_refusal_and_nothing_else(
    site: Site, route: Route
) -> None:
    before, was = await newest(site), await stored(site)
    refused = await ask(site, site.token, route.method, path_of(route), {"wrong\x1b": 1})
    assert refused["type"] == "invalid_request"
    (row,) = await rows_after(site, before)
    assert (row.operation, row.result) == (route.name, "invalid_request")
    assert row.who == ("" if route.role is None else "admin.token")
    assert row.message.startswith(refused["details"][0]["field"])
    assert row.message.isprintable()
    assert row.after == {}
    assert await stored(site) == was


async def test_a_body_that_is_too_long_leaves_a_refusal(site: Site) -> None:
    before = await newest(site)
    headers = {"Authorization": f"Bearer {site.token}"}
    body = io.BytesIO(b"x" * (MAX_BODY + 1))
    async with site._http.post(site.url + "/v1/token", data=body, headers=headers) as answer:
        assert answer.status == 400
    (row,) = await rows_after(site, before)
    assert (row.operation, row.result) == ("create_token", "invalid_request")
    assert "at most" in row.message


async def test_wrong_questions_are_no_evidence(site: Site) -> None:
    """What is asked wrongly and changes nothing is between the caller and the door."""
    before = await newest(site)
    for path in ("/v1/host?limit=0", "/v1/deployment/unheard-of", "/v1/nowhere"):
        assert (await ask(site, site.token, "GET", path))["type"] != ""
    assert await rows_after(site, before) == []


Call = Callable[[World], Awaitable[Any]]


async def held(world: World) -> Call:
    place = await world.place()
    await world.away(place)
    await world.deploy("v1", place)
    return lambda world: world.site.client.execute_deployment(world.params("v2", place))


async def of_another_service(world: World) -> Call:
    place = await world.place()
    params = world.params("v1", place, service="another-service")
    return lambda world: world.site.client.execute_deployment(params)


async def runs_already(world: World) -> Call:
    place = await world.place("v1")
    return lambda world: World(world.site, world.site.client, world._stack).roll_one_back(
        "v1", place
    )


async def ended(world: World) -> Call:
    place = await world.place()
    task = await world.deploy("v1", place)
    await world.ended(task)
    return lambda world: world.site.client.cancel_deployment(task)


async def no_such_token(world: World) -> Call:
    return lambda world: world.site.client.revoke_token("token-unheard-of")


async def no_such_task(world: World) -> Call:
    return lambda world: world.site.client.cancel_rollback("rollback-unheard-of")


REFUSALS: list[tuple[Callable[[World], Awaitable[Call]], type[FerrymanError], str]] = [
    (held, ConflictError, "execute_deployment"),
    (of_another_service, InvalidRequestError, "execute_deployment"),
    (runs_already, ConflictError, "rollback_instance"),
    (ended, ConflictError, "cancel_deployment"),
    (no_such_token, NotFoundError, "revoke_token"),
    (no_such_task, NotFoundError, "cancel_rollback"),
]


@pytest.mark.parametrize(("scene", "error", "operation"), REFUSALS)
async def test_what_the_fleets_state_refuses_leaves_a_refusal_and_nothing_else(
    world: World,
    scene: Callable[[World], Awaitable[Call]],
    error: type[FerrymanError],
    operation: str,
) -> None:
    call = await scene(world)
    before, was = await newest(world.site), await stored(world.site)
    with pytest.raises(error) as refused:
        await call(world)
    (row,) = await rows_after(world.site, before)
    assert (row.operation, row.result, row.message) == (
        operation,
        error.type,
        refused.value.message,
    )
    assert (row.who, row.after) == ("admin.token", {})
    assert await stored(world.site) == was


async def test_a_read_of_a_service_that_is_not_the_tokens_leaves_a_refusal(world: World) -> None:
    made = await world.site.coordinator.create_token(
        TokenParams(role="viewer", name="of web", services=["web-*"])
    )
    place = await world.place()
    before = await newest(world.site)
    for path in (
        f"/v1/service/{world.service}/versions",
        f"/v1/deployment?service={world.service}",
        "/v1/token",
    ):
        assert (await ask(world.site, made.secret, "GET", path))["type"] == "permission_denied"
    await ask(world.site, made.secret, "GET", f"/v1/instance/{place.id}/version-history")
    told = [(row.who, row.operation, row.result) for row in await rows_after(world.site, before)]
    assert told == [
        ("of web", "get_service_instance_versions", "permission_denied"),
        ("of web", "list_deployments", "permission_denied"),
        ("of web", "list_tokens", "permission_denied"),
    ]
