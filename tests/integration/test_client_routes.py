"""The client library: every function asks its documented route, with what it was given."""

from __future__ import annotations

import inspect
from datetime import datetime, timedelta, timezone
from typing import Any

from coordinator.client import AsyncClient, Client
from protocol.access import TokenParams
from protocol.api import CoordinatorAPI
from protocol.models import (
    BatchRollbackParams,
    DeployParams,
    InstanceQueryParams,
    InstanceRollbackParams,
)
from protocol.releases import PrefetchParams
from protocol.strategy import Strategy
from tests.parts.fake_coordinator import (
    AT,
    FakeCoordinator,
    accepted,
    host,
    instance,
    instance_page,
    ok,
    prefetch,
    prefetch_accepted,
    readiness,
    ready,
    rollback,
    row,
    task,
    token,
)
from tests.parts.plausible import PLAN, timeline

PARAMS = DeployParams(
    service="web",
    version="v1.0+build.7",
    instances=["a", "b"],
    package_url="https://packages.example.com/web.tar.gz",
    deploy_id="d-1",
)
AHEAD = PrefetchParams(
    service="web",
    version="v2",
    instances=["a", "b"],
    package_url="https://packages.example.com/web.tar.gz",
)
KEY = "ab" * 32
HOST_ROW = host("approved", fingerprint=KEY)
TOKEN_ROW = token(name="n", expires_at=None)
PIN = {
    "service": "web",
    "version": "v1",
    "created_at": AT,
    "created_by": "ci",
    "instances": 2,
    "on_disk": 1,
}
TASK_STATS = {"total": 1, "success": 1, "failed": 0, "success_rate": 1.0}
ROLLBACK = {
    "rollback_id": "rollback-1",
    "service": "web",
    "target_version": "v1",
    "status": "pending",
    "instances": ["a"],
    "total_instances": 1,
    "started_at": AT,
}
CALLS: list[tuple[str, tuple[Any, ...], str, str, Any]] = [
    ("execute_deployment", (PARAMS,), "POST", "/v1/deployment", accepted()),
    ("plan_deployment", (PARAMS,), "POST", "/v1/deployment/plan", PLAN.model_dump(mode="json")),
    ("get_deployment_status", ("d-1",), "GET", "/v1/deployment/d-1", task("pending", [])),
    (
        "cancel_deployment",
        ("d-1",),
        "POST",
        "/v1/deployment/d-1/cancel",
        {"deploy_id": "d-1", "status": "in_progress", "cancelled_at": AT},
    ),
    (
        "get_service_instance_versions",
        ("web", True),
        "GET",
        "/v1/service/web/versions",
        {
            "service": "web",
            "instances": [],
            "version_summary": {"v1": 2},
            "total_instances": 2,
            "updated_at": AT,
        },
    ),
    (
        "get_service_instances",
        (InstanceQueryParams(service_name="web", version="v1+x", limit=7),),
        "GET",
        "/v1/service/web/instances",
        instance_page([instance("a")], 1),
    ),
    (
        "get_instance_version_history",
        ("a", 5, 10),
        "GET",
        "/v1/instance/a/version-history",
        {"instance_id": "a", "service": "web", "history": [], "total": 0},
    ),
    (
        "get_rollback_readiness",
        ("web", "v1+x"),
        "GET",
        "/v1/service/web/rollback-readiness",
        readiness(ready("a")),
    ),
    (
        "rollback_instance",
        (InstanceRollbackParams(instance_id="a", target_version="v1"),),
        "POST",
        "/v1/instance/a/rollback",
        {
            "rollback_id": "rollback-1",
            "instance_id": "a",
            "target_version": "v1",
            "status": "pending",
            "started_at": AT,
        },
    ),
    (
        "rollback_batch",
        (BatchRollbackParams(service="web", target_version="v1", instances=["a"]),),
        "POST",
        "/v1/rollback",
        ROLLBACK,
    ),
    (
        "get_rollback_status",
        ("rollback-1",),
        "GET",
        "/v1/rollback/rollback-1",
        rollback("completed", [row("a")], "rollback-1"),
    ),
    (
        "cancel_rollback",
        ("rollback-1",),
        "POST",
        "/v1/rollback/rollback-1/cancel",
        {"rollback_id": "rollback-1", "status": "cancelled", "cancelled_at": AT},
    ),
    ("pause_deployment", ("d-1",), "POST", "/v1/deployment/d-1/pause", task("pending", [])),
    ("resume_deployment", ("d-1",), "POST", "/v1/deployment/d-1/resume", task("pending", [])),
    ("promote_deployment", ("d-1",), "POST", "/v1/deployment/d-1/promote", task("pending", [])),
    ("retry_deployment", ("d-1", "d-2"), "POST", "/v1/deployment/d-1/retry", accepted()),
    ("rollback_deployment", ("d-1",), "POST", "/v1/deployment/d-1/rollback", ROLLBACK),
    ("pause_rollback", ("r-1",), "POST", "/v1/rollback/r-1/pause", rollback("pending", [], "r-1")),
    (
        "resume_rollback",
        ("r-1",),
        "POST",
        "/v1/rollback/r-1/resume",
        rollback("pending", [], "r-1"),
    ),
    (
        "promote_rollback",
        ("r-1",),
        "POST",
        "/v1/rollback/r-1/promote",
        rollback("pending", [], "r-1"),
    ),
    ("retry_rollback", ("r-1",), "POST", "/v1/rollback/r-1/retry", ROLLBACK),
    (
        "get_system_health",
        (),
        "GET",
        "/v1/system/health",
        {
            "status": "healthy",
            "version": "0.1.0",
            "uptime": "26h3m5s",
            "database": "ok",
            "cache": "ok",
            "timestamp": AT,
        },
    ),
    (
        "get_system_stats",
        ("7d",),
        "GET",
        "/v1/system/stats",
        {
            "period": "7d",
            "deployments": TASK_STATS,
            "rollbacks": TASK_STATS,
            "instances": {"total": 1, "healthy": 1, "unhealthy": 0},
            "timestamp": AT,
        },
    ),
    (
        "create_token",
        (TokenParams(role="viewer"),),
        "POST",
        "/v1/token",
        TOKEN_ROW | {"secret": "s"},
    ),
    ("approve_host", ("host-a", KEY), "POST", "/v1/host/host-a/approve", HOST_ROW),
    ("reject_host", ("host-a",), "POST", "/v1/host/host-a/reject", HOST_ROW),
    ("revoke_host", ("host-a",), "POST", "/v1/host/host-a/revoke", HOST_ROW),
    (
        "release_instance",
        ("a",),
        "POST",
        "/v1/instance/a/release",
        {"instance_id": "a", "service": "web", "host_id": "host-a"},
    ),
    (
        "get_deployment_timeline",
        ("d-1",),
        "GET",
        "/v1/deployment/d-1/timeline",
        timeline("d-1", "deploy").model_dump(mode="json"),
    ),
    (
        "get_rollback_timeline",
        ("rollback-1",),
        "GET",
        "/v1/rollback/rollback-1/timeline",
        timeline("rollback-1", "rollback").model_dump(mode="json"),
    ),
    ("prefetch", (AHEAD,), "POST", "/v1/prefetch", prefetch_accepted()),
    (
        "get_prefetch_status",
        ("prefetch-1",),
        "GET",
        "/v1/prefetch/prefetch-1",
        prefetch("pending", []),
    ),
    (
        "cancel_prefetch",
        ("prefetch-1",),
        "POST",
        "/v1/prefetch/prefetch-1/cancel",
        {"prefetch_id": "prefetch-1", "status": "cancelled", "cancelled_at": AT},
    ),
    ("pin_release", ("web", "v1+x"), "POST", "/v1/service/web/version/v1%2Bx/pin", PIN),
    ("unpin_release", ("web", "v1"), "POST", "/v1/service/web/version/v1/unpin", PIN),
    ("list_pins", ("web",), "GET", "/v1/pin", {"pins": [PIN]}),
    (
        "list_strategies",
        (),
        "GET",
        "/v1/strategy",
        {
            "strategies": [{"name": "careful", "strategy": {"canary": 1}}],
            "defaults": [{"services": "web-*", "name": "careful"}],
        },
    ),
    ("list_tokens", (), "GET", "/v1/token", {"tokens": [TOKEN_ROW]}),
    ("revoke_token", ("t-1",), "POST", "/v1/token/t-1/revoke", TOKEN_ROW),
]
PAGE = {"total": 0, "limit": 100, "offset": 0}


