"""A task on imagined hosts, in imagined time, and everything that must hold after each step.

Whatever happens at one time happens in a drawn order. The coordinator may die before any event:
then the task comes from its rows, its timers from `wakes`, and agents connect again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from random import Random

from coordinator.core.happenings import (
    Begin,
    CancelAsked,
    Connected,
    Event,
    PauseAsked,
    PromoteAsked,
    ResumeAsked,
    Said,
    Send,
    TakeBack,
    Tick,
    Wake,
)
from coordinator.core.rollout import Step, restarted, step, wakes
from coordinator.core.task import Task
from coordinator.core.waits import waits_for
from protocol.messages import Command
from protocol.strategy import Strategy
from tests.parts.imagined_hosts import Host, Luck, Report
from tests.parts.rollouts import at
from tests.parts.rollouts_by_strategy import OLD, of
from tests.parts.rules_of_rollouts import Rules
from tests.parts.saved import saved

PATIENCE = 50.0
"""Seconds after which somebody promotes what waits for it."""


RETURNS = 15.0
"""Seconds after a restart by which all agents that are there have come back."""

LONG = 500.0
"""Seconds for which an agent that vanishes is silent."""


@dataclass(frozen=True)
class Steering:
    """What people and the coordinator's host do meanwhile: when, and what."""

    pauses: tuple[tuple[float, float], ...] = ()
    """When, and for how long."""
    cancelled: float | None = None
    forgets: tuple[tuple[float, str], ...] = ()
    """When the host of which instance loses its state."""
    restarts: float = 0.0
    """How likely a restart is before each event."""
    together: bool = False
    """Whether all that happens at one time is one step."""


