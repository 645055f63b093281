"""The pure rollout with any strategy on any fleet, in any order of events, and restarts.

What must hold is in `tests.parts.rules_of_rollouts`; the hosts are imagined, and keep what real
agents promise. `make test` runs a few hundred runs, the same each time; `make sweep` thousands.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import Phase as Trying
from hypothesis import strategies as st

from coordinator.core.task import Task
from protocol.strategy import Strategy, Window
from tests.parts.imagined_hosts import Attempt, Luck
from tests.parts.imagined_rollout import Imagined, Steering
from tests.parts.rollouts import START

TIMEOUT = 60
FOR_EVER = 10.0**7
percentages = st.sampled_from(["0%", "1%", "10%", "34%", "50%", "100%"])
sizes = st.one_of(st.integers(0, 6), percentages)
at_work = st.one_of(st.integers(1, 4), st.sampled_from(["1%", "10%", "34%", "100%"]))
windows = st.lists(
    st.builds(
        Window,
        begin=st.sampled_from(["00:00", "00:01", "12:00", "23:59"]),
        until=st.sampled_from(["00:02", "00:03", "13:00", "24:00"]),
    ),
    min_size=1,
    max_size=2,
)
strategies = st.builds(
    Strategy,
    max_parallel=st.none() | at_work,
    canary=st.just(0) | sizes,
    promote=st.sampled_from(["auto", "manual"]),
    bake=st.sampled_from([0, 0, 1, 30]),
    max_failures=st.none() | sizes,
    max_unreachable=st.none() | sizes,
    prepare=st.sampled_from(["each", "all"]),
    on_failure=st.sampled_from(["stop", "rollback"]),
    guard=st.sampled_from([0, 0, 5, 500]),
    spread=st.sampled_from([None, None, "zone", "nothing"]),
)
with_times = st.builds(
    lambda strategy, found, start: strategy.model_copy(
        update={"windows": found, "not_before": start}
    ),
    strategies,
    st.none() | st.none() | windows,
    st.sampled_from([None, None, START, START + timedelta(seconds=20), START + timedelta(days=1)]),
)

seeds = st.integers(0, 2**32)


LARGE = [
    Strategy(
        max_parallel="5%",
        canary="1%",
        bake=30,
        max_failures="90%",
        max_unreachable="50%",
        prepare="all",
        on_failure="rollback",
        guard=5,
    ),
    Strategy(max_parallel="10%", max_failures="10%", on_failure="rollback"),
    None,
]
"""What large fleets go through."""


class Draw:
    """Lucks and steering, drawn from one number: a large fleet costs no more than a small one."""

    def __init__(self, seed: int, count: int) -> None:
        self.random = Random(seed)
        self.names = [f"i{number}" for number in range(count)]
        self._bad = self.random.choice([0.02, 0.2, 0.6])
        self._vanish = self.random.choice([0.0, 0.0, 0.4])

    def metadata(self) -> dict[str, dict[str, str]]:
        """Some are in no zone."""
        zones = [{"zone": "a"}, {"zone": "a"}, {"zone": "b"}, {}]
        return {name: self.random.choice(zones) for name in self.names}

    def lucks(self, *, calm: bool = False) -> dict[str, Luck]:
        """`calm`: nothing that depends on when it happens."""
        return {name: self._luck(calm) for name in self.names}

    def _luck(self, calm: bool) -> Luck:
        draw = self.random
        vanishes = draw.random() < self._vanish and not calm
        if draw.random() > self._bad:
            return Luck((self._attempt(),), vanishes=vanishes)
        luck = Luck(tuple(self._attempt() for _ in range(3)), has_it=draw.random() < 0.1)
        if draw.random() < 0.2:
            return replace(luck, away=((0.0, FOR_EVER),))
        if calm:
            return luck
        begin = draw.uniform(0, draw.choice([10, 100]))
        away = ((begin, begin + draw.choice([1.0, 30.0, 500.0])),) * (draw.random() < 0.3)
        return replace(
            luck,
            away=away,
            old=draw.random() < 0.2,
            vanishes=vanishes,
            ran=draw.random() < 0.8,
            regresses=draw.choice([None, 0.0, 3.0, 40.0]),
        )

    def _attempt(self) -> Attempt:
        draw = self.random
        return Attempt(
            prepare=draw.choice([0.0, 1.0, 5.0, 20.0, 90.0 if self._bad > 0.5 else 2.0]),
            switch=draw.choice([0.0, 1.0, 5.0, 20.0, 90.0 if self._bad > 0.5 else 2.0]),
            fails=draw.choice(["prepare", "switch"]) if draw.random() < self._bad else "",
            passing=draw.random() < 0.5,
        )

    def steering(self, restarts: float = 0.2) -> Steering:
        """What else happens."""
        draw = self.random
        return Steering(
            pauses=self.pauses() if draw.random() < 0.4 else (),
            cancelled=draw.uniform(0, 60) if draw.random() < 0.1 else None,
            forgets=tuple(
                (draw.uniform(0, 60), draw.choice(self.names))
                for _ in range(draw.choice([0, 0, len(self.names)]))
            ),
            restarts=restarts if draw.random() < 0.7 else 0.0,
            together=draw.random() < 0.3,
        )

    def pauses(self) -> tuple[tuple[float, float], ...]:
        """One or two, that do not overlap."""
        first, seconds = self.random.uniform(0, 40), self.random.choice([1.0, 30.0, 5000.0])
        second = first + seconds + self.random.uniform(0.5, 40)
        return ((first, seconds), (second, 100.0))[: self.random.choice([1, 2])]


def run_one(strategy: Strategy | None, seed: int, count: int) -> Task:
    """One run, with everything in it."""
    draw = Draw(seed, count)
    return Imagined(
        strategy,
        draw.lucks(),
        draw.steering(),
        order=draw.random,
        timeout=TIMEOUT,
        retry_count=draw.random.choice([0, 1, 2]),
        metadata=draw.metadata(),
    ).run()


def run_large(
    strategy: Strategy | None, seed: int, count: int, *, together: bool = True
) -> Imagined:
    """One run of a large fleet; `together`: all that happens at one time is one step."""
    draw = Draw(seed, count)
    steering = replace(draw.steering(restarts=0.002), together=together, forgets=())
    imagined = Imagined(
        strategy,
        draw.lucks(),
        steering,
        order=draw.random,
        timeout=TIMEOUT,
        silent=True,
        metadata=draw.metadata(),
    )
    imagined.run()
    return imagined


def run_thrice(strategy: Strategy | None, seed: int, count: int) -> None:
    """The same with and without pauses, and with restarts in them: the same end of each instance.

    Unless a limit stops it: a stop comes in all or in none, but whom it still finds at work is a
    matter of time.
    """
    ends = []
    for paused, restarts in ((False, 0.0), (True, 0.0), (True, 0.2)):
        draw = Draw(seed, count)
        lucks, retries, pauses = draw.lucks(calm=True), draw.random.choice([0, 1, 2]), draw.pauses()
        steering = Steering(pauses=pauses if paused else (), restarts=restarts)
        order = draw.random if restarts else None
        imagined = Imagined(
            strategy, lucks, steering, order=order, timeout=TIMEOUT, retry_count=retries
        )
        ends.append(imagined.run())
    without, *others = ends
    for other in others:
        assert other.state is without.state
        assert bool(other.stopped) == bool(without.stopped)
        if not without.stopped:
            for name, part in without.assignments.items():
                same = other.assignments[name]
                assert (same.phase, same.attempt) == (part.phase, part.attempt)


def try_many(examples: int, *, fixed: bool, most: int = 12) -> int:
    """Run so many of each kind, and return how many ran in all.

    `fixed`: always the same ones; else others each time, but on CI, as its profile has it.
    """
    tried = 0
    how = settings(
        max_examples=examples,
        phases=[Trying.generate],
        derandomize=fixed or settings().derandomize,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )

    @how
    @given(st.none() | with_times, seeds, st.integers(1, most))
    def with_everything(strategy: Strategy | None, seed: int, count: int) -> None:
        nonlocal tried
        tried += 1
        run_one(strategy, seed, count)

    @how
    @given(st.none() | strategies, seeds, st.integers(1, most))
    def with_and_without_pauses(strategy: Strategy | None, seed: int, count: int) -> None:
        nonlocal tried
        tried += 1
        run_thrice(strategy, seed, count)

    with_everything()
    with_and_without_pauses()
    return tried


def test_no_order_of_events_breaks_a_rule_of_a_strategy() -> None:
    assert try_many(100, fixed=True) >= 200


@pytest.mark.parametrize("strategy", LARGE)
def test_a_large_fleet_keeps_the_same_rules(strategy: Strategy | None) -> None:
    assert run_large(strategy, 1, 500).steps > 10


def test_a_large_fleet_stops_at_the_exact_count() -> None:
    """Where everything is a step of its own the rules know who was one too many."""
    done = run_large(LARGE[1], 1, 300, together=False)
    assert done.task.stopped.startswith("31 failed, more than max_failures allows")
