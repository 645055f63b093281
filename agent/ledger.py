"""One instance's record, and the reports of it that wait until they are acknowledged.

What holds on the disk and what holds here change together, and a report leaves only with
the record that explains it. `save` is strict: what the disk refuses did not happen.
`save_or_remember` is for what holds anyway, where the older record on the disk leads to
the same end. Nothing here decides what is done next.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Protocol

from agent.journal import Journal, Known, Record, Unsent, Watch, Work
from agent.observe import Observer
from agent.ports import StepError
from protocol.messages import (
    Ended,
    InstanceState,
    Progress,
    Regressed,
    Result,
    StateChanged,
    Step,
)

log = logging.getLogger(__name__)

TELL_EVERY = 0.5
"""Seconds between two reports of how far a download is."""


class Link(Protocol):
    """The way to the coordinator, as a ledger sees it. Neither call waits."""

    def report(self, instance_id: str, report: Unsent, state: InstanceState) -> None:
        """Deliver a report; if that fails it is asked for again on the next connection."""
        ...

    def tell(self, frame: Progress | StateChanged) -> None:
        """Deliver a frame that may get lost."""
        ...


class Ledger:
    """Keeps the record of one instance, and tells the coordinator of it."""

    def __init__(
        self, instance_id: str, journal: Journal, observer: Observer, link: Link, boot_id: str
    ) -> None:
        self._instance_id = instance_id
        self._journal = journal
        self._observer = observer
        self._link = link
        self._boot_id = boot_id
        self._record = journal.load(instance_id)
        self._told_at = 0.0

    @property
    def record(self) -> Record:
        """What holds now."""
        return self._record

    @property
    def state(self) -> InstanceState:
        """The instance as it was last seen."""
        return self._observer.last(self._record)

    # ---- keeping -----------------------------------------------------------

    def save(self, record: Record) -> None:
        """Make `record` hold, and report what is new in it. Raises `StepError`; then it doesn't."""
        self._journal.save(record)
        self._adopt(record)

    def save_or_remember(self, record: Record) -> None:
        """Save what holds whether the disk takes it or not.

        Only for records of which the older one on the disk leads to the same end.
        """
        self._try_to_save(record)
        self._adopt(record)

    def remember(self, record: Record) -> None:
        """Let `record` hold here; it gets to the disk with the next one that is saved."""
        self._record = record

    def keep_work(self, work: Work) -> None:
        """Journal a step before it is done. Raises `StepError` unless it leads back."""
        record = replace(self._record, work=work)
        if work.putting_back:
            # Going back must not depend on the journal: its older state leads there, too.
            self._try_to_save(record)
        else:
            self._journal.save(record)
        self._record = record
        note = "putting the old release back" if work.putting_back else ""
        step = Step.PUT_BACK if work.putting_back else work.step
        self._link.tell(self._progress_frame(work, step, note=note))

    def commit(self, work: Work) -> None:
        """The new release is healthy: from here on it is the one to go back to.

        If it is to be watched, that begins in the same moment. Its report waits for `deliver`:
        the service is looked at first. Raises `StepError`.
        """
        new = Known(work.version, work.digest)
        good = (*(known for known in self._record.good if known != new), new)
        fetched = tuple(known for known in self._record.fetched if known != new)
        ended = Ended(
            result=Result.SUCCEEDED, step=Step.COMMIT, message="healthy", digest=work.digest
        )
        record = replace(
            self._record,
            current=new,
            good=good,
            fetched=fetched,
            trouble="",
            boot_id=self._boot_id,
            watch=self._watch_after(work),
        ).ending(work, ended)
        self._journal.save(record)
        self._record = record

    def _watch_after(self, work: Work) -> Watch | None:
        if not work.watch:
            return None
        return Watch(
            work.task_id,
            work.attempt,
            work.digest,
            work.generation,
            left=work.watch,
            until=asyncio.get_running_loop().time() + work.watch,
            boot_id=self._boot_id,
            asked=work.watch,
        )

    def fetched(self, work: Work) -> None:
        """The release is on the disk ahead of time: the attempt ends here. Raises `StepError`."""
        new, record = Known(work.version, work.digest), self._record
        others = tuple(known for known in record.fetched if known != new)
        ended = Ended(
            result=Result.SUCCEEDED,
            step=work.step,
            message="verified on disk; nothing was stopped",
            digest=work.digest,
        )
        kept = others if new == record.current else (*others, new)
        self.save(replace(record, fetched=kept).ending(work, ended))

    def end(
        self,
        work: Work,
        result: Result,
        message: str,
        *,
        passing: bool = False,
        retry_after: float = 0.0,
        put_back: bool = False,
    ) -> None:
        """Journal the end of an attempt together with its report, and deliver it."""
        ended = Ended(
            result=result,
            step=work.step,
            message=message[:4000],
            passing=passing,
            retry_after=retry_after,
            put_back=put_back,
            digest=work.digest,
        )
        self.save_or_remember(self._record.ending(work, ended))

    def keep_watch(self, watch: Watch | None) -> None:
        """Keep what is watched from here on, None for nothing."""
        self.save_or_remember(replace(self._record, watch=watch))

    def regressed(self, watch: Watch, message: str, since: float) -> None:
        """Journal that what was watched regressed, together with its report, and deliver it.

        `since`: when it first looked unwell, in seconds of this boot.
        """
        after = watch.lasted(since)
        event = Regressed(message=message[:4000], digest=watch.digest, after=after)
        record = replace(self._record, watch=None)
        self.save_or_remember(record.reporting(watch.task_id, watch.attempt, event))

    def _try_to_save(self, record: Record) -> None:
        try:
            self._journal.save(record)
        except StepError as error:
            log.error("%s: %s", self._instance_id, error.message)

    def _adopt(self, record: Record) -> None:
        fresh = [one for one in record.unsent if one not in self._record.unsent]
        self._record = record
        for report in fresh:
            self.report(report)

    # ---- telling -----------------------------------------------------------

    def report(self, report: Unsent) -> None:
        """Deliver a report, for the first time or again."""
        self._link.report(self._instance_id, report, self.state)

    def deliver(self) -> None:
        """Deliver all reports that wait."""
        for report in self._record.unsent:
            self.report(report)

    def acknowledged(self, number: int) -> None:
        """The coordinator has saved this report."""
        self._record = self._record.without(number)
        if not self._record.unsent and self._record.work is None:
            try:
                self._journal.save(self._record)
            except StepError as error:
                # Harmless: it would be told once more after a restart.
                log.warning("%s: %s", self._instance_id, error.message)

    def tell_state(self) -> None:
        """Tell how the instance looks. It may get lost."""
        self._link.tell(StateChanged(instance=self.state))

    def progress(self, work: Work, done: int, total: int | None) -> None:
        """Tell how many bytes of the package are here, not too often. It may get lost."""
        now = asyncio.get_running_loop().time()
        if now - self._told_at < TELL_EVERY and done != total:
            return
        self._told_at = now
        self._link.tell(self._progress_frame(work, Step.PREPARE, done, total))

    def tell_size(self, work: Work, size: int | None) -> None:
        """Tell how much the release of an attempt has unpacked to. It may get lost."""
        if size is not None:
            frame = self._progress_frame(work, Step.PREPARE)
            self._link.tell(frame.model_copy(update={"release_bytes": size}))

    def _progress_frame(
        self, work: Work, step: Step, done: int = 0, total: int | None = None, note: str = ""
    ) -> Progress:
        return Progress(
            task_id=work.task_id,
            instance_id=self._instance_id,
            attempt=work.attempt,
            step=step,
            bytes_done=done,
            bytes_total=total,
            note=note,
        )