def test_every_function_asks_its_documented_route(fake: FakeCoordinator, client: Client) -> None:
    for name, arguments, method, path, data in CALLS:
        fake.script(method, path, ok(data))
        answer = getattr(client, name)(*arguments)
        assert len(fake.asked(method, path)) == 1, name
        assert {k: answer.model_dump(mode="json")[k] for k in data} == answer.model_validate(
            data
        ).model_dump(mode="json", include=set(data)), name


def test_lists_pass_their_filters(fake: FakeCoordinator, client: Client) -> None:
    for path, field in (
        ("deployment", "deployments"),
        ("rollback", "rollbacks"),
        ("prefetch", "prefetches"),
        ("service", "services"),
        ("host", "hosts"),
    ):
        fake.script("GET", f"/v1/{path}", ok({field: []} | PAGE))
    client.list_deployments(service="web", status="failed", limit=3, offset=6)
    client.list_rollbacks()
    client.list_prefetches(service="web", offset=7)
    client.list_services(limit=1)
    client.list_hosts()
    asked = [seen.query for seen in fake.seen]
    assert asked == [
        {"limit": "3", "offset": "6", "service": "web", "status": "failed"},
        {"limit": "100", "offset": "0"},
        {"limit": "100", "offset": "7", "service": "web"},
        {"limit": "1", "offset": "0"},
        {"limit": "100", "offset": "0"},
    ]


