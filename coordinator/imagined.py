"""Imagined hosts, which answer what a rollout tells them, in their time, or fail to.

Everything random is drawn for each host beforehand, from the seed alone: the same seed imagines
the same hosts, whatever they are then told. Nothing here does I/O or reads a clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from coordinator.core.happenings import Said
from protocol.messages import (
    Activate,
    Cancel,
    Command,
    Ended,
    Prepare,
    Prepared,
    Regressed,
    Result,
    Step,
)
from protocol.params import DEFAULT_RETRY_COUNT, DEFAULT_TIMEOUT

FROM_DISK = 1.0
"""Seconds in which a host has a release prepared that is on its disk."""

OLD, NEW = "old", "new"
"""The version that all run at first, and the one that is deployed."""

DIGEST = "0" * 64


@dataclass(frozen=True, slots=True)
class Imagined:
    """The fleet, and how it behaves. Rates are shares from 0 to 1, of all instances."""

    instances: int
    fail: float = 0.0
    """Whose switch fails, at each attempt."""
    prepare_fail: float = 0.0
    """Who can't prepare, at each attempt."""
    unreachable: float = 0.0
    """Whose agent is away all the time."""
    regress: float = 0.0
    """Whose service is healthy at first, and then no more."""
    prepare_seconds: float = 20.0
    """On average; a host takes from half to one and a half times that, always the same."""
    switch_seconds: float = 5.0
    """The same."""
    regress_seconds: float = 30.0
    """On average from the switch to the regression; up to twice that."""
    promote_seconds: float = 60.0
    """So long after the canary has passed, somebody promotes it."""
    timeout: int = DEFAULT_TIMEOUT
    retry_count: int = DEFAULT_RETRY_COUNT
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Regression:
    """A service will fall back, unless something else is switched to before."""

    instance_id: str
    attempt: int
    switched: int
    after: float
    """Seconds from the switch."""
    at: float
    """When that is."""


Answer = Said | Regression


@dataclass(slots=True)
class Host:
    """One host with its only instance."""

    away: bool
    prepare_fails: bool
    switch_fails: bool
    regresses_after: float | None
    pace: float
    """How long it takes, in shares of the average."""
    runs: str = OLD
    unwell: bool = False
    given_up: set[tuple[str, int]] = field(default_factory=set)
    """Attempts of tasks that it was told to give up before it began to switch."""
    let_go: set[tuple[str, int]] = field(default_factory=set)
    """Attempts of tasks whose switch has begun: they end by themselves."""
    switched: int = 0
    """How often it switched: whoever watches an earlier one watches no more."""
    watched_until: float = 0.0
    lapsed: bool = False
    """Whether a watch of the last switch had ended before another one began."""


class Hosts:
    """All of them, by the names of their instances."""

    def __init__(self, imagined: Imagined) -> None:
        self._imagined = imagined
        self._hosts = dict(_draw(imagined))

    @property
    def names(self) -> list[str]:
        """The names of all instances."""
        return list(self._hosts)

    def connected(self, instance_id: str) -> bool:
        """Whether the instance's agent is there."""
        return not self._hosts[instance_id].away

    def hear(
        self, task_id: str, command: Command, now: float, *, goes_back: bool
    ) -> Iterator[tuple[float, Answer]]:
        """What comes of a command, and after how many seconds. Going back never fails."""
        host, name = self._hosts[command.instance_id], command.instance_id
        if host.away:
            return
        match command:
            case Cancel(attempt=attempt):
                if (task_id, attempt) not in host.let_go:
                    host.given_up.add((task_id, attempt))
            case Prepare(attempt=attempt) if goes_back:
                yield FROM_DISK, Said(name, attempt, Prepared(digest=command.digest or DIGEST))
            case Prepare(attempt=attempt):
                fails = _failed(Step.PREPARE, "the package can't be fetched")
                what = fails if host.prepare_fails else Prepared(digest=DIGEST)
                yield self._imagined.prepare_seconds * host.pace, Said(name, attempt, what)
            case Activate(renews=True):
                host.lapsed |= host.watched_until < now
                host.watched_until = max(host.watched_until, now + command.watch)
            case Activate(attempt=attempt):
                host.let_go.add((task_id, attempt))
                seconds = self._imagined.switch_seconds * host.pace
                if host.switch_fails and not goes_back:
                    fails = _failed(Step.CHECK, "the service did not become healthy")
                    yield seconds, Said(name, attempt, fails)
                    return
                host.switched += 1
                host.runs, host.unwell = OLD if goes_back else NEW, False
                host.watched_until, host.lapsed = now + seconds + command.watch, False
                well = Ended(result=Result.SUCCEEDED, step=Step.COMMIT, digest=DIGEST)
                yield seconds, Said(name, attempt, well)
                if host.regresses_after is not None and not goes_back:
                    after = seconds + host.regresses_after
                    yield (
                        after,
                        Regression(
                            name, attempt, host.switched, host.regresses_after, at=now + after
                        ),
                    )

    def told(self, task_id: str, answer: Answer) -> Said | None:
        """What the coordinator hears when it has come to an answer; None if it hears nothing."""
        host = self._hosts[answer.instance_id]
        if isinstance(answer, Said):
            return None if (task_id, answer.attempt) in host.given_up else answer
        if host.switched != answer.switched:
            return None
        host.unwell = True
        if host.watched_until < answer.at:
            return None
        message, after = "the service is healthy no more", None if host.lapsed else answer.after
        regressed = Regressed(message=message, digest=DIGEST, after=after)
        return Said(answer.instance_id, answer.attempt, regressed)

    def run_new(self) -> int:
        """How many run the new version."""
        return sum(host.runs == NEW for host in self._hosts.values())

    def unwell(self) -> int:
        """How many of them run a service that is healthy no more."""
        return sum(host.unwell for host in self._hosts.values())


def _draw(imagined: Imagined) -> Iterator[tuple[str, Host]]:
    draw = Random(imagined.seed)  # noqa: S311 - an imagined fleet is no secret
    for number in range(1, imagined.instances + 1):
        away, prepare, switch, regress = (draw.random() for _ in range(4))
        pace, after = 0.5 + draw.random(), 2 * imagined.regress_seconds * draw.random()
        host = Host(
            away=away < imagined.unreachable,
            prepare_fails=prepare < imagined.prepare_fail,
            switch_fails=switch < imagined.fail,
            regresses_after=after if regress < imagined.regress else None,
            pace=pace,
        )
        yield f"instance-{number}", host


def _failed(reached: Step, message: str) -> Ended:
    return Ended(result=Result.FAILED, step=reached, message=message, passing=True)
