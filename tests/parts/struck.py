"""Work on files that dies, or meets a full disk, at each change that it makes.

Python's own audit events tell of each change before it takes place; the steps are counted
here, nobody lists them. It is for programs of their own, since an audit hook can't be taken
away again.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

How = Literal["dies", "fails"]
HIT = 3
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.symlink", "os.link", "os.truncate"}


def strike(
    template: Path,
    how: str,
    open_: Callable[[Path], Callable[[], object]],
    shown: type[Exception] = OSError,
) -> None:
    """Make copies `TEMPLATE.1`, `TEMPLATE.2`, … and do the work in each, up to one step more.

    `open_` gets ready in a copy, and returns the work; `shown` is how that tells of a full disk.
    """
    for at in itertools.count(1):
        copy = template.with_name(f"{template.name}.{at}")
        shutil.copytree(template, copy)
        child = os.fork()
        if child == 0:
            _work_up_to(at, copy, open_(copy), how, shown)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) != HIT:
            shutil.rmtree(copy)
            sys.exit(os.waitstatus_to_exitcode(status))


def _work_up_to(
    at: int, folder: Path, work: Callable[[], object], how: str, shown: type[Exception]
) -> None:
    seen = 0

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if not _changes(event, arguments) or not str(arguments[0]).startswith(str(folder)):
            return
        seen += 1
        if seen == at and how == "dies":
            os._exit(HIT)
        if seen == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(arguments[0]))

    sys.addaudithook(look)
    try:
        work()
    except shown as error:
        os._exit(HIT if os.strerror(errno.ENOSPC) in str(error) else 1)
    os._exit(HIT if seen >= at else 0)


def _changes(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        return bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in CHANGES
