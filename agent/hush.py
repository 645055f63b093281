"""Keeps the values of an instance's `environment` out of what the agent tells.

A service that fails may print its own settings, and its last lines go into the task's status,
which every viewer reads. Each value of at least `SHORTEST` characters is replaced by `$NAME`,
also where a line was cut in the middle of it. What a service makes of a value before it prints
it (encodes, reverses, splits it) is not known here, and its own log is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from agent.output import visible
from agent.ports import Driver, HealthCheck, ServiceState, StepError

SHORTEST = 8
"""Shorter values are everywhere ("8080", "true"), and no secrets."""


class Hush:
    """Replaces the values of an environment in a text for people."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        found = {
            visible(line.rstrip()): f"${name}"
            for name, value in environment.items()
            for line in value.splitlines()
        }
        longest_first = sorted(found.items(), key=lambda pair: -len(pair[0]))
        self._names = {line: name for line, name in longest_first if len(line) >= SHORTEST}

    def __call__(self, text: str) -> str:
        """The text with names instead of values."""
        for value, name in self._names.items():
            text = text.replace(value, name)
        if not self._names:
            return text
        return "\n".join(self._without_pieces(line) for line in text.split("\n"))

    def _without_pieces(self, line: str) -> str:
        """A line that was cut may end with the beginning of a value, or begin with its end."""
        for value, name in self._names.items():
            for length in range(len(value) - 1, SHORTEST - 1, -1):
                if line.endswith(value[:length]):
                    line = line[:-length] + name
                if line.startswith(value[-length:]):
                    line = name + line[length:]
        return line

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise what a step raises with names instead of values."""
        try:
            yield
        except StepError as error:
            raise StepError(
                self(error.message), passing=error.passing, retry_after=error.retry_after
            ) from None


class HushedDriver:
    """A driver that does not tell values."""

    def __init__(self, driver: Driver, hush: Hush) -> None:
        self._driver = driver
        self._hush = hush

    async def check_startable(self, current: Path) -> None:
        """As the driver does."""
        with self._hush.errors():
            await self._driver.check_startable(current)

    async def start(self, current: Path, environment: Mapping[str, str]) -> None:
        """As the driver does."""
        with self._hush.errors():
            await self._driver.start(current, environment)

    async def stop(self) -> None:
        """As the driver does."""
        with self._hush.errors():
            await self._driver.stop()

    async def state(self) -> ServiceState:
        """As the driver does."""
        with self._hush.errors():
            state = await self._driver.state()
        return replace(state, detail=self._hush(state.detail)) if state.detail else state

    async def last_lines(self) -> str:
        """As the driver does."""
        return self._hush(await self._driver.last_lines())


class HushedCheck:
    """A health check that does not tell values."""

    def __init__(self, check: HealthCheck, hush: Hush) -> None:
        self._check = check
        self._hush = hush

    async def probe(self, current: Path, timeout: float) -> str:
        """As the check does."""
        return self._hush(await self._check.probe(current, timeout))
