"""One systemd unit watched for a driver: does it run, since when, and why not.

The rule for cheapness: systemd is asked only when the unit's main process or its run
changed, and once a minute. It starts and stops nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from agent.drivers import systemctl
from agent.drivers.procfs import ProcessId, read_stat
from agent.drivers.systemctl import Answer, UnitState
from agent.drivers.unit_log import last_lines, lines_since
from agent.moments import boot_id
from agent.output import with_lines
from agent.ports import ServiceState, StepError

_TRUST_SECONDS = 60.0
"""How long what systemd said may stand for the unit's state."""


class UnitWatch:
    """Looks at `unit`; `runs` says which of its states count as running."""

    def __init__(self, unit: str, runs: Callable[[UnitState], bool]) -> None:
        self._unit = unit
        self._runs = runs
        self._main: ProcessId | None = None
        self._asked_at = -math.inf
        self._started_us = 0
        self._last = UnitState()
        self._known = ServiceState(running=False)

    async def look(self) -> ServiceState:
        """Return the service's state. Raises `StepError` only if systemd can't be asked."""
        if not self._still_true():
            unit = await systemctl.show(self._unit)
            if unit != self._last:
                self._known = await self._describe(unit)
            self._last, self._asked_at = unit, time.monotonic()
            self._main = _process(unit.main_pid) if self._known.running else None
        return self._known

    def forget(self) -> None:
        """Ask systemd at the next look: the unit was just started or stopped."""
        self._asked_at = -math.inf

    def starting(self) -> None:
        """Take note that the unit is being started: what it writes from now on is of interest."""
        self._started_us = time.monotonic_ns() // 1000

    async def last_lines(self) -> str:
        """Return what the unit wrote last, at all its starts if systemd restarted it."""
        try:
            unit = await systemctl.show(self._unit)
        except StepError:
            return ""
        return await self._lines_of(unit)

    async def start_error(self, answer: Answer) -> StepError:
        """Explain why systemd did not start the unit; another attempt may help."""
        unit = await systemctl.show(self._unit)
        told = answer.error.partition("\n")[0]
        cause = told if unit.was_stopped else await self._why_not(unit)
        return StepError(f"unit {self._unit} did not start: {cause}", passing=True)

    def _still_true(self) -> bool:
        if time.monotonic() - self._asked_at >= _TRUST_SECONDS:
            return False
        if self._main is not None:
            return self._main.exists()
        run = self._last.lasting_run
        return run is not None and run == systemctl.run_in_hand(self._last.name)

    async def _describe(self, unit: UnitState) -> ServiceState:
        if self._runs(unit):
            return ServiceState(running=True, generation=unit.generation)
        if unit.unknown:
            return ServiceState(running=False, detail=f"systemd knows no unit {self._unit}")
        stopped = unit.was_stopped and unit.active == "inactive"
        detail = "" if stopped else await self._why_not(unit)
        return ServiceState(running=False, generation=unit.generation, detail=detail)

    async def _why_not(self, unit: UnitState) -> str:
        """Say why the unit does not run, with the last lines of its journal."""
        reason = unit.ending() + (", systemd will restart it" if unit.restarting else "")
        return with_lines(reason, await self._lines_of(unit))

    async def _lines_of(self, unit: UnitState) -> str:
        if unit.was_restarted:
            # How the run before ended is nowhere else once the next one has begun.
            return await lines_since(self._unit, self._started_us, of_systemd=True)
        if not unit.invocation:
            # systemd forgets a unit that ended well.
            return await lines_since(self._unit, self._started_us)
        return await last_lines(self._unit, unit)


def unloadable(unit_name: str, unit: UnitState) -> str:
    """Say why systemd would start no such unit, whatever its program; "" if it would."""
    match unit.load:
        case "not-found":
            return f"systemd knows no unit {unit_name}: install it, then `daemon-reload`"
        case "masked":
            return f"unit {unit_name} is masked: `systemctl unmask` it"
        case "bad-setting" | "error":
            return f"unit {unit_name} can't be loaded ({unit.load}): see `systemctl status`"
        case _:
            return ""


def _process(pid: int) -> ProcessId | None:
    stat = read_stat(pid) if pid else None
    return ProcessId(pid, stat.start, boot_id()) if stat else None
