"""What must hold after each step of any rollout, counted anew from the assignments and the hosts.

None of the product's own decisions are asked here, but for the sizes and the windows, which have
tests of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from coordinator.core.happenings import Send, TakeBack
from coordinator.core.rollout import Step
from coordinator.core.task import Assignment, Moment, Task
from coordinator.core.waits import part_waits_for, under_way, waits_for
from coordinator.core.waves import sizes
from coordinator.core.why import why
from coordinator.core.windows import opens_at
from protocol.messages import Activate, Cancel, Prepare
from protocol.states import TASK, Phase
from protocol.strategy import Strategy
from tests.parts.imagined_hosts import FELL_SICK, Host
from tests.parts.rollouts import at

BUSY = (Phase.WAITING, Phase.PREPARING, Phase.ACTIVATING)


class Rules:
    """The rules for one task."""

    def __init__(
        self, task: Task, hosts: Mapping[str, Host], *, one_by_one: bool, silent: bool
    ) -> None:
        self._hosts = hosts
        self._strategy = task.strategy or Strategy()
        self._sizes = sizes(self._strategy, len(task.assignments))
        self._one_by_one = one_by_one
        self._silent = silent
        self._told_to_prepare: set[str] = set()
        self._told_to_switch: set[str] = set()
        self._last_end: dict[int, float] = {}
        self.heard_by = 0.0
        """By when agents have come back after the last restart in the middle of a bake."""

    def after_step(self, before: Task, done: Step, now: Moment) -> None:
        """Check what the step has led to."""
        task = done.task
        self._counts_add_up(before, task)
        self._no_more_than_allowed_are_at_work(task)
        self._limits_stop_at_the_exact_count(before, task)
        for part in done.ended:
            if not before.assignments[part.instance_id].phase.ended:
                self._last_end[part.batch] = now.steady
        self._commands_are_allowed(done, now)
        self._regressions_count_where_they_may(before, done)
        if task.passed > before.passed and self._strategy.bake:
            self._it_has_baked(before, now)
        if not self._silent:
            self._nothing_waits_in_silence(task, now)

    # ---- after each step -----------------------------------------------------

    def _counts_add_up(self, before: Task, task: Task) -> None:
        told = task.progress
        assert told.total == told.completed + told.failed + told.pending + told.cancelled
        assert task.state in (before.state, *TASK[before.state])

    def _no_more_than_allowed_are_at_work(self, task: Task) -> None:
        at_work = 0
        for part in task.assignments.values():
            waits = part.phase is Phase.PREPARED and not part.let_go
            between = part.phase is Phase.RETRYING and part.retry_at is not None
            held = waits and self._strategy.prepare == "each"
            at_work += (
                part.phase in BUSY
                or between
                or held
                or (part.phase is Phase.PREPARED and part.let_go)
            )
        assert at_work <= self._sizes.parallel

    def _limits_stop_at_the_exact_count(self, before: Task, task: Task) -> None:
        if task.cancelled_at is not None:
            assert task.stopped == before.stopped, "what was cancelled ends by that"
            return
        for limit, unreachable in ((self._sizes.failures, False), (self._sizes.unreachable, True)):
            if limit is None or before.state.ended:
                continue
            failed = _failed(task, unreachable=unreachable)
            assert task.stopped or failed <= limit
            if self._one_by_one and not before.stopped:
                assert failed <= limit + 1
        if task.stopped and not before.stopped:
            self._it_had_to_stop(task)

    def _it_had_to_stop(self, task: Task) -> None:
        size = self._sizes
        ours, away = (_failed(task, unreachable=one) for one in (False, True))
        over = size.failures is not None and ours > size.failures
        over |= size.unreachable is not None and away > size.unreachable
        unlimited = ours * (size.failures is None) + away * (size.unreachable is None)
        assert over or (unlimited and (size.canary or self._strategy.prepare == "all"))
        assert not any(
            part.phase in (Phase.QUEUED, Phase.WAITING, Phase.PREPARING, Phase.PREPARED)
            for part in task.assignments.values()
        )

    def _commands_are_allowed(self, done: Step, now: Moment) -> None:
        task = done.task
        last = {one.instance_id: one.command for one in done.effects if isinstance(one, Send)}
        begin, switch = set(), set()
        for name, command in last.items():
            part = task.assignments[name]
            if part.phase.ended:
                assert isinstance(command, Cancel) or name in self._told_to_prepare
            elif isinstance(command, Prepare) and name not in self._told_to_prepare:
                begin.add(name)
            elif isinstance(command, Activate) and name not in self._told_to_switch:
                assert part.let_go
                switch.add(name)
        self._told_to_prepare |= begin
        self._told_to_switch |= switch
        assert self._told_to_prepare >= switch
        if begin or switch:
            assert task.paused_at is None
            assert not task.stopped
            assert task.cancelled_at is None
        together = self._strategy.prepare == "all"
        if begin or (switch and together):
            assert opens_at(self._strategy, now.wall) is None
        if switch and together:
            self._all_hold_the_release(task)
        for batch in {task.assignments[name].batch for name in (switch if together else begin)}:
            self._has_its_turn(task, batch, now)

    def _all_hold_the_release(self, task: Task) -> None:
        for part in task.assignments.values():
            if not part.phase.ended:
                assert part.let_go or part.phase is Phase.PREPARED
                assert self._hosts[part.instance_id].has_prepared

    def _has_its_turn(self, task: Task, batch: int, now: Moment) -> None:
        if batch == 0:
            return
        assert all(one.batch >= batch or one.phase.ended for one in task.assignments.values())
        assert now.steady >= self._last_end[batch - 1] + self._strategy.bake
        if self._strategy.promote == "manual" and self._sizes.canary:
            assert task.promoted_by

    def _regressions_count_where_they_may(self, before: Task, done: Step) -> None:
        """While the task runs always, and after its end within the guard; that alone takes back."""
        for part in done.changed:
            if part.regressed and not before.assignments[part.instance_id].regressed:
                after, guard = self._hosts[part.instance_id].fell_after, self._strategy.guard
                within = guard > 0 and after is not None and after <= guard
                assert part.guarded is within
                assert within or not before.state.ended

    def _it_has_baked(self, before: Task, now: Moment) -> None:
        """All that has switched was watched to the end, and could be heard of."""
        assert before.bake_until is not None
        assert now.steady >= self.heard_by
        end = before.bake_until - at(0).steady
        for part in before.assignments.values():
            host = self._hosts[part.instance_id]
            is_there = not (host.luck.old or host.luck.away or host.luck.vanishes)
            if part.batch == before.passed and part.phase is Phase.COMPLETED and part.let_go:
                assert host.watched_until is not None or not is_there
                assert (host.watched_until or end) >= end - 0.001 or not is_there

    def _nothing_waits_in_silence(self, task: Task, now: Moment) -> None:
        rollout = waits_for(task, now)
        for part in task.assignments.values():
            waits = part_waits_for(task, part, now, rollout, away=False)
            if part.phase.ended:
                assert waits is None
                continue
            assert waits is not None
            assert waits.text
            assert waits.since <= now.wall
            at_work = part.phase in (Phase.PREPARING, Phase.ACTIVATING)
            assert at_work == (waits.what == "")
            assert why(task, part, now, rollout, away=False)
        told = rollout or under_way(task, now, {})
        assert (told is None) == task.state.ended
        assert told is None or (told.text and task.created_at <= told.since <= now.wall)

    # ---- in the end ----------------------------------------------------------

    def in_the_end(self, task: Task, sent_back: Sequence[TakeBack]) -> None:
        """All has been told: what is known is what is on the hosts, and who goes back is known."""
        back = Counter(name for one in sent_back for name in one.instances)
        assert all(count == 1 for count in back.values()), "nobody goes back twice"
        for name, host in self._hosts.items():
            part = task.assignments[name]
            if host.fell:
                assert part.regressed or FELL_SICK in part.reason
            if host.runs_new:
                assert part.phase is Phase.COMPLETED or part.regressed
            goes = self._goes_back(task, part, host)
            assert (name in back) == (goes and part.ran is not None), (name, part)
            assert not goes or part.ran is not None or "not taken back" in part.reason

    def _goes_back(self, task: Task, part: Assignment, host: Host) -> bool:
        if task.stopped and self._strategy.on_failure == "rollback":
            return host.runs_new
        return part.guarded


def _failed(task: Task, *, unreachable: bool) -> int:
    return sum(
        part.phase is Phase.FAILED and part.unreachable is unreachable
        for part in task.assignments.values()
    )
