"""A task while one step works on it: moves by the table, and the effects that they have.

Every change of an assignment goes through the table in `protocol.states`; a pair that is
not in it changes nothing. Nothing here decides what an event calls for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from coordinator.core import commands
from coordinator.core.happenings import Effect, Send, TakeBack, Wake
from coordinator.core.task import Assignment, Moment, Relation, Task
from protocol.states import ASSIGNMENT, Happening, Phase, Receipt

_NOT_ENDED = [phase for phase in reversed(Phase) if not phase.ended]


def allowed(part: Assignment, happening: Happening) -> bool:
    """Whether the table has this happening in the part's phase."""
    return happening in ASSIGNMENT[part.phase]


class Draft:
    """Working copies of one task and its parts, at one moment."""

    def __init__(self, task: Task, now: Moment) -> None:
        self.before = task
        self.task = task
        self.parts = dict(task.assignments)
        self.now = now
        self.changed: dict[str, Assignment] = {}
        self.ended: dict[str, Assignment] = {}
        """By instance: the parts that ended or were corrected."""
        self.effects: list[Effect] = []
        self.everywhere = False
        """Whether all parts are to be looked at, not only those that changed."""
        self._by_phase: dict[Phase, list[Assignment]] | None = None

    def view(self) -> Task:
        """The task with its parts as they are now."""
        return replace(self.task, assignments=self.parts)

    def by_phase(self) -> Mapping[Phase, list[Assignment]]:
        """The parts as they are now, by phase: one pass over all of them after each change."""
        if self._by_phase is None:
            self._by_phase = {phase: [] for phase in Phase}
            for part in self.parts.values():
                self._by_phase[part.phase].append(part)
        return self._by_phase

    def not_ended(self) -> Iterator[Assignment]:
        """The parts that have not ended, those that were never begun last."""
        parts = self.by_phase()
        for phase in _NOT_ENDED:
            yield from parts[phase]

    def ended_now(self) -> bool:
        """Whether all parts have ended."""
        return not any(True for _ in self.not_ended())

    def finished(self) -> Task:
        """The task with all its parts, as it is to be saved; the same one if nothing changed."""
        if not self.changed and self.task is self.before:
            return self.task
        task = replace(
            self.task,
            assignments=self.parts,
            updated_at=self.now.wall,
            completed_at=None,
            revision=self.before.revision + 1,
        )
        if task.state.ended:
            ended = self.before.completed_at if self.before.state.ended else self.now.wall
            task = replace(task, completed_at=ended)
        return task

    def decide_digest(self, part: Assignment, digest: str) -> Assignment:
        """The first digest that is told is the task's, or the part's if it has its own target."""
        if self.task.target_of(part).digest:
            return part
        if part.target is not None:
            return self.put(replace(part, target=replace(part.target, digest=digest)))
        self.task = replace(self.task, digest=digest)
        return part

    # ---- moves -------------------------------------------------------------

    def move(self, part: Assignment, happening: Happening) -> Assignment:
        """Move `part` by the table, and keep it; a pair that is not in it leaves all as it was."""
        here = self.parts[part.instance_id].phase
        target = ASSIGNMENT[here].get(happening)
        if target is None:
            return self.parts[part.instance_id]
        part = replace(part, phase=target, since=self.now.wall)
        if target.ended:
            part = replace(part, completed_at=self.now.wall)
            self.ended[part.instance_id] = part
        return self.put(part)

    def put(self, part: Assignment) -> Assignment:
        """Keep `part` in the phase that it is in."""
        self.parts[part.instance_id] = part
        self.changed[part.instance_id] = part
        self._by_phase = None
        return part

    def correct(self, part: Assignment) -> None:
        """Keep what is truer of an ended part."""
        self.ended[part.instance_id] = self.put(part)

    def succeed(self, part: Assignment, reason: str) -> None:
        """End the part as completed."""
        part = _too_late(replace(part, reason=reason, error="", unreachable=False))
        self.move(part, Happening.SUCCEEDED)

    def fail(
        self, part: Assignment, message: str, happening: Happening = Happening.GAVE_UP
    ) -> None:
        """End the part as failed."""
        part = _too_late(replace(part, error=message, reason=message, retry_at=None))
        self.move(part, happening)

    def withdraw(self, part: Assignment, receipt: Receipt, reason: str) -> None:
        """End the part as cancelled."""
        self.move(replace(part, receipt=receipt, reason=reason, retry_at=None), Happening.WITHDRAWN)

    # ---- effects -----------------------------------------------------------

    def wake(self, part: Assignment | None, at: float | None) -> None:
        """Ask for a `Tick`, for the task itself without a part, at `at` steady seconds if known."""
        if at is not None:
            self.effects.append(Wake(part.instance_id if part else "", at))

    def take_back(self, instances: tuple[str, ...], relation: Relation) -> None:
        """Have these instances brought back to what they ran before."""
        if instances:
            self.effects.append(TakeBack(instances, relation))

    def send_prepare(self, part: Assignment) -> None:
        """Have the release brought to the instance."""
        command = commands.prepare(self.task, part, self.now)
        self.effects.append(Send(part.instance_id, command))

    def send_activate(self, part: Assignment) -> None:
        """Have the prepared release switched to."""
        command = commands.activate(self.task, part, self.now)
        self.effects.append(Send(part.instance_id, command))

    def send_watch(self, part: Assignment, seconds: float) -> None:
        """Have what the part has switched to watched, for so many seconds from now on at least."""
        self.effects.append(Send(part.instance_id, commands.watch(self.task, part, seconds)))

    def send_cancel(self, part: Assignment, attempt: int | None = None) -> None:
        """Have the part's attempt, or the one that is named, given up."""
        number = part.attempt if attempt is None else attempt
        command = commands.cancel(self.task, part.instance_id, number)
        self.effects.append(Send(part.instance_id, command))


def _too_late(part: Assignment) -> Assignment:
    """The receipt of a part that ended by itself although a cancellation had been asked for."""
    if part.cancel_asked or part.receipt is not None:
        return replace(part, receipt=Receipt.TOO_LATE)
    return part
