"""The `systemd` driver: the service is a unit that the operator wrote.

The unit belongs to the operator: the driver starts, stops and looks, and writes nothing.
So the service's environment is the unit's business too; `FERRYMAN_*` and `PORT` are not
passed. The unit refers to the instance's link, as in
`WorkingDirectory=/srv/user-service/current`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agent.drivers import systemctl
from agent.drivers.systemctl import UnitState
from agent.drivers.unit import UnitWatch, unloadable
from agent.ports import ServiceState, StepError


class SystemdDriver:
    """Starts and stops one existing unit."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._watch = UnitWatch(unit, is_active)

    async def check_startable(self, current: Path) -> None:
        """Raise `StepError` if systemd has no such unit or would refuse to start it."""
        state = await systemctl.show(self._unit)
        if problem := unloadable(self._unit, state):
            raise StepError(problem)

    async def start(self, current: Path, environment: Mapping[str, str]) -> None:
        """Start the unit and wait until systemd calls it started.

        Earlier failures are forgotten first: a start limit that the broken release used up
        must not block the way back. `current` and `environment` are not used.
        """
        state = await systemctl.show(self._unit)
        if is_active(state):
            return
        if problem := unloadable(self._unit, state):
            raise StepError(problem)
        await systemctl.reset_failed(self._unit)
        self._watch.starting()
        answer = await systemctl.start(self._unit)
        self._watch.forget()
        if answer.status:
            raise await self._watch.start_error(answer)

    async def stop(self) -> None:
        """Stop the unit and wait until it is gone."""
        answer = await systemctl.stop(self._unit)
        self._watch.forget()
        if answer.status:
            state = await systemctl.show(self._unit)
            if state.unknown:
                raise StepError(unloadable(self._unit, state))
            raise StepError(f"unit {self._unit} did not stop: {answer.error}", passing=True)

    async def state(self) -> ServiceState:
        """Look at the unit; one that systemd is about to restart does not run."""
        return await self._watch.look()

    async def last_lines(self) -> str:
        """Return what the unit wrote last."""
        return await self._watch.last_lines()


def is_active(unit: UnitState) -> bool:
    """Tell whether a unit serves; a oneshot unit that remains after its exit does, too."""
    return unit.active in ("active", "reloading")
