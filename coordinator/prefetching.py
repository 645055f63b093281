"""Releases that are brought to hosts ahead of time: the facade's part about prefetches.

A prefetch is a task like the others, but for its end: the verified release on the host's disk.
Nothing that serves is touched, and it is in no history, because nothing ran.
"""

from __future__ import annotations

from coordinator.changing import after_cancel, fingerprint
from coordinator.core.chain import AuditRow
from coordinator.core.happenings import CancelAsked
from coordinator.core.task import Assignment, Task
from coordinator.service import CoordinatorService
from coordinator.views import prefetch_summary
from protocol.params import DEFAULT_RETRY_COUNT
from protocol.releases import (
    PrefetchCancelResult,
    PrefetchList,
    PrefetchParams,
    PrefetchResult,
    PrefetchStatus,
)
from protocol.states import TaskKind, TaskState


class Prefetching(CoordinatorService):
    """Starts, shows and cancels prefetches."""

    async def prefetch(self, params: PrefetchParams) -> PrefetchResult:
        """(+) Bring a release to the hosts' disks, so that its deployment is only the switch.

        The same `prefetch_id` with an equal body returns the first result and starts nothing.
        Raises what `execute_deployment` raises.
        """
        task_id = params.prefetch_id or f"prefetch-{self._new_id()}"
        with self._asked("prefetch", task_id, params, params.instances) as row:
            task = await self._prefetch(task_id, params, row)
        return PrefetchResult(
            prefetch_id=task.task_id,
            service=task.service,
            version=task.version,
            status=TaskState.PENDING,
            total_instances=len(task.assignments),
            started_at=task.created_at,
        )

    async def _prefetch(self, task_id: str, params: PrefetchParams, audit: AuditRow) -> Task:
        self._known.service(params.service)
        now = self._clock.now().wall
        task = Task(
            task_id=task_id,
            kind=TaskKind.PREFETCH,
            service=params.service,
            version=params.version,
            timeout=params.timeout,
            retry_count=DEFAULT_RETRY_COUNT,
            created_at=now,
            updated_at=now,
            assignments={name: Assignment(name) for name in params.instances},
            package_url=params.package_url,
            digest=params.sha256 or "",
            fingerprint=fingerprint(params),
        )
        if await self._engine.task(task_id) is None:
            self._known.all_of(params.instances, params.service)
        return await self._engine.create(task, audit)

    async def get_prefetch_status(self, prefetch_id: str) -> PrefetchStatus:
        """(+) Tell the state of a prefetch."""
        task = await self._known.task(TaskKind.PREFETCH, prefetch_id)
        return self._views.prefetch(task, self._clock.now())

    async def cancel_prefetch(self, prefetch_id: str) -> PrefetchCancelResult:
        """(+) Stop what is not on disk yet; `ConflictError` if it has ended."""
        with self._asked("cancel_prefetch", prefetch_id) as row:
            await self._known.may_name(TaskKind.PREFETCH, prefetch_id)
            task = await self._engine.steer(TaskKind.PREFETCH, prefetch_id, CancelAsked(), row)
        return PrefetchCancelResult(
            prefetch_id=prefetch_id,
            status=after_cancel(task),
            cancelled_at=task.cancelled_at or task.updated_at,
        )

    async def list_prefetches(
        self, *, service: str = "", status: str = "", limit: int = 100, offset: int = 0
    ) -> PrefetchList:
        """(+) Prefetches, newest first."""
        rows, total = await self._page_of(TaskKind.PREFETCH, service, status, limit, offset)
        return PrefetchList(
            prefetches=[prefetch_summary(row) for row in rows],
            total=total,
            limit=limit,
            offset=offset,
        )
