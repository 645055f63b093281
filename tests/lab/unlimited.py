"""A coordinator that gives everybody as much as it asks for: what the limits are compared with.

`python -m tests.lab.unlimited CONFIG` runs it as the daemon would.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

from coordinator.app import Coordinator, Limits, serve
from coordinator.config import load_settings
from coordinator.gate import GateLimits
from coordinator.http.fairness import RequestLimits
from protocol.bucket import Rate
from tests.parts.daemons import CoordinatorDaemon

ANYTHING = Rate(each_second=1e12, burst=1e12)
NONE = Limits(
    gate=GateLimits(each=100_000, together=100_000, dials=ANYTHING),
    requests=RequestLimits(known=ANYTHING, strangers=ANYTHING),
    frames=ANYTHING,
)


class UnlimitedCoordinator(CoordinatorDaemon):
    """The daemon without its limits."""

    def __init__(self, data_dir: Path, *, heartbeat: float) -> None:
        super().__init__(data_dir, heartbeat=heartbeat)
        config = self._argv[-1]
        self._argv = [sys.executable, "-m", "tests.lab.unlimited", config]


async def _run(config: Path) -> None:
    settings = load_settings(config)
    async with Coordinator(settings, limits=NONE) as coordinator, serve(coordinator):
        print("ready", flush=True)
        await coordinator.failed()


def main() -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(Path(sys.argv[1])))


if __name__ == "__main__":
    main()
