"""Plausible answers of a coordinator: of one service with one instance, on one host."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from protocol import access
from protocol import models as m
from protocol.events import Event
from protocol.evidence import AuditEntry, AuditVerdict
from protocol.lists import DeploySummary
from protocol.plan import DeploymentPlan, PlannedBatch, PlannedInstance
from protocol.readiness import InstanceReadiness
from protocol.releases import Pin
from protocol.states import HostState, InstanceStatus, Phase, RotationPhase, TaskState
from protocol.strategy import (
    ConfiguredStrategy,
    DefaultStrategy,
    StrategyList,
    UnnamedStrategy,
)
from protocol.timeline import InstanceTimeline, TaskTimeline, TimelineStep

AT = datetime(2026, 1, 15, 10, 31, 0, 123456, tzinfo=UTC)
SERVICE = "user-service"
PLAN = DeploymentPlan(
    plan=f"plan-{'a' * 64}",
    service=SERVICE,
    version="v1",
    total_instances=1,
    strategy=None,
    sizes=[],
    batches=[PlannedBatch(batch=0, canary=False, instances=["instance-1"])],
    instances=[
        PlannedInstance(
            instance_id="instance-1",
            host_id="host-a",
            batch=0,
            version="",
            digest="",
            connected=True,
            away_since=None,
            held_by="",
            download_bytes=None,
            free_bytes=None,
            free_bytes_after=None,
            back_to="",
            back_from="no_target",
            back_reason="nothing was ever deployed there",
        )
    ],
    away=0,
    package_bytes=None,
    download_bytes=None,
    begins_at=None,
    longest_seconds=420.0,
    longest_reason="",
    ends_by=AT,
    warnings=[],
    made_at=AT,
)
PROGRESS = m.TaskProgress(total=1, completed=0, failed=0, pending=1)
ROW = m.AssignmentStatus(
    instance_id="instance-1",
    status=TaskState.PENDING,
    current_version="v0",
    target_version="v1",
    started_at=AT,
    completed_at=None,
    error_message="",
    phase=Phase.WAITING,
)
COUNTS = m.TaskStats(total=0, success=0, failed=0, success_rate=0.0)
TOKEN: dict[str, Any] = {
    "token_id": "token-1",
    "role": "viewer",
    "name": "",
    "created_at": AT,
    "expires_at": None,
    "last_used_at": None,
    "revoked_at": None,
}
AUTHORITY = access.AuthorityStatus(
    phase=RotationPhase.NONE,
    present=access.AuthorityCertificate(sha256="c0" * 32, ends_at=AT, certificate="PEM"),
    next=None,
    hosts=1,
    believing=0,
    certified=1,
    unready=[access.UnreadyHost(host_id="host-a", connected=False, reason="away")],
)
INSTANCE_VERSION = m.InstanceVersion(
    instance_id="instance-1", version="v1", status=InstanceStatus.RUNNING, last_updated=AT
)
INSTANCE = m.ServiceInstance(
    instance_id="instance-1",
    host="10.0.0.5",
    port=8080,
    status=InstanceStatus.RUNNING,
    version="v1",
    last_heartbeat=AT,
    metadata={"zone": "a"},
)
READINESS = InstanceReadiness(
    instance_id="instance-1",
    host_id="host-a",
    connected=True,
    current_version="v2",
    version="v1",
    source="from_disk",
    digest="ab" * 32,
    proven_ago=3600.0,
    reason="on the host's disk, verified",
)
HISTORY_ENTRY = m.HistoryEntry(
    version="v1", action="deploy", deploy_id="deploy-1", timestamp=AT, status="success"
)
HEALTH = m.SystemHealth(
    status="healthy",
    version="0.1.0",
    uptime="26h3m5s",
    database="ok",
    cache="ok",
    timestamp=AT,
)
PIN = Pin(service=SERVICE, version="v1", created_at=AT, created_by="ci", instances=2, on_disk=1)
DEPLOYMENT = DeploySummary(
    deploy_id="deploy-1",
    service=SERVICE,
    version="v1",
    status=TaskState.PENDING,
    progress=PROGRESS,
    started_at=AT,
    updated_at=AT,
)
AUDIT_ENTRY = AuditEntry(
    seq=1,
    at=AT,
    proof="token",
    who="ci",
    token_id="token-1",
    role="deployer",
    address="10.0.0.9",
    operation="cancel_deployment",
    object_id="deploy-1",
    parameters={},
    before={"status": "in_progress"},
    after={"status": "cancelled"},
    result="accepted",
    message="",
    count=1,
    prev="0" * 64,
    hash="ab" * 32,
)
AUDIT_VERDICT = AuditVerdict(
    sound=True,
    rows=1,
    first_seq=1,
    first_at=AT,
    last_seq=1,
    last_at=AT,
    last_hash="ab" * 32,
    broken_seq=None,
    problem="",
    removed_up_to_seq=0,
    removed_at=None,
)


def timeline(task_id: str, kind: Literal["deploy", "rollback"]) -> TaskTimeline:
    step = TimelineStep(at=AT, phase=Phase.WAITING, attempt=1, reason="", seconds=1.5)
    instance = InstanceTimeline(
        instance_id="instance-1",
        status=TaskState.PENDING,
        phase=Phase.WAITING,
        attempts=1,
        began_at=None,
        ended_at=None,
        seconds=1.5,
        phases={"waiting": 1.5},
        steps=[step],
    )
    return TaskTimeline(
        task_id=task_id,
        kind=kind,
        service=SERVICE,
        version="v1",
        status=TaskState.PENDING,
        started_at=AT,
        ended_at=None,
        as_of=AT,
        seconds=1.5,
        phases={"waiting": 1.5},
        instances=[instance],
    )


STRATEGIES = StrategyList(
    strategies=[
        ConfiguredStrategy(
            name="careful", strategy=UnnamedStrategy(canary=1, max_failures="10%", bake=300)
        )
    ],
    defaults=[DefaultStrategy(services="web-*", name="careful")],
)


def event(seq: int) -> Event:
    return Event(seq=seq, at=AT, kind="task", data={"task_id": f"deploy-{seq}", "note": "a\nb"})


def host(host_id: str, state: HostState) -> access.Host:
    return access.Host(
        host_id=host_id,
        connected=False,
        agent_version="",
        address="10.0.0.5",
        instances=[],
        joined_at=None,
        last_heartbeat=AT,
        state=state,
        fingerprint="ab" * 32,
    )
