"""The processes that belong to a demo's folder, found by what `/proc` says of them.

That needs no list of pids, which could name somebody else's process by now, and it sees
what a demo left behind that was killed. A shell or an editor in the folder is not one of
them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from agent.config import load_config
from agent.drivers.procfs import ProcessId, read_stat
from agent.moments import boot_id
from protocol.settings import SettingsError
from tests.parts.daemons import stop_service
from tests.parts.waiting import until

OURS = ("ferryman-coordinator", "ferryman-agent", "tests.demo.packages")
TERMINATED_WITHIN = 15.0


def daemons_of(folder: Path) -> dict[ProcessId, str]:
    """The daemons that have something of the folder in their arguments."""
    found = {}
    for pid, argv in _processes():
        names = {os.path.basename(word) for word in argv[:3]}
        if names.intersection(OURS) and any(word.startswith(f"{folder}/") for word in argv):
            stat = read_stat(pid)
            if stat is not None and not stat.dead:
                found[ProcessId(pid, stat.start, boot_id())] = " ".join(argv)
    return found


def services_of(folder: Path) -> dict[int, str]:
    """The processes that run inside the releases of the folder."""
    found = {}
    for pid, argv in _processes():
        with contextlib.suppress(OSError):
            inside = os.readlink(f"/proc/{pid}/cwd")
            if inside.startswith(f"{folder}/") and "/releases/" in inside:
                found[pid] = " ".join(argv)
    return found


async def end_everything(folder: Path) -> list[str]:
    """End the daemons first, so that nothing starts a service again, then the services.

    Returns the daemons that did not end by SIGTERM and were killed.
    """
    daemons = daemons_of(folder)
    for daemon in daemons:
        daemon.send(signal.SIGTERM)
    with contextlib.suppress(AssertionError):
        await until(lambda: not any(d.exists() for d in daemons), within=TERMINATED_WITHIN)
    stubborn = [name for daemon, name in daemons.items() if daemon.exists()]
    for daemon in daemons:
        daemon.send(signal.SIGKILL)
    await asyncio.gather(*(_end_services_of(config) for config in configs_of(folder)))
    return stubborn


def configs_of(folder: Path) -> list[Path]:
    """The settings of the agents."""
    return sorted(folder.glob("demo-*.toml"))


async def _end_services_of(file: Path) -> None:
    try:
        config = load_config(file)
    except SettingsError:
        return
    for instance in config.instances:
        await stop_service(config.state_dir, instance.id, instance.command or ())


def _processes() -> Iterator[tuple[int, list[str]]]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            yield int(process.name), words[:-1]
