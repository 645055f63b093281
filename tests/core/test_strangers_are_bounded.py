"""Whoever may ask without being known is bounded: who waits, how often, and what is remembered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from coordinator import allowance
from coordinator.allowance import Allowance
from coordinator.core.task import Moment
from coordinator.waiting import FORGOTTEN_AFTER, MOST, MOST_OF_ONE_ADDRESS, WaitingRoom
from protocol.errors import UnavailableError

START = datetime(2026, 3, 1, tzinfo=UTC)


def at(seconds: float) -> Moment:
    return Moment(seconds, START + timedelta(seconds=seconds))


@dataclass
class HandClock:
    """Implements `ports.Clock`."""

    steady: float = 0.0

    def now(self) -> Moment:
        return at(self.steady)


def test_a_key_that_asks_again_is_one_request() -> None:
    room = WaitingRoom()
    assert room.ask("h", "aa", "10.0.0.1", at(0))
    assert not room.ask("h", "aa", "10.0.0.2", at(5))
    (request,) = room.all(at(6))
    assert (request.address, request.asked_at, request.last_asked) == (
        "10.0.0.2",
        at(0).wall,
        at(5).wall,
    )


def test_another_key_for_the_same_host_is_another_request() -> None:
    room = WaitingRoom()
    room.ask("h", "aa", "10.0.0.1", at(0))
    room.ask("h", "bb", "10.0.0.2", at(0))
    assert list(room.of("h", at(1))) == ["aa", "bb"]
    room.forget("h", "aa")
    assert list(room.of("h", at(1))) == ["bb"]
    room.forget("h")
    assert room.all(at(1)) == []


def test_no_more_than_so_many_wait() -> None:
    room = WaitingRoom()
    for number in range(MOST):
        room.ask(f"h-{number}", "aa", f"10.0.{number % 200}.1", at(number))
    with pytest.raises(UnavailableError, match=f"{MOST} hosts wait to be let in"):
        room.ask("one-more", "aa", "10.1.0.1", at(MOST))
    assert len(room.all(at(MOST))) == MOST
    assert not room.ask("h-7", "aa", "10.0.7.1", at(MOST)), "who waits already may ask on"


def test_one_address_takes_only_some_of_the_room() -> None:
    room = WaitingRoom()
    for number in range(MOST_OF_ONE_ADDRESS):
        room.ask(f"h-{number}", "aa", "10.0.0.1", at(0))
    with pytest.raises(UnavailableError, match=r"from 10\.0\.0\.1"):
        room.ask("one-more", "aa", "10.0.0.1", at(0))
    assert room.ask("one-more", "aa", "10.0.0.2", at(0))


def test_who_asks_no_more_is_forgotten_after_a_day() -> None:
    room = WaitingRoom()
    room.ask("gone", "aa", "10.0.0.1", at(0))
    room.ask("there", "aa", "10.0.0.1", at(0))
    room.ask("there", "aa", "10.0.0.1", at(FORGOTTEN_AFTER - 1))
    assert [one.host_id for one in room.all(at(FORGOTTEN_AFTER))] == ["there"]


def test_an_address_may_ask_so_often_and_then_slowly() -> None:
    clock = HandClock()
    asked = Allowance(clock, at_once=3, a_second=0.5)
    for _ in range(3):
        asked.take("10.0.0.1")
    with pytest.raises(UnavailableError, match=r"too many requests from 10\.0\.0\.1: .* in 2 s"):
        asked.take("10.0.0.1")
    asked.take("10.0.0.2")
    clock.steady += 2
    asked.take("10.0.0.1")
    with pytest.raises(UnavailableError):
        asked.take("10.0.0.1")


def test_only_so_many_addresses_are_remembered() -> None:
    asked = Allowance(HandClock(), at_once=1, a_second=0.001)
    asked.take("first")
    for number in range(allowance.MOST_ADDRESSES):
        asked.take(f"10.{number}")
    assert len(asked._left) == allowance.MOST_ADDRESSES
    asked.take("first")
