"""A service of the driver `process` that runs as a user of its own can't change its release."""

from __future__ import annotations

import grp
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.health import CommandCheck
from agent.ports import StepError
from agent.service_user import find_user
from tests.lab.needs import need_programs, need_root
from tests.parts.services import MakeDriver, drivers_over, make_release, script, until

USER = "nobody"

pytestmark = pytest.mark.root


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that others may pass through, as the agent's state directory is."""
    need_root("becoming another user")
    need_programs("setpriv")
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)
        yield Path(folder)


@pytest.fixture
def release(place: Path) -> Path:
    return make_release(place)


@pytest.fixture
async def make_driver(place: Path) -> AsyncIterator[MakeDriver]:
    async with drivers_over(place / "state") as make:
        yield make


async def test_it_is_that_user_with_his_groups_and_home_and_can_write_no_release(
    release: Path, make_driver: MakeDriver
) -> None:
    lines = (
        "touch own 2>/dev/null || echo 'can not write'",
        "touch bin/server 2>/dev/null || echo 'can not write'",
        "rm bin/server 2>/dev/null || echo 'can not remove'",
        'echo "$(id -un) $(id -Gn) $HOME $USER"',
        "grep -E 'Cap(Inh|Prm|Eff)' /proc/self/status",
        "echo done",
        "sleep 1000",
    )
    script(release, "bin/server", *lines)
    driver = make_driver("./bin/server", user=USER)
    await driver.check_startable(release)
    await driver.start(release, {})

    async def said() -> bool:
        return "done" in await driver.last_lines()

    await until(said)
    told = await driver.last_lines()
    user = find_user(USER)
    groups = " ".join(grp.getgrgid(gid).gr_name for gid in user.groups)
    assert f"{USER} {groups} {user.home} {USER}" in told
    assert told.count("can not write") == 2
    assert "can not remove" in told
    assert told.count("0000000000000000") == 3
    assert os.listdir(release) == ["bin"]
    assert (await driver.state()).running
    await driver.stop()
    assert not (await driver.state()).running


async def test_a_health_check_command_is_that_user_too(release: Path, place: Path) -> None:
    script(
        release,
        "check",
        f'[ "$(id -un)" = {USER} ] || exit 3',
        "touch mine 2>/dev/null && exit 4",
        "exit 0",
    )
    assert await CommandCheck(["./check"], user=USER).probe(release, 10) == ""
    assert "status 3" in await CommandCheck(["./check"]).probe(release, 10)


async def test_an_unknown_user_is_told_before_anything_is_stopped(
    release: Path, make_driver: MakeDriver
) -> None:
    script(release, "bin/server", "sleep 1000")
    driver = make_driver("./bin/server", user="no-such-user")
    with pytest.raises(StepError, match="the host has no user 'no-such-user'"):
        await driver.check_startable(release)
    with pytest.raises(StepError, match="the host has no user 'no-such-user'"):
        await driver.start(release, {})
    assert not (await driver.state()).running
