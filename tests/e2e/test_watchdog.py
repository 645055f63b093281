"""Both daemons feed systemd's watchdog from their own loops: one that stands still is not fed."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.parts.daemons import AgentDaemon, CoordinatorDaemon, Daemon, InstanceSpec, free_port
from tests.parts.systemd_ear import SystemdEar
from tests.parts.waiting import until

WATCHDOG = 0.4
FOUR_TURNS = 2 * WATCHDOG


@pytest.fixture
async def ear(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SystemdEar]:
    with SystemdEar(f"@ferryman-e2e-watchdog-{os.getpid()}", watchdog=WATCHDOG) as opened:
        for name, value in opened.environment().items():
            monkeypatch.setenv(name, value)
        yield opened


def coordinator(folder: Path) -> Daemon:
    return CoordinatorDaemon(folder / "data")


def agent(folder: Path) -> Daemon:
    """One whose coordinator is away: it serves its host all the same."""
    return AgentDaemon(
        folder,
        "host-a",
        [InstanceSpec("instance-1", port=8080)],
        coordinator=f"https://127.0.0.1:{free_port()}",
        join_token=f"ferryman-join-1.{'0' * 64}.{'s' * 32}",
    )


def stands_still(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.parametrize("make", [coordinator, agent])
async def test_a_daemon_feeds_the_watchdog_and_not_while_it_stands_still(
    make: Callable[[Path], Daemon], ear: SystemdEar, tmp_path: Path
) -> None:
    async with make(tmp_path) as daemon:
        await ear.hears("READY=1")
        await ear.hears("WATCHDOG=1", times=3)

        os.kill(daemon.pid, signal.SIGSTOP)
        await until(lambda: stands_still(daemon.pid))
        await ear.hears_nothing_for(FOUR_TURNS)

        os.kill(daemon.pid, signal.SIGCONT)
        await ear.hears("WATCHDOG=1", times=3)
        ear.forget()
        assert await daemon.stop() == 0
