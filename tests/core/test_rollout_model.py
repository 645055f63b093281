"""The pure rollout against two agents in a model: every order of what may happen.

The agents are a few lines each: they take, prepare, switch, forget and report, over a
network that loses, repeats and reorders. Between any two steps the task may be cancelled,
agents come back, and time passes. The rules hold after every step; in the end, time alone
must bring every task to its end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from coordinator.core.commands import PUT_BACK_GRACE
from coordinator.core.happenings import Begin, CancelAsked, Connected, Event, Said, Send, Tick
from coordinator.core.rollout import step, wakes
from coordinator.core.task import Moment, Task
from protocol.messages import (
    Activate,
    Cancel,
    Command,
    Ended,
    Prepare,
    Prepared,
    Regressed,
    Result,
    Taken,
    WorkInHand,
)
from protocol.messages import Step as AgentStep
from protocol.states import TASK, Phase, Receipt, TaskState
from tests.parts.rollouts import DIGEST, START, task

NAMES = ("a", "b")

Report = tuple[int, Taken | Prepared | Ended | Regressed]


@dataclass
class Agent:
    """What the real one promises: one attempt at a time, none older than the last."""

    attempt: int = 0
    step: AgentStep | None = None
    ended: dict[int, Ended] = field(default_factory=dict)
    switched: list[int] = field(default_factory=list)
    regressed: set[int] = field(default_factory=set)

    def hear(self, command: Command) -> list[Report]:
        number = command.attempt
        if self.ended and number <= max(self.ended):
            return [(max(self.ended), self.ended[max(self.ended)])]
        match command:
            case Prepare() if number > self.attempt or self.step is None:
                self.attempt, self.step = number, AgentStep.PREPARE
                return [(number, Taken())]
            case Activate() if number == self.attempt and self.step is AgentStep.PREPARED:
                self.step = AgentStep.STOP
                self.switched.append(number)
            case Activate() if number != self.attempt or self.step is None:
                return self.end(number, Result.FAILED, passing=False)
            case Cancel() if number >= self.attempt and self.step in BEFORE_THE_SWITCH:
                return self.end(self.attempt, Result.CANCELLED, passing=False)
        return []

    def end(self, number: int, result: Result, *, passing: bool) -> list[Report]:
        reached = self.step or AgentStep.PREPARE
        self.step = None
        self.ended[number] = Ended(
            result=result, step=reached, message="so it ended", passing=passing, digest=DIGEST
        )
        return [(number, self.ended[number])]

    def in_hand(self, name: str) -> WorkInHand | None:
        if self.step is None:
            return None
        return WorkInHand(
            task_id="deploy-1", instance_id=name, attempt=self.attempt, step=self.step
        )


BEFORE_THE_SWITCH = (AgentStep.PREPARE, AgentStep.PREPARED)
names = st.sampled_from(NAMES)
places = st.integers(0, 5)
"""Which of the frames that are under way: taken out of order, or left there as a repeat."""


class Rollout(RuleBasedStateMachine):
    """One deployment to two instances."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.agents = {name: Agent() for name in NAMES}
        self.commands: list[Command] = []
        self.reports: list[tuple[str, Report]] = []
        self.unacknowledged: list[tuple[str, Report]] = []

    @initialize(timeout=st.sampled_from([5, 60]), retries=st.integers(0, 2))
    def begin(self, timeout: int, retries: int) -> None:
        self.task = task(*NAMES, timeout=timeout, retry_count=retries)
        self.apply(Begin())

    # ---- what happens ------------------------------------------------------

    @rule(place=places, stays=st.booleans())
    def a_command_arrives(self, place: int, stays: bool) -> None:
        if self.commands:
            command = _taken(self.commands, place, stays)
            name = command.instance_id
            self.tell(name, self.agents[name].hear(command))

    @rule(place=places, stays=st.booleans())
    def a_report_arrives(self, place: int, stays: bool) -> None:
        if self.reports:
            name, report = _taken(self.reports, place, stays)
            self.heard(name, report)

    @rule(place=places)
    def a_frame_is_lost(self, place: int) -> None:
        some: list[Any] = self.commands if place % 2 else self.reports
        if some:
            _taken(some, place, stays=False)

    @rule(name=names)
    def an_agent_has_prepared(self, name: str) -> None:
        agent = self.agents[name]
        if agent.step is AgentStep.PREPARE:
            agent.step = AgentStep.PREPARED
            self.tell(name, [(agent.attempt, Prepared(digest=DIGEST))])

    @rule(
        name=names,
        result=st.sampled_from([Result.SUCCEEDED, Result.FAILED]),
        again=st.booleans(),
    )
    def an_attempt_ends(self, name: str, result: Result, again: bool) -> None:
        agent = self.agents[name]
        early = agent.step is AgentStep.PREPARE and result is Result.FAILED
        if agent.step is AgentStep.STOP or early:
            self.tell(name, agent.end(agent.attempt, result, passing=again))

    @rule(name=names)
    def a_switched_service_regresses(self, name: str) -> None:
        """While its host watches it; once an attempt."""
        agent = self.agents[name]
        last = max(agent.ended, default=0)
        well = last and agent.ended[last].result is Result.SUCCEEDED
        if well and agent.step is None and last not in agent.regressed:
            agent.regressed.add(last)
            self.tell(name, [(last, Regressed(message="so it fell back", digest=DIGEST))])

    @rule(name=names)
    def an_agent_crashes(self, name: str) -> None:
        if self.agents[name].step is AgentStep.PREPARE:
            self.agents[name].step = None

    @rule(name=names)
    def an_agent_comes_back(self, name: str) -> None:
        """A new connection: what was under way is gone, and what is not saved is told again."""
        self.commands = [one for one in self.commands if one.instance_id != name]
        self.reports = [one for one in self.reports if one[0] != name]
        for told in [one for one in self.unacknowledged if one[0] == name]:
            self.heard(*told)
        self.apply(Connected(name, self.agents[name].in_hand(name)))

    @rule(connected=st.sets(names))
    def it_is_cancelled(self, connected: set[str]) -> None:
        if not self.task.state.ended:
            self.apply(CancelAsked(frozenset(connected)))

    @rule(seconds=st.sampled_from([0.5, 2.0, 10.0]), connected=st.sets(names))
    def time_passes(self, seconds: float, connected: set[str]) -> None:
        self.now += seconds
        self.apply(*(Tick(name, name in connected) for name in NAMES))

    # ---- what holds --------------------------------------------------------

    @invariant()
    def no_attempt_is_applied_twice_and_none_after_a_later_one(self) -> None:
        for agent in self.agents.values():
            assert agent.switched == sorted(set(agent.switched))

    @invariant()
    def an_ended_part_says_what_its_host_did(self) -> None:
        for name, part in self.task.assignments.items():
            agent = self.agents[name]
            ended = agent.ended.get(part.attempt)
            if part.phase is Phase.COMPLETED:
                assert ended is not None
                assert ended.result is Result.SUCCEEDED
            if part.regressed:
                assert part.phase is Phase.FAILED
                assert part.attempt in agent.regressed
            if part.receipt in (Receipt.NEVER_STARTED, Receipt.STOPPED_BEFORE_SWITCH):
                between_attempts = ended is not None and part.error == ended.message
                assert part.attempt not in agent.switched or between_attempts

    def teardown(self) -> None:
        """Everybody comes back, and then time alone must end it."""
        for name in NAMES:
            self.an_agent_comes_back(name)
        for wake in [*wakes(self.task)]:
            self.now = max(self.now, wake.at)
            self.apply(*(Tick(name, connected=False) for name in NAMES))
        self.now += self.task.timeout + PUT_BACK_GRACE
        self.apply(*(Tick(name, connected=True) for name in NAMES))
        assert self.task.state.ended
        assert not [*wakes(self.task)]

    # ---- inside ------------------------------------------------------------

    def tell(self, name: str, reports: list[Report]) -> None:
        told = [(name, report) for report in reports]
        self.reports += told
        self.unacknowledged += told

    def heard(self, name: str, report: Report) -> None:
        attempt, what = report
        self.apply(Said(name, attempt, what))
        if (name, report) in self.unacknowledged:
            self.unacknowledged.remove((name, report))

    def apply(self, *events: Event) -> None:
        before = self.task
        done = step(before, events, Moment(self.now, START + timedelta(seconds=self.now)))
        self.task = done.task
        self.commands += [one.command for one in done.effects if isinstance(one, Send)]
        self._check(before)

    def _check(self, before: Task) -> None:
        told, parts = self.task.progress, self.task.assignments.values()
        counted = [part.phase.state for part in parts]
        assert told.total == len(NAMES)
        assert told.total == told.completed + told.failed + told.pending + told.cancelled
        assert told.completed == counted.count(TaskState.COMPLETED)
        assert told.failed == counted.count(TaskState.FAILED)
        assert told.cancelled == counted.count(TaskState.CANCELLED)
        assert self.task.state in (before.state, *TASK[before.state])
        for part in parts:
            was = before.assignments[part.instance_id]
            assert part.attempt >= was.attempt
            assert part.attempt <= self.task.retry_count + 1
            assert part.phase.ended or not was.phase.ended
            assert part.regressed or not was.regressed


def _taken(some: list[Any], place: int, stays: bool) -> Any:
    return some[place % len(some)] if stays else some.pop(place % len(some))


def try_rollouts(examples: int, *, fixed: bool) -> int:
    """Run so many traces, and return how many ran."""
    begun: list[None] = []

    class Counted(Rollout):
        def __init__(self) -> None:
            super().__init__()
            begun.append(None)

    run_state_machine_as_test(
        Counted,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            derandomize=fixed,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    return len(begun)


def test_no_order_of_events_breaks_a_rule() -> None:
    assert try_rollouts(150, fixed=True) >= 150
