"""What hosts are refused leaves its row in the audit trail, too: joining, connecting, claiming."""

from __future__ import annotations

import pytest

from coordinator.auth import digest_of
from protocol.access import TokenParams
from protocol.evidence import AuditEntry
from tests.behaviour.installation import Site
from tests.behaviour.world import World
from tests.parts.audit_trail import ask, newest, rows_after, stored
from tests.parts.audited_changes import csr_of
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_host_that_may_not_join_leaves_a_refusal(world: World) -> None:
    site = world.site
    viewer = await site.coordinator.create_token(TokenParams(role="viewer", name="no join"))
    place = await world.place()
    taken = place.agent.host_id
    before, was = await newest(site), await stored(site)
    for token, host_id in (
        ("ferryman-join-1.abc.def", "new-1"),
        (viewer.secret, "new-1"),
        (site.join_token, taken),
    ):
        body = {"token": token, "host_id": host_id, "csr": csr_of(host_id)}
        assert "type" in await ask(site, "", "POST", "/v1/agent/enroll", body)
    told = {
        (row.proof, row.who, row.object_id, row.result) for row in await rows_after(site, before)
    }
    join = await site.coordinator._store.token_by_digest(digest_of(site.join_token))
    assert join is not None
    assert told == {
        ("none", "", "new-1", "unauthenticated"),
        ("token", "no join", "new-1", "permission_denied"),
        ("token", join.name or join.token_id, taken, "conflict"),
    }
    assert await stored(site) == was


async def test_a_connection_without_a_certificate_is_counted(site: Site) -> None:
    before = await newest(site)
    for _ in range(3):
        refused = await ask(site, site.token, "GET", "/v1/agent/connect")
        assert refused["type"] == "unauthenticated"
    (row,) = await rows_after(site, before)
    assert (row.operation, row.proof, row.count) == ("connect", "none", 3)


async def test_a_claim_of_another_hosts_instance_is_told_once_a_connection(world: World) -> None:
    place = await world.place()
    before = await newest(world.site)
    thief = await world._stack.enter_async_context(
        world.site.agent([type(place.local)(place.id, world.service)], keep_releases=1)
    )

    async def claims() -> list[AuditEntry]:
        return [
            row for row in await rows_after(world.site, before) if row.operation == "claim_instance"
        ]

    (row,) = await until(claims, bool)
    assert (row.proof, row.who, row.object_id) == ("certificate", thief.host_id, place.id)
    assert (row.result, row.message) == (
        "refused",
        f"it belongs to host {place.agent.host_id}",
    )
    await thief.cut_off()
    await thief.let_back()
    assert len(await until(claims, lambda rows: len(rows) > 1)) == 2
