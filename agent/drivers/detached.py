"""A process in a session of its own: how a service runs where no systemd can keep it.

A small shell, the supervisor, stays above the service to note its exit status. It is
started through `setsid --fork`, so neither is a child of the agent, and both outlive it.

    agent ── setsid --fork (gone at once)
    init ─── sh: supervisor, holds the lock ─── the service, leader of its own session

Three files in the state directory carry the memory. `lock` is held (flock) by whoever
starts the service, then by the supervisor as its standard input, until it has written the
exit status: a start that was cut short can't lead to a second copy. `process` is written
by the process that then becomes the service: boot id, its line of `/proc/PID/stat`, and
what it finds in its environment as `FERRYMAN_RUN`, another word at each start. By that a
process is known that left the session, as daemons do; one that cleaned its environment,
too, is not. `exit` is written by the supervisor: pid, status, and uptime at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.drivers.procfs import (
    ProcessId,
    marked_since,
    parse_stat,
    session_members,
)
from agent.moments import boot_id
from agent.output import last_lines, rotate, trim, with_lines
from agent.ports import ServiceState, StepError

_BECOME = """
exec </dev/null 2>&3 3>&-
IFS= read -r boot </proc/sys/kernel/random/boot_id
IFS= read -r stat </proc/$$/stat
printf '%s\\n%s\\n%s\\n' "$boot" "$stat" "$3" >"$1/process" || exit 125
cd "$2" || exit 125
unset OLDPWD
export FERRYMAN_RUN="$3"
shift 3
exec "$@"
"""
# Descriptor 3 is the log for the service; the supervisor's own shell must not write to it.
_SUPERVISE = """
trap : HUP INT TERM
exec 3>&2 2>/dev/null
become=$1 setsid=$2 state=$3
shift 2
"$setsid" /bin/sh -c "$become" ferryman-service "$@"
status=$?
{ read -r _; read -r pid _; } <"$state/process"
read -r uptime _ </proc/uptime
printf '%s %s %s\\n' "$pid" "$status" "$uptime" >"$state/exit"
"""

_START_SECONDS = 10.0
_SETTLE_SECONDS = 1.0
_KILLED_SECONDS = 5.0
_POLL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class _Ending:
    pid: int
    status: int
    uptime: float


class DetachedProcess:
    """One instance's service as a process of its own session, remembered in `state_dir`.

    `mark` is an entry of the service's environment ("NAME=value") that tells its orphans
    from strangers; `grace` is how many seconds SIGTERM has before SIGKILL.
    """

    def __init__(self, state_dir: Path, mark: str, *, grace: float) -> None:
        self._state_dir = state_dir
        self._mark = mark
        self._grace = grace
        self._log = state_dir / "output.log"

    def running(self) -> bool:
        """Tell whether the service runs now."""
        identity = self._identity()
        return identity is not None and identity.exists()

    async def start(
        self, command: Sequence[str], directory: Path, environment: Mapping[str, str]
    ) -> None:
        """Start `command` (its program an absolute path) in `directory`, unless it runs.

        Raises `StepError` if the host refuses; that may pass.
        """
        with _translated("could not start"):
            lock = await self._claim()
            if lock is None:
                return
            try:
                await self._end_session()
                self._forget()
                rotate(self._log)
                await self._launch(command, directory, environment, lock)
                await self._wait_recorded()
            finally:
                os.close(lock)

    async def stop(self) -> None:
        """End the service and all processes of its session: SIGTERM, later SIGKILL.

        Raises `StepError` if some remain even then.
        """
        with _translated("could not stop"):
            await self._settle()
            await self._end_session()
            await self._settle()
        with contextlib.suppress(OSError):  # it is gone, and the next start forgets it, too
            self._forget()

    async def state(self) -> ServiceState:
        """Look at the service; what a dead one left behind is in `detail`.

        Raises `StepError` if the system does not let it look.
        """
        identity = self._identity()
        if identity is None:
            return ServiceState(running=False)
        generation = f"{identity.pid}-{identity.start}"
        if identity.exists():
            trim(self._log)
            return ServiceState(running=True, generation=generation)
        with _translated("could not look at the service"):
            await self._settle()
        detail = _why(identity, self._ending(identity), last_lines(self._log))
        return ServiceState(running=False, generation=generation, detail=detail)

    def last_lines(self) -> str:
        """Return the last lines that the service wrote since its start."""
        return last_lines(self._log)

    async def _claim(self) -> int | None:
        """Take the lock and return its descriptor; None if the service turns out to run."""
        self._state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self.running():
                return None
            lock = self._try_lock()
            if lock is None:
                await asyncio.sleep(_POLL_SECONDS)
            elif self.running():
                os.close(lock)
            else:
                return lock
        raise StepError("another start of this service is under way", passing=True)

    def _try_lock(self) -> int | None:
        lock = os.open(self._state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def _forget(self) -> None:
        for name in ("process", "exit"):
            (self._state_dir / name).unlink(missing_ok=True)

    async def _launch(
        self, command: Sequence[str], directory: Path, environment: Mapping[str, str], lock: int
    ) -> None:
        setsid = shutil.which("setsid")
        if setsid is None:
            raise StepError("could not start: 'setsid' (util-linux) is missing on this host")
        argv = [setsid, "--fork", "/bin/sh", "-c", _SUPERVISE, "ferryman-supervisor"]
        argv += [_BECOME, setsid, str(self._state_dir), str(directory), secrets.token_hex(8)]
        argv += command
        log = os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            launcher = await asyncio.create_subprocess_exec(
                *argv, stdin=lock, stdout=log, stderr=log, cwd="/", env=dict(environment)
            )
        finally:
            os.close(log)
        await launcher.wait()

    async def _wait_recorded(self) -> None:
        if not await _until(lambda: self._identity() is not None, _START_SECONDS):
            tail = last_lines(self._log)
            raise StepError(f"could not start: no process came up\n{tail}", passing=True)

    async def _settle(self) -> None:
        """Wait, within bounds, for a supervisor that is still to write what it knows."""
        await _until(lambda: self.running() or not self._is_locked(), _SETTLE_SECONDS)

    def _is_locked(self) -> bool:
        """Whether a supervisor is there. It only looks, for the disk may be full."""
        try:
            lock = os.open(self._state_dir / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    async def _end_session(self) -> None:
        """End what the recorded service left running, if anything, wherever it went."""
        identity = self._identity()
        if identity is None:
            return
        if await self._ended(identity, self._grace, signal.SIGTERM, signal.SIGCONT):
            return
        if not await self._ended(identity, _KILLED_SECONDS, signal.SIGKILL):
            pids = ", ".join(str(member.pid) for member in self._members(identity))
            raise StepError(f"would not end, even killed: processes {pids}", passing=True)

    async def _ended(self, identity: ProcessId, seconds: float, *numbers: signal.Signals) -> bool:
        """Send each member these signals, once, and wait; those that come up meanwhile, too."""
        deadline = time.monotonic() + seconds
        told: set[ProcessId] = set()
        while members := self._members(identity):
            if time.monotonic() > deadline:
                return False
            for member in members:
                if member not in told:
                    told.add(member)
                    _send(member, numbers)
            if not await _until(lambda: not _any_exists(members), deadline - time.monotonic()):
                return False
        return True

    def _members(self, identity: ProcessId) -> list[ProcessId]:
        run = self._recorded()[2]
        strays = marked_since(identity, f"FERRYMAN_RUN={run}") if run else []
        return sorted({*session_members(identity, self._mark), *strays}, key=lambda one: one.pid)

    def _identity(self) -> ProcessId | None:
        boot, stat_line, _ = self._recorded()
        stat = parse_stat(stat_line)
        return ProcessId(stat.pid, stat.start, boot) if stat else None

    def _recorded(self) -> tuple[str, str, str]:
        """Boot id, line of /proc/PID/stat and run of the last start; empty if there is none."""
        text = self._read("process")
        lines = text.splitlines() if text.endswith("\n") else []
        boot, stat_line, run, *_ = [*lines, "", "", ""]
        return boot, stat_line, run

    def _ending(self, identity: ProcessId) -> _Ending | None:
        try:
            pid, status, uptime = self._read("exit").split()
            ending = _Ending(int(pid), int(status), float(uptime))
        except ValueError:
            return None
        return ending if ending.pid == identity.pid else None

    def _read(self, name: str) -> str:
        try:
            return (self._state_dir / name).read_text()
        except (OSError, UnicodeDecodeError):
            return ""


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn what the system refuses into `StepError`; that may pass."""
    try:
        yield
    except OSError as error:
        raise StepError(f"{what}: {error}", passing=True) from error


async def _until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for `condition`; False if it did not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True


def _why(identity: ProcessId, ending: _Ending | None, tail: str) -> str:
    if identity.boot != boot_id():
        return "ended when the host went down"
    if ending is None:
        return with_lines("ended; its exit status is not known", tail)
    lived = max(0.0, ending.uptime - identity.start / os.sysconf("SC_CLK_TCK"))
    return with_lines(f"{how_it_ended(ending.status)} {lived:.1f} s after the start", tail)


def _any_exists(members: Sequence[ProcessId]) -> bool:
    return any(member.exists() for member in members)


def _send(member: ProcessId, numbers: Sequence[signal.Signals]) -> None:
    for number in numbers:
        member.send(number)


def how_it_ended(status: int) -> str:
    """Say a shell's `$?` in words: "exited with status 3", "killed by signal 9 (SIGKILL)"."""
    try:
        name = signal.Signals(status - 128).name
    except ValueError:
        return f"exited with status {status}"
    return f"killed by signal {status - 128} ({name})"
