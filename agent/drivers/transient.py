"""A transient unit: how a command becomes a service where the agent is one of systemd's.

The service gets a cgroup of its own, outside the agent's and its sandbox (field note 30),
so stopping, restarting or upgrading the agent's unit does not touch it. systemd keeps its
state, the journal its output. The unit is gone after a reboot, like a plain process.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent.drivers import systemctl
from agent.drivers.systemctl import UnitState
from agent.drivers.unit import UnitWatch
from agent.ports import ServiceState, StepError


class TransientUnit:
    """One instance's service as the unit `ferryman-instance-ID.service`.

    `state_dir` holds the environment file; `grace` is how many seconds SIGTERM has before
    SIGKILL.
    """

    def __init__(self, instance_id: str, state_dir: Path, *, grace: float) -> None:
        self._instance_id = instance_id
        self._unit = f"ferryman-instance-{instance_id}.service"
        self._environment_file = state_dir / "environment"
        self._grace = grace
        self._watch = UnitWatch(self._unit, is_running)

    async def start(
        self,
        command: Sequence[str],
        directory: Path,
        environment: Mapping[str, str],
        *,
        user: str = "",
    ) -> None:
        """Start `command` (its program an absolute path) in `directory`, unless it runs.

        `user` is whom it runs as, "" for root.
        """
        if is_running(await systemctl.show(self._unit)):
            return
        await self.stop()
        try:
            self._write_environment(environment)
        except OSError as error:
            raise StepError(f"could not write the environment: {error}", passing=True) from error
        self._watch.starting()
        answer = await systemctl.run(
            *self._invocation(directory, user),
            *map(_literal, command),
            seconds=systemctl.JOB_SECONDS,
        )
        self._watch.forget()
        if answer.status and not is_running(await systemctl.show(self._unit)):
            raise await self._watch.start_error(answer)

    async def stop(self) -> None:
        """Stop the unit, wait until its whole cgroup is empty, and let systemd forget it."""
        unit = await systemctl.show(self._unit)
        if unit.unknown:
            return
        answer = await systemctl.stop(self._unit)
        self._watch.forget()
        if answer.status and not (await systemctl.show(self._unit)).unknown:
            raise StepError(f"unit {self._unit} did not stop: {answer.error}", passing=True)
        await systemctl.reset_failed(self._unit)
        with contextlib.suppress(OSError):  # it is stopped, and the next start removes it, too
            self._environment_file.unlink(missing_ok=True)

    async def state(self) -> ServiceState:
        """Look at the unit."""
        state = await self._watch.look()
        # No unit means: never started, or stopped and forgotten. That needs no reason.
        return state if state.running or state.generation else ServiceState(running=False)

    async def last_lines(self) -> str:
        """Return the last lines that the service wrote since its start."""
        return await self._watch.last_lines()

    def _invocation(self, directory: Path, user: str) -> list[str]:
        properties = {
            "WorkingDirectory": directory,
            "EnvironmentFile": self._environment_file,
            "TimeoutStopSec": self._grace,
            "OOMPolicy": "continue",
            **({"User": user} if user else {}),
        }
        return [
            "systemd-run",
            "--quiet",
            f"--unit={self._unit}",
            f"--description=Ferryman instance {self._instance_id}",
            "--service-type=exec",
            # A command that ends with status 0 stays visible as "active (exited)".
            "--remain-after-exit",
            *(f"--property={name}={value}" for name, value in properties.items()),
            "--",
        ]

    def _write_environment(self, environment: Mapping[str, str]) -> None:
        """Write the environment where only root reads it: a unit's settings are public."""
        self._environment_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._environment_file.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        text = "".join(f"{name}={quoted(value)}\n" for name, value in environment.items())
        with os.fdopen(os.open(self._environment_file, flags, 0o600), "w") as file:
            file.write(text)


def is_running(unit: UnitState) -> bool:
    """Tell whether the command itself runs; "active (exited)" is not running here."""
    return unit.active in ("active", "reloading") and unit.sub != "exited"


def quoted(value: str) -> str:
    """Quote a value for systemd's EnvironmentFile (systemd.exec(5))."""
    return '"' + "".join("\\" + c if c in '"\\`$' else c for c in value) + '"'


def _literal(argument: str) -> str:
    """Keep systemd from expanding variables in an argument."""
    return argument.replace("$", "$$")
