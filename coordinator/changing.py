"""The documented functions that change something: deploy, roll back, cancel. Half of the facade.

Each checks a request against the fleet and hands it to the engine, together with its row of the
audit trail: that is kept with the change, or says why it was refused. `on_behalf_of` makes
the whole facade act for one caller.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Self

from coordinator import accepted, rollbacks, targets
from coordinator.audit import Audit
from coordinator.caller import IN_PROCESS, Caller
from coordinator.conflicts import exists_otherwise
from coordinator.core.chain import AuditRow
from coordinator.core.evidence import versions
from coordinator.core.happenings import CancelAsked
from coordinator.core.returns import version_of
from coordinator.core.task import Assignment, Target, Task
from coordinator.core.waves import places
from coordinator.engine import Engine
from coordinator.fleet import Fleet
from coordinator.known import Known
from coordinator.planning import Planner
from coordinator.ports import Clock, Store
from coordinator.strategies import Strategies
from protocol.models import (
    BatchRollbackParams,
    BatchRollbackResult,
    DeployCancelResult,
    DeployParams,
    DeployResult,
    InstanceRollbackParams,
    RollbackCancelResult,
    RollbackResult,
)
from protocol.names import PREVIOUS
from protocol.params import DEFAULT_RETRY_COUNT, Params
from protocol.plan import DeploymentPlan
from protocol.states import TaskKind, TaskState
from protocol.strategy import Strategy

_ADDED = ("strategy",)
_CONDITIONS = frozenset({"plan"})
"""What a request makes itself depend on: it asks for the same without that."""


class Changing:
    """Starts and cancels tasks for one caller."""

    def __init__(
        self,
        *,
        store: Store,
        engine: Engine,
        fleet: Fleet,
        clock: Clock,
        audit: Audit,
        new_id: Callable[[], str],
        strategies: Strategies,
    ) -> None:
        self._strategies = strategies
        self._planner = Planner(store, engine, fleet, clock)
        self._store = store
        self._engine = engine
        self._fleet = fleet
        self._clock = clock
        self._audit = audit
        self._new_id = new_id
        self._act_for(IN_PROCESS)

    def _act_for(self, caller: Caller) -> None:
        self._caller = caller
        self._known = Known(self._fleet, self._engine, self._store, caller)

    def on_behalf_of(self, caller: Caller) -> Self:
        """(+) This coordinator as it is for a caller: it shows and does what is theirs alone."""
        made = copy.copy(self)
        made._act_for(caller)
        return made

    # ---- deployments -------------------------------------------------------

    async def execute_deployment(self, params: DeployParams) -> DeployResult:
        """Start a deployment (reference 1.1).

        The same `deploy_id` with an equal body returns the first result and starts nothing.
        If a prefetch brought this version from this URL, the package must have its digest.
        Raises `NotFoundError` for unknown instances, `InvalidRequestError` for those of
        another service, `ConflictError` for the id with another body, for held instances, for a
        `plan` that is another one by now and, without `force`, where no way back to what runs would
        be left (`rollbacks`), `PermissionDeniedError` for a service that is not the caller's.
        """
        with self._asked("execute_deployment", params.deploy_id, params, params.instances) as row:
            task = await self._deploy(params, row)
        return accepted.deployment(task)

    async def _deploy(self, params: DeployParams, audit: AuditRow) -> Task:
        self._known.service(params.service)
        body = fingerprint(params)
        if first := await self._there(TaskKind.DEPLOY, "deploy_id", params.deploy_id, body):
            return await self._engine.create(first, audit)
        strategy = self._strategies.of_deployment(params.strategy, params.service)
        rows = self._known.all_of(params.instances, params.service)
        digest = await self._digest(params)
        if not params.force:
            await rollbacks.refuse_to_leave_no_way_back(
                self._store,
                rows,
                service=params.service,
                version=params.version,
                digest=digest,
            )
        await self._planner.hold_to(params, strategy, digest, rows)
        now = self._clock.now().wall
        task = Task(
            task_id=params.deploy_id,
            kind=TaskKind.DEPLOY,
            service=params.service,
            version=params.version,
            timeout=params.timeout,
            retry_count=params.retry_count,
            created_at=now,
            updated_at=now,
            assignments=await self._assignments(params.instances, strategy),
            package_url=params.package_url,
            digest=digest,
            fingerprint=body,
            strategy=strategy,
        )
        return await self._engine.create(task, audit)

    async def plan_deployment(self, params: DeployParams) -> DeploymentPlan:
        """(+) Tell what a deployment would do; nothing is changed, fetched or stored.

        Raises what `execute_deployment` would raise for the service, the instances and the
        strategy. Whatever else stands against it is told as a warning.
        """
        self._known.service(params.service)
        strategy = self._strategies.of_deployment(params.strategy, params.service)
        rows = self._known.all_of(params.instances, params.service)
        return await self._planner.plan(params, strategy, await self._digest(params), rows)

    async def _digest(self, params: DeployParams) -> str:
        """The digest that the package must have; "" if the first download decides it."""
        return params.sha256 or await self._store.last_prefetched(
            params.service, params.version, params.package_url
        )

    async def cancel_deployment(self, deploy_id: str) -> DeployCancelResult:
        """Stop what has not been switched yet (1.3); `ConflictError` if it has ended."""
        with self._asked("cancel_deployment", deploy_id) as row:
            await self._known.may_name(TaskKind.DEPLOY, deploy_id)
            task = await self._engine.steer(TaskKind.DEPLOY, deploy_id, CancelAsked(), row)
        return DeployCancelResult(
            deploy_id=deploy_id,
            status=after_cancel(task),
            cancelled_at=task.cancelled_at or task.updated_at,
        )

    # ---- rollbacks ---------------------------------------------------------

    async def rollback_instance(self, params: InstanceRollbackParams) -> RollbackResult:
        """Take one instance back to a version (3.1); `ConflictError` if that is not possible."""
        names = [params.instance_id]
        with self._asked("rollback_instance", params.instance_id, params, names) as row:
            service = self._known.one(params.instance_id).service
            task = await self._start_rollback(params, service, names, row)
        return RollbackResult(
            rollback_id=task.task_id,
            instance_id=params.instance_id,
            target_version=task.version,
            status=TaskState.PENDING,
            started_at=task.created_at,
        )

    async def rollback_batch(self, params: BatchRollbackParams) -> BatchRollbackResult:
        """Take several instances back to a version (3.2); all or none of them."""
        names = params.instances
        with self._asked("rollback_batch", params.service, params, names) as row:
            self._known.service(params.service)
            task = await self._start_rollback(params, params.service, names, row)
        return accepted.rollback(task)

    async def _start_rollback(
        self,
        params: InstanceRollbackParams | BatchRollbackParams,
        service: str,
        instances: Sequence[str],
        audit: AuditRow,
    ) -> Task:
        strategy = self._strategies.of_rollback(params.strategy)
        rows = self._known.all_of(instances, service)
        version, own = params.target_version, dict[str, Target]()
        source = rollbacks.Source("", "")
        if version == PREVIOUS:
            own = (await targets.to_previous(self._store, rows, service)).all_found()
            version = version_of(own)
        else:
            source = await rollbacks.find_source(
                self._store,
                rows,
                service=service,
                version=version,
                package_url=params.package_url,
                digest=params.sha256 or "",
                force=params.force,
            )
            if not params.sha256:
                own = targets.kept_otherwise(rows, version, source.digest)
        now = self._clock.now().wall
        task = Task(
            task_id=f"rollback-{self._new_id()}",
            kind=TaskKind.ROLLBACK,
            rollback_type="batch" if isinstance(params, BatchRollbackParams) else "single",
            service=service,
            version=version,
            timeout=params.timeout,
            retry_count=DEFAULT_RETRY_COUNT,
            created_at=now,
            updated_at=now,
            assignments=await self._assignments(instances, strategy, own),
            package_url=source.package_url,
            digest=source.digest,
            use_retained=True,
            force=params.force,
            fingerprint=fingerprint(params),
            strategy=strategy,
        )
        return await self._engine.create(task, audit)

    async def cancel_rollback(self, rollback_id: str) -> RollbackCancelResult:
        """Stop what has not been switched back yet (3.4); `ConflictError` if it has ended."""
        with self._asked("cancel_rollback", rollback_id) as row:
            await self._known.may_name(TaskKind.ROLLBACK, rollback_id)
            task = await self._engine.steer(TaskKind.ROLLBACK, rollback_id, CancelAsked(), row)
        return RollbackCancelResult(
            rollback_id=rollback_id,
            status=after_cancel(task),
            cancelled_at=task.cancelled_at or task.updated_at,
        )

    # ---- inside ------------------------------------------------------------

    async def _there(self, kind: TaskKind, field: str, task_id: str, body: str) -> Task | None:
        """The task that an equal request has made already, whatever has changed since.

        `body` is the request's fingerprint. Raises `ConflictError`, which names the field, if
        another one has made it.
        """
        there = await self._engine.task(task_id)
        if there is not None and (there.kind, there.fingerprint) != (kind, body):
            raise exists_otherwise(field, task_id)
        return there

    async def _assignments(
        self,
        instances: Sequence[str],
        strategy: Strategy | None,
        own_targets: Mapping[str, Target] | None = None,
    ) -> dict[str, Assignment]:
        """The parts of a new task in the order of the request, each with its turn.

        `own_targets` are those that differ from the task's, by instance.
        """
        rows = {name: row for name in instances if (row := self._fleet.instance(name))}
        before = await rollbacks.running(self._store, rows.values())
        placed = places(strategy, instances, {name: row.metadata for name, row in rows.items()})
        parts = {
            place.instance_id: Assignment(
                place.instance_id,
                batch=place.batch,
                turn=place.turn,
                target=(own_targets or {}).get(place.instance_id),
                ran=before.get(place.instance_id),
            )
            for place in placed
        }
        return {name: parts[name] for name in instances}

    def _asked(
        self,
        operation: str,
        object_id: str,
        params: Params | None = None,
        instances: Sequence[str] = (),
    ) -> AbstractContextManager[AuditRow]:
        """The audit trail's row of a request that concerns these instances."""
        return self._audit.asked(
            self._caller,
            operation,
            object_id,
            params.model_dump(exclude_none=True) if params else {},
            self._running(instances),
        )

    def _running(self, instances: Sequence[str]) -> dict[str, Any]:
        """What these instances run, for the audit trail."""
        known = [row for name in instances if (row := self._fleet.instance(name))]
        return versions((row.instance_id, row.version) for row in known) if known else {}


def fingerprint(params: Params) -> str:
    """The digest of a request's parameters: equal for equal bodies, in every release.

    What was added since the first one counts only where it is given, and as it was given.
    """
    body = params.model_dump_json(exclude={*_ADDED, *_CONDITIONS})
    for name in _ADDED:
        if (added := getattr(params, name, None)) is not None:
            body += f"{name}={added.model_dump_json(exclude_unset=True)}"
    return hashlib.sha256(body.encode()).hexdigest()


def after_cancel(task: Task) -> TaskState:
    """What the answer to a cancellation shows: `in_progress` until all parts have ended."""
    return task.state if task.state.ended else TaskState.IN_PROGRESS
