"""The process driver outside systemd: real processes, real deaths."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from agent.drivers.process import started_by_systemd
from agent.drivers.procfs import ProcessId, read_stat, session_members
from agent.moments import boot_id
from agent.output import KEEP_BYTES
from agent.ports import StepError
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


# -- what the service gets ---------------------------------------------------------------


async def test_it_runs_inside_the_release_with_its_own_environment_and_none_of_the_agents(
    release: Path, make_driver: MakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "@agent")
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    monkeypatch.setenv("AGENT_SECRET", "hidden")
    dump = "import os, json; print(json.dumps([os.getcwd(), dict(os.environ)]))"
    code = f"{dump[:-1]}, file=open('seen.new', 'w')); os.rename('seen.new', 'seen')"
    driver = make_driver(
        sys.executable, "-c", code, environment={"A": "it's $HOME \"\n\\", "B": ""}
    )
    await driver.start(release, {"PORT": "8081", "FERRYMAN_VERSION": "1"})
    await until((release / "seen").exists)
    where, seen = json.loads((release / "seen").read_text())
    assert where.endswith("/releases/1")
    assert seen["A"] == "it's $HOME \"\n\\"
    assert seen["B"] == ""
    assert (seen["PORT"], seen["FERRYMAN_VERSION"]) == ("8081", "1")
    assert seen["FERRYMAN_INSTANCE_ID"] == "instance-1"
    known = {"A", "B", "PORT", "FERRYMAN_VERSION", "FERRYMAN_INSTANCE_ID", "PATH", "HOME"}
    assert set(seen) - known <= {"FERRYMAN_RUN", "LANG", "PWD", "LC_CTYPE"}


async def test_arguments_reach_the_command_as_they_were_written(
    release: Path, make_driver: MakeDriver
) -> None:
    script(release, "bin/args", 'printf "<%s>" "$@" >args.new; mv args.new args')
    driver = make_driver("./bin/args", "a b", "", "$HOME", "100%n", "it's")
    await driver.start(release, {})
    await until((release / "args").exists)
    assert (release / "args").read_text() == "<a b><><$HOME><100%n><it's>"


async def test_its_signals_are_as_a_shell_would_have_left_them(
    release: Path, make_driver: MakeDriver
) -> None:
    driver = make_driver("sleep", "300")
    await driver.start(release, {})
    pid = await pid_of(driver)
    await until(lambda: "sleep" in proc(pid, "comm"))
    status = proc(pid, "status")
    ignored = next(line for line in status.splitlines() if line.startswith("SigIgn"))
    of_the_c_library = 0b11 << 31  # 32 and 33, which it may leave ignored in what it spawns
    assert int(ignored.split()[1], 16) & ~of_the_c_library == 0
    assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]


# -- starts that fail --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "says"),
    [("./bin/none", "not found in"), ("no-such-program", "not found on PATH")],
)
async def test_a_missing_command_is_refused_by_name(
    release: Path, make_driver: MakeDriver, command: str, says: str
) -> None:
    with pytest.raises(StepError, match=says) as refused:
        await make_driver(command).start(release, {})
    assert command in refused.value.message
    assert not refused.value.passing


async def test_a_command_that_is_not_executable_is_refused_by_name(
    release: Path, make_driver: MakeDriver
) -> None:
    (release / "data").write_text("not a program")
    with pytest.raises(StepError, match=r"'\./data' in .* is not executable"):
        await make_driver("./data").start(release, {})


async def test_a_missing_interpreter_ends_the_service_with_the_reason(
    release: Path, make_driver: MakeDriver
) -> None:
    (release / "serve").write_text("#!/no/such/interpreter\n")
    (release / "serve").chmod(0o755)
    driver = make_driver("./serve")
    await driver.start(release, {})
    state = await until_ended(driver)
    assert "exited with status 12" in state.detail
    assert "serve: not found" in state.detail


# -- deaths ------------------------------------------------------------------------------


async def test_an_exit_tells_status_age_and_last_lines_with_control_characters_shown(
    release: Path, make_driver: MakeDriver
) -> None:
    lines = [f"echo line {n}" for n in range(30)]
    script(release, "serve", *lines, "printf 'red \\033[31m\\n' >&2", "exit 3")
    driver = make_driver("./serve")
    await driver.start(release, {})
    detail = (await until_ended(driver)).detail
    assert detail.startswith("exited with status 3 0.")
    assert " s after the start; last lines:\nline 21\n" in detail
    assert detail.endswith("line 29\nred \\x1b[31m")


async def test_a_signal_is_named(release: Path, make_driver: MakeDriver) -> None:
    driver = make_driver("sleep", "300")
    await driver.start(release, {})
    os.kill(await pid_of(driver), signal.SIGSEGV)
    assert "killed by signal 11 (SIGSEGV)" in (await until_ended(driver)).detail


async def test_the_output_of_the_last_start_is_kept_beside_the_new_one(
    release: Path, make_driver: MakeDriver, tmp_path: Path
) -> None:
    script(release, "serve", 'echo "run $RUN"')
    for run in ("1", "2", "3"):
        driver = make_driver("./serve")
        await driver.start(release, {"RUN": run})
        await until_ended(driver)
    assert (tmp_path / "state/output.log").read_text() == "run 3\n"
    assert (tmp_path / "state/output.log.1").read_text() == "run 2\n"


async def test_endless_output_stays_bounded_as_long_as_the_agent_looks(
    release: Path, make_driver: MakeDriver, tmp_path: Path
) -> None:
    script(release, "serve", "yes | head -c 9000000", "echo the end", "exec sleep 300")
    driver = make_driver("./serve")
    log = tmp_path / "state/output.log"
    await driver.start(release, {})

    await until(lambda: log.stat().st_size > 9_000_000)
    before = await driver.state()
    assert log.stat().st_size < 100_000
    assert log.with_name("output.log.1").read_text().endswith("y\nthe end\n")
    assert before == await driver.state()


async def test_the_last_lines_are_told_also_if_the_log_was_just_cut(
    release: Path, make_driver: MakeDriver, tmp_path: Path
) -> None:
    script(
        release, "serve", "yes | head -c 9000000", "echo the end", "touch said", "exec sleep 300"
    )
    driver = make_driver("./serve")
    await driver.start(release, {})
    await until((release / "said").exists)
    await driver.state()
    assert (tmp_path / "state/output.log").stat().st_size < 100_000
    assert (await driver.last_lines()).endswith("y\nthe end")

    await driver.stop()
    await make_driver("sleep", "300").start(release, {})
    assert await driver.last_lines() == "", "those of the run before are no more"


async def test_what_a_service_wrote_before_it_died_is_kept_within_bounds(
    release: Path, make_driver: MakeDriver, tmp_path: Path
) -> None:
    script(release, "serve", "yes | head -c 30000000", "echo the end")
    driver = make_driver("./serve")
    await driver.start(release, {})
    await until((tmp_path / "state/exit").exists)
    await make_driver("sleep", "300").start(release, {})
    kept = tmp_path / "state/output.log.1"
    assert kept.read_bytes().endswith(b"y\nthe end\n")
    assert sum(path.stat().st_size for path in kept.parent.glob("output.log*")) == KEEP_BYTES


# -- stop --------------------------------------------------------------------------------


async def test_stop_gives_sigterm_and_lets_the_service_finish(
    release: Path, make_driver: MakeDriver
) -> None:
    script(
        release,
        "serve",
        "trap 'sleep 0.3; echo done >finished; exit 0' TERM",
        ": >ready",
        "while :; do sleep 0.05; done",
    )
    driver = make_driver("./serve")
    await driver.start(release, {})
    await until((release / "ready").exists)
    await driver.stop()
    assert (release / "finished").read_text() == "done\n"


async def test_what_the_system_lets_nobody_look_at_is_a_failed_step(
    release: Path, make_driver: MakeDriver, tmp_path: Path
) -> None:
    script(release, "serve", "exit 1")
    driver = make_driver("./serve")
    await driver.start(release, {})
    await until_ended(driver)
    (lock,) = (tmp_path / "state").rglob("lock")
    lock.unlink()
    lock.symlink_to(lock)
    with pytest.raises(StepError, match=r"^could not look at the service: .*symbolic links"):
        await driver.state()
    lock.unlink()


async def test_stop_kills_what_ignores_sigterm_and_all_its_children(
    release: Path, make_driver: MakeDriver
) -> None:
    script(release, "serve", "trap '' TERM", "sleep 300 &", ": >ready", "wait", "sleep 300")
    driver = make_driver("./serve", grace=0.3)
    await driver.start(release, {})
    await until((release / "ready").exists)
    members = _session(await pid_of(driver))
    assert len(members) == 2
    await driver.stop()
    assert not [member for member in members if member.exists()]


async def test_stop_ends_the_children_that_a_dead_service_left_behind(
    release: Path, make_driver: MakeDriver
) -> None:
    script(release, "serve", "sleep 300 &", "echo $! >child", "exit 1")
    driver = make_driver("./serve")
    await driver.start(release, {"FERRYMAN_INSTANCE_ID": "instance-1"})
    await until_ended(driver)
    child = int((release / "child").read_text())
    assert read_stat(child) is not None
    await driver.stop()
    stat = read_stat(child)
    assert stat is None or stat.dead


LEAVES_THE_SESSION = (
    "import os, sys, time",
    "if os.fork(): os._exit(0)",
    "os.setsid()",
    "if os.fork(): os._exit(0)",
    "os.chdir('/')",
    "open(sys.argv[1], 'w').write(str(os.getpid()))",
    "time.sleep(300)",
)


async def test_stop_ends_what_forked_away_into_a_session_of_its_own(
    release: Path, make_driver: MakeDriver, tmp_path: Path
) -> None:
    driver = make_driver(
        sys.executable, "-ISc", "\n".join(LEAVES_THE_SESSION), str(tmp_path / "pid")
    )
    await driver.start(release, {})
    assert "exited with status 0" in (await until_ended(driver)).detail
    await until(lambda: (tmp_path / "pid").exists() and bool((tmp_path / "pid").read_text()))
    daemon = int((tmp_path / "pid").read_text())
    assert read_stat(daemon) is not None
    await driver.stop()
    stat = read_stat(daemon)
    assert stat is None or stat.dead


async def test_stop_does_not_wait_for_the_end_of_the_grace_of_a_frozen_service(
    release: Path, make_driver: MakeDriver
) -> None:
    script(release, "serve", "trap 'echo thawed >said; exit' TERM", "kill -STOP $$", "sleep 300")
    driver = make_driver("./serve", grace=60)
    await driver.start(release, {})
    pid = await pid_of(driver)
    await until(lambda: proc(pid, "stat").rpartition(")")[2].split()[0] == "T")
    async with asyncio.timeout(30):
        await driver.stop()
    assert (release / "said").read_text() == "thawed\n"


def _session(leader: int) -> Sequence[ProcessId]:
    stat = read_stat(leader)
    assert stat is not None
    return session_members(ProcessId(leader, stat.start, boot_id()), "")


# -- before anything is stopped ----------------------------------------------------------


async def test_a_program_of_the_hosts_own_that_is_missing_is_noticed_while_the_service_runs(
    release: Path, make_driver: MakeDriver, tmp_path: Path
) -> None:
    starter = tmp_path / "starter"
    starter.write_text("#!/bin/sh\nexec sleep 300\n")
    starter.chmod(0o755)
    driver = make_driver(str(starter))
    await driver.check_startable(release)
    await driver.start(release, {})

    starter.unlink()
    with pytest.raises(StepError, match="starter' not found"):
        await driver.check_startable(release)
    before = await driver.state()
    await driver.start(release, {})
    assert before.running
    assert await driver.state() == before, "what runs needs no program to be started"

    with pytest.raises(StepError, match="'no-such-program' not found on PATH"):
        await make_driver("no-such-program").check_startable(release)


@pytest.mark.parametrize("program", ["./bin/serve", "{current}/bin/serve"])
async def test_a_program_of_the_releases_is_no_matter_before_the_switch(
    release: Path, make_driver: MakeDriver, program: str
) -> None:
    await make_driver(program.format(current=release)).check_startable(release)


# -- the choice of the way ---------------------------------------------------------------


def test_an_agent_that_systemd_did_not_start_uses_no_unit() -> None:
    assert not started_by_systemd({})
    assert not started_by_systemd({"SYSTEMD_EXEC_PID": str(os.getpid() + 1)})
