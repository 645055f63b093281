"""Thousands of rollouts by any strategy on imagined hosts, and a few of ten thousand instances.

Each run holds the rules of `tests.parts.rules_of_rollouts` after each of its steps.
"""

from __future__ import annotations

import pytest

from protocol.strategy import Strategy
from tests.core.test_rollout_by_strategy import LARGE, run_large, try_many
from tests.lab.tally import Tally

pytestmark = [pytest.mark.sweep, pytest.mark.timeout(600)]

LEAST_RUNS = 6_000


def test_thousands_of_rollouts_break_no_rule(tally: Tally) -> None:
    tried = try_many(LEAST_RUNS // 2, fixed=False)
    tally(points=tried)
    assert tried >= LEAST_RUNS


def test_larger_fleets_break_no_rule_either(tally: Tally) -> None:
    tried = try_many(100, fixed=False, most=100)
    tally(points=tried)
    assert tried >= 200


@pytest.mark.parametrize("strategy", LARGE[1:])
def test_ten_thousand_instances_break_no_rule(strategy: Strategy | None, tally: Tally) -> None:
    tally(points=run_large(strategy, 2, 10_000))
    assert tally.points > 100
