"""Removing releases that nobody needs any more.

What a clean-up can't remove is only warned of, and tried again by the next one. While a
package is being prepared nothing is removed. Which releases are needed is the preparer's
to say.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from agent.instance import Instance
from agent.journal import Known, Work
from agent.ledger import Ledger
from agent.preparer import Preparer
from protocol.messages import Step

log = logging.getLogger(__name__)


class Pruner:
    """Tidies one instance's releases and the record of them."""

    def __init__(self, instance: Instance, ledger: Ledger, preparer: Preparer) -> None:
        self._instance = instance
        self._ledger = ledger
        self._preparer = preparer

    async def tidy(self, spare: Work | None = None) -> None:
        """Remove what is not needed; keep `spare`'s release, too, for its next attempt."""
        record = self._ledger.record
        in_hand = [work for work in (record.work, spare) if work is not None]
        if any(work.step is Step.PREPARE for work in in_hand):
            return
        warnings = await asyncio.to_thread(self._preparer.prune, self._instance, record, in_hand)
        for warning in warnings:
            log.warning("%s: %s", self._instance.instance_id, warning)
        on_disk = {Known(one.version, one.digest) for one in self._instance.releases.all()}
        record = self._ledger.record
        good = tuple(known for known in record.good if known in on_disk)
        fetched = tuple(known for known in record.fetched if known in on_disk)
        if (good, fetched) != (record.good, record.fetched):
            self._ledger.save_or_remember(replace(record, good=good, fetched=fetched))
            self._ledger.tell_state()
