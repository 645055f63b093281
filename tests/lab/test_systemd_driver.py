"""The drivers on a real systemd host."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.lab.host import PROJECT, PYTHON, PYTHON_ENVIRONMENT, SystemdHost

pytestmark = pytest.mark.lab

UNIT = json.dumps({"unit": "one.service"})
SLEEPER = "[Service]\nExecStart=sleep 300\n"

COUNTS = """#!/bin/sh
/usr/bin/systemctl "$@"
status=$?
printf x >>/srv/asked
exit $status
"""
"""Counts answers, not questions: what is done after the first comes too late for it."""

HANGS_UP_TWICE = """#!/bin/sh
asked=$(cat /srv/asked 2>/dev/null)
[ "$asked" = xx ] && exec /usr/bin/systemctl "$@"
printf x >>/srv/asked
echo "Failed to get properties: Connection reset by peer" >&2
exit 1
"""


async def order(host: SystemdHost, driver: str, *orders: str) -> list[Any]:
    """Give a fresh driver these orders, one after the other; return what came of each."""
    answers = await host.python("-m", "tests.lab.inside", driver, *orders)
    return [json.loads(line) for line in answers.output.splitlines()]


def service(*lines: str) -> str:
    return "\n".join(["[Service]", *lines, ""])


def shell(script: str) -> str:
    return f"ExecStart=/bin/sh -c '{script}'"


# -- the driver `systemd` ----------------------------------------------------------------


async def test_a_unit_is_started_looked_at_and_stopped(host: SystemdHost) -> None:
    await host.install_unit("one.service", SLEEPER)
    before, _, first, _, second, _, after = await order(
        host, UNIT, "state", "start", "state", "start", "state", "stop", "state"
    )
    assert before == [False, "", ""]
    assert first[0]
    assert first[1]
    assert second == first, "starting twice is one start"
    assert [after[0], after[2]] == [False, ""]
    assert await order(host, UNIT, "stop") == [None]


async def test_a_new_start_and_an_automatic_restart_are_new_generations(host: SystemdHost) -> None:
    await host.install_unit("one.service", service("ExecStart=sleep 300", "Restart=always"))
    _, first, _, _, second = await order(host, UNIT, "start", "state", "stop", "start", "state")
    assert second[0]
    assert second[1] != first[1]
    await host.run("systemctl", "kill", "--signal=KILL", "one.service")
    await shown(host, "one.service", "NRestarts", "1")
    await shown(host, "one.service", "SubState", "running")
    ((running, generation, _),) = await order(host, UNIT, "state")
    assert running
    assert generation not in (first[1], second[1])


async def test_an_unknown_unit_is_refused_by_name(host: SystemdHost) -> None:
    start, stop, state = await order(host, UNIT, "start", "stop", "state")
    assert start == {
        "error": "systemd knows no unit one.service: install it, then `daemon-reload`",
        "passing": False,
    }
    assert stop == start
    assert state == [False, "", "systemd knows no unit one.service"]


async def test_a_unit_that_would_not_start_again_is_noticed_while_it_runs(
    host: SystemdHost,
) -> None:
    unit = host.files("/usr/lib/systemd/system/one.service")
    unit.write_text(SLEEPER)
    await host.run("systemctl", "daemon-reload")
    before, _, running = await order(host, UNIT, "startable", "start", "state")
    assert before is None

    mask = host.files("/etc/systemd/system/one.service")
    mask.symlink_to("/dev/null")
    await host.run("systemctl", "daemon-reload")
    masked, again, still = await order(host, UNIT, "startable", "start", "state")
    assert masked["error"] == "unit one.service is masked: `systemctl unmask` it"
    assert (again, still) == (None, running)

    mask.unlink()
    unit.unlink()
    await host.run("systemctl", "daemon-reload")
    missing, again, still = await order(host, UNIT, "startable", "start", "state")
    assert missing["error"].startswith("systemd knows no unit one.service")
    assert (again, still) == (None, running)


async def test_a_unit_that_ends_well_at_once_still_tells_its_last_lines(host: SystemdHost) -> None:
    await host.install_unit("one.service", service("Type=exec", shell("echo all done")))
    _, waited = await order(host, UNIT, "start", "wait:60")
    assert waited["error"].endswith("; last lines:\nall done")
    assert "exited with status 0" in waited["error"]


async def test_a_look_that_systemd_hangs_up_on_is_taken_again(host: SystemdHost) -> None:
    await host.install_unit("one.service", SLEEPER)
    await host.run("systemctl", "start", "one.service")
    host.write("/usr/local/bin/systemctl", HANGS_UP_TWICE, mode=0o755)
    ((running, _, _),) = await order(host, UNIT, "state")
    assert running
    assert host.files("/srv/asked").read_text() == "xx"


async def test_a_stopped_unit_is_asked_about_once_and_its_start_by_others_is_seen(
    host: SystemdHost,
) -> None:
    await host.install_unit("one.service", SLEEPER)
    host.write("/usr/local/bin/systemctl", COUNTS, mode=0o755)
    looking = asyncio.create_task(order(host, UNIT, *["state"] * 20, "look", "state"))
    await written(host.files("/srv/asked"))
    await host.run("/usr/bin/systemctl", "start", "one.service")
    async with asyncio.timeout(30):
        *_, last = await looking
    assert last[0]
    assert host.files("/srv/asked").read_text() in ("xx", "xxx")


async def test_a_start_that_fails_tells_status_and_last_lines(host: SystemdHost) -> None:
    broken = service("Type=notify", shell("echo out of ink; exit 3"))
    await host.install_unit("one.service", broken)
    start, state = await order(host, UNIT, "start", "state")
    assert start["passing"]
    assert start["error"].startswith("unit one.service did not start: exited with status 3 0.")
    assert start["error"].endswith(" s after the start; last lines:\nout of ink")
    assert not state[0]
    assert "exited with status 3" in state[2]


async def test_a_missing_program_is_named(host: SystemdHost) -> None:
    await host.install_unit("one.service", service("Type=exec", "ExecStart=/srv/none/server"))
    (start,) = await order(host, UNIT, "start")
    assert "/srv/none/server" in start["error"]
    assert "No such file" in start["error"]


async def test_a_crash_loop_that_looks_active_does_not_pass_the_stable_window(
    host: SystemdHost,
) -> None:
    loop = service(shell("sleep 0.5; echo paper jam; exit 3"), "Restart=always", "RestartSec=1")
    await host.install_unit("one.service", loop + "[Unit]\nStartLimitIntervalSec=0\n")
    _, waited = await order(host, UNIT, "start", "wait:60")
    assert waited["passing"]
    assert "exited with status 3 0.5 s after the start" in waited["error"]
    assert waited["error"].endswith("paper jam")


async def test_a_crash_loop_faster_than_any_look_is_caught_by_the_count_of_restarts(
    host: SystemdHost,
) -> None:
    loop = service(shell("sleep 0.05; exit 3"), "Restart=always", "RestartSec=1ms")
    await host.install_unit("one.service", loop + "[Unit]\nStartLimitIntervalSec=0\n")
    _, waited = await order(host, UNIT, "start", "wait:60")
    assert "error" in waited


async def test_how_it_crashed_is_told_of_a_unit_that_is_being_started_again(
    host: SystemdHost,
) -> None:
    crash = "touch /srv/again; sleep 0.5; echo paper jam; exit 3"
    await host.install_unit(
        "one.service",
        service(
            "ExecStartPre=/bin/sh -c 'if [ -e /srv/again ]; then sleep 60; fi'",
            shell(crash),
            "Restart=always",
            "RestartSec=1ms",
        ),
    )
    await host.run("systemctl", "start", "one.service")
    await shown(host, "one.service", "SubState", "start-pre")
    ((running, _, told),) = await order(host, UNIT, "state")
    assert not running
    assert told.startswith("activating (start-pre), restart 1 by systemd; last lines:\n")
    assert "paper jam" in told
    assert "status=3" in told


async def test_a_used_up_start_limit_does_not_block_the_way_back(host: SystemdHost) -> None:
    await host.install_unit(
        "one.service",
        service(shell("test -e /srv/well && exec sleep 300; exit 1"), "Restart=always")
        + "[Unit]\nStartLimitIntervalSec=600\nStartLimitBurst=2\n",
    )
    await host.run("systemctl", "start", "one.service")
    await shown(host, "one.service", "ActiveState", "failed")
    host.files("/srv/well").touch()
    _, state = await order(host, UNIT, "start", "state")
    assert state[0]


async def test_a_unit_that_dies_while_watched_is_seen_though_systemd_is_rarely_asked(
    host: SystemdHost,
) -> None:
    await host.install_unit("one.service", service(shell("echo bye; sleep 1; exit 4")))
    _, first, waited, after = await order(host, UNIT, "start", "state", "wait:60", "state")
    assert first[0]
    assert waited["error"].startswith("exited with status 4 1.")
    assert after[2] == waited["error"]


OWN_BOOT_ID = ("ProtectSystem=", "ProtectKernel", "ProtectControlGroups=", "Private", "Read")
"""Whatever mounts something would bring out this machine's boot id from under a container's own."""


# -- the driver `process` where systemd runs the agent ------------------------------------


def command(*argv: str, **more: object) -> str:
    return json.dumps({"id": "agent", "command": argv, **more})


async def start_agent_like_unit(host: SystemdHost, driver: str) -> None:
    """Start a unit that is sandboxed as the shipped agent's, which starts the service."""
    await order_agent_like_unit(host, driver, "start", "sleep:300")
    await shown(host, "ferryman-instance-agent.service", "SubState", "running")


