"""The stable window: when a service that was just started counts as healthy.

It must become healthy within `timeout` seconds, then stay healthy and not restart for
`stable` seconds. One sample proves nothing: a crash loop looks alive most of the time
(field note 26). Pure: looks and probes go in with their time, a verdict comes out; nothing
here sleeps or asks.

| what is seen | healthy not yet | within the stable window |
| --- | --- | --- |
| it does not run, or was started anew | failed | failed |
| a probe fails | wait, until `timeout` | failed |
| a probe succeeds | the window begins | at its end: passed |
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


class Verdict(Enum):
    """What is known so far."""

    WAITING = "waiting"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Window:
    """One wait for health; times are monotonic seconds."""

    started_at: float
    timeout: float
    stable: float
    generation: str = ""
    healthy_at: float | None = None
    problem: str = ""
    """What the last probe said that failed and had time enough, if one had."""
    verdict: Verdict = Verdict.WAITING
    reason: str = ""
    """Why it failed, for people."""

    @property
    def due_at(self) -> float:
        """The time at which one more probe decides: the window's end, else the timeout."""
        if self.healthy_at is None:
            return self.started_at + self.timeout
        return self.healthy_at + self.stable

    def looked(self, *, running: bool, generation: str, detail: str) -> Window:
        """Take in one look at the service itself."""
        if not running:
            return self._failed(detail or "it exited with status 0 or was stopped")
        if self.generation and generation != self.generation:
            return self._failed(f"it restarted by itself{_after(detail)}")
        return replace(self, generation=generation)

    def probed(self, now: float, problem: str, *, hurried: bool = False) -> Window:
        """Take in one probe; `problem` is "" if the service was healthy at `now`.

        A `hurried` probe had so little time that it may have failed only for the lack of it:
        what the one before said is the better reason.
        """
        if not problem:
            begun = now if self.healthy_at is None else self.healthy_at
            passed = now - begun >= self.stable
            return replace(
                self, healthy_at=begun, verdict=Verdict.PASSED if passed else Verdict.WAITING
            )
        if self.healthy_at is not None:
            lasted = now - self.healthy_at
            return self._failed(f"{problem}, {lasted:.1f} s after it had become healthy")
        told = (hurried and self.problem) or problem
        if now - self.started_at >= self.timeout:
            return self._failed(f"{told}; not healthy within {self.timeout:g} s")
        return replace(self, problem=told)

    def _failed(self, reason: str) -> Window:
        return replace(self, verdict=Verdict.FAILED, reason=reason)


def _after(detail: str) -> str:
    return f": {detail}" if detail else ""
