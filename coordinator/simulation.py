"""A rollout on imagined hosts: the real core, driven through a queue of events in imagined time.

It is deterministic: the same strategy and the same imagined fleet always come to the same. An
imagined agent does not tell that it has taken a command, as that decides nothing. A task that
takes instances back is gone through, too. Nothing here does I/O or reads a clock.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil

from coordinator.core.decisions import at_work, waits_for_promotion
from coordinator.core.happenings import (
    Begin,
    Event,
    PromoteAsked,
    Said,
    Send,
    TakeBack,
    Tick,
    Wake,
)
from coordinator.core.returns import way_back
from coordinator.core.rollout import step
from coordinator.core.task import Assignment, Moment, Target, Task
from coordinator.core.waves import places, sizes
from coordinator.imagined import DIGEST, NEW, OLD, Hosts, Imagined, Regression
from protocol.states import Phase, TaskKind
from protocol.strategy import Strategy

TICKS = 10
"""In a second: what happens within the same tenth of a second is one step."""

DEPLOYMENT = "simulated"
"""The deployment's id; the tasks that take instances back have others."""


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What became of one batch. Seconds are counted from the beginning; None: it never was."""

    batch: int
    canary: bool
    instances: int
    completed: int
    failed: int
    cancelled: int
    began: float | None
    ended: float | None
    ends: Sequence[float]
    """When its instances ended, in order."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a strategy led to."""

    state: str
    stopped: str
    """Why the deployment stopped by itself; "" if it did not."""
    seconds: float
    """Until the last task had ended."""
    instances: int
    completed: int
    failed: int
    cancelled: int
    unreachable: int
    """Those of the failed ones whose agent was away."""
    taken_back: int
    """Instances that were brought back to what they had run."""
    runs_new: int
    """Instances that run the new version at the end."""
    unwell: int
    """Those of them whose service is healthy no more: nobody looked, or nothing took them back."""
    most_at_work: int
    """Of the deployment, at once."""
    steps: int
    """Of the core, for all tasks together."""
    batches: Sequence[BatchOutcome]
    way_back: BatchOutcome | None
    """All that was brought back, as if it were one batch; None if nothing was."""


def simulate(strategy: Strategy | None, imagined: Imagined, begin: datetime) -> Outcome:
    """Carry a deployment out on imagined hosts; `begin` (UTC) is when, for windows."""
    return _Simulation(strategy, imagined, begin).run()


@dataclass(slots=True)
class _Run:
    """One task on its way. Seconds by instance."""

    task: Task
    began: dict[str, float] = field(default_factory=dict)
    ended: dict[str, float] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    most_busy: int = 0

    def look(self, part: Assignment, now: float) -> None:
        """Note what has become of a part that changed."""
        name = part.instance_id
        if part.started_at is not None:
            self.began.setdefault(name, now)
        if part.phase.ended:
            self.ended.setdefault(name, now)
        if at_work(self.task, part):
            self.busy.add(name)
        else:
            self.busy.discard(name)


