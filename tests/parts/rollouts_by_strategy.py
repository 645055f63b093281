"""A task with a strategy in the hands of the pure rollout, step by step.

Before each step the task goes through the store's rows, as if the coordinator had just been
restarted: nothing may rest on what is not saved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from coordinator.core.happenings import Begin, Connected, Event, Said, Send, TakeBack, Tick, Wake
from coordinator.core.rollout import Step, step
from coordinator.core.task import Assignment, Target, Task
from coordinator.core.waits import Waits, part_waits_for, under_way, waits_for
from coordinator.core.waves import places
from coordinator.core.why import why
from protocol.messages import Activate, Command, Ended, Prepare, Prepared, Regressed, Result, Taken
from protocol.messages import Step as AgentStep
from protocol.states import Phase
from protocol.strategy import Strategy
from tests.parts.rollouts import DIGEST, HEALTHY, at, failure, task
from tests.parts.saved import saved

OLD = Target("v1", "https://packages.example/v1.tar.gz", "c" * 64)
DISCARDED = Ended(
    result=Result.FAILED, step=AgentStep.PREPARED, message="the word did not come", passing=True
)


def named(count: int) -> list[str]:
    """So many instances."""
    return [f"i{number}" for number in range(count)]


def of(
    strategy: Strategy | None,
    names: Sequence[str],
    *,
    ran: Mapping[str, Target | None] | None = None,
    metadata: Mapping[str, Mapping[str, str]] | None = None,
    timeout: int = 300,
    retry_count: int = 0,
) -> Task:
    """A task that has not begun; its instances ran `OLD` before, but for those in `ran`."""
    parts = {
        place.instance_id: Assignment(
            place.instance_id,
            batch=place.batch,
            turn=place.turn,
            ran=(ran or {}).get(place.instance_id, OLD),
        )
        for place in places(strategy, names, metadata or {})
    }
    plain = task(*names, timeout=timeout, retry_count=retry_count)
    return replace(plain, strategy=strategy, assignments={name: parts[name] for name in names})


class Story:
    """What happens to one task, told in seconds since its beginning."""

    def __init__(self, begun: Task) -> None:
        self.task = begun
        self.seconds = 0.0
        self._switched: dict[str, float] = {}
        self.last: Step
        self.do(Begin())

    def do(self, *events: Event) -> Step:
        """One step with these events."""
        self.last = step(saved(self.task), events, at(self.seconds))
        self.task = self.last.task
        return self.last

    def after(self, seconds: float, *events: Event) -> Step:
        """One step, so many seconds later."""
        self.seconds += seconds
        return self.do(*events)

    # ---- what agents say -----------------------------------------------------

    def say(
        self, what: Taken | Prepared | Ended | Regressed, *names: str, apart: bool = False
    ) -> Step:
        """These agents report the same of their present attempts; `apart`: a step for each."""
        said = [Said(name, self.part(name).attempt, what) for name in names]
        if not apart:
            return self.do(*said)
        for one in said:
            self.do(one)
        return self.last

    def prepare(self, *names: str) -> Step:
        """These hold the release."""
        return self.say(Prepared(digest=DIGEST), *names)

    def succeed(self, *names: str) -> Step:
        """These have switched and are healthy."""
        for name in names:
            self._switched.setdefault(name, self.seconds)
        return self.say(HEALTHY, *names)

    def complete(self, *names: str) -> Step:
        """These go all the way."""
        self.prepare(*names)
        return self.succeed(*names)

    def fail(self, *names: str, apart: bool = False) -> Step:
        """These fail for good."""
        return self.say(failure(), *names, apart=apart)

    def regress(self, *names: str, known: bool = True) -> Step:
        """These were healthy, and are no more; `known`: for how long they were watched."""
        said = []
        for name in names:
            after = self.seconds - self._switched[name] if known else None
            fell = Regressed(message="it restarted", digest=DIGEST, after=after)
            said.append(Said(name, self.part(name).attempt, fell))
        return self.do(*said)

    def tick(self, *names: str, connected: bool = True) -> Step:
        """Time has passed for these; for the task itself if none is named."""
        return self.do(*(Tick(name, connected) for name in names or [""]))

    def back(self, name: str) -> Step:
        """The agent is back and has nothing in hand."""
        return self.do(Connected(name, None))

    # ---- what came of it -----------------------------------------------------

    def part(self, name: str) -> Assignment:
        """One assignment."""
        return self.task.assignments[name]

    def in_phase(self, *phases: Phase) -> list[str]:
        """The instances in one of these phases, in their order."""
        return [name for name, part in self.task.assignments.items() if part.phase in phases]

    def commands(self) -> list[Command]:
        """What the last step sent."""
        return [one.command for one in self.last.effects if isinstance(one, Send)]

    def told_to_prepare(self) -> list[str]:
        """Whom the last step told to prepare."""
        return [one.instance_id for one in self.commands() if isinstance(one, Prepare)]

    def told_to_switch(self) -> list[str]:
        """Whom the last step told to switch."""
        return [one.instance_id for one in self.commands() if isinstance(one, Activate)]

    def taken_back(self) -> list[tuple[str, tuple[str, ...]]]:
        """Why and whom the last step sent back."""
        effects = self.last.effects
        return [(one.relation, one.instances) for one in effects if isinstance(one, TakeBack)]

    def wakes(self, name: str = "") -> list[float]:
        """When the last step asked for a look, in seconds since the beginning."""
        effects = self.last.effects
        start = at(0).steady
        return [
            one.at - start for one in effects if isinstance(one, Wake) and one.instance_id == name
        ]

    def waits(self) -> Waits | None:
        """What the task waits for."""
        return waits_for(self.task, at(self.seconds))

    def goes_on(self, *away: str) -> Waits | None:
        """What is under way; these agents are silent, nobody knows since when."""
        return under_way(self.task, at(self.seconds), dict.fromkeys(away))

    def part_waits(self, name: str, *, away: bool = False) -> Waits | None:
        """What one instance waits for."""
        return part_waits_for(self.task, self.part(name), at(self.seconds), self.waits(), away=away)


def shown(story: Story, name: str) -> str:
    """The reason that is shown of one instance, whose agent is there."""
    return why(story.task, story.part(name), at(story.seconds), story.waits(), away=False)
