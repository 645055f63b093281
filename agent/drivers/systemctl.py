"""`systemctl` with fixed arguments: no shell, bounded, answers in words.

Both drivers that leave a service to systemd use this. It decides nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.output import readable
from agent.ports import StepError

_PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,NRestarts,MainPID,Result,ExecMainCode,ExecMainStatus,"
    "ExecMainStartTimestampMonotonic,ExecMainExitTimestampMonotonic,InvocationID,"
    "InactiveExitTimestampMonotonic"
)
# ExecMainCode is si_code of waitid(2); 3 is "dumped core".
_EXITED, _KILLED = "1", "2"
_PLAIN_RESULTS = ("success", "exit-code", "signal")
_RUNS = Path("/run/systemd/units")
_QUERY_SECONDS = 10.0
_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds between two tries to ask systemd."""

JOB_SECONDS = 300.0
"""A start or stop job may take this long; systemd's own limits end it earlier (90 s)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said."""

    status: int
    output: str
    error: str


@dataclass(frozen=True, slots=True)
class UnitState:
    """One unit as `systemctl show` tells it."""

    name: str = ""
    load: str = ""
    active: str = ""
    sub: str = ""
    restarts: str = ""
    main_pid: int = 0
    result: str = ""
    exit_code: str = ""
    exit_status: str = ""
    started_us: int = 0
    exited_us: int = 0
    invocation: str = ""
    began_us: int = 0
    """When it last left "inactive", before its first command ran."""

    @property
    def unknown(self) -> bool:
        """Tell whether systemd has no such unit."""
        return self.load == "not-found"

    @property
    def generation(self) -> str:
        """Return what changes with every start, automatic restarts included."""
        return f"{self.invocation}-{self.restarts}" if self.invocation else ""

    @property
    def lasting_run(self) -> str | None:
        """Return the run that stays until somebody acts, "" for none; None if it is changing."""
        if self.active in ("inactive", "failed"):
            return ""
        return self.invocation if self.active == "active" else None

    @property
    def restarting(self) -> bool:
        """Tell whether systemd is about to start it again by itself."""
        return self.sub == "auto-restart"

    @property
    def was_restarted(self) -> bool:
        """Tell whether systemd has started it again by itself since it was last asked to."""
        return self.restarts not in ("", "0")

    @property
    def was_stopped(self) -> bool:
        """Tell whether it was never started, or ended because somebody stopped it."""
        return self.result == "success" and (not self.exited_us or self.exit_code == _KILLED)

    def ending(self) -> str:
        """Say why it does not run: "exited with status 3 2.1 s after the start"."""
        if self.active in ("activating", "deactivating") and not self.restarting:
            again = f", restart {self.restarts} by systemd" if self.was_restarted else ""
            return f"{self.active} ({self.sub}){again}"
        if self.was_stopped:
            return "stopped"
        if not self.exited_us:
            return f"failed ({self.result})"
        how = "exited with status" if self.exit_code == _EXITED else "killed by signal"
        lived = max(0, self.exited_us - self.started_us) / 1e6
        cause = "" if self.result in _PLAIN_RESULTS else f" ({self.result})"
        return f"{how} {self.exit_status} {lived:.1f} s after the start{cause}"


def runs_systemd() -> bool:
    """Tell whether systemd is this host's process 1."""
    return Path("/run/systemd/system").is_dir()


async def start(unit: str) -> Answer:
    """Start a unit and wait for the job."""
    return await run("systemctl", "start", "--", unit, seconds=JOB_SECONDS)


async def stop(unit: str) -> Answer:
    """Stop a unit and wait for the job."""
    return await run("systemctl", "stop", "--", unit, seconds=JOB_SECONDS)


async def reset_failed(unit: str) -> None:
    """Forget a unit's failures and its count of starts; a unit without any is no error."""
    await run("systemctl", "reset-failed", "--", unit)


async def show(unit: str) -> UnitState:
    """Look at a unit. Raises `StepError` if systemd can't be asked, also not a little later.

    systemd hangs up on everybody when it executes itself anew, as an upgrade makes it do.
    """
    pauses = iter(_PAUSES if runs_systemd() else ())
    while (answer := await _ask(unit)).status:
        pause = next(pauses, None)
        if pause is None:
            raise StepError(
                f"systemd could not be asked about {unit}: {answer.error}", passing=True
            )
        await asyncio.sleep(pause)
    return parse_show(answer.output)


async def _ask(unit: str) -> Answer:
    return await run("systemctl", "show", f"--property={_PROPERTIES}", "--", unit)


def parse_show(output: str) -> UnitState:
    """Read the answer of `systemctl show`; what is missing in it is left empty."""
    values = dict(line.partition("=")[::2] for line in output.splitlines())
    return UnitState(
        name=values.get("Id", ""),
        load=values.get("LoadState", ""),
        active=values.get("ActiveState", ""),
        sub=values.get("SubState", ""),
        restarts=values.get("NRestarts", ""),
        main_pid=_number(values, "MainPID"),
        result=values.get("Result", ""),
        exit_code=values.get("ExecMainCode", ""),
        exit_status=values.get("ExecMainStatus", ""),
        started_us=_number(values, "ExecMainStartTimestampMonotonic"),
        exited_us=_number(values, "ExecMainExitTimestampMonotonic"),
        invocation=values.get("InvocationID", ""),
        began_us=_number(values, "InactiveExitTimestampMonotonic"),
    )


def run_in_hand(unit: str) -> str | None:
    """Return the unit's run as systemd notes it for the journal, without asking systemd.

    "" for a unit that is not active, None if it can't be told here. `unit` is no alias.
    """
    try:
        return os.readlink(_RUNS / f"invocation:{unit}")
    except FileNotFoundError:
        return "" if _RUNS.is_dir() else None
    except OSError:
        return None


async def run(*argv: str, seconds: float = _QUERY_SECONDS) -> Answer:
    """Run a command to its end. Raises `StepError` if it is missing or takes too long."""
    # A `systemctl` that fails would tell its errno to the agent's own unit.
    environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
    except OSError as error:
        raise StepError(f"{argv[0]} could not be run: {error}") from error
    try:
        async with asyncio.timeout(seconds):
            output, complaint = await process.communicate()
    except TimeoutError as error:
        raise StepError(f"{argv[0]} {argv[1]} gave no answer", passing=True) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Answer(
        status=process.returncode or 0,
        output=output.decode(errors="replace"),
        error=readable(complaint.decode(errors="replace")),
    )


def _number(values: Mapping[str, str], name: str) -> int:
    text = values.get(name, "")
    return int(text) if text.isdigit() else 0
