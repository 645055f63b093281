"""The two `check` commands: exit codes, nothing changed, beside running daemons, no false alarm."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from agent.weaknesses import of_walls
from protocol.weakness import NOT_CHECKED, NOTHING_WEAK, WEAK
from tests.e2e.checks.place import Place
from tests.parts.daemons import BIN, CoordinatorDaemon

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_nothing_is_weak_in_a_place_that_was_made_as_the_docs_say(place: Place) -> None:
    assert (place.coordinator(), place.agent()) == ([], [])


def run(*words: str) -> subprocess.CompletedProcess[str]:
    program, *rest = words
    argv = [str(BIN / program), *rest]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


def contents(folder: Path) -> list[tuple[str, int]]:
    """All files with the times of their last change."""
    return sorted((str(path), path.lstat().st_mtime_ns) for path in folder.rglob("*"))


async def test_the_commands_tell_by_their_exit_codes_and_change_nothing(place: Place) -> None:
    for beside in place.data.glob("coordinator.db-*"):
        beside.unlink()
    for program, config in (
        ("ferryman-coordinator", place.coordinator_toml),
        ("ferryman-agent", place.agent_toml),
    ):
        before = contents(place.folder)
        done = run(program, "check", "--config", str(config))
        lacks = [f"{one}\n" for one in of_walls()] if program == "ferryman-agent" else []
        code, told = (WEAK, "".join(lacks)) if lacks else (NOTHING_WEAK, "nothing weak found\n")
        assert (done.returncode, done.stdout, done.stderr) == (code, told, "")
        config.chmod(0o666)
        done = run(program, "--config", str(config), "check")
        assert (done.returncode, done.stdout.count("\n"), done.stderr) == (WEAK, 1 + len(lacks), "")
        assert contents(place.folder) == before

        config.write_text("surprise = 1\n")
        done = run(program, "check", "--config", str(config))
        assert (done.returncode, done.stdout) == (NOT_CHECKED, "")
        assert done.stderr.startswith(f"{program}: {config}: surprise: not a known setting")


async def test_the_commands_work_while_the_daemons_run(joined: CoordinatorDaemon) -> None:
    done = run("ferryman-coordinator", "check", "--data-dir", str(joined.data_dir))
    assert done.returncode in (NOTHING_WEAK, WEAK), done.stderr
    assert joined.token not in done.stdout
    async with joined.client() as client:
        await client.get_system_health()
