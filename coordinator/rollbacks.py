"""Whether a rollback is possible, and from where: decided before anything stops.

Interface section 3, "Rollback": the host's own retained release, else the given URL,
else the URL and digest of that version's last successful task; else a refusal that
names the instances and the version. A release that its host has found damaged is no way back
from its disk. By the same rule a deployment is refused that would leave no way back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from coordinator.core.task import Target
from coordinator.ports import InstanceRow, Retained, Store
from protocol.errors import ConflictError
from protocol.states import InstanceStatus


@dataclass(frozen=True, slots=True)
class Source:
    """Where hosts that have no retained release get it; both "" if nobody needs it."""

    package_url: str
    digest: str


@dataclass(frozen=True, slots=True)
class WayBack:
    """From where one instance would get a version, without a URL given for it."""

    kept: Retained | None
    """The release on its host's disk, which is always tried first."""
    source: Source | None
    """Where the version's last successful task had the same package from."""
    problem: str
    """Why it is not on the host's disk; "" if it is."""
    lacks: str
    """Why there is no `source`; "" if there is."""

    def __bool__(self) -> bool:
        return self.kept is not None or self.source is not None

    @property
    def why_not(self) -> str:
        """Why there is no way back, for people."""
        return f"{self.problem}, and {self.lacks}"


class WaysBack:
    """The one rule for ways back, for the instances of a service.

    Each version is looked up once.
    """

    def __init__(self, store: Store, service: str) -> None:
        self._store = store
        self._service = service
        self._sources: dict[str, Source | None] = {}

    async def to(self, row: InstanceRow, version: str, digest: str = "") -> WayBack:
        """The instance's way back to a version, whose package has this digest.

        Where none is given, its host's own release says which package is meant, if it is sound.
        """
        kept = retained(row, version, digest)
        problem = "" if kept else why_not_retained(row, version, digest)
        wanted = digest or (kept.digest if kept else "")
        source = await self.source(version)
        if source is None:
            return WayBack(kept, None, problem, "no successful task has a URL for it")
        if wanted not in ("", source.digest):
            other = "the last successful task that has a URL for it had another package"
            return WayBack(kept, None, problem, other)
        return WayBack(kept, source, problem, "")

    async def to_what_runs(self, row: InstanceRow) -> WayBack:
        """The instance's way back to exactly what it runs, once something else does."""
        return await self.to(row, row.version, row.digest)

    async def source(self, version: str) -> Source | None:
        """Where the version's last successful task had it from; None if there is no such task."""
        if version not in self._sources:
            known = await self._store.last_success(self._service, version)
            self._sources[version] = Source(*known) if known else None
        return self._sources[version]


async def running(store: Store, rows: Iterable[InstanceRow]) -> dict[str, Target]:
    """What each of these instances runs, and where exactly that could be had from again."""
    found, ways = {}, dict[str, WaysBack]()
    for row in rows:
        if row.version:
            of_service = ways.setdefault(row.service, WaysBack(store, row.service))
            source = (await of_service.to_what_runs(row)).source
            url = source.package_url if source and row.digest else ""
            found[row.instance_id] = Target(row.version, url, row.digest)
    return found


async def previous_version(store: Store, row: InstanceRow, service: str) -> str:
    """The last version that was healthy there and is not the one it runs; "" if none was.

    The history tells; what the host retains stands in where that was lost.
    """
    known = await store.last_healthy(row.instance_id, service, but=row.version)
    if known:
        return known
    others = (one.version for one in reversed(row.retained) if one.version != row.version)
    return next(others, "")


def has_release(row: InstanceRow, version: str, digest: str) -> bool:
    """Whether the host has exactly this release, sound for all that is known."""
    return bool(digest) and retained(row, version, digest) is not None


