"""Many agents in one process, which write down when each dials, is welcomed, or complains.

`python -m tests.lab.returning URL FOLDER FIRST COUNT JITTER` runs them until its input ends;
each has its own folder below FOLDER, with the certificate that it joined with. `Crowd` is
the other end. What is written down is a line of JSON for each `Seen`.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import random
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import uvloop

from agent.download import PackageSource
from tests.parts.local_agent import LocalAgent, LocalInstance

DIALLED, WELCOMED, COMPLAINED = "dialled", "welcomed", "complained"

_host = contextvars.ContextVar("host", default="")


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing that happened to one agent, in seconds of the machine's monotonic clock."""

    at: float
    host: str
    what: str
    text: str = ""


def host_name(number: int) -> str:
    return f"host-{number}"


class Crowd:
    """`async with Crowd(…)`: so many agents; their story is in `seen` when the block has ended."""

    def __init__(
        self, url: str, folder: Path, first: int, count: int, *, jitter: bool, log: Path
    ) -> None:
        arguments = [url, str(folder), str(first), str(count), str(int(jitter))]
        self._argv = [sys.executable, "-m", "tests.lab.returning", *arguments]
        self._log = log
        self._process: asyncio.subprocess.Process
        self.seen: list[Seen] = []

    async def __aenter__(self) -> Self:
        with self._log.open("ab") as out:
            self._process = await asyncio.create_subprocess_exec(
                *self._argv,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=out,
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        told = (await self._process.communicate())[0]
        assert self._process.returncode == 0, self._log.read_text()
        self.seen = [Seen(*json.loads(line)) for line in told.splitlines()]


class _Story(logging.Handler):
    """Writes down, and takes the agents' log for a part of it."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.seen: list[Seen] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self.note(COMPLAINED, record.getMessage())
        elif record.getMessage().startswith("connected to "):
            self.note(WELCOMED)

    def note(self, what: str, text: str = "") -> None:
        self.seen.append(Seen(time.monotonic(), _host.get(), what, text))


class _Agent(LocalAgent):
    story: _Story

    async def find_url(self) -> str:
        self.story.note(DIALLED)
        return await super().find_url()

    async def start(self) -> None:
        _host.set(self.host_id)
        await super().start()


async def _run(url: str, folder: Path, hosts: list[str], *, jitter: bool) -> None:
    story = _Story()
    logging.basicConfig(level=logging.INFO, handlers=[story])
    async with PackageSource(None) as source:
        agents = []
        for host in hosts:
            agent = _Agent(
                folder,
                host,
                [LocalInstance(f"{host}-service")],
                url=url,
                join_token="",
                source=source,
                draw=random.random if jitter else lambda: 1.0,
            )
            agent.story = story
            agents.append(agent)
            await asyncio.create_task(agent.start())
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        told = list(story.seen)
        await asyncio.gather(*(agent.stop() for agent in agents))
    for one in told:
        print(json.dumps([one.at, one.host, one.what, one.text]))


def main() -> None:
    url, folder, first, count, jitter = sys.argv[1:]
    hosts = [host_name(number) for number in range(int(first), int(first) + int(count))]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(url, Path(folder), hosts, jitter=jitter == "1"))


if __name__ == "__main__":
    main()
