"""Starts daemons in a few milliseconds: forks of a process that has imported everything.

Each is a process of its own with the library of faults preloaded: an agent that runs
`agent.app.run`, or a coordinator that runs `coordinator.running.run`.
`python -m tests.lab.nursery` is the parent of them all; `Nursery` is its other end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self

from tests.lab import faults


class Nursery:
    """`async with Nursery(library, "agent") as nursery:` ends with the last that it started."""

    def __init__(self, library: Path, kind: Literal["agent", "coordinator"]) -> None:
        self._library = library
        self._kind = kind
        self._process: asyncio.subprocess.Process

    async def start(self, config: Path, control: Path, log: Path, *, boot: str = "") -> int:
        """Start one with this configuration, an agent in this boot; returns its pid."""
        asked = {"config": str(config), "control": str(control), "boot": boot, "log": str(log)}
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps(asked).encode() + b"\n")
        answer = await stdout.readline()
        return int(answer)

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.lab.nursery", self._kind),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "LD_PRELOAD": str(self._library)},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()


async def gone(pid: int) -> None:
    """Wait until a process that is not our child has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(handle, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)


def main() -> None:
    """Fork a daemon for each line on stdin; end with stdin, and the last daemon with it."""
    become = {"agent": _prepare_agent, "coordinator": _prepare_coordinator}[sys.argv[1]]()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    pid = 0
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            become(_prepare_process(json.loads(line)))
        print(pid, flush=True)
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _prepare_process(asked: dict[str, str]) -> dict[str, str]:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    faults.of_this_process(Path(asked["control"]))
    return asked


def _prepare_agent() -> Callable[[dict[str, str]], None]:
    from agent.app import run
    from agent.config import load_config
    from protocol.logs import log_to_stderr
    from protocol.ownership import own_folder

    def become(asked: dict[str, str]) -> None:
        log_to_stderr()
        config = load_config(Path(asked["config"]))
        with own_folder("state_dir", config.state_dir, "agent", 0o755):
            asyncio.run(run(config, boot=asked["boot"]))

    return become


def _prepare_coordinator() -> Callable[[dict[str, str]], None]:
    from coordinator.running import run

    return lambda asked: run(Path(asked["config"]), None, None)


if __name__ == "__main__":
    main()
