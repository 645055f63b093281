"""Which instances a task takes in which order, and what its strategy's sizes come to. Pure.

Of percentages, a canary is rounded up (a canary of none would try nothing out), the number at
work down but never to none, and limits down: nobody is allowed more than was said.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

from protocol.strategy import Strategy

EVERYTHING = 10**9


@dataclass(frozen=True, slots=True)
class Sizes:
    """A strategy's sizes for one task, in instances. None: no limit."""

    parallel: int
    canary: int
    failures: int | None
    unreachable: int | None


@dataclass(frozen=True, slots=True)
class Place:
    """One instance's place in the order of a task."""

    instance_id: str
    batch: int
    turn: int


def sizes(strategy: Strategy, total: int) -> Sizes:
    """What the strategy's sizes come to for `total` instances."""
    parallel = strategy.max_parallel
    return Sizes(
        parallel=EVERYTHING if parallel is None else max(1, _down(parallel, total)),
        canary=min(total, _up(strategy.canary, total)),
        failures=_limit(strategy.max_failures, total),
        unreachable=_limit(strategy.max_unreachable, total),
    )


def places(
    strategy: Strategy | None, names: Sequence[str], metadata: Mapping[str, Mapping[str, str]]
) -> list[Place]:
    """The order of the instances, and the batch of each. `metadata` is by instance.

    The canary is batch 0. Where a batch has to bake, the others are batches of `max_parallel`;
    else they are one batch, through which the task goes with so many at work at once.
    """
    if strategy is None:
        return [Place(name, 0, turn) for turn, name in enumerate(names)]
    ordered = names
    if strategy.spread is not None:
        key = strategy.spread
        ordered = _spread(names, {name: metadata.get(name, {}).get(key, "") for name in names})
    size = sizes(strategy, len(names))
    after = size.parallel if strategy.bake else EVERYTHING
    first = size.canary or after

    def batch(turn: int) -> int:
        return 0 if turn < first else 1 + (turn - first) // after

    return [Place(name, batch(turn), turn) for turn, name in enumerate(ordered)]


def _spread(names: Sequence[str], values: Mapping[str, str]) -> list[str]:
    """The names so ordered that every beginning has its share of each value.

    Of n names among which a value has m, the first k hold k * m / n of that value, rounded up or
    down. So there is a first and a last place for each name, and of those that may be placed the
    one that has to be soonest comes next: an order that always works out.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(values[name], []).append(name)
    total = len(names)
    may_come = deque(
        sorted(
            (number * total // len(group), -(-(number + 1) * total // len(group)), value, number)
            for value, group in groups.items()
            for number in range(len(group))
        )
    )
    ready: list[tuple[int, str, int]] = []
    order = []
    for place in range(total):
        while may_come and may_come[0][0] <= place:
            heappush(ready, may_come.popleft()[1:])
        _, value, number = heappop(ready)
        order.append(groups[value][number])
    return order


def _limit(size: int | str | None, total: int) -> int | None:
    return None if size is None else _down(size, total)


def _down(size: int | str, total: int) -> int:
    return size if isinstance(size, int) else total * _percent(size) // 100


def _up(size: int | str, total: int) -> int:
    return size if isinstance(size, int) else -(-total * _percent(size) // 100)


def _percent(size: str) -> int:
    return int(size.removesuffix("%"))