class Imagined:
    """One run."""

    def __init__(
        self,
        strategy: Strategy | None,
        lucks: Mapping[str, Luck],
        steering: Steering = Steering(),
        *,
        order: Random | None = None,
        timeout: int = 60,
        retry_count: int = 1,
        silent: bool = False,
        metadata: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.now = 0.0
        self._order = order
        self._steering = steering
        self._queue: list[tuple[float, float, int, Callable[[], None]]] = []
        self._alarms: list[tuple[float, str]] = []
        self._inbox: list[Event] = []
        self._unsaved: dict[str, list[Report]] = {}
        self._count = 0
        self._restarted = -1.0
        self._given_up: float | None = None
        """When it stopped or was cancelled: what was under way then may still arrive."""
        self._under_way: dict[int, tuple[Host, Command]] = {}
        self.steps = 0
        self.sent_back: list[TakeBack] = []
        self.hosts = {
            name: Host(name, luck, lambda: self.now, self._later, self._told, self._vanish)
            for name, luck in lucks.items()
        }
        self._away = {name: list(luck.away) for name, luck in lucks.items()}
        ran = {name: OLD if luck.ran else None for name, luck in lucks.items()}
        self.task: Task = of(
            strategy,
            list(lucks),
            ran=ran,
            metadata=metadata,
            timeout=timeout,
            retry_count=retry_count,
        )
        self.rules = Rules(self.task, self.hosts, one_by_one=not steering.together, silent=silent)
        self._apply(Begin())
        self._plan()

    def run(self) -> Task:
        """Let everything happen, and see to it that nobody waits for a person for ever."""
        while self._next():
            pass
        assert self.task.state.ended, (self.task, waits_for(self.task, at(self.now)))
        assert not [*wakes(self.task)]
        self.rules.in_the_end(self.task, self.sent_back)
        return self.task

    # ---- what happens --------------------------------------------------------

    def _plan(self) -> None:
        for when, seconds in self._steering.pauses:
            self._later(when, partial(self._ask, PauseAsked()))
            self._later(when + seconds, partial(self._ask, ResumeAsked()))
        if self._steering.cancelled is not None:
            self._later(self._steering.cancelled, self._cancel)
        for when, name in self._steering.forgets:
            self._later(when, partial(self._forget, name))
        for name, times in self._away.items():
            for begin, end in times:
                self._later(begin, partial(self._ask, Tick(name, connected=False)))
                self._later(end, partial(self._back, name))

    def _next(self) -> bool:
        """Let happen what comes next; False if nothing does any more."""
        due = min((queue[0][0] for queue in (self._queue, self._alarms) if queue), default=None)
        if self._somebody_promotes(due):
            return True
        if due is None:
            return False
        self.now = max(self.now, due)
        while self._queue and self._queue[0][0] <= self.now:
            heappop(self._queue)[-1]()
            if not self._steering.together:
                break
        else:
            self._ring()
        self._deliver()
        return True

    def _ring(self) -> None:
        while self._alarms and self._alarms[0][0] <= self.now:
            _, name = heappop(self._alarms)
            self._inbox.append(Tick(name, not name or self._connected(name)))

    def _somebody_promotes(self, due: float | None) -> bool:
        """Whether a promotion was waited for long enough; it is given."""
        strategy = self.task.strategy
        if strategy is None or strategy.promote == "auto" or self.task.passed:
            return False
        now = at(self.now)
        waits = waits_for(self.task, now)
        if waits is None or waits.what != "promotion":
            return False
        idle = due is None or due > self.now + PATIENCE
        if not idle and (now.wall - waits.since).total_seconds() < PATIENCE:
            return False
        self._apply(PromoteAsked("somebody"))
        return True

    def _deliver(self) -> None:
        if self._order is not None and self._steering.together:
            self._inbox = _shuffled(self._inbox, self._order)
        if self._dies():
            self._restart()
        self._flush()

    def _flush(self) -> None:
        """Apply what has come in: in one step, or a step for each."""
        events, self._inbox = self._inbox, []
        for group in [events] if self._steering.together and events else [[e] for e in events]:
            self._apply(*group)

    def _dies(self) -> bool:
        """At most once at one time: each restart lets all agents tell again what is not saved."""
        if self._order is None or self._restarted == self.now:
            return False
        return self._order.random() < self._steering.restarts

    def _restart(self) -> None:
        """The coordinator dies and comes back.

        Commands that were under way have arrived, or are lost. Reports that were are told again,
        before what is in hand.
        """
        commands, self._under_way = self._under_way, {}
        for host, command in commands.values():
            arrived = self._order is not None and self._order.random() < 0.5
            if arrived and self._connected(host.name):
                host.hear(command)
        events, self._inbox = self._inbox, []
        for one in events:
            if isinstance(one, Said):
                self._unsaved.setdefault(one.instance_id, []).append((one.attempt, one.what))
            else:
                self._inbox.append(one)
        self._restarted = self.now
        heard_by = at(self.now + RETURNS).steady
        self.task = restarted(saved(self.task), heard_by)
        if self.task.bake_until is not None:
            self.rules.heard_by = heard_by
        self._alarms = []
        for wake in wakes(self.task):
            heappush(self._alarms, (self._seconds(wake.at), wake.instance_id))
        self._inbox += [event for name in self.hosts for event in self._told_when_back(name)]
        self._flush()

    def _back(self, name: str) -> None:
        """The agent is there again."""
        self._inbox += self._told_when_back(name)
        self._flush()

    def _told_when_back(self, name: str) -> list[Event]:
        """It tells what is not saved, and then what it has in hand."""
        if not self._connected(name):
            return []
        reports = [Said(name, *report) for report in self._unsaved.pop(name, [])]
        return [*reports, Connected(name, self.hosts[name].in_hand())]

    def _vanish(self, name: str) -> None:
        self._away[name].append((self.now, self.now + LONG))
        self._ask(Tick(name, connected=False))
        self._later(LONG, partial(self._back, name))

    def _forget(self, name: str) -> None:
        if self._connected(name):
            self.hosts[name].forget()
            self._back(name)

    def _cancel(self) -> None:
        connected = {name for name in self.hosts if self._connected(name)}
        self._ask(CancelAsked(connected))

    def _ask(self, event: Event) -> None:
        if not self.task.state.ended:
            self._inbox.append(event)

    def _told(self, name: str, report: Report) -> None:
        """A report is delivered if the agent is connected, and else when it is back."""
        if self._connected(name):
            self._inbox.append(Said(name, *report))
        else:
            self._unsaved.setdefault(name, []).append(report)

    # ---- inside --------------------------------------------------------------

    def _connected(self, name: str) -> bool:
        return not any(begin <= self.now < end for begin, end in self._away[name])

    def _later(self, seconds: float, do: Callable[[], None]) -> None:
        self._count += 1
        draw = self._order.random() if self._order is not None else 0.0
        heappush(self._queue, (self.now + seconds, draw, self._count, do))

    def _apply(self, *events: Event) -> None:
        before, self.steps = self.task, self.steps + 1
        # A restart makes every host return, and there may be one for each batch.
        assert self.steps < 20 * (len(self.hosts) + 10) ** 2, "it goes on for ever"
        done = step(before, events, at(self.now))
        self.task = done.task
        if self._given_up is None and (self.task.stopped or self.task.cancelled_at):
            self._given_up = self.now
        self.rules.after_step(before, done, at(self.now))
        self._carry_out(done)

    def _carry_out(self, done: Step) -> None:
        for effect in done.effects:
            match effect:
                case Send(name, command):
                    self._count += 1
                    self._under_way[self._count] = (self.hosts[name], command)
                    self._later(0.0, partial(self._arrives, self._count))
                case Wake(name, when):
                    heappush(self._alarms, (self._seconds(when), name))
                case TakeBack():
                    self.sent_back.append(effect)

    def _arrives(self, number: int) -> None:
        """The command comes to its host, if its agent is connected."""
        if number in self._under_way:
            host, command = self._under_way.pop(number)
            if self._connected(host.name):
                before = host.switched
                host.hear(command)
                given_up = self._given_up is not None and self._given_up < self.now
                assert host.switched == before or not given_up, "told not to switch, and did"

    def _seconds(self, steady: float) -> float:
        return max(self.now, steady - at(0).steady)


def _shuffled(events: list[Event], order: Random) -> list[Event]:
    """In any order, but that each agent's reports come in theirs."""
    own: dict[str, deque[Event]] = {}
    for event in events:
        own.setdefault(_whose(event), deque()).append(event)
    turns = [_whose(event) for event in events]
    order.shuffle(turns)
    return [own[name].popleft() for name in turns]


def _whose(event: Event) -> str:
    match event:
        case Said(name) | Connected(name) | Tick(name):
            return name
    return ""
