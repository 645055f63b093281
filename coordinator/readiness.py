"""Rollback readiness: for each instance, whether it could go back, and from where.

It is what a rollback would find, by the same rule (`rollbacks`); nothing is asked of any host.
How good a release on a disk is rests on the host's own last look at it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from coordinator.core.proofs import age_of
from coordinator.core.task import Moment
from coordinator.core.waits import rfc3339
from coordinator.fleet import Fleet
from coordinator.ports import InstanceRow, Store
from coordinator.rollbacks import WaysBack, never_ran, previous_version
from protocol.readiness import InstanceReadiness, RollbackReadiness


class Readiness:
    """Looks at the instances of one service, at one moment."""

    def __init__(self, store: Store, fleet: Fleet, service: str, now: Moment) -> None:
        self._store = store
        self._fleet = fleet
        self._service = service
        self._now = now
        self._ways = WaysBack(store, service)

    async def of(self, rows: Sequence[InstanceRow], version: str) -> RollbackReadiness:
        """All instances; with `version` "" for each the last other one that was healthy there."""
        found = [await self._instance(row, version) for row in rows]
        counted = Counter(one.source for one in found)
        return RollbackReadiness(
            service=self._service,
            version=version,
            instances=found,
            from_disk=counted["from_disk"],
            from_url=counted["from_url"],
            no_target=counted["no_target"],
            updated_at=self._now.wall,
        )

    async def _instance(self, row: InstanceRow, version: str) -> InstanceReadiness:
        connected = self._fleet.host_connected(row.host_id)
        seen = rfc3339(self._fleet.last_seen(row.host_id)) or "the start"
        away = "" if connected else f"; its agent is away since {seen}"
        found = await self._find(row, version)
        return InstanceReadiness(
            instance_id=row.instance_id,
            host_id=row.host_id,
            connected=connected,
            current_version=row.version,
            version=found.version,
            source=found.source,
            digest=found.digest,
            proven_ago=found.proven_ago,
            reason=found.reason + away,
        )

    async def _find(self, row: InstanceRow, version: str) -> _Found:
        if await never_ran(self._store, row, self._service):
            return _Found("no_target", f"never ran {self._service}")
        target = version or await previous_version(self._store, row, self._service)
        if not target:
            return _Found("no_target", "no other version was ever healthy here")
        way = await self._ways.to(row, target)
        already = f"runs {target} now; " if row.version == target else ""
        if way.kept is not None:
            ago = age_of(way.kept.proven, self._now.steady)
            proof = "not verified yet" if ago is None else "verified"
            reason = f"{already}on the host's disk, {proof}"
            return _Found("from_disk", reason, target, way.kept.digest, ago)
        if way.source is not None:
            reason = f"{already}{way.problem}; its last successful task has a URL for it"
            return _Found("from_url", reason, target, way.source.digest)
        return _Found("no_target", f"{already}{way.why_not}", target)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a rollback of one instance would find."""

    source: Literal["from_disk", "from_url", "no_target"]
    reason: str
    version: str = ""
    digest: str = ""
    proven_ago: float | None = None
