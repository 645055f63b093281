"""A database that a released version wrote is brought up to date and read truly.

`tests/fixtures/schema_NNNN.sql` is what that version wrote; all of them tell one story.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory

from coordinator.app import Coordinator
from coordinator.auth import digest_of
from coordinator.changing import fingerprint
from coordinator.config import DiscoverySettings, Settings
from coordinator.data_dir import DATABASE
from coordinator.store import SqlStore
from coordinator.store.migrate import config, examine
from protocol.access import TokenParams
from protocol.models import DeployParams, InstanceQueryParams
from protocol.states import Phase, Receipt, TaskState
from tests.fixtures.make import DASHBOARD_TOKEN, FOLDER, SERVICE, THEN, loaded
from tests.parts.waiting import until

FIRST_RELEASED = "0001"
NEVER_RELEASED = {"0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010"}
"""Migrations of one release lead over them: no database has stayed there."""

FIXTURES = {path.stem.removeprefix("schema_"): path for path in FOLDER.glob("schema_*.sql")}


@pytest.fixture(params=sorted(FIXTURES))
def data_dir(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    loaded(FIXTURES[request.param], tmp_path / DATABASE)
    assert examine(tmp_path / DATABASE) == request.param
    return tmp_path


@pytest.fixture
async def store(data_dir: Path) -> AsyncIterator[SqlStore]:
    opened = await SqlStore.open(f"sqlite+aiosqlite:///{data_dir / DATABASE}")
    yield opened
    await opened.close()


def test_every_schema_that_a_migration_leaves_behind_has_its_fixture() -> None:
    """If this fails: check the released version out, and `python -m tests.fixtures.make`."""
    scripts = ScriptDirectory.from_config(config())
    left_behind = {script.down_revision for script in scripts.walk_revisions()} - {None}
    assert left_behind - NEVER_RELEASED | {FIRST_RELEASED} <= set(FIXTURES)


async def test_it_gets_the_newest_schema(store: SqlStore, data_dir: Path) -> None:
    newest = ScriptDirectory.from_config(config()).get_current_head()
    assert examine(data_dir / DATABASE) == newest


async def test_what_was_under_way_is_under_way(store: SqlStore) -> None:
    (task,) = await store.unfinished()
    assert (task.task_id, task.version, task.state) == ("deploy-4", "v4", TaskState.IN_PROGRESS)
    away, at_work = task.assignments.values()
    assert (away.instance_id, away.phase, away.attempt) == ("instance-3", Phase.WAITING, 1)
    assert (at_work.instance_id, at_work.phase) == ("instance-1", Phase.PREPARING)
    assert at_work.deadline is not None
    anchor = await store.anchor()
    assert anchor is not None
    assert at_work.deadline - anchor[3] == pytest.approx(3600, abs=60)


async def test_what_ended_is_as_it_was(store: SqlStore) -> None:
    cancelled = await store.task("deploy-3")
    assert cancelled is not None
    assert cancelled.state is TaskState.CANCELLED
    assert cancelled.assignments["instance-1"].receipt is Receipt.STOPPED_BEFORE_SWITCH
    rows, total = await store.history("instance-1")
    assert total == len(rows)
    assert [(row.version, row.action, row.status) for row in rows] == [
        ("v3", "deploy", "cancelled"),
        ("v1", "rollback", "success"),
        ("v2", "deploy", "success"),
        ("v1", "deploy", "success"),
    ]
    assert all(abs((row.timestamp - THEN).total_seconds()) < 60 for row in rows)
    last = await store.last_success(SERVICE, "v1")
    assert last is not None
    assert last[0].endswith("/v1.tar.gz")


async def test_an_equal_request_of_then_is_an_equal_one_now(store: SqlStore) -> None:
    """The same `deploy_id` with an equal body returns the first result, over upgrades, too."""
    task = await store.task("deploy-1")
    assert task is not None
    same: dict[str, Any] = {
        "service": task.service,
        "version": task.version,
        "instances": list(task.assignments),
        "package_url": task.package_url,
        "deploy_id": task.task_id,
        "timeout": task.timeout,
        "retry_count": task.retry_count,
    }
    assert fingerprint(DeployParams(**same)) == task.fingerprint
    assert fingerprint(DeployParams(**same, force=False)) == task.fingerprint
    assert fingerprint(DeployParams(**same, force=True)) != task.fingerprint


async def test_what_hosts_have_on_their_disks_is_read_without_proofs(store: SqlStore) -> None:
    first, *_ = await store.instances()
    assert [(one.version, one.proven, one.damaged) for one in first.retained] == [
        ("v2", None, ""),
        ("v1", None, ""),
    ]


async def test_hosts_tokens_and_events_are_still_there(store: SqlStore) -> None:
    assert [host.host_id for host in await store.hosts()] == ["host-1", "host-2"]
    dashboard = await store.token_by_digest(digest_of(DASHBOARD_TOKEN))
    assert dashboard is not None
    assert (dashboard.role, dashboard.revoked_at) == ("viewer", None)
    revoked = [token.name for token in await store.tokens() if token.revoked_at]
    assert revoked == ["ci"]
    events = await store.events_after(0)
    assert [event.seq for event in events] == list(range(1, await store.last_event() + 1))


async def test_its_audit_trail_begins_with_the_first_request(data_dir: Path) -> None:
    settings = Settings(
        data_dir=data_dir, listen="127.0.0.1:0", discovery=DiscoverySettings(enabled=False)
    )
    async with Coordinator(settings) as coordinator:
        made = await coordinator.create_token(TokenParams(role="viewer"))
        newest, *_, first = (await coordinator.list_audit()).rows
        assert (newest.operation, newest.object_id) == ("create_token", made.token_id)
        assert first.seq == 1
        assert (await coordinator.verify_audit()).sound


async def test_a_coordinator_goes_on_with_it(data_dir: Path) -> None:
    settings = Settings(
        data_dir=data_dir, listen="127.0.0.1:0", discovery=DiscoverySettings(enabled=False)
    )
    async with Coordinator(settings) as coordinator:
        failed = await coordinator.get_deployment_status("deploy-2")
        assert failed.status is TaskState.FAILED
        assert [part.phase for part in failed.instances] == [Phase.COMPLETED, Phase.FAILED]
        assert "v1 was put back" in failed.instances[1].reason
        (rollback,) = (await coordinator.list_rollbacks()).rollbacks
        assert (rollback.status, rollback.target_version) == (TaskState.COMPLETED, "v1")
        shown = await coordinator.get_service_instances(InstanceQueryParams(service_name=SERVICE))
        assert {(row.instance_id, row.version) for row in shown.instances} == {
            ("instance-1", "v1"),
            ("instance-2", "v1"),
            ("instance-3", "v1"),
        }
        ended = await until(
            lambda: coordinator.get_deployment_status("deploy-4"), lambda seen: seen.status.ended
        )
        assert ended.status is TaskState.FAILED, "every deadline passed long ago"
        assert all("timed out after 3600 s" in part.reason for part in ended.instances)
