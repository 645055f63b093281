"""Values of an environment are replaced in what is told, whole or cut."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.hush import SHORTEST, Hush, HushedCheck, HushedDriver
from agent.output import readable
from agent.ports import ServiceState, StepError

SECRET = "hunter2-and-more-of-it"
HUSH = Hush({"PASSWORD": SECRET, "KEY": "line one of key\nline two of key", "DEBUG": "true"})


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"password is {SECRET}!", "password is $PASSWORD!"),
        ("line one of key, then line two of key", "$KEY, then $KEY"),
        ("true to itself", "true to itself"),
        (f"cut {SECRET[:SHORTEST]}", "cut $PASSWORD"),
        (f"{SECRET[-SHORTEST:]} was cut", "$PASSWORD was cut"),
        ("", ""),
    ],
)
def test_values_are_told_by_their_names(said: str, told: str) -> None:
    assert HUSH(said) == told


@pytest.mark.parametrize("before", range(150, 201))
def test_a_line_that_is_cut_in_the_middle_of_a_value_tells_less_than_it_takes(before: int) -> None:
    told = HUSH(readable("x" * before + SECRET))
    assert SECRET[:SHORTEST] not in told


def test_a_value_that_is_another_ones_beginning_hides_both() -> None:
    hush = Hush({"SHORT": "abcdefgh", "LONG": "abcdefgh-ijkl"})
    assert hush("abcdefgh-ijkl abcdefgh") == "$LONG $SHORT"


def test_control_characters_in_a_value_are_known_as_they_are_shown() -> None:
    assert Hush({"X": "bell\x07and more"})(readable("bell\x07and more")) == "$X"


class Leaky:
    """A driver and a check that tell the secret in every way that they have."""

    async def check_startable(self, current: Path) -> None:
        raise StepError(f"startable: {SECRET}", passing=True, retry_after=2.0)

    async def start(self, current: Path, environment: object) -> None:
        raise StepError(f"start: {SECRET}")

    async def stop(self) -> None:
        raise StepError(f"stop: {SECRET}")

    async def state(self) -> ServiceState:
        return ServiceState(running=False, generation="1", detail=f"state: {SECRET}")

    async def last_lines(self) -> str:
        return f"lines: {SECRET}"

    async def probe(self, current: Path, timeout: float) -> str:
        return f"probe: {SECRET}"


async def test_a_driver_and_a_check_tell_no_values() -> None:
    driver, check, here = HushedDriver(Leaky(), HUSH), HushedCheck(Leaky(), HUSH), Path()
    with pytest.raises(StepError, match=r"startable: \$PASSWORD") as caught:
        await driver.check_startable(here)
    assert (caught.value.passing, caught.value.retry_after) == (True, 2.0)
    with pytest.raises(StepError, match=r"start: \$PASSWORD"):
        await driver.start(here, {})
    with pytest.raises(StepError, match=r"stop: \$PASSWORD"):
        await driver.stop()
    assert (await driver.state()) == ServiceState(
        running=False, generation="1", detail="state: $PASSWORD"
    )
    assert await driver.last_lines() == "lines: $PASSWORD"
    assert await check.probe(here, 1.0) == "probe: $PASSWORD"
