"""`Doors` without a coordinator behind: it answers plausibly and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from coordinator.caller import Caller
from coordinator.http.ports import Doors
from coordinator.ports import TokenRow
from protocol import access
from protocol import models as m
from protocol.errors import FerrymanError, NotFoundError, UnauthenticatedError
from protocol.events import Event
from protocol.evidence import AuditList, AuditVerdict
from protocol.lists import DeploymentList, RollbackList, ServiceList
from protocol.plan import DeploymentPlan
from protocol.readiness import RollbackReadiness
from protocol.releases import (
    Pin,
    PinList,
    PrefetchCancelResult,
    PrefetchList,
    PrefetchParams,
    PrefetchResult,
    PrefetchStatus,
)
from protocol.states import HostState, TaskState
from protocol.strategy import Strategy, StrategyList
from protocol.timeline import TaskTimeline
from tests.parts.plausible import (
    AT,
    AUDIT_ENTRY,
    AUDIT_VERDICT,
    AUTHORITY,
    COUNTS,
    DEPLOYMENT,
    HEALTH,
    HISTORY_ENTRY,
    INSTANCE,
    INSTANCE_VERSION,
    PIN,
    PLAN,
    PROGRESS,
    READINESS,
    ROW,
    SERVICE,
    STRATEGIES,
    TOKEN,
    host,
    timeline,
)


class FakeDoors(Doors):
    """A token's text is its role. `asked` holds each call; `fails` raises on the next one."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.fails: Exception | None = None
        self.is_ready = True
        self.stored: list[Event] = []
        self.live: asyncio.Queue[Event | None] = asyncio.Queue()
        self.revoked: set[str] = set()
        self.revoke_after_next = ""
        """A token that is revoked once it was looked at."""
        self.ended = asyncio.Event()
        """Set it when the tokens of all who wait for that have ended."""
        self.callers: list[Caller] = []
        self.refusals: list[tuple[str, ...]] = []
        """Of what the door refused by itself: caller, operation, object, kind."""
        self.streams = 0
        self.streams_ended = 0

    def _asked(self, *call: Any) -> None:
        self.asked.append(call)
        if self.fails is not None:
            raise self.fails

    async def execute_deployment(self, params: m.DeployParams) -> m.DeployResult:
        self._asked("execute_deployment", params)
        return m.DeployResult(
            deploy_id=params.deploy_id,
            service=params.service,
            version=params.version,
            status=TaskState.PENDING,
            total_instances=len(params.instances),
            started_at=AT,
        )

    async def plan_deployment(self, params: m.DeployParams) -> DeploymentPlan:
        self._asked("plan_deployment", params)
        return PLAN

    async def get_deployment_status(self, deploy_id: str) -> m.DeployStatus:
        self._asked("get_deployment_status", deploy_id)
        _no_instance(deploy_id)
        return self._deployment(deploy_id)

    def _deployment(self, deploy_id: str) -> m.DeployStatus:
        return m.DeployStatus(
            deploy_id=deploy_id,
            service=SERVICE,
            version="v1",
            status=TaskState.PENDING,
            progress=PROGRESS,
            instances=[ROW],
            started_at=AT,
            updated_at=AT,
        )

    async def cancel_deployment(self, deploy_id: str) -> m.DeployCancelResult:
        self._asked("cancel_deployment", deploy_id)
        return m.DeployCancelResult(
            deploy_id=deploy_id, status=TaskState.CANCELLED, cancelled_at=AT
        )

    async def get_service_instance_versions(
        self, service_name: str, include_stopped: bool = False, at: datetime | None = None
    ) -> m.ServiceVersions:
        self._asked("get_service_instance_versions", service_name, include_stopped, at)
        return m.ServiceVersions(
            service=service_name,
            instances=[INSTANCE_VERSION],
            version_summary={"v1": 1},
            total_instances=1,
            updated_at=AT,
            at=at,
        )

    async def get_service_instances(self, params: m.InstanceQueryParams) -> m.ServiceInstances:
        self._asked("get_service_instances", params)
        return m.ServiceInstances(
            service=params.service_name,
            instances=[INSTANCE],
            total=1,
            limit=params.limit,
            offset=params.offset,
        )

    async def get_instance_version_history(
        self, instance_id: str, limit: int = 50, offset: int = 0
    ) -> m.VersionHistory:
        self._asked("get_instance_version_history", instance_id, limit, offset)
        return m.VersionHistory(
            instance_id=instance_id, service=SERVICE, history=[HISTORY_ENTRY], total=1
        )

    async def rollback_instance(self, params: m.InstanceRollbackParams) -> m.RollbackResult:
        self._asked("rollback_instance", params)
        return m.RollbackResult(
            rollback_id="rollback-1",
            instance_id=params.instance_id,
            target_version=params.target_version,
            status=TaskState.PENDING,
            started_at=AT,
        )

    async def rollback_batch(self, params: m.BatchRollbackParams) -> m.BatchRollbackResult:
        self._asked("rollback_batch", params)
        return m.BatchRollbackResult(
            rollback_id="rollback-1",
            service=params.service,
            target_version=params.target_version,
            status=TaskState.PENDING,
            instances=params.instances,
            total_instances=len(params.instances),
            started_at=AT,
        )

    async def get_rollback_status(self, rollback_id: str) -> m.RollbackStatus:
        self._asked("get_rollback_status", rollback_id)
        _no_instance(rollback_id)
        return self._rollback(rollback_id)

    def _rollback(self, rollback_id: str) -> m.RollbackStatus:
        return m.RollbackStatus(
            rollback_id=rollback_id,
            service=SERVICE,
            target_version="v1",
            rollback_type="single",
            status=TaskState.PENDING,
            progress=PROGRESS,
            instances=[ROW],
            started_at=AT,
            completed_at=None,
        )

    async def cancel_rollback(self, rollback_id: str) -> m.RollbackCancelResult:
        self._asked("cancel_rollback", rollback_id)
        return m.RollbackCancelResult(
            rollback_id=rollback_id, status=TaskState.CANCELLED, cancelled_at=AT
        )

    async def pause_deployment(self, deploy_id: str) -> m.DeployStatus:
        self._asked("pause_deployment", deploy_id)
        return self._deployment(deploy_id)

    async def resume_deployment(self, deploy_id: str) -> m.DeployStatus:
        self._asked("resume_deployment", deploy_id)
        return self._deployment(deploy_id)

    async def promote_deployment(self, deploy_id: str) -> m.DeployStatus:
        self._asked("promote_deployment", deploy_id)
        return self._deployment(deploy_id)

    async def retry_deployment(
        self, deploy_id: str, new_id: str | None = None, *, force: bool = False
    ) -> m.DeployResult:
        self._asked("retry_deployment", deploy_id, new_id, force)
        return m.DeployResult(
            deploy_id=new_id or "deploy-2",
            service=SERVICE,
            version="v1",
            status=TaskState.PENDING,
            total_instances=1,
            started_at=AT,
        )

    async def rollback_deployment(
        self,
        deploy_id: str,
        *,
        force: bool = False,
        timeout: int | None = None,
        strategy: Strategy | None = None,
    ) -> m.BatchRollbackResult:
        self._asked("rollback_deployment", deploy_id, force, timeout, strategy)
        return self._rolled_back("rollback-1")

    async def pause_rollback(self, rollback_id: str) -> m.RollbackStatus:
        self._asked("pause_rollback", rollback_id)
        return self._rollback(rollback_id)

    async def resume_rollback(self, rollback_id: str) -> m.RollbackStatus:
        self._asked("resume_rollback", rollback_id)
        return self._rollback(rollback_id)

    async def promote_rollback(self, rollback_id: str) -> m.RollbackStatus:
        self._asked("promote_rollback", rollback_id)
        return self._rollback(rollback_id)

    async def retry_rollback(
        self, rollback_id: str, new_id: str | None = None
    ) -> m.BatchRollbackResult:
        self._asked("retry_rollback", rollback_id, new_id)
        return self._rolled_back(new_id or "rollback-2")

    def _rolled_back(self, rollback_id: str) -> m.BatchRollbackResult:
        return m.BatchRollbackResult(
            rollback_id=rollback_id,
            service=SERVICE,
            target_version="v1",
            status=TaskState.PENDING,
            instances=["instance-1"],
            total_instances=1,
            started_at=AT,
        )

    async def get_system_health(self) -> m.SystemHealth:
        self._asked("get_system_health")
        return HEALTH

    async def get_system_stats(self, period: str = "24h") -> m.SystemStats:
        self._asked("get_system_stats", period)
        return m.SystemStats.model_validate(
            {
                "period": period,
                "deployments": COUNTS,
                "rollbacks": COUNTS,
                "instances": {"total": 1, "healthy": 1, "unhealthy": 0},
                "timestamp": AT,
            }
        )

    async def get_deployment_timeline(self, deploy_id: str) -> TaskTimeline:
        self._asked("get_deployment_timeline", deploy_id)
        return timeline(deploy_id, "deploy")

    async def get_rollback_timeline(self, rollback_id: str) -> TaskTimeline:
        self._asked("get_rollback_timeline", rollback_id)
        return timeline(rollback_id, "rollback")

    async def list_deployments(
        self, *, service: str = "", status: str = "", limit: int = 100, offset: int = 0
    ) -> DeploymentList:
        self._asked("list_deployments", service, status, limit, offset)
        return DeploymentList(deployments=[DEPLOYMENT], total=1, limit=limit, offset=offset)

    async def list_rollbacks(
        self, *, service: str = "", status: str = "", limit: int = 100, offset: int = 0
    ) -> RollbackList:
        self._asked("list_rollbacks", service, status, limit, offset)
        return RollbackList(rollbacks=[], total=0, limit=limit, offset=offset)

    async def get_rollback_readiness(
        self, service_name: str, version: str = ""
    ) -> RollbackReadiness:
        self._asked("get_rollback_readiness", service_name, version)
        return RollbackReadiness(
            service=service_name,
            version=version,
            instances=[READINESS],
            from_disk=1,
            from_url=0,
            no_target=0,
            updated_at=AT,
        )

    async def list_services(
        self, *, version: str = "", limit: int = 100, offset: int = 0
    ) -> ServiceList:
        self._asked("list_services", version, limit, offset)
        return ServiceList(services=[], total=0, limit=limit, offset=offset)

    async def list_strategies(self) -> StrategyList:
        self._asked("list_strategies")
        return STRATEGIES

    async def list_hosts(
        self,
        *,
        service: str = "",
        connected: bool | None = None,
        state: str = "",
        limit: int = 100,
        offset: int = 0,
    ) -> access.HostList:
        self._asked("list_hosts", service, connected, state, limit, offset)
        return access.HostList(hosts=[], total=0, limit=limit, offset=offset)

    async def ask_to_join(self, host_id: str, csr: str, address: str) -> access.JoinAnswer:
        self._asked("ask_to_join", host_id, csr, address)
        return access.JoinAnswer(state=HostState.PENDING, fingerprint="ab" * 32)

    async def approve_host(self, host_id: str, fingerprint: str | None = None) -> access.Host:
        self._asked("approve_host", host_id, fingerprint)
        return host(host_id, HostState.APPROVED)

    async def reject_host(self, host_id: str, fingerprint: str | None = None) -> access.Host:
        self._asked("reject_host", host_id, fingerprint)
        return host(host_id, HostState.REJECTED)

    async def revoke_host(self, host_id: str) -> access.Host:
        self._asked("revoke_host", host_id)
        return host(host_id, HostState.REVOKED)

    async def release_instance(self, instance_id: str) -> access.ReleasedInstance:
        self._asked("release_instance", instance_id)
        return access.ReleasedInstance(instance_id=instance_id, service=SERVICE, host_id="host-a")

    async def prefetch(self, params: PrefetchParams) -> PrefetchResult:
        self._asked("prefetch", params)
        return PrefetchResult(
            prefetch_id=params.prefetch_id or "prefetch-1",
            service=params.service,
            version=params.version,
            status=TaskState.PENDING,
            total_instances=len(params.instances),
            started_at=AT,
        )

    async def get_prefetch_status(self, prefetch_id: str) -> PrefetchStatus:
        self._asked("get_prefetch_status", prefetch_id)
        _no_instance(prefetch_id)
        return PrefetchStatus(
            prefetch_id=prefetch_id,
            service=SERVICE,
            version="v1",
            status=TaskState.PENDING,
            progress=PROGRESS,
            instances=[ROW],
            started_at=AT,
            updated_at=AT,
            digest="",
            completed_at=None,
            cancelled_at=None,
        )

    async def cancel_prefetch(self, prefetch_id: str) -> PrefetchCancelResult:
        self._asked("cancel_prefetch", prefetch_id)
        return PrefetchCancelResult(
            prefetch_id=prefetch_id, status=TaskState.CANCELLED, cancelled_at=AT
        )

    async def list_prefetches(
        self, *, service: str = "", status: str = "", limit: int = 100, offset: int = 0
    ) -> PrefetchList:
        self._asked("list_prefetches", service, status, limit, offset)
        return PrefetchList(prefetches=[], total=0, limit=limit, offset=offset)

    async def pin_release(self, service: str, version: str) -> Pin:
        self._asked("pin_release", service, version)
        return PIN

    async def unpin_release(self, service: str, version: str) -> Pin:
        self._asked("unpin_release", service, version)
        return PIN

    async def list_pins(self, service: str = "") -> PinList:
        self._asked("list_pins", service)
        return PinList(pins=[PIN])

    async def create_token(self, params: access.TokenParams) -> access.CreatedToken:
        self._asked("create_token", params)
        return access.CreatedToken.model_validate(
            {**TOKEN, "role": params.role, "secret": "s3cret"}
        )

    async def list_tokens(self) -> access.TokenList:
        self._asked("list_tokens")
        return access.TokenList(tokens=[access.Token.model_validate(TOKEN)])

    async def revoke_token(self, token_id: str) -> access.Token:
        self._asked("revoke_token", token_id)
        return access.Token.model_validate({**TOKEN, "token_id": token_id, "revoked_at": AT})

    async def list_audit(
        self, *, since: datetime | None = None, limit: int = 100, offset: int = 0
    ) -> AuditList:
        self._asked("list_audit", since, limit, offset)
        return AuditList(rows=[AUDIT_ENTRY], total=1, limit=limit, offset=offset)

    async def verify_audit(self, expect: str = "") -> AuditVerdict:
        self._asked("verify_audit", expect)
        return AUDIT_VERDICT

    def refused(self, caller: Caller, operation: str, object_id: str, error: FerrymanError) -> None:
        self.refusals.append((caller.name, operation, object_id, error.type))

    async def authenticate(self, token_text: str) -> TokenRow:
        if token_text not in ("join", "viewer", "deployer", "admin") or token_text in self.revoked:
            raise UnauthenticatedError("the token is unknown, expired or revoked")
        if token_text == self.revoke_after_next:
            self.revoked.add(token_text)
        return TokenRow(
            token_id=token_text, role=token_text, digest="", name=token_text, created_at=AT
        )

    def on_behalf_of(self, caller: Caller) -> FakeDoors:
        self.callers.append(caller)
        return self

    async def token_ended(self, caller: Caller) -> None:
        await self.ended.wait()

    async def enroll(
        self, token_text: str, host_id: str, csr: str, address: str
    ) -> tuple[str, str]:
        self._asked("enroll", token_text, host_id, csr, address)
        return "CERTIFICATE", "AUTHORITY"

    def authority(self) -> str:
        self._asked("authority")
        return "AUTHORITY"

    def older_authority(self) -> str:
        return ""

    async def authority_status(self) -> access.AuthorityStatus:
        self._asked("authority_status")
        return AUTHORITY

    async def begin_rotation(self) -> access.AuthorityStatus:
        self._asked("begin_rotation")
        return AUTHORITY

    async def switch_rotation(self, force: bool = False) -> access.AuthorityStatus:
        self._asked("switch_rotation", force)
        return AUTHORITY

    async def finish_rotation(self, force: bool = False) -> access.AuthorityStatus:
        self._asked("finish_rotation", force)
        return AUTHORITY

    async def abort_rotation(self) -> access.AuthorityStatus:
        self._asked("abort_rotation")
        return AUTHORITY

    def ready(self) -> bool:
        return self.is_ready

    async def events(self, after: int | None) -> AsyncIterator[Event]:
        self.asked.append(("events", after))
        self.streams += 1
        try:
            for stored in self.stored if after is not None else []:
                if after is not None and stored.seq > after:
                    yield stored
            while (new := await self.live.get()) is not None:
                yield new
        finally:
            self.streams_ended += 1


def _no_instance(task_id: str) -> None:
    """A task of any name is there but of the one instance's."""
    if task_id == INSTANCE.instance_id:
        raise NotFoundError(f"no task {task_id}")