async def order_agent_like_unit(
    host: SystemdHost, driver: str, *orders: str, without: tuple[str, ...] = ()
) -> None:
    """Start a unit that is sandboxed as the shipped agent's, which carries orders out."""
    inside = f"{PYTHON} -m tests.lab.inside '{driver}' {' '.join(orders)}"
    shipped = (PROJECT / "systemd/ferryman-agent.service").read_text()
    lines = ["ExecStart=" + inside.replace("$", "$$").replace("%", "%%")]
    told = {**PYTHON_ENVIRONMENT, "SECRET": "agent"}
    lines += [f"Environment={name}={value}" for name, value in told.items()]
    left_out = ("ExecStart=", "Type=", *without)
    kept = [line for line in shipped.splitlines() if not line.startswith(left_out)]
    at = kept.index("[Service]") + 1
    await host.install_unit("agent-like.service", "\n".join(kept[:at] + lines + kept[at:]) + "\n")
    await host.run("systemctl", "start", "agent-like.service")


@pytest.fixture
async def release_host(host: SystemdHost) -> SystemdHost:
    """A host with a release at /srv/service/current."""
    release = host.files("/srv/service/releases/1")
    release.mkdir(parents=True)
    host.files("/srv/service/current").symlink_to("releases/1")
    program = release / "serve"
    program.write_text(
        '#!/bin/sh\nprintf "<%s>" "$@" >args\nenv -0 >env.new\nmv env.new env\nexec sleep 300\n'
    )
    program.chmod(0o755)
    return host


