"""To what each instance goes back, where that is not one version for all, and from where.

A wish is a version, with what is known of its package. What comes of it is what the host retains
or a URL has, with its digest; or a reason why the instance can't go there, for a refusal that
names all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from coordinator.core.returns import switched
from coordinator.core.task import Target, Task
from coordinator.ports import InstanceRow, Store
from coordinator.rollbacks import WaysBack, previous_version, retained
from protocol.errors import ConflictError
from protocol.names import PREVIOUS
from protocol.states import InstanceStatus, Phase


@dataclass(slots=True)
class Targets:
    """Where instances go back to, and why others can't; by instance."""

    found: dict[str, Target] = field(default_factory=dict)
    problems: dict[str, tuple[str, str]] = field(default_factory=dict)
    """The version and the reason."""

    def refuse(self, version: str, message: str, *instances: str) -> None:
        """These instances can't go back to the version."""
        self.problems |= dict.fromkeys(instances, (version, message))

    def all_found(self) -> dict[str, Target]:
        """The targets, or `ConflictError` that names every instance that can't go back."""
        if self.problems:
            first = [f"{name}: {why}" for name, (_, why) in list(self.problems.items())[:5]]
            more = f"; and {len(self.problems) - 5} more" if len(self.problems) > 5 else ""
            raise ConflictError(
                "; ".join(first) + more,
                [
                    {"instance_id": name, "version": version, "message": why}
                    for name, (version, why) in self.problems.items()
                ],
            )
        return self.found


async def to_previous(store: Store, rows: Sequence[InstanceRow], service: str) -> Targets:
    """Each instance to the last version that was healthy there and is not the one it runs."""
    targets, wishes = Targets(), {}
    for row in rows:
        if version := await previous_version(store, row, service):
            wishes[row.instance_id] = Target(version)
        else:
            targets.refuse(PREVIOUS, "no other version was ever healthy there", row.instance_id)
    return await _find(store, rows, service, wishes, targets)


def kept_otherwise(rows: Sequence[InstanceRow], version: str, digest: str) -> dict[str, Target]:
    """What those go back to that retain another package of the version than that of the digest.

    A host's own release comes before any URL. `digest` "": every package is taken.
    """
    kept = {row.instance_id: retained(row, version, "") for row in rows if digest}
    return {
        name: Target(version, digest=release.digest)
        for name, release in kept.items()
        if release is not None and release.digest != digest
    }


def touched(task: Task, *, force: bool) -> list[str]:
    """The instances that the task has switched; with `force` also those amid their switch."""
    return [
        part.instance_id
        for part in task.assignments.values()
        if switched(part) or (force and part.phase is Phase.ACTIVATING)
    ]


async def before(store: Store, task: Task, rows: Sequence[InstanceRow], *, force: bool) -> Targets:
    """Each of these to what it ran before the task, but for those that run that again.

    What runs something newer by now can't, unless there is `force`.
    """
    targets, wishes = Targets(), {}
    for row in rows:
        part = task.assignments[row.instance_id]
        version = task.target_of(part).version
        if part.ran is None:
            targets.refuse("", "nothing ran there before", row.instance_id)
        elif part.phase.ended and _runs(row, part.ran):
            continue
        elif row.version not in ("", version) and not force:
            message = f"runs {row.version} by now, not the {version} of {task.task_id}"
            targets.refuse(part.ran.version, message, row.instance_id)
        else:
            wishes[row.instance_id] = part.ran
    return await _find(store, rows, task.service, wishes, targets)


async def _find(
    store: Store,
    rows: Sequence[InstanceRow],
    service: str,
    wishes: Mapping[str, Target],
    targets: Targets,
) -> Targets:
    """Add to `targets` what the wishes come to."""
    ways = WaysBack(store, service)
    for row in rows:
        if (wish := wishes.get(row.instance_id)) is None:
            continue
        way = await ways.to(row, wish.version, wish.digest)
        if way.source is not None:
            source = Target(wish.version, way.source.package_url, way.source.digest)
            targets.found[row.instance_id] = source
        elif way.kept is not None:
            targets.found[row.instance_id] = replace(wish, digest=way.kept.digest)
        elif wish.package_url:
            targets.found[row.instance_id] = wish
        else:
            targets.refuse(wish.version, way.why_not, row.instance_id)
    return targets


def _runs(row: InstanceRow, target: Target) -> bool:
    same = row.version == target.version and target.digest in ("", row.digest)
    return same and row.status is InstanceStatus.RUNNING
