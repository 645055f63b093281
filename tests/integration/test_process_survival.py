"""Services of the process driver outlive agents, and stale memory harms nobody."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent.drivers.procfs import read_stat
from agent.moments import boot_id
from agent.ports import ServiceState
from tests.parts.services import (
    MakeDriver,
    drivers_over,
    make_release,
    pid_of,
    proc,
    script,
    until,
    until_ended,
)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return make_release(tmp_path)


@pytest.fixture
async def make_driver(tmp_path: Path) -> AsyncIterator[MakeDriver]:
    async with drivers_over(tmp_path / "state") as make:
        yield make


# -- the agent's own deaths --------------------------------------------------------------

AGENT = """
import asyncio, sys
from pathlib import Path
from agent.drivers.process import ProcessDriver

async def main():
    state, current, *command = sys.argv[1:]
    driver = ProcessDriver("instance-1", command, Path(state), {}, under_systemd=False)
    await driver.start(Path(current), {"FERRYMAN_INSTANCE_ID": "instance-1"})
    print("started", flush=True)
    await asyncio.sleep(300)

asyncio.run(main())
"""


async def spawn_agent(tmp_path: Path, release: Path, *command: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", AGENT, str(tmp_path / "state"), str(release), *command),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )


async def test_the_service_survives_a_killed_agent_and_the_next_agent_finds_it(
    release: Path, make_driver: MakeDriver, tmp_path: Path
) -> None:
    agent = await spawn_agent(tmp_path, release, "sleep", "300")
    assert agent.stdout is not None
    assert await agent.stdout.readline() == b"started\n"
    agent.kill()
    await agent.wait()

    driver = make_driver("sleep", "300")
    found = await driver.state()
    assert found.running
    await driver.start(release, {})
    assert (await driver.state()).generation == found.generation
    pid = await pid_of(driver)
    await driver.stop()
    assert read_stat(pid) is None


async def test_its_exit_status_is_known_though_no_agent_was_there_to_see_it(
    release: Path, make_driver: MakeDriver, tmp_path: Path
) -> None:
    script(release, "serve", "while [ ! -e stop ]; do sleep 0.05; done", "exit 7")
    agent = await spawn_agent(tmp_path, release, "./serve")
    assert agent.stdout is not None
    await agent.stdout.readline()
    agent.kill()
    await agent.wait()
    (release / "stop").touch()
    assert "exited with status 7" in (await until_ended(make_driver("./serve"))).detail


async def test_an_agent_killed_in_the_middle_of_a_start_leads_to_one_copy_at_most(
    release: Path, make_driver: MakeDriver, tmp_path: Path
) -> None:
    script(release, "serve", "echo $$ >>copies", "exec sleep 300")
    (tmp_path / "state").mkdir()
    for turn in range(6):
        agent = await spawn_agent(tmp_path, release, "./serve")
        # The lock file is the start's first trace; the moments after it differ by turn.
        await until((tmp_path / "state/lock").exists)
        await asyncio.sleep(turn * 0.003)
        agent.kill()
        await agent.wait()
        driver = make_driver("./serve")
        await driver.start(release, {})
        await until((release / "copies").exists)
        pid = await pid_of(driver)
        assert [int(copy) for copy in (release / "copies").read_text().split()] == [pid]
        await driver.stop()
        (release / "copies").unlink()
        (tmp_path / "state/lock").unlink()


# -- stale memory ------------------------------------------------------------------------


async def bystander() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec("sleep", "300", start_new_session=True)


@pytest.mark.parametrize("stale", ["another boot", "another start time"])
async def test_field_note_19_another_process_with_the_remembered_pid_is_left_alone(
    release: Path, make_driver: MakeDriver, tmp_path: Path, stale: str
) -> None:
    other = await bystander()
    try:
        fields = proc(other.pid, "stat").split()
        boot = "0" * 36 if stale == "another boot" else boot_id()
        if stale == "another start time":
            fields[21] = "1"
        (tmp_path / "state").mkdir()
        (tmp_path / "state/process").write_text(f"{boot}\n{' '.join(fields)}\n")
        driver = make_driver("sleep", "300")
        state = await driver.state()
        assert not state.running
        assert state.detail
        await driver.start(release, {})
        assert await pid_of(driver) != other.pid
        await driver.stop()
        assert other.returncode is None
        assert read_stat(other.pid) is not None
    finally:
        other.kill()
        await other.wait()


@pytest.mark.parametrize("content", ["", "garbage", "boot\n1 (sh) S\n", "\xff\xfe"])
async def test_a_torn_identity_file_counts_as_none(
    release: Path, make_driver: MakeDriver, tmp_path: Path, content: str
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state/process").write_bytes(content.encode("latin-1"))
    driver = make_driver("sleep", "300")
    assert await driver.state() == ServiceState(running=False)
    await driver.start(release, {})
    assert (await driver.state()).running


async def test_a_killed_supervisor_neither_ends_the_service_nor_hides_it(
    release: Path, make_driver: MakeDriver, tmp_path: Path
) -> None:
    driver = make_driver("sleep", "300")
    await driver.start(release, {})
    pid = await pid_of(driver)
    parent = int(proc(pid, "stat").rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    before = await driver.state()
    assert before.running
    await driver.start(release, {})
    assert await driver.state() == before
    os.kill(pid, signal.SIGKILL)
    assert "exit status is not known" in (await until_ended(driver)).detail