async def test_the_service_survives_the_end_and_the_restart_of_the_agents_unit(
    release_host: SystemdHost,
) -> None:
    host, driver = release_host, command("./serve", under_systemd=True)
    await start_agent_like_unit(host, command("./serve"))
    (before,) = await order(host, driver, "state")
    assert before[0]
    await host.run("systemctl", "restart", "agent-like.service")
    await host.run("systemctl", "stop", "agent-like.service")
    (after,) = await order(host, driver, "state")
    assert after == before
    await order(host, driver, "stop")
    ((running, _, detail),) = await order(host, driver, "state")
    assert (running, detail) == (False, "")


async def test_the_service_gets_arguments_and_environment_as_written_and_nothing_is_public(
    release_host: SystemdHost,
) -> None:
    host = release_host
    secret = 'it\'s $HOME "100%n" \\ `x`\nhidden'
    argv = ("./serve", "a b", "", "$HOME", "${PATH}", "100%n", "back\\slash")
    driver = command(*argv, environment={"TOKEN": secret}, under_systemd=True)
    _, state = await order(host, driver, "start", "state")
    assert state[0]
    release = host.files("/srv/service/releases/1")
    environment = await written(release / "env")
    assert (release / "args").read_text() == "".join(f"<{word}>" for word in argv[1:])
    seen = dict(entry.partition("=")[::2] for entry in environment.split("\0"))
    assert seen["TOKEN"] == secret
    assert (seen["PORT"], seen["FERRYMAN_INSTANCE_ID"]) == ("8080", "agent")
    assert "PYTHONPATH" not in seen
    assert seen["PWD"] == "/srv/service/releases/1"
    public = await host.run("systemctl", "show", "ferryman-instance-agent.service")
    assert "EnvironmentFile" in public.output
    assert "hidden" not in public.output


