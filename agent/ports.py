"""What the executor needs from outside: a `Driver` for the service, a `HealthCheck`.

Adapters translate foreign exceptions into `StepError`, whose text is meant for people.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class StepError(Exception):
    """A step failed. `passing` says that another attempt may help.

    `retry_after` is how many seconds a server asked to be left alone before it, 0.0 for none.
    """

    def __init__(self, message: str, *, passing: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.message = message
        self.passing = passing
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What the host says of a service now.

    `generation` changes whenever the service was started anew (a restart count, a pid
    with its start time); two equal generations with `running` mean: it never went away.
    """

    running: bool
    generation: str = ""
    detail: str = ""
    """Why it does not run, for people: exit status, signal, the last lines of its output."""


class Driver(Protocol):
    """Starts and stops one instance's service, which is never the agent's child."""

    async def check_startable(self, current: Path) -> None:
        """Look, before anything is stopped, whether the host would start any release at all.

        Raises `StepError` if it would not, whatever the release (unit missing or masked).
        `current` is as for `start`.
        """
        ...

    async def start(self, current: Path, environment: Mapping[str, str]) -> None:
        """Start the service with `current` as the working directory. Starting twice is one start.

        Raises `StepError` if it can't be started (command missing, unit unknown).
        """
        ...

    async def stop(self) -> None:
        """Stop the service and wait until it is gone. Stopping a stopped one is no error.

        Raises `StepError` if it won't go.
        """
        ...

    async def state(self) -> ServiceState:
        """Look at the service. Never raises for a service that merely does not run.

        Raises `StepError` if the host can't tell.
        """
        ...

    async def last_lines(self) -> str:
        """Return what the service wrote last, at most ten lines; "" if that is not known."""
        ...


class HealthCheck(Protocol):
    """One try of a health check."""

    async def probe(self, current: Path, timeout: float) -> str:
        """Return "" if healthy, else why not, for people. Ends within `timeout` seconds."""
        ...
