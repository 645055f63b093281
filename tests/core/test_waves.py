"""What a strategy's sizes come to, and in which order and batches instances are taken."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.core.waves import EVERYTHING, places, sizes
from protocol.strategy import Strategy
from tests.parts.rollouts_by_strategy import named


@pytest.mark.parametrize(
    ("said", "total", "comes_to"),
    [
        (None, 10, EVERYTHING),
        (3, 10, 3),
        (30, 10, 30),
        ("25%", 10, 2),
        ("25%", 4, 1),
        ("1%", 1, 1),
        ("1%", 99, 1),
        ("1%", 199, 1),
        ("1%", 200, 2),
        ("100%", 7, 7),
    ],
)
def test_at_work_is_rounded_down_but_never_to_none(
    said: int | str | None, total: int, comes_to: int
) -> None:
    assert sizes(Strategy(max_parallel=said), total).parallel == comes_to


@pytest.mark.parametrize(
    ("said", "total", "comes_to"),
    [
        (0, 10, 0),
        (3, 10, 3),
        (30, 10, 10),
        ("0%", 10, 0),
        ("1%", 10, 1),
        ("1%", 1, 1),
        ("25%", 10, 3),
        ("20%", 10, 2),
        ("100%", 7, 7),
        ("1%", 10_000, 100),
        ("1%", 10_001, 101),
    ],
)
def test_a_canary_is_rounded_up_and_is_at_most_all(
    said: int | str, total: int, comes_to: int
) -> None:
    assert sizes(Strategy(canary=said), total).canary == comes_to


@pytest.mark.parametrize(
    ("said", "total", "comes_to"),
    [
        (None, 10, None),
        (0, 10, 0),
        (3, 10, 3),
        ("0%", 10, 0),
        ("5%", 10, 0),
        ("5%", 19, 0),
        ("5%", 20, 1),
        ("29%", 100, 29),
        ("100%", 7, 7),
    ],
)
def test_field_note_25_a_percentage_of_all_instances_comes_to_what_can_be_told_beforehand(
    said: int | str | None, total: int, comes_to: int | None
) -> None:
    """Rounded down: nobody is allowed more than was said. Whole numbers only: 29 % of 100 is 29."""
    size = sizes(Strategy(max_failures=said, max_unreachable=said), total)
    assert (size.failures, size.unreachable) == (comes_to, comes_to)


def batches(strategy: Strategy | None, total: int) -> list[int]:
    """The sizes of the batches, in their order."""
    counted = Counter(place.batch for place in places(strategy, named(total), {}))
    assert sorted(counted) == list(range(len(counted)))
    return [counted[batch] for batch in sorted(counted)]


@pytest.mark.parametrize(
    ("strategy", "total", "expected"),
    [
        (None, 5, [5]),
        (Strategy(), 5, [5]),
        (Strategy(max_parallel=2), 5, [5]),
        (Strategy(canary=1), 5, [1, 4]),
        (Strategy(canary="1%", max_parallel=2), 5, [1, 4]),
        (Strategy(canary="100%"), 5, [5]),
        (Strategy(canary=9), 5, [5]),
        (Strategy(bake=60), 5, [5]),
        (Strategy(bake=60, max_parallel=2), 5, [2, 2, 1]),
        (Strategy(bake=60, max_parallel="50%"), 5, [2, 2, 1]),
        (Strategy(bake=60, max_parallel=2, canary=1), 6, [1, 2, 2, 1]),
        (Strategy(bake=60, max_parallel=2, canary=3), 5, [3, 2]),
        (Strategy(bake=60, canary=2), 5, [2, 3]),
        (Strategy(bake=60, max_parallel="1%"), 3, [1, 1, 1]),
    ],
)
def test_batches_with_and_without_a_bake(
    strategy: Strategy | None, total: int, expected: list[int]
) -> None:
    assert batches(strategy, total) == expected


def test_the_order_is_that_of_the_request() -> None:
    names = ["c", "a", "b"]
    found = places(Strategy(canary=1), names, {})
    assert [(one.instance_id, one.batch, one.turn) for one in found] == [
        ("c", 0, 0),
        ("a", 1, 1),
        ("b", 1, 2),
    ]


# ---- spread --------------------------------------------------------------------


def spread(zones: dict[str, str]) -> list[str]:
    """The order in which these are taken."""
    metadata = {name: {"zone": zone} for name, zone in zones.items()}
    return [one.instance_id for one in places(Strategy(spread="zone"), list(zones), metadata)]


def test_batches_take_instances_evenly_over_the_values() -> None:
    zones = {f"{zone}{number}": zone for zone in "abc" for number in range(4)}
    order = spread(zones)
    for begin in range(0, 12, 3):
        assert {zones[name] for name in order[begin : begin + 3]} == set("abc")
    assert [name for name in order if zones[name] == "a"] == ["a0", "a1", "a2", "a3"]


def test_many_small_values_do_not_hide_behind_a_large_one() -> None:
    zones = {f"big{n}": "big" for n in range(50)} | {f"one{n}": f"zone {n}" for n in range(50)}
    first = spread(zones)[:20]
    assert sum(zones[name] == "big" for name in first) == 10


def test_without_the_key_it_is_a_value_of_its_own() -> None:
    names = named(4)
    metadata = {"i2": {"zone": "a"}, "i3": {"zone": "a"}, "i1": {"rack": "r"}}
    order = [one.instance_id for one in places(Strategy(spread="zone"), names, metadata)]
    assert order == ["i0", "i2", "i1", "i3"]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_every_beginning_has_its_share_of_every_value(groups: list[int]) -> None:
    zones = {f"{z}-{n}": str(z) for z, size in enumerate(groups) for n in range(size)}
    order, total = spread(zones), len(zones)
    assert sorted(order) == sorted(zones)
    seen: Counter[str] = Counter()
    for taken, name in enumerate(order, start=1):
        seen[zones[name]] += 1
        for value, size in enumerate(groups):
            share = taken * size
            assert share // total <= seen[str(value)] <= -(-share // total)
