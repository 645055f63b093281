"""Drivers put to work inside a host: reads orders as JSON, prints what came of each.

    python -m tests.lab.inside '{"unit": "x.service"}' start state wait:3 sleep:60

The first argument describes the driver; `wait:S` is the stable window of S seconds; `look`
looks again and again until the service runs.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from agent.drivers.process import ProcessDriver
from agent.drivers.systemd import SystemdDriver
from agent.health import RunningCheck, wait_healthy
from agent.ports import Driver, StepError
from tests.parts.waiting import until

CURRENT = Path("/srv/service/current")


def make_driver(said: dict[str, Any]) -> Driver:
    if "unit" in said:
        return SystemdDriver(said["unit"])
    state_dir = Path("/var/lib/ferryman-agent/drivers") / said["id"]
    return ProcessDriver(
        said["id"],
        said["command"],
        state_dir,
        said.get("environment", {}),
        grace=said.get("grace", 10.0),
        under_systemd=said.get("under_systemd"),
    )


async def obey(driver: Driver, order: str) -> list[object] | None:
    word, _, argument = order.partition(":")
    match word:
        case "start":
            await driver.start(CURRENT, {"PORT": "8080"})
        case "startable":
            await driver.check_startable(CURRENT)
        case "stop":
            await driver.stop()
        case "state":
            state = await driver.state()
            return [state.running, state.generation, state.detail]
        case "look":
            await until(driver.state, lambda state: state.running, every=0.02)
        case "wait":
            window = {"interval": 0.1, "timeout": 10, "stable": float(argument)}
            await wait_healthy(driver, RunningCheck(), CURRENT, **window)
        case "sleep":
            await asyncio.sleep(float(argument))
        case _:
            raise ValueError(f"unknown order {order}")
    return None


async def main(said: str, *orders: str) -> None:
    driver = make_driver(json.loads(said))
    for order in orders:
        result: object
        try:
            result = await obey(driver, order)
        except StepError as error:
            result = {"error": error.message, "passing": error.passing}
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
