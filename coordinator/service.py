"""The facade: the twelve documented functions, and the few that are added to them.

Those that change something stand in `changing` and `steering`; what is here shows tasks, the
fleet and the coordinator itself. It knows nothing of HTTP, sockets or SQL.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta

from coordinator.arguments import (
    RollbackReadinessParams,
    ServiceListParams,
    ServiceVersionsParams,
    SystemStatsParams,
    TaskListParams,
    VersionHistoryParams,
)
from coordinator.audit import Audit
from coordinator.core.timeline import timeline
from coordinator.core.waits import rfc3339
from coordinator.engine import Engine
from coordinator.fleet import Fleet
from coordinator.news import News
from coordinator.past_versions import version_then
from coordinator.ports import Clock, Store, TaskSummary
from coordinator.readiness import Readiness
from coordinator.steering import Steering
from coordinator.strategies import Strategies
from coordinator.views import (
    Views,
    deploy_summary,
    go_duration,
    rollback_summary,
    task_stats,
)
from protocol import __version__
from protocol.errors import InvalidRequestError, UnavailableError
from protocol.events import Event
from protocol.lists import DeploymentList, RollbackList, ServiceList
from protocol.models import (
    PERIODS,
    DeployStatus,
    HistoryEntry,
    InstanceQueryParams,
    InstanceStats,
    InstanceVersion,
    RollbackStatus,
    ServiceInstances,
    ServiceVersions,
    SystemHealth,
    SystemStats,
    VersionHistory,
)
from protocol.params import parse_params
from protocol.readiness import RollbackReadiness
from protocol.states import InstanceStatus, TaskKind, TaskState
from protocol.strategy import StrategyList
from protocol.timeline import TaskTimeline


class CoordinatorService(Steering):
    """Implements `protocol.api.CoordinatorAPI` over the ports."""

    def __init__(
        self,
        *,
        store: Store,
        engine: Engine,
        fleet: Fleet,
        clock: Clock,
        news: News,
        audit: Audit,
        new_id: Callable[[], str],
        strategies: Strategies | None = None,
    ) -> None:
        super().__init__(
            store=store,
            engine=engine,
            fleet=fleet,
            clock=clock,
            audit=audit,
            new_id=new_id,
            strategies=strategies or Strategies(),
        )
        self._views = Views(fleet, engine)
        self._born = clock.now().steady
        self._news = news

    # ---- 1. deployments ----------------------------------------------------

    async def get_deployment_status(self, deploy_id: str) -> DeployStatus:
        """Tell the state of a deployment (1.2)."""
        task = await self._known.task(TaskKind.DEPLOY, deploy_id)
        return self._views.deployment(task, self._clock.now())

    async def get_deployment_timeline(self, deploy_id: str) -> TaskTimeline:
        """(+) Every step of every assignment of a deployment, and how long each phase took."""
        return await self._timeline(TaskKind.DEPLOY, deploy_id)

    async def list_deployments(
        self, *, service: str = "", status: str = "", limit: int = 100, offset: int = 0
    ) -> DeploymentList:
        """(+) Deployments, newest first."""
        rows, total = await self._page_of(TaskKind.DEPLOY, service, status, limit, offset)
        return DeploymentList(
            deployments=[deploy_summary(row) for row in rows],
            total=total,
            limit=limit,
            offset=offset,
        )

    # ---- 2. versions -------------------------------------------------------

    async def get_service_instance_versions(
        self, service_name: str, include_stopped: bool = False, at: datetime | None = None
    ) -> ServiceVersions:
        """Tell what runs on every instance of a service, or (+) what ran `at` a past time (2.1).

        The past is what the history says: neither status nor connection are known of it.
        """
        asked = {"service_name": service_name, "include_stopped": include_stopped, "at": at}
        then = parse_params(ServiceVersionsParams, asked).at
        if then is None:
            shown = [self._views.version(row) for row in self._known.of_service(service_name)]
        else:
            shown = await self._versions_then(service_name, then)
        if not include_stopped:
            shown = [row for row in shown if row.status is not InstanceStatus.STOPPED]
        return ServiceVersions(
            service=service_name,
            instances=shown,
            version_summary=dict(Counter(row.version for row in shown)),
            total_instances=len(shown),
            updated_at=self._clock.now().wall,
            at=then,
        )

    async def get_service_instances(self, params: InstanceQueryParams) -> ServiceInstances:
        """Tell one page of a service's instances (2.2)."""
        shown = [self._views.instance(row) for row in self._known.of_service(params.service_name)]
        matching = [
            row
            for row in shown
            if params.status in ("", row.status.value) and params.version in ("", row.version)
        ]
        return ServiceInstances(
            service=params.service_name,
            instances=matching[params.offset : params.offset + params.limit],
            total=len(matching),
            limit=params.limit,
            offset=params.offset,
        )

    async def get_instance_version_history(
        self, instance_id: str, limit: int = 50, offset: int = 0
    ) -> VersionHistory:
        """Tell what ended on one instance, newest first (2.3)."""
        parse_params(
            VersionHistoryParams, {"instance_id": instance_id, "limit": limit, "offset": offset}
        )
        row = self._known.one(instance_id)
        rows, total = await self._store.history(
            instance_id, limit, offset, service=self._known.past_of(row)
        )
        return VersionHistory(
            instance_id=instance_id,
            service=row.service,
            history=[
                HistoryEntry(
                    version=entry.version,
                    action=entry.action,
                    deploy_id=entry.task_id,
                    timestamp=entry.timestamp,
                    status=entry.status,
                    reason=entry.reason,
                )
                for entry in rows
            ],
            total=total,
        )

    async def get_rollback_readiness(
        self, service_name: str, version: str = ""
    ) -> RollbackReadiness:
        """(+) For every instance, whether and from where it could go back to a version.

        Without `version` that is, for each, the last other one that was healthy there.
        """
        parse_params(RollbackReadinessParams, {"service_name": service_name, "version": version})
        rows = self._known.of_service(service_name)
        look = Readiness(self._store, self._fleet, service_name, self._clock.now())
        return await look.of(rows, version)

    async def list_strategies(self) -> StrategyList:
        """(+) The strategies of the configuration, and which services take which by default."""
        restricted = self._caller.restricted
        return self._strategies.listed(self._known.services() if restricted else None)

    async def list_services(
        self, *, version: str = "", limit: int = 100, offset: int = 0
    ) -> ServiceList:
        """(+) Services, the latest changed first; with `version` those with an instance of it."""
        asked = {"version": version, "limit": limit, "offset": offset}
        parse_params(ServiceListParams, asked)
        found = [
            name
            for name in self._known.services()
            if not version or any(row.version == version for row in self._fleet.of_service(name))
        ]
        return ServiceList(
            services=[self._views.service(name) for name in found[offset : offset + limit]],
            total=len(found),
            limit=limit,
            offset=offset,
        )

    # ---- 3. rollbacks ------------------------------------------------------

    async def get_rollback_status(self, rollback_id: str) -> RollbackStatus:
        """Tell the state of a rollback (3.3)."""
        task = await self._known.task(TaskKind.ROLLBACK, rollback_id)
        return self._views.rollback(task, self._clock.now())

    async def get_rollback_timeline(self, rollback_id: str) -> TaskTimeline:
        """(+) Every step of every assignment of a rollback, and how long each phase took."""
        return await self._timeline(TaskKind.ROLLBACK, rollback_id)

    async def list_rollbacks(
        self, *, service: str = "", status: str = "", limit: int = 100, offset: int = 0
    ) -> RollbackList:
        """(+) Rollbacks, newest first."""
        rows, total = await self._page_of(TaskKind.ROLLBACK, service, status, limit, offset)
        return RollbackList(
            rollbacks=[rollback_summary(row) for row in rows],
            total=total,
            limit=limit,
            offset=offset,
        )

    # ---- 4. system ---------------------------------------------------------

    async def get_system_health(self) -> SystemHealth:
        """Tell whether the coordinator works (4.1)."""
        now = self._clock.now()
        database = "ok"
        try:
            await self._store.check()
        except UnavailableError as error:
            database = error.message
        cache = self._engine.trouble or "ok"
        return SystemHealth(
            status="unhealthy" if database != "ok" else "degraded" if cache != "ok" else "healthy",
            version=__version__,
            uptime=go_duration(now.steady - self._born),
            database=database,
            cache=cache,
            timestamp=now.wall,
        )

    async def get_system_stats(self, period: str = "24h") -> SystemStats:
        """Count tasks created in the period, and instances now (4.2)."""
        parse_params(SystemStatsParams, {"period": period})
        now = self._clock.now().wall
        since = now - timedelta(seconds=PERIODS[period])
        shown = [self._views.status_of(row) for row in self._known.instances()]
        healthy = sum(status is InstanceStatus.RUNNING for status, _, _ in shown)
        services = await self._known.services_of_tasks()
        counts = {
            kind: task_stats(await self._store.task_counts(kind, since, services))
            for kind in (TaskKind.DEPLOY, TaskKind.ROLLBACK)
        }
        return SystemStats.model_validate(
            {
                "period": period,
                "deployments": counts[TaskKind.DEPLOY],
                "rollbacks": counts[TaskKind.ROLLBACK],
                "instances": InstanceStats(
                    total=len(shown), healthy=healthy, unhealthy=len(shown) - healthy
                ),
                "timestamp": now,
            }
        )

    # ---- events ------------------------------------------------------------

    async def events(self, after: int | None = None) -> AsyncIterator[Event]:
        """(+) One event per change, for ever: those after number `after`, or only new ones.

        A number that is still to come, as after a backup was restored, is for new ones, too.
        """
        newest = await self._store.last_event()
        seen = newest if after is None else min(after, newest)
        while True:
            rows = await self._store.events_after(seen)
            for row in rows:
                seen = row.seq
                if self._known.shows(row):
                    yield Event(seq=row.seq, at=row.at, kind=row.kind, data=dict(row.data))
            if not rows:
                await self._news.after(seen)

    # ---- inside ------------------------------------------------------------

    async def _timeline(self, kind: TaskKind, task_id: str) -> TaskTimeline:
        task = await self._known.task(kind, task_id)
        transitions = await self._store.transitions(task_id)
        return timeline(task, transitions, self._clock.now().wall)

    async def _versions_then(self, service: str, at: datetime) -> list[InstanceVersion]:
        self._known.service(service, "service_name")
        now = self._clock.now().wall
        if at > now:
            message = f"must not be in the future; it is {rfc3339(now)} here"
            raise InvalidRequestError(f"at: {message}", [{"field": "at", "message": message}])
        past = await self._store.history_up_to(service, at)
        names = {row.instance_id for row in self._known.of_service(service, had=past)} | set(past)
        return [version_then(name, service, past.get(name, ()), at) for name in sorted(names)]

    async def _page_of(
        self, kind: TaskKind, service: str, status: str, limit: int, offset: int
    ) -> tuple[list[TaskSummary], int]:
        asked = {"service": service, "status": status, "limit": limit, "offset": offset}
        page = parse_params(TaskListParams, asked)
        state = TaskState(page.status) if page.status else None
        services = await self._known.services_of_tasks(service)
        return await self._store.tasks(
            kind, services=services, state=state, limit=limit, offset=offset
        )
