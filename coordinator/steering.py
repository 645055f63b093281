"""What is asked of a task that exists: pause, resume, promote, try again, take back.

Half of the facade, like `changing`. The first three change the task; the others start a new
one that tells from which it comes (`Task.follows`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from coordinator import accepted, targets
from coordinator.changing import Changing, fingerprint
from coordinator.core.chain import AuditRow
from coordinator.core.evidence import said
from coordinator.core.happenings import (
    CancelAsked,
    PauseAsked,
    PromoteAsked,
    ResumeAsked,
)
from coordinator.core.happenings import (
    Steering as Event,
)
from coordinator.core.returns import version_of
from coordinator.core.task import Target, Task
from coordinator.rollbacks import refuse_to_leave_no_way_back
from coordinator.views import Views
from protocol.errors import ConflictError
from protocol.models import BatchRollbackResult, DeployResult, DeployStatus, RollbackStatus
from protocol.params import DEFAULT_RETRY_COUNT, parse_params
from protocol.states import Phase, TaskKind
from protocol.steering import (
    RetryDeploymentParams,
    RetryRollbackParams,
    RollbackDeploymentParams,
)
from protocol.strategy import Strategy


class Steering(Changing):
    """Steers tasks for one caller."""

    _views: Views

    # ---- pause, resume, promote --------------------------------------------

    async def pause_deployment(self, deploy_id: str) -> DeployStatus:
        """(+) Begin nothing new; a paused one stays so. `ConflictError` if it has ended."""
        return self._deployment(
            await self._steer("pause_deployment", TaskKind.DEPLOY, deploy_id, _pause)
        )

    async def resume_deployment(self, deploy_id: str) -> DeployStatus:
        """(+) Go on where it was paused; `ConflictError` if it has ended."""
        return self._deployment(
            await self._steer("resume_deployment", TaskKind.DEPLOY, deploy_id, _resume)
        )

    async def promote_deployment(self, deploy_id: str) -> DeployStatus:
        """(+) Let the others follow the canary; `ConflictError` if none waits for that."""
        return self._deployment(
            await self._steer("promote_deployment", TaskKind.DEPLOY, deploy_id, _promote)
        )

    async def pause_rollback(self, rollback_id: str) -> RollbackStatus:
        """(+) As `pause_deployment`."""
        return self._rollback(
            await self._steer("pause_rollback", TaskKind.ROLLBACK, rollback_id, _pause)
        )

    async def resume_rollback(self, rollback_id: str) -> RollbackStatus:
        """(+) As `resume_deployment`."""
        return self._rollback(
            await self._steer("resume_rollback", TaskKind.ROLLBACK, rollback_id, _resume)
        )

    async def promote_rollback(self, rollback_id: str) -> RollbackStatus:
        """(+) As `promote_deployment`."""
        return self._rollback(
            await self._steer("promote_rollback", TaskKind.ROLLBACK, rollback_id, _promote)
        )

    async def _steer(
        self, operation: str, kind: TaskKind, task_id: str, event: Callable[[AuditRow], Event]
    ) -> Task:
        with self._asked(operation, task_id) as row:
            await self._known.may_name(kind, task_id)
            return await self._engine.steer(kind, task_id, event(row), row)

    def _deployment(self, task: Task) -> DeployStatus:
        return self._views.deployment(task, self._clock.now())

    def _rollback(self, task: Task) -> RollbackStatus:
        return self._views.rollback(task, self._clock.now())

    # ---- try again ---------------------------------------------------------

    async def retry_deployment(
        self, deploy_id: str, new_id: str | None = None, *, force: bool = False
    ) -> DeployResult:
        """(+) Deploy again to exactly the instances on which this has failed or was cancelled.

        Package, digest, timeout, retries and strategy are the same; percentages are of those
        instances. The same `new_id` again returns the first result and starts nothing.
        Raises `ConflictError` while the deployment runs, if nothing is left to retry, for held
        instances and, without `force`, where no way back to what runs would be left.
        """
        asked = {"deploy_id": deploy_id, "new_id": new_id, "force": force}
        params = parse_params(RetryDeploymentParams, asked)
        with self._asked("retry_deployment", deploy_id, params) as row:
            task = await self._retry(TaskKind.DEPLOY, deploy_id, params, row)
        return accepted.deployment(task)

    async def retry_rollback(
        self, rollback_id: str, new_id: str | None = None
    ) -> BatchRollbackResult:
        """(+) As `retry_deployment`: each instance to the version that was meant for it."""
        params = parse_params(RetryRollbackParams, {"rollback_id": rollback_id, "new_id": new_id})
        with self._asked("retry_rollback", rollback_id, params) as row:
            task = await self._retry(TaskKind.ROLLBACK, rollback_id, params, row)
        return accepted.rollback(task)

    async def _retry(
        self,
        kind: TaskKind,
        task_id: str,
        params: RetryDeploymentParams | RetryRollbackParams,
        audit: AuditRow,
    ) -> Task:
        before = await self._known.task(kind, task_id)
        body = fingerprint(params)
        new_id = params.new_id
        if new_id and (first := await self._there(kind, "new_id", new_id, body)):
            return await self._engine.create(first, audit)
        if not before.state.ended:
            raise _runs_still(before, "retry it once it has ended")
        left = {
            part.instance_id: part
            for part in before.assignments.values()
            if part.phase in (Phase.FAILED, Phase.CANCELLED)
        }
        if not left:
            raise _nothing(before, "nothing is left to retry: every instance has completed")
        rows = self._known.all_of(list(left), before.service)
        if isinstance(params, RetryDeploymentParams) and not params.force:
            await refuse_to_leave_no_way_back(
                self._store,
                rows,
                service=before.service,
                version=before.version,
                digest=before.digest,
            )
        own = {name: part.target for name, part in left.items() if part.target is not None}
        now = self._clock.now().wall
        task = Task(
            task_id=params.new_id or f"{_PREFIX[kind]}-{self._new_id()}",
            kind=kind,
            rollback_type=before.rollback_type,
            service=before.service,
            version=before.version,
            timeout=before.timeout,
            retry_count=before.retry_count,
            created_at=now,
            updated_at=now,
            assignments=await self._assignments(list(left), before.strategy, own),
            package_url=before.package_url,
            digest=before.digest,
            use_retained=before.use_retained,
            fingerprint=body,
            strategy=before.strategy,
            follows=before.task_id,
            relation="retry",
        )
        return await self._engine.create(task, self._with_versions(audit, left))

    # ---- take back ---------------------------------------------------------

    async def rollback_deployment(
        self,
        deploy_id: str,
        *,
        force: bool = False,
        timeout: int | None = None,
        strategy: Strategy | None = None,
    ) -> BatchRollbackResult:
        """(+) Take each instance that this deployment has switched back to what it ran before.

        Those that run it again already are left out. Raises `ConflictError` while the deployment
        runs, for instances that can't go back or run something newer by now, for held ones, and
        if there is nothing to take back. With `force` a deployment that runs is cancelled, what
        can't go back is left out, and the others are taken back nevertheless.
        """
        asked = {"deploy_id": deploy_id, "force": force, "timeout": timeout, "strategy": strategy}
        params = parse_params(RollbackDeploymentParams, asked)
        with self._asked("rollback_deployment", deploy_id, params) as row:
            return accepted.rollback(await self._take_back(params, row))

    async def _take_back(self, params: RollbackDeploymentParams, audit: AuditRow) -> Task:
        strategy = self._strategies.of_rollback(params.strategy)
        before = await self._known.task(TaskKind.DEPLOY, params.deploy_id)
        if not (before.state.ended or params.force):
            raise _runs_still(before, "cancel it first, or take it back with force")
        found = await self._ways_back(before, force=params.force)
        if not before.state.ended:
            before = await self._cancelled(before)
            found = await self._ways_back(before, force=params.force)
        now = self._clock.now().wall
        task = Task(
            task_id=f"rollback-{self._new_id()}",
            kind=TaskKind.ROLLBACK,
            rollback_type="batch",
            service=before.service,
            version=version_of(found),
            timeout=params.timeout or before.timeout,
            retry_count=DEFAULT_RETRY_COUNT,
            created_at=now,
            updated_at=now,
            assignments=await self._assignments(list(found), strategy, found),
            use_retained=True,
            force=params.force,
            fingerprint=fingerprint(params),
            strategy=strategy,
            follows=before.task_id,
            relation="rollback",
        )
        return await self._engine.create(task, self._with_versions(audit, found))

    async def _ways_back(self, task: Task, *, force: bool) -> Mapping[str, Target]:
        """Where each instance goes back to; with `force`, of those that can."""
        touched = targets.touched(task, force=force)
        if force:
            known = [row for name in touched if (row := self._known.instance(name)) is not None]
            rows = [row for row in known if row.service == task.service]
        else:
            rows = self._known.all_of(touched, task.service)
        ways = await targets.before(self._store, task, rows, force=force)
        found = ways.found if force and ways.found else ways.all_found()
        if not found:
            raise _nothing(task, "there is nothing to take back: no instance runs what it brought")
        return found

    async def _cancelled(self, task: Task) -> Task:
        """The task once it was cancelled, unless it has ended meanwhile."""
        row = self._audit.row(self._caller, "cancel_deployment", task.task_id)
        why = "taken back by force"
        try:
            return await self._engine.steer(task.kind, task.task_id, CancelAsked(why=why), row)
        except ConflictError:
            return await self._known.task(task.kind, task.task_id)

    def _with_versions(self, audit: AuditRow, instances: Mapping[str, object]) -> AuditRow:
        return replace(audit, before=said(self._running(list(instances))))


_PREFIX = {TaskKind.DEPLOY: "deploy", TaskKind.ROLLBACK: "rollback"}


def _pause(_: AuditRow) -> Event:
    return PauseAsked()


def _resume(_: AuditRow) -> Event:
    return ResumeAsked()


def _promote(row: AuditRow) -> Event:
    return PromoteAsked(row.who)


def _runs_still(task: Task, advice: str) -> ConflictError:
    return ConflictError(
        f"{task.task_id} has not ended: {task.state.value}; {advice}",
        [{"task_id": task.task_id, "status": task.state.value}],
    )


def _nothing(task: Task, message: str) -> ConflictError:
    return ConflictError(
        f"{task.task_id}: {message}", [{"task_id": task.task_id, "message": message}]
    )
