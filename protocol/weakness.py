"""What the `check` commands of both daemons find: weak places of a configuration, one line each.

It looks at modes and owners only, as they are now, and changes nothing. What a file holds
never stands in a weakness.
"""

from __future__ import annotations

import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

NOTHING_WEAK, WEAK, NOT_CHECKED = 0, 1, 2
"""Exit codes of `check`."""

OTHERS, GROUP_AND_OTHERS = 0o007, 0o077


@dataclass(frozen=True, slots=True)
class Weakness:
    """One weak place: where, what is weak there, and what to do."""

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}; {self.remedy}"
        return "".join(c if c.isprintable() else "?" for c in line)


def report(found: Iterable[Weakness]) -> int:
    """Print one line for each weakness; return the exit code."""
    weak = list(found)
    for weakness in weak:
        print(weakness)
    if not weak:
        print("nothing weak found")
    return WEAK if weak else NOTHING_WEAK


def readable(secret: Path, whose: int = GROUP_AND_OTHERS) -> Iterator[Weakness]:
    """A file with secrets that some of `whose` (bits of a mode) can read or write.

    A file below a folder that only its owner can pass is out of their reach.
    """
    mode = _mode(secret)
    if mode is not None and mode & whose & 0o066 and _in_reach(secret):
        wanted = mode & ~whose
        yield Weakness(
            str(secret),
            f"others than its owner can read it (mode {mode:04o}), and it holds secrets",
            f"chmod {wanted:04o} {secret}",
        )


def writable(thing: Path, decides: str) -> Iterator[Weakness]:
    """A file or folder that group or others can change, and what it `decides`."""
    mode = _mode(thing)
    if mode is not None and mode & 0o022 and not mode & stat.S_ISVTX:
        yield Weakness(
            str(thing),
            f"others than its owner can change it (mode {mode:04o}), and it decides {decides}",
            f"chmod go-w {thing}",
        )


def owned(thing: Path, owners: Collection[int], decides: str) -> Iterator[Weakness]:
    """A file or folder that belongs to somebody else than `owners` (user ids)."""
    try:
        owner = thing.lstat().st_uid
    except OSError:
        return
    if owner not in owners:
        yield Weakness(
            str(thing),
            f"it belongs to the user id {owner}, and it decides {decides}",
            f"chown it to the user id {min(owners)}",
        )


def ending(
    file: Path, ends: datetime, now: datetime, early: timedelta, remedy: str
) -> Iterator[Weakness]:
    """A certificate that has ended, or ends within `early`."""
    if ends <= now:
        yield Weakness(str(file), f"the certificate ended on {ends:%Y-%m-%d}", remedy)
    elif ends - now < early:
        yield Weakness(str(file), f"the certificate ends on {ends:%Y-%m-%d}", remedy)


def _mode(thing: Path) -> int | None:
    try:
        return stat.S_IMODE(thing.stat().st_mode)
    except OSError:
        return None


def _in_reach(file: Path) -> bool:
    return all((_mode(folder) or 0) & 0o011 for folder in file.absolute().parents)
