"""What an instance looks like, from its journal and a look at its service.

The version is what was last committed as healthy; a new release counts only when its
check has passed (field note 9).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agent.core.age import age
from agent.instance import Instance
from agent.journal import Known, Record
from agent.ports import ServiceState, StepError
from protocol.messages import MAX_SECONDS, MAX_TEXT, InstanceState, RetainedRelease, Step
from protocol.states import InstanceStatus

MUCH = 10
"""A tenth: the free space is told anew when it has changed by so much."""


class Observer:
    """Remembers the last look at one instance."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._seen = ServiceState(running=False)
        self._blind = ""
        self._free: int | None = None

    @property
    def running(self) -> bool:
        """Whether the service was seen to run at the last look."""
        return self._seen.running and not self._blind

    async def look(self) -> None:
        """Look at the service now. Where that is not possible, the state tells why."""
        try:
            self._seen, self._blind = await self._instance.driver.state(), ""
        except StepError as error:
            self._blind = error.message

    async def look_at_the_disk(self) -> None:
        """Look how much room its releases have; where that can't be told, nothing is."""
        try:
            free = await asyncio.to_thread(self._instance.releases.free_bytes)
        except StepError:
            self._free = None
        else:
            self._free = _about(self._free, free)

    def last(self, record: Record) -> InstanceState:
        """The instance as of the last look."""
        status, reason = self._status(record)
        instance = self._instance
        current = record.current
        return InstanceState(
            instance_id=instance.instance_id,
            service=instance.service,
            port=instance.port,
            address=instance.address,
            metadata=dict(instance.metadata),
            status=status,
            version=current.version if current else "",
            digest=current.digest if current else "",
            reason=reason[:MAX_TEXT],
            retained=self._told(record.good),
            fetched=self._told(record.fetched),
            free_bytes=self._free,
        )

    def _told(self, releases: Sequence[Known]) -> list[RetainedRelease]:
        now = self._instance.releases.now()
        told = []
        for known in releases[-256:]:
            finding = self._instance.releases.finding(known.version, known.digest)
            whole = finding.whole if finding else None
            told.append(
                RetainedRelease(
                    version=known.version,
                    digest=known.digest,
                    proven_ago=min(age(whole, now), MAX_SECONDS) if whole else None,
                    damaged=finding.damaged if finding else "",
                )
            )
        return told

    def _status(self, record: Record) -> tuple[InstanceStatus, str]:
        work = record.work
        if record.trouble:
            return InstanceStatus.ERROR, record.trouble
        if work is not None and work.step not in (Step.PREPARE, Step.PREPARED):
            doing = "being put back" if work.putting_back else f"at {work.step.value}"
            running = InstanceStatus.RUNNING if self._seen.running else InstanceStatus.STOPPED
            return running, f"{work.task_id} to {work.version}: {doing}"
        if record.current is None:
            return InstanceStatus.STOPPED, "never deployed"
        return self._at_rest()

    def _at_rest(self) -> tuple[InstanceStatus, str]:
        if self._blind:
            return InstanceStatus.ERROR, f"not known whether it runs: {self._blind}"
        if self._seen.running:
            return InstanceStatus.RUNNING, ""
        if self._seen.detail:
            return InstanceStatus.ERROR, f"not running: {self._seen.detail}"
        return InstanceStatus.STOPPED, "not running"


def _about(told: int | None, free: int) -> int:
    """The free space to tell: what was told before, while that is about right."""
    return told if told is not None and abs(free - told) * MUCH <= told else free
