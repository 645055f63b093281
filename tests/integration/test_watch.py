"""A host watches what it has switched: real processes, a real check, the journal on a disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from protocol.messages import (
    Cancel,
    Ended,
    Regressed,
    Step,
)
from protocol.states import InstanceStatus
from tests.parts.services import pid_of
from tests.parts.waiting import until
from tests.parts.watched_host import LONG, Host, watched_host


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with watched_host(tmp_path) as made:
        yield made


# ---- what is a regression ----------------------------------------------------


async def test_one_that_ends_is_told_with_its_last_lines(host: Host) -> None:
    await host.switched(LONG, crash_after=4.0)
    told = await host.regression()
    assert "exited with status 3" in told.message
    assert "fatal: out of ideas" in told.message
    assert told.digest == host.journal.load("instance-1").good[0].digest
    assert host.link.states[-1].status is InstanceStatus.ERROR
    assert host.watch is None


async def test_one_that_somebody_restarts_is_told_though_it_is_well(host: Host) -> None:
    await host.switched(LONG)
    await host.started_by_somebody()
    assert "it restarted" in (await host.regression()).message
    assert (await host.driver.state()).running, "nothing is put back by the host alone"


async def test_one_that_falls_sick_is_told_after_some_probes(host: Host) -> None:
    await host.switched(LONG)
    host.well.unlink()
    told = await host.regression()
    assert "/healthz answered 500; 3 probes in a row failed" in told.message
    assert host.link.states[-1].status is InstanceStatus.RUNNING


async def test_one_that_stays_well_ends_the_watch_without_a_word(host: Host) -> None:
    await host.switched(2.0)
    assert host.watch is not None
    await host.over()
    assert not host.link.of(Regressed)
    host.well.unlink()
    await host.driver.stop()
    await host.restart()
    assert not host.link.of(Regressed)


async def test_without_a_word_of_it_nothing_is_watched(host: Host) -> None:
    await host.switched(0.0)
    assert host.watch is None


# ---- told once, and again until it is acknowledged ----------------------------


async def test_it_is_told_once_and_kept_until_it_is_acknowledged(host: Host) -> None:
    await host.switched(LONG)
    await host.started_by_somebody()
    await host.regression()
    await host.started_by_somebody()
    await host.restart()
    kept = [one for one in host.worker.unsent if isinstance(one.event, Regressed)]
    assert len(kept) == 1
    assert host.worker.unsent[-1] == kept[0], "its end is told before"
    assert host.watch is None
    assert not host.link.reports, "the connection asks for it"
    for one in host.worker.unsent:
        host.worker.acknowledged(one.number)
    await host.restart()
    assert host.worker.unsent == ()


async def test_a_repeated_command_is_answered_with_all_that_became_of_it(host: Host) -> None:
    """As a coordinator asks that has lost what it had acknowledged."""
    await host.switched(LONG)
    await host.started_by_somebody()
    await host.regression()
    for one in host.worker.unsent:
        host.worker.acknowledged(one.number)
    await host.restart()
    host.activate("deploy-1", "ab" * 32, LONG)
    assert [type(one.event) for one in host.link.reports] == [Ended, Regressed]


# ---- it outlives the agent and the host's power -------------------------------


async def test_it_survives_a_restart_of_the_agent(host: Host) -> None:
    await host.switched(LONG)
    before = host.watch
    await host.restart()
    assert host.watch == before
    host.well.unlink()
    assert "answered 500" in (await host.regression()).message


@pytest.mark.parametrize("what", ["ended", "restarted"])
async def test_what_happened_while_the_agent_was_away_is_seen(host: Host, what: str) -> None:
    await host.switched(LONG)
    await host.stop()
    await (host.driver.stop() if what == "ended" else host.started_by_somebody())
    await host.start()
    told = await host.regression()
    assert ("it restarted" in told.message) is (what == "restarted")


async def test_what_happened_after_its_time_is_nobodys_business(host: Host) -> None:
    await host.switched(2.0)
    await host.stop()
    watch = host.watch
    assert watch is not None
    loop = asyncio.get_running_loop()
    await until(lambda: loop.time() > watch.until)
    await host.started_by_somebody()
    await host.start()
    await host.over()
    assert not host.link.of(Regressed)


async def test_a_boot_of_the_host_is_no_regression_and_the_watch_goes_on(host: Host) -> None:
    await host.switched(LONG)
    before = host.watch
    assert before is not None
    await host.restart("boot-2")
    new = await pid_of(host.driver)
    now = await until(
        lambda: host.watch, lambda watch: watch and watch.boot_id == "boot-2" and watch.generation
    )
    assert now is not None
    assert now.generation.startswith(f"{new}-")
    assert now.left <= before.left
    assert not host.link.of(Regressed)
    await host.started_by_somebody()
    assert "it restarted" in (await host.regression()).message


async def test_a_switch_that_outlives_the_agent_is_watched_as_it_was_asked(host: Host) -> None:
    digest = await host.prepared("deploy-1", "v1")
    host.well.unlink()
    host.activate("deploy-1", digest, LONG)
    await until(lambda: host.reached is Step.CHECK)
    await host.restart()
    host.well.touch()
    await until(lambda: host.link.of(Ended))
    watch = host.watch
    assert watch is not None
    assert watch.left == LONG
    await host.started_by_somebody()
    await host.regression()


# ---- what ends it, and what it leaves free ------------------------------------


async def test_the_next_switch_ends_it_without_a_word(host: Host) -> None:
    await host.switched(LONG)
    digest = await host.prepared("deploy-2", "v2")
    watch = host.watch
    assert watch is not None
    assert watch.task_id == "deploy-1", "to prepare the next one changes nothing"
    host.activate("deploy-2", digest, 0.0)
    await until(lambda: [one for one in host.link.of(Ended) if one.task_id == "deploy-2"])
    assert host.watch is None
    host.well.unlink()
    await host.driver.stop()
    await host.restart()
    assert not host.link.of(Regressed)


@pytest.mark.parametrize("meanwhile", ["prepared", "given up"])
async def test_it_goes_on_while_another_task_prepares(host: Host, meanwhile: str) -> None:
    await host.switched(LONG)
    await host.prepared("deploy-2", "v2")
    if meanwhile == "given up":
        host.worker.handle(Cancel(task_id="deploy-2", instance_id="instance-1", attempt=1))
    await host.started_by_somebody()
    await host.regression()
    in_hand = host.worker.in_hand
    assert (in_hand is None) is (meanwhile == "given up")
