"""An installation whose audit trail is looked at: what was added to it, and what else is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from coordinator.config import AuditSettings, DiscoverySettings, Settings
from protocol.evidence import AuditEntry
from tests.behaviour.installation import Site
from tests.behaviour.world import World


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with Site.open(tmp_path_factory.mktemp("site")) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def world(site: Site) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(site, site.coordinator, stack)


async def newest(site: Site) -> int:
    found = await site.coordinator.list_audit(limit=1)
    return found.rows[0].seq


async def rows_after(site: Site, seq: int) -> list[AuditEntry]:
    """What was added, the oldest first."""
    found = await site.coordinator.list_audit(limit=1000)
    return [row for row in reversed(found.rows) if row.seq > seq]


async def ask(site: Site, token: str, method: str, path: str, body: Any = None) -> Any:
    """One request with this token; the answer's data, or what is refused."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with site._http.request(method, site.url + path, json=body, headers=headers) as answer:
        return (await answer.json())["data"]


def includes(row: dict[str, Any], part: dict[str, Any]) -> bool:
    return part.items() <= row.items()


async def stored(site: Site) -> tuple[Any, ...]:
    """All that a refusal must leave as it is."""
    store = site.coordinator._store
    return (
        (await site.coordinator.list_deployments()).total,
        (await site.coordinator.list_rollbacks()).total,
        [(row.token_id, row.revoked_at) for row in await store.tokens()],
        [row.host_id for row in await store.hosts()],
        await store.unfinished(),
    )


def settings(folder: Path, keep_days: int = 400) -> Settings:
    return Settings(
        data_dir=folder,
        listen="127.0.0.1:0",
        discovery=DiscoverySettings(enabled=False),
        audit=AuditSettings(keep_days=keep_days),
    )
