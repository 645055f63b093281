"""Every change, through whichever door, leaves one row in the audit trail that says it all."""

from __future__ import annotations

import getpass
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from coordinator.client import AsyncClient
from coordinator.http.route import Route
from coordinator.http.routes import ROUTES
from protocol.access import TokenParams
from protocol.errors import NotFoundError
from protocol.states import RotationPhase
from tests.behaviour.installation import Site
from tests.behaviour.world import World
from tests.parts.audit_trail import ask, includes, newest, rows_after
from tests.parts.audited_changes import CHANGES
from tests.parts.routes import CHANGING, named

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROTATES: dict[str, tuple[RotationPhase, RotationPhase, dict[str, bool]]] = {
    "begin": (RotationPhase.NONE, RotationPhase.BEGUN, {}),
    "abort": (RotationPhase.BEGUN, RotationPhase.NONE, {}),
    "switch": (RotationPhase.BEGUN, RotationPhase.SWITCHED, {"force": True}),
    "finish": (RotationPhase.SWITCHED, RotationPhase.NONE, {"force": True}),
}
"""By step: the phase that it needs, the one that follows, and what is said with it."""


async def test_no_step_of_a_rotation_is_left_out() -> None:
    own = [route.path for route in ROUTES if route.changes and "/authority/" in route.path]
    assert {path.rpartition("/")[2] for path in own} == set(ROTATES)


@pytest.mark.parametrize("route", CHANGING, ids=named)
async def test_every_change_leaves_one_row_that_says_who_what_and_with_which_result(
    world: World, route: Route
) -> None:
    assert route.name in CHANGES, f"say here what {route.name} has to leave in the audit trail"
    site = world.site
    request = await CHANGES[route.name](world)
    made = await site.coordinator.create_token(TokenParams(role="admin", name="release-bot"))
    before = await newest(site)
    answer = await ask(site, made.secret, route.method, request.path, request.body)
    assert "details" not in answer, answer
    (row,) = await rows_after(site, before)
    assert (row.operation, row.result, row.message, row.count) == (route.name, "accepted", "", 1)
    if request.by_token:
        assert (row.proof, row.who, row.token_id) == ("token", "release-bot", made.token_id)
        assert row.role == "admin"
    else:
        assert (row.proof, row.role) == request.shown
    assert row.address == "127.0.0.1"
    assert row.object_id == (request.object_id or answer["token_id"])
    assert includes(row.parameters, request.parameters)
    assert includes(row.before, request.before)
    assert includes(row.after, request.after)
    accepted = answer.get("rollback_id")
    if accepted and accepted != request.object_id:
        assert row.after["task_id"] == accepted
    assert datetime.now(UTC) - row.at < timedelta(minutes=1)
    assert (await site.coordinator.verify_audit()).sound


async def test_each_step_of_a_rotation_leaves_one_row(tmp_path: Path) -> None:
    async with Site.open(tmp_path) as site:
        made = await site.coordinator.create_token(TokenParams(role="admin", name="release-bot"))
        for step in ("begin", "abort", "begin", "switch", "finish"):
            since, then, body = ROTATES[step]
            before = await newest(site)
            await ask(site, made.secret, "POST", f"/v1/authority/{step}", body or None)
            (row,) = await rows_after(site, before)
            assert (row.operation, row.result) == (f"{step}_rotation", "accepted")
            assert (row.who, row.object_id) == ("release-bot", "authority")
            assert includes(row.parameters, body)
            assert (row.before["phase"], row.after["phase"]) == (since.value, then.value)


async def test_the_same_deployment_again_is_a_row_that_says_so(world: World) -> None:
    place = await world.place()
    params = world.params("v1", place)
    before = await newest(world.site)
    await world.site.client.execute_deployment(params)
    await world.site.client.execute_deployment(params)
    first, again = await rows_after(world.site, before)
    assert "was_there" not in first.after
    assert again.after["was_there"] is True


async def test_a_rollback_with_force_names_the_task_that_it_takes_over(world: World) -> None:
    place = await world.place("v1")
    await world.deployed("v2", place)
    await world.away(place)
    task = await world.deploy("v3", place)
    before = await newest(world.site)
    await world.roll_back("v1", place, force=True)
    (row,) = await rows_after(world.site, before)
    assert row.after["took_over_from"] == [task]
    assert row.parameters["force"] is True


async def test_calls_in_process_tell_who_runs_it(world: World) -> None:
    before = await newest(world.site)
    await world.site.coordinator.create_token(TokenParams(role="viewer"))
    with pytest.raises(NotFoundError):
        await world.site.coordinator.cancel_deployment("unheard-of")
    me = f"user {getpass.getuser()}, process {os.getpid()}"
    told = [
        (row.proof, row.who, row.role, row.address, row.operation, row.result)
        for row in await rows_after(world.site, before)
    ]
    assert told == [
        ("in_process", me, "", "", "create_token", "accepted"),
        ("in_process", me, "", "", "cancel_deployment", "not_found"),
    ]


async def test_the_first_admin_token_is_the_first_row(site: Site) -> None:
    total = (await site.coordinator.list_audit(limit=1)).total
    first = (await site.coordinator.list_audit(offset=total - 1)).rows[0]
    assert (first.seq, first.operation, first.proof) == (1, "create_token", "in_process")
    assert includes(first.after, {"role": "admin", "name": "admin.token"})


async def test_no_secret_gets_into_it(world: World) -> None:
    site = world.site
    place = await world.place()
    url = world.put("v1") + "?X-Signature=s3cr3t-signature"
    made = await site.client.create_token(TokenParams(role="deployer"))
    params = world.params("v1", place, package_url=url)
    async with AsyncClient(site.url, made.secret, site.ca_file) as client:
        await client.execute_deployment(params)
    assert await ask(site, "ferryman-admin-s3cr3t-guess", "POST", "/v1/token", {"role": "viewer"})
    found = await site.coordinator.list_audit(limit=1000)
    written = json.dumps([row.model_dump(mode="json") for row in found.rows])
    for secret in ("s3cr3t", made.secret, made.secret[-43:], site.join_token[-43:], "CERTIFICATE"):
        assert secret not in written
    stored = b"".join(file.read_bytes() for file in site.folder.glob("coordinator/coordinator.db*"))
    assert stored.count(b"s3cr3t-signature") == stored.count(b"tar.gz?X-Signature=s3cr3t-signature")
