"""Rollouts on imagined hosts: what known rates lead to, and what holds whatever they are."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.core.longest import longest
from coordinator.core.waves import sizes
from coordinator.imagined import Imagined
from coordinator.simulation import TICKS, Outcome, simulate
from protocol.strategy import Strategy, Window

BEGIN = datetime(2026, 1, 5, 12, tzinfo=UTC)
"""A Monday."""


def after(strategy: Strategy | None, instances: int = 50, **behaviour: Any) -> Outcome:
    return simulate(strategy, Imagined(instances=instances, **behaviour), BEGIN)


def counted(outcome: Outcome) -> tuple[int, int, int]:
    return outcome.completed, outcome.failed, outcome.cancelled


# ---- known rates -----------------------------------------------------------


@pytest.mark.parametrize(
    "strategy",
    [
        None,
        Strategy(max_parallel="10%"),
        Strategy(canary=5, bake=60, max_parallel=10, promote="manual"),
        Strategy(prepare="all", max_parallel=10, max_failures=0, on_failure="rollback"),
    ],
)
def test_where_nothing_fails_everything_is_completed(strategy: Strategy | None) -> None:
    outcome = after(strategy)
    assert (outcome.state, outcome.stopped) == ("completed", "")
    assert counted(outcome) == (50, 0, 0)
    assert (outcome.runs_new, outcome.unwell, outcome.way_back) == (50, 0, None)


def test_where_everything_fails_nothing_but_the_canary_is_touched() -> None:
    outcome = after(Strategy(canary=5, bake=60), fail=1.0)
    assert outcome.state == "failed"
    assert outcome.stopped.startswith("the canary failed")
    canary, others = outcome.batches
    assert (canary.completed, canary.failed + canary.cancelled) == (0, 5)
    assert (others.began, others.cancelled) == (None, 45)
    assert (outcome.runs_new, outcome.most_at_work) == (0, 5)


def test_a_limit_stops_it_and_everything_that_was_switched_goes_back() -> None:
    strategy = Strategy(max_parallel=5, max_failures="10%", on_failure="rollback")
    outcome = after(strategy, instances=100, fail=0.3)
    assert "more than max_failures allows (10%, which is 10)" in outcome.stopped
    assert outcome.completed > 0
    assert outcome.cancelled > 0
    assert outcome.failed > 10
    assert outcome.taken_back == outcome.completed
    assert outcome.runs_new == 0
    assert outcome.way_back is not None
    assert outcome.way_back.completed == outcome.completed
    assert outcome.way_back.began is not None
    assert outcome.way_back.began >= max(outcome.batches[0].ends)


def test_without_a_way_back_what_was_switched_stays() -> None:
    outcome = after(Strategy(max_parallel=5, max_failures="10%"), instances=100, fail=0.3)
    assert outcome.runs_new == outcome.completed > 0
    assert (outcome.taken_back, outcome.way_back) == (0, None)


def test_with_prepare_all_nobody_is_switched_where_some_cannot_prepare() -> None:
    outcome = after(Strategy(prepare="all"), prepare_fail=0.1)
    assert outcome.stopped.startswith("not every instance could prepare")
    assert (outcome.completed, outcome.runs_new) == (0, 0)


def test_those_that_are_away_take_their_whole_timeout() -> None:
    outcome = after(None, unreachable=0.2, timeout=120)
    assert outcome.unreachable == outcome.failed > 0
    assert outcome.seconds == 120
    stopped = after(Strategy(max_unreachable=0), unreachable=0.2)
    assert "whose agent stayed away, more than max_unreachable allows" in stopped.stopped


def test_a_regression_counts_only_while_somebody_looks() -> None:
    nobody = after(None, regress=1.0)
    assert (nobody.state, nobody.unwell, nobody.runs_new) == ("completed", 50, 50)
    guarded = after(Strategy(guard=120), regress=1.0)
    assert counted(guarded) == (0, 50, 0)
    assert (guarded.unwell, guarded.runs_new, guarded.taken_back) == (0, 0, 50)
    baked = after(Strategy(canary=5, bake=120), regress=1.0)
    assert baked.stopped.startswith("the canary failed")
    assert baked.runs_new == 5


def test_a_host_fails_at_each_attempt_and_is_tried_again() -> None:
    """Four attempts of 25 seconds on average, with growing pauses between them."""
    once = after(None, fail=1.0, retry_count=0)
    again = after(None, fail=1.0, retry_count=3)
    assert counted(once) == counted(again) == (0, 50, 0)
    assert again.seconds > 3 * once.seconds


def test_somebody_promotes_the_canary_in_their_time() -> None:
    strategy = Strategy(canary=5, promote="manual")
    canary, others = after(strategy, promote_seconds=600).batches
    assert canary.ended is not None
    assert others.began == pytest.approx(canary.ended + 600, abs=0.2)


def test_windows_count_from_the_beginning_that_is_given() -> None:
    night = Window(days=["mon"], begin="22:00", until="23:00")
    (batch,) = after(Strategy(windows=[night])).batches
    assert batch.began == 10 * 3600


# ---- what holds always -----------------------------------------------------


def test_the_same_seed_comes_to_the_same() -> None:
    strategy = Strategy(canary="5%", bake=30, max_parallel="10%", max_failures="10%")
    behaviour = {"fail": 0.05, "prepare_fail": 0.02, "unreachable": 0.02, "regress": 0.05}
    first = after(strategy, instances=200, **behaviour)
    assert after(strategy, instances=200, **behaviour) == first
    assert after(strategy, instances=200, **behaviour, seed=2) != first


def test_the_same_seed_imagines_the_same_hosts_whatever_the_strategy() -> None:
    behaviour = {"fail": 0.05, "prepare_fail": 0.02, "unreachable": 0.02}
    at_once = after(None, instances=300, **behaviour)
    in_turn = after(Strategy(max_parallel="10%"), instances=300, **behaviour)
    assert counted(at_once) == counted(in_turn)
    assert at_once.unreachable == in_turn.unreachable


@pytest.mark.sweep
def test_five_thousand_hosts_are_gone_through_in_a_few_steps_each() -> None:
    strategy = Strategy(canary=50, bake=60, max_parallel="10%", max_failures="10%", guard=60)
    outcome = after(
        strategy, instances=5000, fail=0.02, prepare_fail=0.01, unreachable=0.005, regress=0.01
    )
    assert sum(counted(outcome)) == 5000
    assert outcome.most_at_work == 500
    assert outcome.steps < 3 * 5000


rates = st.sampled_from([0.0, 0.05, 0.3, 1.0])
some_sizes = st.sampled_from([1, 3, "10%", "50%"])
limits = st.sampled_from([None, 0, 2, "10%"])
behaviours = st.builds(
    Imagined,
    instances=st.integers(1, 30),
    fail=rates,
    prepare_fail=rates,
    unreachable=rates,
    regress=rates,
    retry_count=st.integers(0, 2),
    timeout=st.sampled_from([30, 300]),
    seed=st.integers(0, 1000),
)
asked = st.builds(
    Strategy,
    max_parallel=st.none() | some_sizes,
    canary=st.just(0) | some_sizes,
    promote=st.sampled_from(["auto", "manual"]),
    bake=st.sampled_from([0, 40]),
    max_failures=limits,
    max_unreachable=limits,
    prepare=st.sampled_from(["each", "all"]),
    on_failure=st.sampled_from(["stop", "rollback"]),
    guard=st.sampled_from([0, 40]),
)


@settings(deadline=None, max_examples=150)
@given(strategy=asked, imagined=behaviours)
def test_every_rollout_ends_within_its_bounds(strategy: Strategy, imagined: Imagined) -> None:
    outcome = simulate(strategy, imagined, BEGIN)
    assert sum(counted(outcome)) == imagined.instances
    assert outcome.most_at_work <= sizes(strategy, imagined.instances).parallel
    at_once = strategy.model_copy(update={"promote": "auto"})
    batches = [batch.instances for batch in outcome.batches]
    at_most = longest(at_once, batches, imagined.timeout, BEGIN).seconds
    assert at_most is not None
    waited = imagined.promote_seconds if strategy.promote == "manual" else 0
    took = max(end for batch in outcome.batches for end in batch.ends)
    rounding = 4 * imagined.instances / TICKS
    assert took <= at_most + waited + rounding


@settings(deadline=None, max_examples=150)
@given(strategy=asked, imagined=behaviours)
def test_what_is_stopped_with_a_way_back_ends_with_everybody_back(
    strategy: Strategy, imagined: Imagined
) -> None:
    strategy = strategy.model_copy(update={"on_failure": "rollback"})
    outcome = simulate(strategy, replace(imagined, regress=0.0), BEGIN)
    if outcome.stopped:
        assert outcome.runs_new == 0
        assert outcome.taken_back == outcome.completed
    else:
        assert outcome.runs_new == outcome.completed