async def test_an_agent_unit_passes_none_of_its_own_environment_on(
    release_host: SystemdHost,
) -> None:
    await start_agent_like_unit(release_host, command("./serve"))
    seen = await written(release_host.files("/srv/service/releases/1/env"))
    assert "SECRET" not in seen
    assert "NOTIFY_SOCKET" not in seen
    assert "WATCHDOG" not in seen


async def test_a_command_that_ends_tells_how_whatever_its_status(
    release_host: SystemdHost,
) -> None:
    for status in (0, 5):
        script = f"echo going; exit {status}"
        driver = command("/bin/sh", "-c", script, under_systemd=True)
        _, waited, state = await order(release_host, driver, "start", "wait:60", "state")
        assert waited["error"].startswith(f"exited with status {status} 0.")
        assert waited["error"].endswith("last lines:\ngoing")
        assert state[2] == waited["error"]
        _, again = await order(
            release_host, command("./serve", under_systemd=True), "start", "state"
        )
        assert again[0]
        await order(release_host, driver, "stop")


async def test_a_command_that_ignores_sigterm_is_killed_after_its_grace(
    release_host: SystemdHost,
) -> None:
    stubborn = 'trap "" TERM; echo ready; while :; do sleep 0.1; done'
    driver = command("/bin/sh", "-c", stubborn, grace=0.5, under_systemd=True)
    _, _, stopped, state = await order(release_host, driver, "start", "sleep:0.5", "stop", "state")
    assert stopped is None
    assert state == [False, "", ""]


async def test_a_service_from_before_the_agent_became_a_unit_is_found_and_stopped(
    release_host: SystemdHost,
) -> None:
    host = release_host
    _, by_hand = await order(host, command("./serve", under_systemd=False), "start", "state")
    driver = command("./serve", under_systemd=True)
    found, _, still, _, after = await order(
        host, driver, "state", "start", "state", "stop", "state"
    )
    assert found == by_hand == still
    assert after == [False, "", ""]


async def test_such_a_service_is_found_and_stopped_out_of_the_agents_sandbox_too(
    release_host: SystemdHost,
) -> None:
    host, by_hand = release_host, command("./serve", under_systemd=False)
    _, before = await order(host, by_hand, "start", "state")
    orders = ("start", "state", "stop", "state")
    await order_agent_like_unit(host, command("./serve"), *orders, without=OWN_BOOT_ID)
    await shown(host, "agent-like.service", "SubState", "auto-restart", "dead", "failed")
    said = await host.run("journalctl", "-u", "agent-like.service", "-o", "cat", "-n", "20")
    lines = [line for line in said.output.splitlines() if line.startswith(("[", "null", "{"))]
    assert [json.loads(line) for line in lines[:4]] == [None, before, None, [False, "", ""]]
    (after,) = await order(host, by_hand, "state")
    assert after == [False, "", ""]


# -- waiting -----------------------------------------------------------------------------


async def shown(host: SystemdHost, unit: str, name: str, *wanted: str) -> None:
    """Wait until a property of a unit has one of the wanted values."""
    value = ""
    try:
        async with asyncio.timeout(20):
            while value not in wanted:
                await asyncio.sleep(0.02)
                answer = await host.run("systemctl", "show", f"--property={name}", "--value", unit)
                value = answer.output.strip()
    except TimeoutError:
        pytest.fail(f"{unit}: {name} is {value!r}, not one of {wanted}")


async def written(path: Path) -> str:
    """Wait for a file and return its text."""
    async with asyncio.timeout(20):
        while True:
            text = _text(path)
            if text is not None:
                return text
            await asyncio.sleep(0.02)


def _text(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


async def test_a_command_is_stopped_though_its_environment_can_not_be_removed(
    release_host: SystemdHost,
) -> None:
    driver = command("./serve", under_systemd=True)
    await order(release_host, driver, "start")
    (file,) = release_host.files("/var/lib/ferryman-agent/drivers").rglob("environment")
    file.unlink()
    file.mkdir()
    stopped, state = await order(release_host, driver, "stop", "state")
    assert (stopped, state) == (None, [False, "", ""])
    file.rmdir()
