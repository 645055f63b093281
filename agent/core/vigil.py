"""The watch after the commit: what adds up to a regression of a service that was healthy.

A single probe that fails may be a hiccup of the network or of the host; a service that ended
or was started anew is none. Pure: looks and probes go in with their time, a verdict comes
out; nothing here sleeps or asks.

| what is seen | it was healthy here | it is still starting after a boot |
| --- | --- | --- |
| it does not run | regressed | wait, until `settle_by` |
| it was started anew | regressed | look at that one |
| a probe fails | regressed at `MOST_FAILED` in a row, and at two in `LONGEST_FAILING` s | wait |
| a probe succeeds | nothing failed any more; at the end: passed | it is healthy here from now on |

A probe that fails at the end of the time leaves it open: the next ones decide.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from agent.core.window import Verdict

MOST_FAILED = 3
"""So many failed probes in a row are no hiccup."""

LONGEST_FAILING = 30.0
"""Seconds; where probes are rare, two of them that failed are enough after this time."""


@dataclass(frozen=True, slots=True)
class Vigil:
    """One watch; times are monotonic seconds."""

    until: float
    generation: str = ""
    settle_by: float | None = None
    """Until when it may be starting, after a boot of the host; None: it has been healthy."""
    running: bool = True
    """Whether it ran at the last look: until then no probe counts."""
    failed: int = 0
    """Probes that failed since the last one that did not."""
    failing_since: float = 0.0
    """When the first of them did; once it has failed: when it first looked unwell."""
    verdict: Verdict = Verdict.WAITING
    reason: str = ""
    """Why it failed, for people."""

    def looked(self, now: float, *, running: bool, generation: str, detail: str) -> Vigil:
        """Take in one look at the service itself."""
        if not running:
            if self._starting(now):
                return replace(self, running=False)
            return self._failed(now, detail or "it exited with status 0 or was stopped")
        anew = self.generation not in ("", generation)
        if anew and not self._starting(now):
            return self._failed(now, f"it restarted: {detail}" if detail else "it restarted")
        return replace(self, generation=generation, running=True)

    def probed(self, now: float, problem: str) -> Vigil:
        """Take in one probe; `problem` is "" if the service was healthy at `now`."""
        if self._starting(now) and (problem or not self.running):
            return self
        if not problem:
            verdict = Verdict.PASSED if now >= self.until else Verdict.WAITING
            return replace(self, settle_by=None, failed=0, verdict=verdict)
        failed = self.failed + 1
        since = self.failing_since if self.failed else now
        if failed >= MOST_FAILED or (failed > 1 and now - since >= LONGEST_FAILING):
            return self._failed(now, f"{problem}; {failed} probes in a row failed")
        return replace(self, failed=failed, failing_since=since)

    def _starting(self, now: float) -> bool:
        return self.settle_by is not None and now < self.settle_by

    def _failed(self, now: float, reason: str) -> Vigil:
        since = self.failing_since if self.failed else now
        return replace(self, failing_since=since, verdict=Verdict.FAILED, reason=reason)
