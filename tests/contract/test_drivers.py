"""What every driver does, held to by one suite: real processes and the driver in memory."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.drivers.process import ProcessDriver
from agent.ports import Driver, ServiceState, StepError
from tests.parts.fake_driver import FakeDriver
from tests.parts.waiting import until

TOLD = {"PORT": "8080", "FERRYMAN_INSTANCE_ID": "instance-1"}


@dataclass
class Case:
    """A driver under test, a way to make its service die, and the link it starts from."""

    driver: Driver
    current: Path

    async def kill_service(self) -> None:
        if isinstance(self.driver, FakeDriver):
            self.driver.crash("killed by signal 9 (SIGKILL)")
            return
        generation = (await self.driver.state()).generation
        os.kill(int(generation.partition("-")[0]), signal.SIGKILL)
        await until_ended(self.driver)


async def until_ended(driver: Driver) -> ServiceState:
    return await until(driver.state, lambda state: not state.running, within=10, every=0.01)


@pytest.fixture(params=["process", "memory"])
async def case(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Case]:
    release = tmp_path / "releases" / "1"
    release.mkdir(parents=True)
    program = release / "serve"
    program.write_text("#!/bin/sh\nexec sleep 300\n")
    program.chmod(0o755)
    current = tmp_path / "current"
    current.symlink_to(release)
    driver: Driver = FakeDriver()
    if request.param == "process":
        driver = ProcessDriver(
            "instance-1", ["./serve"], tmp_path / "state", {}, under_systemd=False
        )
    yield Case(driver, current)
    await driver.stop()


async def test_a_service_that_was_never_started_does_not_run_and_needs_no_reason(
    case: Case,
) -> None:
    assert await case.driver.state() == ServiceState(running=False)


async def test_after_start_it_runs_in_a_generation(case: Case) -> None:
    await case.driver.start(case.current, TOLD)
    state = await case.driver.state()
    assert state.running
    assert state.generation


async def test_as_long_as_it_runs_the_generation_stays(case: Case) -> None:
    await case.driver.start(case.current, TOLD)
    assert await case.driver.state() == await case.driver.state()


async def test_starting_twice_is_one_start(case: Case) -> None:
    await case.driver.start(case.current, TOLD)
    first = await case.driver.state()
    await case.driver.start(case.current, TOLD)
    assert await case.driver.state() == first


async def test_two_starts_at_once_are_one_start(case: Case) -> None:
    await asyncio.gather(*(case.driver.start(case.current, TOLD) for _ in range(4)))
    first = await case.driver.state()
    assert first.running
    await case.driver.stop()
    assert not (await case.driver.state()).running


async def test_after_stop_it_does_not_run_and_needs_no_reason(case: Case) -> None:
    await case.driver.start(case.current, TOLD)
    await case.driver.stop()
    state = await case.driver.state()
    assert (state.running, state.detail) == (False, "")


async def test_stopping_a_stopped_service_is_no_error(case: Case) -> None:
    await case.driver.stop()
    await case.driver.start(case.current, TOLD)
    await case.driver.stop()
    await case.driver.stop()


async def test_started_again_it_is_another_generation(case: Case) -> None:
    await case.driver.start(case.current, TOLD)
    first = await case.driver.state()
    await case.driver.stop()
    await case.driver.start(case.current, TOLD)
    second = await case.driver.state()
    assert second.running
    assert second.generation != first.generation


async def test_a_service_that_died_says_why(case: Case) -> None:
    await case.driver.start(case.current, TOLD)
    await case.kill_service()
    state = await case.driver.state()
    assert not state.running
    assert "killed by signal 9" in state.detail


async def test_a_service_that_died_can_be_started_again(case: Case) -> None:
    await case.driver.start(case.current, TOLD)
    first = await case.driver.state()
    await case.kill_service()
    await case.driver.start(case.current, TOLD)
    second = await case.driver.state()
    assert (second.running, second.detail) == (True, "")
    assert second.generation != first.generation


async def test_without_a_release_the_start_is_refused(case: Case) -> None:
    case.current.unlink()
    with pytest.raises(StepError, match="no release to start") as refused:
        await case.driver.start(case.current, TOLD)
    assert not refused.value.passing
    assert not (await case.driver.state()).running
