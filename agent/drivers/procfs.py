"""What `/proc` tells of processes, and signals that can't hit the wrong one.

A pid alone names nothing: it is given again to others, at the latest after a reboot. Here
a process is its pid, its start time and the boot it lived in (field note 19). Nothing here
starts a process or knows what a service is.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from agent.moments import boot_id

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process, for ever: `start` is its start time in clock ticks since boot `boot`."""

    pid: int
    start: int
    boot: str

    def exists(self) -> bool:
        """Tell whether this very process runs now; one that only awaits burial does not."""
        stat = read_stat(self.pid)
        return (
            stat is not None
            and not stat.dead
            and stat.start == self.start
            and boot_id() == self.boot
        )

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this very process; nothing happens if it is gone."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            # Looked at after the handle was opened: the handle can't pass to another process.
            if self.exists():
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            return
        finally:
            os.close(handle)


@dataclass(frozen=True, slots=True)
class Stat:
    """The fields of `/proc/PID/stat` that matter here."""

    pid: int
    dead: bool
    session: int
    start: int


def parse_stat(line: str) -> Stat | None:
    """Read a line of `/proc/PID/stat`; None if it is not one."""
    head, _, tail = line.rpartition(")")
    fields = tail.split()
    try:
        return Stat(
            pid=int(head.partition(" ")[0]),
            dead=fields[0] in "ZX",
            session=int(fields[3]),
            start=int(fields[19]),
        )
    except (ValueError, IndexError):
        return None


def read_stat(pid: int) -> Stat | None:
    """Look at a process; None if there is none with this pid."""
    try:
        return parse_stat((_PROC / str(pid) / "stat").read_text())
    except OSError:
        return None


def session_members(leader: ProcessId, mark: str) -> list[ProcessId]:
    """Return the living processes of the session that `leader` opened, itself included.

    Once the leader is gone its number may head a foreign session, so the others count
    only if their environment holds `mark` ("NAME=value").
    """
    if boot_id() != leader.boot:
        return []
    led = leader.exists()
    return [
        ProcessId(stat.pid, stat.start, leader.boot)
        for stat in _all_stats()
        if stat.session == leader.pid and not stat.dead and (led or _is_marked(stat.pid, mark))
    ]


def marked_since(first: ProcessId, mark: str) -> list[ProcessId]:
    """Return the living processes, not older than `first`, whose environment holds `mark`."""
    if boot_id() != first.boot:
        return []
    return [
        ProcessId(stat.pid, stat.start, first.boot)
        for stat in _all_stats()
        if stat.start >= first.start and not stat.dead and _is_marked(stat.pid, mark)
    ]


def _all_stats() -> list[Stat]:
    stats = (read_stat(int(name)) for name in os.listdir(_PROC) if name.isdigit())
    return [stat for stat in stats if stat is not None]


def _is_marked(pid: int, mark: str) -> bool:
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return os.fsencode(mark) in environment.split(b"\0")