class _Simulation:
    def __init__(self, strategy: Strategy | None, imagined: Imagined, begin: datetime) -> None:
        self._imagined = imagined
        self._begin = begin
        self._hosts = Hosts(imagined)
        self._runs: dict[str, _Run] = {}
        self._queue: list[tuple[int, int, str, Event | Regression]] = []
        self._put_in = 0
        self._tick = 0
        self._last_change = 0
        self._promotes = False
        self._steps = 0
        self._start(self._deployment(strategy))

    def run(self) -> Outcome:
        """Go on until nothing is to come any more."""
        while self._queue:
            self._tick = self._queue[0][0]
            due: dict[str, list[Event]] = {}
            while self._queue and self._queue[0][0] == self._tick:
                _, _, task_id, happens = heapq.heappop(self._queue)
                if (event := self._real(task_id, happens)) is not None:
                    due.setdefault(task_id, []).append(event)
            for task_id, events in due.items():
                self._step(task_id, events)
        return self._outcome()

    # ---- time --------------------------------------------------------------

    @property
    def _now(self) -> Moment:
        seconds = self._tick / TICKS
        return Moment(seconds, self._begin + timedelta(seconds=seconds))

    def _put(self, at: float, task_id: str, happens: Event | Regression) -> None:
        """Let it happen at so many seconds, or at the next tick if that is past."""
        self._put_in += 1
        tick = max(ceil(at * TICKS - 1e-6), self._tick + 1)
        heapq.heappush(self._queue, (tick, self._put_in, task_id, happens))

    def _real(self, task_id: str, happens: Event | Regression) -> Event | None:
        """What really happens by now; None for what was given up, and for alarms nobody needs."""
        if isinstance(happens, Said | Regression):
            return self._hosts.told(task_id, happens)
        if isinstance(happens, Tick):
            task = self._runs[task_id].task
            part = task.assignments.get(happens.instance_id)
            if part.phase.ended if part else task.state.ended:
                return None
        return happens

    # ---- tasks -------------------------------------------------------------

    def _deployment(self, strategy: Strategy | None) -> Task:
        return Task(
            task_id=DEPLOYMENT,
            kind=TaskKind.DEPLOY,
            service="imagined",
            version=NEW,
            timeout=self._imagined.timeout,
            retry_count=self._imagined.retry_count,
            created_at=self._begin,
            updated_at=self._begin,
            assignments={
                place.instance_id: Assignment(
                    place.instance_id, batch=place.batch, turn=place.turn, ran=Target(OLD)
                )
                for place in places(strategy, self._hosts.names, {})
            },
            digest=DIGEST,
            strategy=strategy,
        )

    def _start(self, task: Task) -> None:
        self._runs[task.task_id] = _Run(task)
        self._step(task.task_id, [Begin()])

    def _step(self, task_id: str, events: Sequence[Event]) -> None:
        run, now = self._runs[task_id], self._now
        done = step(run.task, events, now)
        self._steps += 1
        run.task = done.task
        for part in done.changed:
            self._last_change = self._tick
            run.look(part, now.steady)
        run.most_busy = max(run.most_busy, len(run.busy))
        for effect in done.effects:
            match effect:
                case Wake(instance_id, at):
                    connected = not instance_id or self._hosts.connected(instance_id)
                    self._put(at, task_id, Tick(instance_id, connected))
                case Send(command=command):
                    for after, answer in self._hosts.hear(
                        task_id, command, now.steady, goes_back=task_id != DEPLOYMENT
                    ):
                        self._put(now.steady + after, task_id, answer)
                case TakeBack(instances, relation):
                    back_id = f"{task_id}-back-{len(self._runs)}"
                    self._start(way_back(run.task, instances, relation, back_id, now.wall))
        if not self._promotes and waits_for_promotion(run.task, now.steady):
            self._promotes = True
            at = now.steady + self._imagined.promote_seconds
            self._put(at, task_id, PromoteAsked("somebody"))

    # ---- the outcome -------------------------------------------------------

    def _outcome(self) -> Outcome:
        run, *backs = self._runs.values()
        task = run.task
        return Outcome(
            state=task.state.value,
            stopped=task.stopped,
            seconds=self._last_change / TICKS,
            instances=len(task.assignments),
            completed=task.progress.completed,
            failed=task.progress.failed,
            cancelled=task.progress.cancelled,
            unreachable=sum(part.unreachable for part in task.assignments.values()),
            taken_back=sum(back.task.progress.completed for back in backs),
            runs_new=self._hosts.run_new(),
            unwell=self._hosts.unwell(),
            most_at_work=run.most_busy,
            steps=self._steps,
            batches=_batches(run),
            way_back=_came_to(0, _parts(*backs)) if backs else None,
        )


def _parts(*runs: _Run) -> list[tuple[_Run, Assignment]]:
    return [(run, part) for run in runs for part in run.task.assignments.values()]


def _batches(run: _Run) -> list[BatchOutcome]:
    strategy, total = run.task.strategy, len(run.task.assignments)
    has_canary = strategy is not None and sizes(strategy, total).canary > 0
    members: dict[int, list[tuple[_Run, Assignment]]] = {}
    for one in _parts(run):
        members.setdefault(one[1].batch, []).append(one)
    return [
        _came_to(number, parts, canary=has_canary and number == 0)
        for number, parts in sorted(members.items())
    ]


def _came_to(
    batch: int, parts: Sequence[tuple[_Run, Assignment]], *, canary: bool = False
) -> BatchOutcome:
    phases = Counter(part.phase for _, part in parts)
    began = [run.began[part.instance_id] for run, part in parts if part.instance_id in run.began]
    ends = [run.ended[part.instance_id] for run, part in parts if part.instance_id in run.ended]
    return BatchOutcome(
        batch=batch,
        canary=canary,
        instances=len(parts),
        completed=phases[Phase.COMPLETED],
        failed=phases[Phase.FAILED],
        cancelled=phases[Phase.CANCELLED],
        began=min(began, default=None),
        ended=max(ends, default=None),
        ends=sorted(ends),
    )