def test_a_past_moment_is_asked_for_in_utc(fake: FakeCoordinator, client: Client) -> None:
    found = {"service": "web", "instances": [], "version_summary": {}, "total_instances": 0}
    fake.script("GET", "/v1/service/web/versions", ok(found | {"updated_at": AT}))
    there = timezone(timedelta(hours=2))
    client.get_service_instance_versions("web", at=datetime(2026, 11, 1, 14, tzinfo=there))
    assert fake.seen[0].query == {"include_stopped": "false", "at": "2026-11-01T12:00:00Z"}


def test_a_version_with_plus_arrives_as_it_is(fake: FakeCoordinator, client: Client) -> None:
    fake.script("GET", "/v1/service/web/instances", ok(instance_page([], 0)))
    client.get_service_instances(InstanceQueryParams(service_name="web", version="v1+x"))
    fake.script("POST", "/v1/deployment", ok(accepted()))
    client.execute_deployment(PARAMS)
    fake.script("GET", "/v1/service/web/rollback-readiness", ok(readiness()))
    client.get_rollback_readiness("web", "v1+x")
    assert fake.seen[0].query["version"] == "v1+x"
    assert fake.seen[1].body == PARAMS.model_dump(exclude_none=True)
    assert fake.seen[2].query == {"version": "v1+x"}


def test_what_an_older_coordinator_does_not_know_is_sent_only_if_it_is_meant(
    fake: FakeCoordinator, client: Client
) -> None:
    fake.script("POST", "/v1/deployment", ok(accepted()))
    client.execute_deployment(PARAMS)
    client.execute_deployment(PARAMS.model_copy(update={"force": True}))
    assert "force" not in fake.seen[0].body
    assert fake.seen[1].body["force"] is True


def test_of_a_strategy_only_what_was_given_is_sent(fake: FakeCoordinator, client: Client) -> None:
    """What is left out is what the named one has; `{}` is no strategy at all."""
    fake.script("POST", "/v1/deployment", ok(accepted()))
    for strategy in ({"name": "careful", "canary": 0}, {"max_failures": None}, {}):
        client.execute_deployment(PARAMS.model_copy(update={"strategy": Strategy(**strategy)}))
        assert fake.seen[-1].body["strategy"] == strategy


def test_steering_sends_what_was_given(fake: FakeCoordinator, client: Client) -> None:
    fake.script("POST", "/v1/deployment/d-1/retry", ok(accepted()))
    fake.script("POST", "/v1/deployment/d-1/rollback", ok(ROLLBACK))
    client.retry_deployment("d-1", "d-2")
    client.retry_deployment("d-1", force=True)
    client.rollback_deployment("d-1", force=True, timeout=7, strategy=Strategy(max_parallel=1))
    assert [seen.body for seen in fake.seen] == [
        {"deploy_id": "d-1", "new_id": "d-2", "force": False},
        {"deploy_id": "d-1", "force": True},
        {"deploy_id": "d-1", "force": True, "timeout": 7, "strategy": {"max_parallel": 1}},
    ]


def test_both_clients_have_the_twelve_functions_with_the_same_arguments() -> None:
    twelve = [name for name in vars(CoordinatorAPI) if not name.startswith("_")]
    assert len(twelve) == 12
    for name in twelve:
        wanted = inspect.signature(getattr(CoordinatorAPI, name))
        assert inspect.signature(getattr(AsyncClient, name)) == wanted
        assert inspect.signature(getattr(Client, name)) == wanted
    added = {name for name in vars(AsyncClient) if not name.startswith("_")}
    assert {name for name in vars(Client) if not name.startswith("_")} == added
