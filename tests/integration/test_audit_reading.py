"""Reading the audit trail: its pages, and the verdict by client and command line."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from protocol.access import TokenParams
from protocol.errors import InvalidRequestError
from tests.behaviour.installation import Site
from tests.parts.audit_trail import ask

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_command_line_names_the_row_that_was_changed(tmp_path: Path) -> None:
    async with Site.open(tmp_path) as own:
        sound = await own.ferryman("audit", "--verify")
        assert sound.code == 0, sound.err
        assert "audit trail  sound" in sound.out
        shown = await own.ferryman("audit", "--since", "1h")
        assert "create_token" in shown.out.splitlines()[-1]
        with closing(sqlite3.connect(tmp_path / "coordinator" / "coordinator.db")) as intruder:
            intruder.execute("DROP TRIGGER audit_is_not_changed")
            intruder.execute("UPDATE audit SET who = 'somebody else' WHERE seq = 2")
            intruder.commit()
        broken = await own.ferryman("audit", "--verify")
        assert broken.code == 1
        assert "ferryman: row #2: it was changed" in broken.err


async def test_a_page_begins_where_it_is_asked_to(site: Site) -> None:
    for _ in range(3):
        await site.coordinator.create_token(TokenParams(role="viewer"))
    found = await site.client.list_audit(limit=2, offset=1)
    assert len(found.rows) == 2
    later = await site.client.list_audit(since=found.rows[1].at, limit=1000)
    assert [row.seq for row in later.rows] == list(
        range(later.rows[0].seq, found.rows[1].seq - 1, -1)
    )
    assert (await site.client.list_audit(since=datetime.now(UTC) + timedelta(days=1))).total == 0
    for wrong in (
        "yesterday",
        "2026-11-24T01:39:50",
        "2026-02-30T00:00:00Z",
        "0001-01-01T00:00:00%2B10:00",
    ):
        refused = await ask(site, site.token, "GET", f"/v1/audit?since={wrong}")
        assert refused["details"][0]["field"] == "since"


async def test_the_clients_tell_the_same_verdict(site: Site) -> None:
    verdict = await site.client.verify_audit()
    assert verdict.sound
    assert (verdict.first_seq, verdict.broken_seq, verdict.removed_at) == (1, None, None)
    assert verdict.rows == verdict.last_seq
    assert (await site.client.verify_audit(verdict.last_hash)).sound
    wrong = await site.client.verify_audit("ab" * 32)
    assert not wrong.sound
    with pytest.raises(InvalidRequestError, match="expect"):
        await site.client.verify_audit("yes")
