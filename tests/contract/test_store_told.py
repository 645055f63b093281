"""What every Store must do with history that hosts tell again: each row once, none twice."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from coordinator.ports import Changes, HistoryRow, HostRow, Store
from tests.contract.rows import NOW, ended


def told(
    task_id: str, attempt: int = 1, minutes: float = 0, instance_id: str = "i-1", **fields: object
) -> HistoryRow:
    return ended(
        instance_id,
        task_id,
        told_attempt=attempt,
        timestamp=NOW + timedelta(minutes=minutes),
        **fields,
    )


async def of(store: Store, instance_id: str = "i-1") -> list[HistoryRow]:
    """The instance's rows, oldest first."""
    return (await store.history(instance_id))[0][::-1]


async def test_what_is_told_twice_is_there_once_and_in_its_order(store: Store) -> None:
    rows = [told(f"d-{n}", minutes=n) for n in range(5)]
    await store.commit(Changes(history=rows[:3]))
    await store.commit(Changes(history=rows))
    await store.commit(Changes(history=rows))
    assert await of(store) == rows


async def test_the_coordinators_own_row_stays(store: Store) -> None:
    own = ended("i-1", "d-1", reason="as it was reported")
    await store.commit(Changes(history=[own]))
    await store.commit(Changes(history=[told("d-1", attempt=3, status="failed"), told("d-2")]))
    assert await of(store) == [own, told("d-2")]


async def test_of_many_attempts_the_last_one_is_the_row(store: Store) -> None:
    first, last = told("d-1", 1, status="failed"), told("d-1", 3, 1, reason="healthy")
    await store.commit(Changes(history=[first, told("d-1", 2, status="failed"), last]))
    assert await of(store) == [last]

    await store.commit(Changes(history=[first]))
    assert await of(store) == [last]
    await store.commit(Changes(history=[told("d-2"), later := told("d-1", 4, 2)]))
    assert await of(store) == [later, told("d-2", minutes=1)]


async def test_own_rows_and_told_ones_keep_the_order_of_one_commit(store: Store) -> None:
    rows = [ended("i-1", "d-1"), told("d-2"), ended("i-1", "d-3"), told("d-4")]
    await store.commit(Changes(history=rows))
    assert await of(store) == rows


async def test_times_of_one_instance_never_go_back(store: Store) -> None:
    elsewhere = told("d-1", minutes=-9, instance_id="i-2")
    await store.commit(Changes(history=[ended("i-1", "d-0"), elsewhere]))
    await store.commit(
        Changes(history=[told("d-1", minutes=-5), told("d-2", minutes=3), told("d-3", minutes=2)])
    )
    minutes = [(row.timestamp - NOW).total_seconds() / 60 for row in await of(store)]
    assert minutes == [0, 0, 3, 3]
    assert await of(store, "i-2") == [elsewhere]


async def test_a_service_that_ran_before_the_loss_has_run(store: Store) -> None:
    await store.commit(Changes(history=[told("d-1", status="failed"), told("d-2", service="x")]))
    assert not await store.ever_ran("i-1", "user-service")
    await store.commit(Changes(history=[told("d-3")]))
    assert await store.ever_ran("i-1", "user-service")


async def test_how_much_of_a_hosts_past_is_known_comes_back(store: Store) -> None:
    host = HostRow("host-a", joined_at=NOW, past_number=2**40)
    await store.commit(Changes(hosts=[host]))
    assert await store.hosts() == [host]
    await store.commit(Changes(hosts=[replace(host, past_number=7)]))
    assert (await store.hosts())[0].past_number == 7
