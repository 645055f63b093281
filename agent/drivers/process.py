"""The `process` driver: the agent starts the command itself, and the command outlives it.

Where systemd runs the agent, the service becomes a transient unit; elsewhere it is a
detached process. Either way the command must stay in the foreground: what puts itself
into another session can't be followed. A command that ends is not started again here;
the agent reports it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent.command import release_directory, resolve_command, service_environment
from agent.drivers.detached import DetachedProcess
from agent.drivers.systemctl import runs_systemd
from agent.drivers.transient import TransientUnit
from agent.ports import ServiceState, StepError
from agent.service_user import find_user

GRACE_SECONDS = 10.0


class ProcessDriver:
    """Starts and stops one instance's command.

    `state_dir` is this instance's own directory for the driver's files; `environment` is
    the configured one; `user` is whom the command runs as, "" for the agent's own user.
    `grace` is how many seconds SIGTERM has before SIGKILL.
    `under_systemd` says whether to use a transient unit; None finds out.
    """

    def __init__(
        self,
        instance_id: str,
        command: Sequence[str],
        state_dir: Path,
        environment: Mapping[str, str],
        *,
        user: str = "",
        grace: float = GRACE_SECONDS,
        under_systemd: bool | None = None,
    ) -> None:
        self._command = tuple(command)
        self._environment = dict(environment)
        self._user = user
        mark = f"FERRYMAN_INSTANCE_ID={instance_id}"
        self._identity = {"FERRYMAN_INSTANCE_ID": instance_id}
        self._detached = DetachedProcess(state_dir, mark, grace=grace)
        if under_systemd is None:
            under_systemd = started_by_systemd(os.environ)
        self._unit = TransientUnit(instance_id, state_dir, grace=grace) if under_systemd else None

    async def check_startable(self, current: Path) -> None:
        """Raise `StepError` if the user, or a program that is the host's own, can't do."""
        if self._user:
            find_user(self._user)
        program = Path(self._command[0])
        of_release = any(map(program.is_relative_to, (current, current.with_name("releases"))))
        if "/" not in self._command[0] or (program.is_absolute() and not of_release):
            resolve_command(self._command, current, service_environment(self._environment)["PATH"])

    async def start(self, current: Path, environment: Mapping[str, str]) -> None:
        """Start the command inside the release that `current` leads to, unless it runs.

        Raises `StepError`: not passing if the command is missing or not executable, since
        a release never changes; passing if the host refused.
        """
        who = find_user(self._user) if self._user else None
        home = who.environment if who else {}
        full = service_environment(home, self._environment, environment, self._identity)
        try:
            directory = release_directory(current)
            argv = resolve_command(self._command, directory, full["PATH"])
        except StepError:
            if (await self.state()).running:
                return
            raise
        if self._unit is None:
            await self._detached.start(who.command(argv) if who else argv, directory, full)
        elif not self._detached.running():
            await self._unit.start(argv, directory, full, user=self._user)

    async def stop(self) -> None:
        """Stop the service with all its processes."""
        # A service may still run detached from the days before the agent became a unit.
        await self._detached.stop()
        if self._unit is not None:
            await self._unit.stop()

    async def state(self) -> ServiceState:
        """Look at the service."""
        if self._unit is None or self._detached.running():
            return await self._detached.state()
        return await self._unit.state()

    async def last_lines(self) -> str:
        """Return the last lines that the service wrote since its start."""
        if self._unit is None or self._detached.running():
            return self._detached.last_lines()
        return await self._unit.last_lines()


def started_by_systemd(environment: Mapping[str, str]) -> bool:
    """Tell whether systemd started this very process as root and can start others.

    Only then does the end of the agent's unit end what the agent started.
    """
    ours = environment.get("SYSTEMD_EXEC_PID") == str(os.getpid()) or (
        "NOTIFY_SOCKET" in environment
    )
    return ours and os.geteuid() == 0 and runs_systemd() and shutil.which("systemd-run") is not None
