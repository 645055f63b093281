"""Turns: so many at once, in order, and nobody is held up for good."""

from __future__ import annotations

import asyncio

from coordinator.turns import Turn, Turns

LONG = 60.0


async def test_so_many_at_once_and_the_others_in_the_order_in_which_they_came() -> None:
    turns = Turns(2, LONG, LONG)
    inside: list[int] = []
    most = 0

    async def one(number: int) -> None:
        nonlocal most
        turn = await turns.wait()
        inside.append(number)
        most = max(most, len(inside))
        await asyncio.sleep(0)
        assert inside.pop(0) == number
        turn.end()

    await asyncio.gather(*(one(number) for number in range(20)))
    assert most == 2
    assert not inside


async def test_a_turn_that_ends_twice_gives_one_place_on() -> None:
    turns = Turns(1, LONG, LONG)
    first = await turns.wait()
    first.end()
    first.end()
    second = await turns.wait()
    third = asyncio.create_task(turns.wait())
    await asyncio.sleep(0)
    assert not third.done()
    second.end()
    (await third).end()


async def test_a_turn_that_lasts_too_long_is_given_on() -> None:
    turns = Turns(1, LONG, 0.05)
    kept = await turns.wait()
    (await turns.wait()).end()
    kept.end()


async def test_who_has_waited_too_long_goes_in_all_the_same() -> None:
    turns = Turns(1, 0.05, LONG)
    kept = await turns.wait()
    without: list[Turn] = [await turns.wait() for _ in range(2)]
    for turn in without:
        turn.end()
    waiting = asyncio.create_task(turns.wait())
    kept.end()
    (await waiting).end()


async def test_who_goes_while_waiting_takes_no_place() -> None:
    turns = Turns(1, LONG, LONG)
    kept = await turns.wait()
    gone = asyncio.create_task(turns.wait())
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait([gone])
    kept.end()
    (await turns.wait()).end()
