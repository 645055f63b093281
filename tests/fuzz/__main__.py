"""The full run: so many executions of each target, two at a time; fails below the floor."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.fuzz.runs import Fuzzed, fuzz

SHARES = {"codec": 450_000, "http": 300_000, "archive": 200_000, "settings": 100_000}
FLOOR = 1_000_000
AT_ONCE = 2
WITHIN = 1_200.0
"""Seconds for all of it; on two free cores it takes about two minutes."""


async def run_all() -> list[Fuzzed]:
    places = asyncio.Semaphore(AT_ONCE)

    async def one(name: str, runs: int) -> Fuzzed:
        async with places:
            done = await fuzz(name, Path(tempfile.mkdtemp(prefix=f"ferryman-{name}-")), runs)
            print(done, done.found, flush=True)
            return done

    async with asyncio.timeout(WITHIN):
        return list(await asyncio.gather(*(one(*share) for share in SHARES.items())))


def main() -> None:
    done = asyncio.run(run_all())
    total = sum(one.executions for one in done)
    print(f"{total:,} executions; the floor is {FLOOR:,}")
    if total < FLOOR or any(one.found for one in done):
        sys.exit(1)


if __name__ == "__main__":
    main()