async def find_source(
    store: Store,
    rows: Sequence[InstanceRow],
    *,
    service: str,
    version: str,
    package_url: str,
    digest: str,
    force: bool,
) -> Source:
    """The source for this rollback. Raises `ConflictError` if the fleet's state forbids it."""
    if not force:
        running = [row for row in rows if _runs(row, version)]
        _refuse(running, f"already runs {version}", version)
        never = [row for row in rows if await never_ran(store, row, service)]
        _refuse(never, f"never ran {service}: there is no version to go back to", version)
    if package_url:
        return Source(package_url, digest)
    known = await WaysBack(store, service).source(version)
    if known is not None and digest in ("", known.digest):
        return known
    without = [row for row in rows if retained(row, version, digest) is None]
    _refuse(
        without,
        f"has no release {version} on disk, no package_url was given and no successful task "
        f"brought {service} {version}",
        version,
        lambda row: why_not_retained(row, version, digest),
    )
    return Source("", digest)


async def refuse_to_leave_no_way_back(
    store: Store, rows: Sequence[InstanceRow], *, service: str, version: str, digest: str
) -> None:
    """Raise `ConflictError` if this deployment would end the last sound copy of what runs.

    So it is on an instance that runs something else, whose release its host has found damaged
    or missing, and which no successful task has a URL for: the processes that run are all that
    is left of it, neither the swap itself nor a later rollback could bring it back. Nothing is
    lost where nothing runs, or where the same release is deployed again, which mends it.
    `digest` is what the package must have; "": it is taken for the same if the version is.
    """
    ways = WaysBack(store, service)
    others = [
        row
        for row in rows
        if _runs(row, row.version) and not (row.version == version and digest in ("", row.digest))
    ]
    lost = {
        row.instance_id: (row, way) for row in others if not (way := await ways.to_what_runs(row))
    }
    _refuse(
        [row for row, _ in lost.values()],
        "there would be no way back to what runs, which is damaged or gone on the host's disk "
        f"and which no successful task of {service} has a URL for; with `force` it is carried out "
        "nevertheless",
        "",
        lambda row: lost[row.instance_id][1].why_not,
    )


async def never_ran(store: Store, row: InstanceRow, service: str) -> bool:
    """Whether no version of the service was ever healthy there."""
    return not row.version and not await store.ever_ran(row.instance_id, service)


def _runs(row: InstanceRow, version: str) -> bool:
    """Whether it runs by the last word of its agent: one that died may be brought up again."""
    return row.version == version and row.status is InstanceStatus.RUNNING


def retained(row: InstanceRow, version: str, digest: str) -> Retained | None:
    """The sound release of the version (and digest, if given) on the host's disk."""
    return next((one for one in _on_disk(row, version, digest) if not one.damaged), None)


def why_not_retained(row: InstanceRow, version: str, digest: str) -> str:
    """Why there is no such release, for people."""
    for one in _on_disk(row, version, digest):
        return f"{version} is damaged on the host's disk: {one.damaged}"
    return f"{version} is not on the host's disk"


def _on_disk(row: InstanceRow, version: str, digest: str) -> Iterator[Retained]:
    """The releases that a host would try, the latest first: with a digest any that has it."""
    for one in reversed((*row.fetched, *row.retained) if digest else row.retained):
        if one.version == version and digest in ("", one.digest):
            yield one


def _refuse(
    rows: Sequence[InstanceRow],
    problem: str,
    version: str,
    why: Callable[[InstanceRow], str] = lambda _: "",
) -> None:
    """Raise `ConflictError` if there are such instances; `why` tells more of one of them.

    `version` is the one that can't be had, "" for the one that each of them runs.
    """
    if rows:
        named = ", ".join(row.instance_id for row in rows[:5])
        more = f" and {len(rows) - 5} more" if len(rows) > 5 else ""
        said = {row.instance_id: f"{problem} ({why(row)})" if why(row) else problem for row in rows}
        raise ConflictError(
            f"{named}{more}: {said[rows[0].instance_id]}",
            [
                {
                    "instance_id": row.instance_id,
                    "version": version or row.version,
                    "message": said[row.instance_id],
                }
                for row in rows
            ],
        )
