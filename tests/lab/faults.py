"""Faults at the n-th call by which a daemon changes the world: killed, failing, without power.

`faults.c` is compiled once and preloaded into the daemon. `Faults` is the control block that
both see: arm it, let the daemon work, look whether the point was hit. A record of what was
called tells how many points there are; nobody writes a list of them.
"""

from __future__ import annotations

import ctypes
import enum
import mmap
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")
VARIABLE = "FERRYMAN_FAULTS"
"""Names the control block's file to a program that preloads the library."""

MOST_SEEN = 8192


class Calls(enum.IntFlag):
    """Classes of calls."""

    OPEN = 1
    WRITE = 2
    RENAME = 4
    LINK = 8
    UNLINK = 16
    SYNC = 32
    MKDIR = 64
    SYMLINK = 128
    KILL = 256
    SPAWN = 512
    SEND = 1024
    TRUNCATE = 2048

    MUTATING = OPEN | WRITE | RENAME | LINK | UNLINK | SYNC | MKDIR | SYMLINK | KILL | SPAWN
    """All by which an agent changes its host."""

    @classmethod
    def of(cls, told: str) -> Calls:
        """The class of a call as `Faults.seen` tells it."""
        name = told.partition(" ")[0]
        others = {"fsync": cls.SYNC, "rmdir": cls.UNLINK, "torn": cls.RENAME}
        return others.get(name) or cls[name.upper()]


class Action(enum.IntEnum):
    """What happens at the point."""

    NONE = 0
    KILL = 1
    FAIL = 2
    POWER_CUT = 3


class _Seen(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char * 12), ("path", ctypes.c_char * 116))


class _Control(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_uint32) for name in ("classes", "at", "action", "error")),
        *((name, ctypes.c_uint32) for name in ("no_sync", "torn_links", "sticky", "pid")),
        *((name, ctypes.c_uint32) for name in ("count", "hit", "asked")),
        ("root", ctypes.c_char * 242),
        ("seen", _Seen * MOST_SEEN),
    )


def build(folder: Path) -> Path:
    """Compile the library into `folder`, and return its path."""
    library = folder / "faults.so"
    argv = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*argv, "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


def of_this_process(control: Path) -> None:
    """Let this process, which has the library preloaded, meet the faults of a control block.

    It is what dies at the point, also when a child of it reaches that. Children that are
    Python programs count, too.
    """
    os.environ[VARIABLE] = str(control)
    ctypes.CDLL(None).faults_of_this_process(str(control).encode())


class Faults:
    """One control block in a file. Calls on paths outside `root` do not count."""

    def __init__(self, file: Path, root: Path) -> None:
        self.file = file
        with file.open("wb+") as made:
            made.truncate(ctypes.sizeof(_Control))
            self._map = mmap.mmap(made.fileno(), ctypes.sizeof(_Control))
        self._control = _Control.from_buffer(self._map)
        self.below(root)

    def below(self, root: Path) -> None:
        """From now on, count calls on this path and those that begin with it."""
        self._control.root = str(root).encode()

    def arm(
        self,
        calls: Calls,
        at: int = 0,
        action: Action = Action.NONE,
        *,
        error: int = 0,
        lasting: bool = False,
    ) -> None:
        """Count `calls` anew; at the `at`-th do `action`. `lasting`: at all later ones, too."""
        control = self._control
        control.at = 0
        control.count = control.hit = 0
        control.action, control.error, control.sticky = action, error, lasting
        control.classes = calls
        control.at = at

    def disarm(self) -> None:
        """Let everything pass, uncounted."""
        self._control.classes = self._control.at = 0

    def break_promises(self, *, no_sync: bool = False, torn_links: bool = False) -> None:
        """Make the disk lie: fsync does nothing, links are replaced in two steps."""
        self._control.no_sync, self._control.torn_links = no_sync, torn_links

    @property
    def count(self) -> int:
        """How many calls were counted."""
        return int(self._control.count)

    @property
    def hit(self) -> str:
        """The call at which the action was done; "" if none was."""
        number = int(self._control.hit)
        return f"{number}: {self._told(number - 1)}" if number else ""

    def seen(self) -> Iterator[str]:
        """The counted calls in their order."""
        return map(self._told, range(min(self.count, MOST_SEEN)))

    def _told(self, index: int) -> str:
        if index >= MOST_SEEN:
            return "?"
        seen = self._control.seen[index]
        return f"{seen.name.decode()} {os.path.basename(seen.path.decode(errors='replace'))}"
