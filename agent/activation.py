"""An assignment from `activate` on: it goes through the swap or is put back, and ends here.

From the first step the agent alone decides; the coordinator only hears how it ended. What
the steps and their undo are is the executor's business.
"""

from __future__ import annotations

from dataclasses import replace

from agent.executor import Executor, SwapFailedError
from agent.instance import Instance
from agent.journal import Work
from agent.ledger import Ledger
from agent.observe import Observer
from agent.pruner import Pruner
from agent.watcher import Watcher
from protocol.messages import Result, Step


class Activation:
    """Brings one instance's swaps to their ends."""

    def __init__(
        self,
        instance: Instance,
        ledger: Ledger,
        observer: Observer,
        pruner: Pruner,
        watcher: Watcher,
    ) -> None:
        self._ledger = ledger
        self._observer = observer
        self._pruner = pruner
        self._watcher = watcher
        self._executor = Executor(instance, ledger.keep_work, ledger.commit)

    async def forward(self, work: Work, first: Step, time_left: float) -> None:
        """Do `first` and all that follow within `time_left` seconds; put back if that fails."""
        try:
            await self._executor.forward(work, first, time_left)
        except SwapFailedError as failed:
            await self.put_back(failed.work)
            return
        await self._observer.look()
        self._ledger.deliver()
        self._watcher.begin()
        await self._pruner.tidy()

    async def put_back(self, work: Work) -> None:
        """Undo what was done of `work`, and end it as failed."""
        in_trouble = bool(self._ledger.record.trouble)
        trouble = await self._executor.put_back(work, in_trouble=in_trouble)
        await self._observer.look()
        if trouble:
            message = f"{work.failure}; putting back failed, too: {trouble}"
            self.end_in_trouble(work, message)
            return
        self._ledger.remember(replace(self._ledger.record, trouble=""))
        back = f"{work.old.version} was put back" if work.old else "left stopped and clean"
        self._ledger.end(
            work, Result.FAILED, f"{work.failure}; {back}", passing=work.passing, put_back=True
        )
        await self._pruner.tidy(spare=work if work.passing and work.old else None)

    def end_in_trouble(self, work: Work, message: str) -> None:
        """End `work` with the instance in `error`; both releases stay on the disk."""
        self._ledger.remember(replace(self._ledger.record, trouble=message))
        self._ledger.end(work, Result.FAILED, message)
