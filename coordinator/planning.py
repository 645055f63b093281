"""What a deployment would do, gathered from the live picture. It changes and fetches nothing.

What can't be known here is told as not known. What a plan says of a strategy is `core.plan`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Literal

from coordinator import rollbacks
from coordinator.core.longest import longest
from coordinator.core.plan import Seen, planned_batches, planned_sizes, short_of, warnings
from coordinator.core.plan_id import KINDS, differences, plan_id
from coordinator.core.waves import Place, places
from coordinator.core.windows import opens_at
from coordinator.engine import Engine
from coordinator.fleet import Fleet
from coordinator.package_sizes import PackageSize
from coordinator.ports import Clock, InstanceRow, Store
from coordinator.rollbacks import WayBack
from protocol.errors import ConflictError
from protocol.models import DeployParams
from protocol.plan import DeploymentPlan, PlannedInstance
from protocol.strategy import Strategy

_Source = Literal["from_disk", "from_url", "no_target"]


class Planner:
    """Makes plans, and holds a deployment to one."""

    def __init__(self, store: Store, engine: Engine, fleet: Fleet, clock: Clock) -> None:
        self._store = store
        self._engine = engine
        self._fleet = fleet
        self._clock = clock

    async def plan(
        self,
        params: DeployParams,
        strategy: Strategy | None,
        digest: str,
        rows: Sequence[InstanceRow],
    ) -> DeploymentPlan:
        """The plan for these rows of the request's instances, with its strategy resolved.

        `digest` is what the package must have, "" if the first download decides it.
        """
        now = self._clock.now().wall
        placed = _placed(strategy, rows)
        size = self._engine.sizes.of(params.package_url, digest)
        release = _Release(params.version, digest, size, rows)
        ways = await self._ways(params.service, rows)
        refusal = await self._refusal(params, digest, rows)
        instances = self._instances(release, rows, placed, ways)
        batches = planned_batches(strategy, placed)
        begins = opens_at(strategy, now) if strategy else None
        takes = longest(strategy, [len(one.instances) for one in batches], params.timeout, now)
        by_id = {row.instance_id: row for row in rows}
        seen = [_seen(one, by_id[one.instance_id], release) for one in instances]
        to_fetch = [one.download_bytes for one in instances]
        return DeploymentPlan(
            plan=self._id(params, strategy, digest, rows, ways),
            service=params.service,
            version=params.version,
            total_instances=len(rows),
            strategy=strategy,
            sizes=planned_sizes(strategy, len(rows)),
            batches=batches,
            instances=instances,
            away=sum(one.away for one in seen),
            package_bytes=size.package,
            download_bytes=None if None in to_fetch else sum(filter(None, to_fetch)),
            begins_at=begins,
            longest_seconds=takes.seconds,
            longest_reason=takes.reason,
            ends_by=None if takes.seconds is None else now + timedelta(seconds=takes.seconds),
            warnings=[*refusal, *warnings(strategy, seen, batches)],
            made_at=now,
        )

    async def hold_to(
        self,
        params: DeployParams,
        strategy: Strategy | None,
        digest: str,
        rows: Sequence[InstanceRow],
    ) -> None:
        """Raise `ConflictError` if the request names a plan that it would not be now."""
        if params.plan is None:
            return
        ways = await self._ways(params.service, rows)
        now = self._id(params, strategy, digest, rows, ways)
        if differs := differences(params.plan, now):
            what = "; ".join(KINDS[kind] for kind in differs)
            raise ConflictError(
                f"plan: it is another one by now. Changed since it was made: {what}. Nothing was "
                "started; ask for the plan again, or leave `plan` out",
                [{"field": "plan", "changed": kind, "message": KINDS[kind]} for kind in differs],
            )

    # ---- inside ------------------------------------------------------------

    async def _ways(self, service: str, rows: Sequence[InstanceRow]) -> dict[str, WayBack | None]:
        """Each instance's way back to what it runs; None where nothing was ever deployed."""
        ways = rollbacks.WaysBack(self._store, service)
        return {
            row.instance_id: await ways.to_what_runs(row) if row.version else None for row in rows
        }

    async def _refusal(
        self, params: DeployParams, digest: str, rows: Sequence[InstanceRow]
    ) -> list[str]:
        """That it would be refused because it leaves no way back, if it would be."""
        if not params.force:
            try:
                await rollbacks.refuse_to_leave_no_way_back(
                    self._store,
                    rows,
                    service=params.service,
                    version=params.version,
                    digest=digest,
                )
            except ConflictError as error:
                return [f"it would be refused now: {error.message}"]
        return []

    def _id(
        self,
        params: DeployParams,
        strategy: Strategy | None,
        digest: str,
        rows: Sequence[InstanceRow],
        ways: Mapping[str, WayBack | None],
    ) -> str:
        request = params.model_dump(mode="json", exclude={"deploy_id", "plan", "strategy"})
        request["sha256"] = digest
        return plan_id(
            {
                "request": request,
                "strategy": strategy and strategy.model_dump(mode="json", exclude={"name"}),
                "batches": [[place.instance_id, place.batch] for place in _placed(strategy, rows)],
                "hosts": {row.instance_id: [row.host_id, row.service] for row in rows},
                "versions": {row.instance_id: [row.version, row.digest] for row in rows},
                "ways": {name: _back(way)[0] for name, way in ways.items()},
                "held": {
                    row.instance_id: holder
                    for row in rows
                    if (holder := self._engine.holder_of(row.instance_id))
                },
                "away": [
                    row.instance_id for row in rows if not self._fleet.host_connected(row.host_id)
                ],
            }
        )

    def _instances(
        self,
        release: _Release,
        rows: Sequence[InstanceRow],
        placed: Sequence[Place],
        ways: Mapping[str, WayBack | None],
    ) -> list[PlannedInstance]:
        by_id = {row.instance_id: row for row in rows}
        made = []
        for place in sorted(placed, key=lambda place: place.turn):
            row = by_id[place.instance_id]
            connected = self._fleet.host_connected(row.host_id)
            source, reason = _back(ways[row.instance_id])
            made.append(
                PlannedInstance(
                    instance_id=row.instance_id,
                    host_id=row.host_id,
                    batch=place.batch,
                    version=row.version,
                    digest=row.digest,
                    connected=connected,
                    away_since=None if connected else self._fleet.last_seen(row.host_id),
                    held_by=self._engine.holder_of(row.instance_id),
                    download_bytes=release.to_fetch(row),
                    free_bytes=row.free_bytes,
                    free_bytes_after=release.left_free(row),
                    back_to=row.version,
                    back_from=source,
                    back_reason=reason,
                )
            )
        return made


