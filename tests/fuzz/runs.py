"""Runs of the targets in processes of their own, and how many executions each made."""

from __future__ import annotations

import asyncio
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.seeds import LONGEST

SEED = 20_260_101
EACH_WITHIN = 10
"""Seconds that one input may take."""
MEMORY = 1024
"""Megabytes that a target may have."""


@dataclass(frozen=True, slots=True)
class Fuzzed:
    """What became of one target."""

    name: str
    executions: int
    seconds: float
    found: str
    """What the fuzzer said when it found something; "" if it found nothing."""

    def __str__(self) -> str:
        rate = self.executions / max(self.seconds, 1e-9)
        return (
            f"{self.name}: {self.executions:,} executions in {self.seconds:.0f} s ({rate:,.0f}/s)"
        )


async def fuzz(name: str, folder: Path, runs: int) -> Fuzzed:
    """Execute one target so many times; it ends earlier only if it finds something."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.fuzz.one", name, str(folder)),
        *(f"-runs={runs}", f"-seed={SEED}", f"-max_len={LONGEST}"),
        *(f"-timeout={EACH_WITHIN}", f"-rss_limit_mb={MEMORY}", "-print_final_stats=1"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said = (await process.communicate())[0].decode(errors="replace")
    counted = re.search(r"stat::number_of_executed_units:\s*(\d+)", said)
    return Fuzzed(
        name,
        executions=int(counted[1]) if counted else 0,
        seconds=loop.time() - began,
        found="" if process.returncode == 0 else said[-10_000:],
    )
