"""Services of the process driver for tests: a release, drivers over one state, waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from agent.drivers.process import ProcessDriver
from agent.ports import ServiceState

MakeDriver = Callable[..., ProcessDriver]


def make_release(folder: Path) -> Path:
    """Make an empty release; return the `current` link that drivers are given."""
    release = folder / "releases" / "1"
    release.mkdir(parents=True)
    current = folder / "current"
    current.symlink_to(release)
    return current


@asynccontextmanager
async def drivers_over(state_dir: Path) -> AsyncIterator[MakeDriver]:
    """Make drivers over one state directory, as an agent does at each of its starts."""
    async with AsyncExitStack() as cleanup:

        def make(
            *command: str,
            grace: float = 10.0,
            environment: Mapping[str, str] | None = None,
            user: str = "",
        ) -> ProcessDriver:
            driver = ProcessDriver(
                "instance-1",
                command,
                state_dir,
                environment or {},
                user=user,
                grace=grace,
                under_systemd=False,
            )
            cleanup.push_async_callback(driver.stop)
            return driver

        yield make


def script(release: Path, name: str, *lines: str) -> None:
    path = release / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)


async def until(found: Callable[[], bool | Awaitable[bool]]) -> None:
    async with asyncio.timeout(15):
        while True:
            result = found()
            if result if isinstance(result, bool) else await result:
                return
            await asyncio.sleep(0.01)


async def until_ended(driver: ProcessDriver) -> ServiceState:
    async def ended() -> bool:
        return not (await driver.state()).running

    await until(ended)
    return await driver.state()


def proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


async def pid_of(driver: ProcessDriver) -> int:
    return int((await driver.state()).generation.partition("-")[0])
