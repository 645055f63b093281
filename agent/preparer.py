"""Gets a release onto the disk while the old one serves, and keeps the disk bounded.

A release on disk is used only if it is trusted and after all its files were verified; otherwise
it is fetched; a damaged one stays, as evidence, until a whole one takes its name or it is pruned.
A command for another service than the instance's is refused.
Pruning never takes the running release, the last good one, the last good one that is not known
to be damaged, one in hand, the newest ones that were fetched ahead of time, or the newest one of
a pinned version.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from agent.download import PackageSource
from agent.fetch import fetch_release
from agent.instance import Instance
from agent.journal import Known, Record, Work
from agent.pins import Pins
from agent.ports import StepError
from agent.releases import Release
from protocol.messages import Prepare

TELL_BEFORE = 2.0
"""Seconds before the assignment's deadline at which a download is given up, so that its
reason reaches the coordinator in time; a tenth of what is left if that is less."""

MOST_FETCHED = 2
"""Releases of one instance that were fetched ahead of time and are kept: the newest."""


class Preparer:
    """Shared by all instances of the host."""

    def __init__(self, source: PackageSource, pins: Pins | None = None) -> None:
        """Without `pins` nothing is pinned."""
        self._source = source
        self._pins = pins or Pins()

    async def prepare(
        self,
        instance: Instance,
        record: Record,
        command: Prepare,
        on_progress: Callable[[int, int | None], None],
    ) -> Release:
        """Return the verified release. Raises `StepError`; nothing that serves is touched."""
        if command.service != instance.service:
            raise StepError(
                f"this instance is of the service {instance.service}, not {command.service}"
            )
        time_left = command.time_left - min(TELL_BEFORE, command.time_left / 10)
        until = asyncio.get_running_loop().time() + time_left
        release, problem = await self._from_disk(instance, record, command)
        if release is not None:
            return release
        if not command.package_url:
            raise StepError(problem or f"no release {command.version} on disk, and no package URL")
        try:
            return await fetch_release(
                self._source,
                instance.releases,
                service=instance.service,
                version=command.version,
                url=command.package_url,
                digest=command.digest,
                on_progress=on_progress,
                until=until,
            )
        except StepError as error:
            why = f"{problem}; fetching it anew: " if problem else ""
            raise StepError(
                f"{why}{error.message}", passing=error.passing, retry_after=error.retry_after
            ) from None

    def why_not(self, instance: Instance, work: Work) -> str:
        """Return why the host must not switch to what was prepared; "" if it may."""
        release = instance.releases.find(work.version, work.digest)
        if release is None:
            return "the prepared release is no longer on disk"
        return self._distrust(instance, release)

    def _distrust(self, instance: Instance, release: Release) -> str:
        return self._source.terms.trust.distrust(release, instance.service)

    async def _from_disk(
        self, instance: Instance, record: Record, command: Prepare
    ) -> tuple[Release | None, str]:
        """A verified release on disk, or why there is none."""
        if not command.digest and not command.use_retained:
            return None, ""
        problem = ""
        for known in _candidates(instance, record, command):
            release = instance.releases.find(known.version, known.digest)
            if release is None:
                continue
            if why := self._distrust(instance, release):
                problem = why
                continue
            try:
                await asyncio.to_thread(instance.releases.verify, release)
            except StepError as error:
                problem = error.message
            else:
                return release, ""
        return None, problem

    def prune(self, instance: Instance, record: Record, in_hand: Sequence[Work]) -> list[str]:
        """Remove releases that nobody needs; return warnings about those that won't go."""
        current = [record.current] if record.current else []
        earlier = [known for known in record.good if known not in current]
        intact = [known for known in earlier if not _damage(instance, known)]
        kept = [*earlier[-max(instance.keep_releases, 1) :], *intact[-1:]]
        wanted = {
            *current,
            *kept,
            *record.fetched[-MOST_FETCHED:],
            *self._pinned(instance, record.good),
            *self._pinned(instance, record.fetched),
            *(Known(work.version, work.digest) for work in in_hand),
            *(work.old for work in in_hand if work.old),
        }
        if record.trouble:
            return []
        spared = [
            release
            for release in instance.releases.all()
            if Known(release.version, release.digest) in wanted
        ]
        return instance.releases.prune(spared)

    def _pinned(self, instance: Instance, releases: Sequence[Known]) -> list[Known]:
        """The newest of these of each pinned version: of one that is made anew, not all."""
        newest = {known.version: known for known in releases}
        return [
            known
            for version, known in newest.items()
            if self._pins.holds(instance.service, version)
        ]


def _damage(instance: Instance, known: Known) -> str:
    """What is known to differ in a release on disk; "" if nothing is."""
    finding = instance.releases.finding(known.version, known.digest)
    return finding.damaged if finding else ""


def _candidates(instance: Instance, record: Record, command: Prepare) -> list[Known]:
    """Releases on disk that may serve this command, the likeliest first."""
    if command.digest:
        return [Known(command.version, command.digest)]
    return [known for known in reversed(record.good) if known.version == command.version]
