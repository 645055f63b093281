"""The watch of what a host has switched is renewed: while it lasts, and after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from protocol.messages import (
    Ended,
    Regressed,
)
from tests.parts.services import pid_of
from tests.parts.waiting import until
from tests.parts.watched_host import LONG, Host, watched_host


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    async with watched_host(tmp_path) as made:
        yield made


async def test_a_renewed_watch_goes_on_and_tells_how_long_it_had_lasted(host: Host) -> None:
    await host.switched(LONG)
    before = host.watch
    assert before is not None
    host.renew(2 * LONG)
    renewed = host.watch
    assert renewed is not None
    assert renewed.asked is not None
    assert renewed.until == pytest.approx(asyncio.get_running_loop().time() + 2 * LONG, abs=5)
    assert renewed.asked - LONG == pytest.approx(renewed.until - before.until)
    assert host.link.of(Ended), "and it is answered how the attempt ended"
    since = before.until - LONG
    await host.started_by_somebody()
    fell = asyncio.get_running_loop().time()
    told = await host.regression()
    assert told.after is not None
    assert told.after == pytest.approx(fell - since, abs=5)


async def test_a_watch_is_never_made_shorter(host: Host) -> None:
    await host.switched(LONG)
    before = host.watch
    host.renew(1.0)
    now = host.watch
    assert before is not None
    assert now is not None
    assert (now.until, now.asked) == (before.until, LONG)


async def test_a_renewal_in_time_lets_the_running_watch_go_on(host: Host) -> None:
    await host.switched(3.0)
    host.renew(LONG)
    watch = host.watch
    assert watch is not None
    first_end = watch.until - LONG + 3.0
    await until(lambda: asyncio.get_running_loop().time() > first_end)
    await host.started_by_somebody()
    assert "it restarted" in (await host.regression()).message


async def test_a_watch_that_is_over_begins_anew_and_knows_not_how_long_it_was_none(
    host: Host,
) -> None:
    await host.switched(1.0)
    await host.over()
    host.renew(LONG)
    running = await pid_of(host.driver)
    watch = await until(lambda: host.watch, lambda watch: watch and watch.generation)
    assert watch is not None
    assert watch.generation.startswith(f"{running}-")
    assert watch.asked is None
    await host.restart()
    await host.started_by_somebody()
    assert (await host.regression()).after is None


async def test_what_ended_while_nobody_watched_is_told_when_a_watch_begins(host: Host) -> None:
    await host.switched(1.0)
    await host.over()
    await host.driver.stop()
    host.renew(LONG)
    told = await host.regression()
    assert told.after is None


async def test_what_has_regressed_is_told_again_and_not_watched(host: Host) -> None:
    await host.switched(LONG)
    await host.started_by_somebody()
    await host.regression()
    reports = len(host.link.reports)
    host.renew(LONG)
    assert [type(one.event) for one in host.link.reports[reports:]] == [Ended, Regressed]
    assert host.watch is None


@pytest.mark.parametrize(
    "other", [{"task_id": "deploy-0"}, {"attempt": 2}, {"digest": "ab" * 32}], ids=repr
)
async def test_another_attempt_or_release_renews_nothing(host: Host, other: dict[str, Any]) -> None:
    await host.switched(1.0)
    await host.over()
    before = host.journal.load("instance-1")
    host.renew(LONG, **other)
    assert host.journal.load("instance-1") == before, "it refuses nothing either"


async def test_what_another_task_has_in_hand_is_not_watched_for_the_one_before(host: Host) -> None:
    await host.switched(1.0)
    await host.over()
    await host.prepared("deploy-2", "v2")
    host.renew(LONG)
    assert host.watch is None
