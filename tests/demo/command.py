"""The command `ferryman` as a person runs it: shown, its output on the demo's own terminal."""

from __future__ import annotations

import asyncio
import contextlib

from tests.demo.fleet import Fleet
from tests.demo.telling import ClaimError, Teller
from tests.parts.daemons import BIN

ENDED_WITHIN = 60.0
INTERRUPTED_WITHIN = 1.0


class Shell:
    """Runs `ferryman` against one fleet. Nothing it starts is left when it returns."""

    def __init__(self, fleet: Fleet, teller: Teller) -> None:
        self._fleet = fleet
        self._teller = teller

    async def show(self, *arguments: str) -> int:
        """Run a command where the person sees it; returns its exit code."""
        self._teller.command(["ferryman", *arguments])
        process = await asyncio.create_subprocess_exec(
            str(BIN / "ferryman"),
            *arguments,
            env=self._fleet.coordinator.environment(),
            stdin=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(ENDED_WITHIN):
                return await process.wait()
        except TimeoutError:
            raise ClaimError(f"the command did not end within {ENDED_WITHIN:g} s") from None
        finally:
            if process.returncode is None:
                await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ctrl-C on a terminal reaches the command, too: let it say its last words."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(INTERRUPTED_WITHIN):
            await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()
