"""The real cores of both sides under everything that may happen to them, in virtual time.

`make test` runs fifty traces, `make lab` ten thousand and the controls.

The engine with its reception, and the workers with their journals, are the product's own;
simulated are the network, the services, the downloads, the store's disk and the kills
(`tests.lab.model`). `World.settle` and `Truth` hold the promises: no stale attempt is
applied and none twice, every task ends, counters add up, and what the coordinator answers
is what is on the hosts. The last tests break one side on purpose: the model must notice.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from agent.journal import Journal, Record
from coordinator.ports import Changes, EventRow
from tests.core.test_rollout_model import try_rollouts
from tests.lab.model.coordinator import ModelStore
from tests.lab.model.trace import Happening, run_trace, seeds, traces
from tests.lab.model.truth import Violation
from tests.lab.tally import Tally

LEAST_TRACES = 10_000
EVERYTHING = list(HealthCheck)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Kills and refusals are what the model is made of: nobody reads them in a log."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def try_traces(examples: int, *, phases: list[Phase], fixed: bool, **variants: Any) -> int:
    """Run so many traces, raise what the first bad one broke, and return how many ran."""
    tried = 0

    @settings(
        max_examples=examples,
        phases=phases,
        derandomize=fixed,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=EVERYTHING,
    )
    @given(traces, seeds)
    def one(trace: list[Happening], seed: int) -> None:
        nonlocal tried
        tried += 1
        run_trace(trace, seed, **variants)

    one()
    return tried


def test_whatever_happens_no_promise_is_broken() -> None:
    found = try_traces(50, phases=[Phase.generate, Phase.shrink], fixed=True)
    assert found >= 50


@pytest.mark.sweep
@pytest.mark.timeout(900)
@pytest.mark.parametrize("half", ["first", "second"])
def test_ten_thousand_traces_break_no_promise(half: str, tally: Tally) -> None:
    """In two halves, for two cores; each draws its own traces."""
    found = try_traces(LEAST_TRACES // 2, phases=[Phase.generate, Phase.shrink], fixed=False)
    tally(points=found)
    assert found >= LEAST_TRACES // 2


@pytest.mark.sweep
@pytest.mark.timeout(900)
def test_ten_thousand_orders_of_events_break_no_rule_of_the_pure_rollout(tally: Tally) -> None:
    found = try_rollouts(LEAST_TRACES, fixed=False)
    tally(points=found)
    assert found >= LEAST_TRACES


# ---- the model has teeth -----------------------------------------------------------


class ForgetfulStore(ModelStore):
    """A store whose last commit is gone when its coordinator dies: no sync at a commit."""

    def __init__(self) -> None:
        super().__init__()
        self._durable: dict[str, Any] = {}

    async def commit(self, changes: Changes) -> list[EventRow]:
        kept = {name: copy.copy(value) for name, value in vars(self).items() if _is_data(value)}
        rows = await super().commit(changes)
        self._durable = kept
        return rows

    def coordinator_died(self) -> None:
        vars(self).update(self._durable)


def _is_data(value: object) -> bool:
    return isinstance(value, dict | list | int) and not isinstance(value, bool)


class LazyJournal(Journal):
    """A journal that writes a record when the next one comes: it acts before it saves."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._pending: dict[str, Record] = {}

    def save(self, record: Record) -> None:
        if waiting := self._pending.get(record.instance_id):
            super().save(waiting)
        self._pending[record.instance_id] = record


@pytest.mark.sweep
@pytest.mark.parametrize(
    "variant",
    [{"store": ForgetfulStore}, {"journal": LazyJournal}],
    ids=["a_store_that_loses_a_commit", "a_journal_that_is_late"],
)
def test_the_model_finds(variant: dict[str, Callable[..., Any]]) -> None:
    with pytest.raises(Violation):
        try_traces(500, phases=[Phase.generate], fixed=True, **variant)