class _Release:
    """The release to deploy, and the room that it takes on the disks of these instances' hosts."""

    def __init__(
        self, version: str, digest: str, size: PackageSize, rows: Sequence[InstanceRow]
    ) -> None:
        lacking = [row for row in rows if not rollbacks.has_release(row, version, digest)]
        self._lacking = {row.instance_id for row in lacking}
        self._unpacked_on = Counter(row.host_id for row in lacking)
        self._size = size

    def to_fetch(self, row: InstanceRow) -> int | None:
        """Bytes; 0 if it is on the disk; None if that is not known."""
        return self._size.package if row.instance_id in self._lacking else 0

    def left_free(self, row: InstanceRow) -> int | None:
        """Bytes, once the host has unpacked it for all its instances; None if not known."""
        releases, each = self._unpacked_on[row.host_id], self._size.unpacked
        if row.free_bytes is None or (releases and each is None):
            return None
        return max(0, row.free_bytes - releases * (each or 0))

    def short_of(self, row: InstanceRow) -> int:
        """Bytes that the instance's disk lacks for it; 0 if none, or if that is not known."""
        if row.instance_id not in self._lacking:
            return 0
        releases = self._unpacked_on[row.host_id]
        return short_of(releases, self._size.package, self._size.unpacked, row.free_bytes)


def _placed(strategy: Strategy | None, rows: Sequence[InstanceRow]) -> list[Place]:
    names = [row.instance_id for row in rows]
    return places(strategy, names, {row.instance_id: row.metadata for row in rows})


def _back(way: WayBack | None) -> tuple[_Source, str]:
    """From where the instance would get what it runs again, and why not from its disk."""
    if way is None:
        return "no_target", "nothing was ever deployed there"
    if way.kept is not None:
        return "from_disk", ""
    if way.source is not None:
        return "from_url", way.problem
    return "no_target", way.why_not


def _seen(planned: PlannedInstance, row: InstanceRow, release: _Release) -> Seen:
    return Seen(
        instance_id=row.instance_id,
        host_id=row.host_id,
        metadata=row.metadata,
        version=row.version,
        away=not planned.connected,
        held_by=planned.held_by,
        can_go_back=planned.back_from != "no_target",
        short_of_bytes=release.short_of(row),
    )
