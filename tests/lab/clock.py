"""A wall clock that a test sets: `clock.c`, preloaded into a daemon by a drop-in of its unit.

It looks at a file of the host, mapped, at each look at the clock. Clocks that nobody can set,
monotonic and boot time, stay as they are. Not libfaketime: with it, Python's threads hand
over to each other late or never, and a deployment took six times as long.
"""

from __future__ import annotations

import struct
import subprocess
from datetime import timedelta
from pathlib import Path

FILE = "/etc/ferryman/clock"

_SOURCE = Path(__file__).with_suffix(".c")
_VARIABLE = "FERRYMAN_WRONG_CLOCK"
_LIBRARY = "/opt/wrong-clock.so"


def install(root: Path) -> str:
    """Put the library and a right clock on a host's disk; returns what a unit's drop-in says."""
    library = root / _LIBRARY.lstrip("/")
    argv = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*argv, "-o", str(library), str(_SOURCE), "-ldl"], check=True)
    file = root / FILE.lstrip("/")
    file.write_bytes(_seconds(timedelta()))
    file.chmod(0o644)
    return f"[Service]\nEnvironment=LD_PRELOAD={_LIBRARY} {_VARIABLE}={FILE}\n"


def set_wrong(root: Path, wrong_by: timedelta) -> None:
    """Let the host's clock be off by so much, from now on."""
    with (root / FILE.lstrip("/")).open("r+b") as file:
        file.write(_seconds(wrong_by))


def _seconds(wrong_by: timedelta) -> bytes:
    return struct.pack("=q", round(wrong_by.total_seconds()))
