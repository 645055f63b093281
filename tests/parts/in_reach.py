"""A folder that other users could reach, as /etc and /var/lib are; pytest's own are shut."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65_534


@contextmanager
def folder_in_reach() -> Iterator[Path]:
    """Yield a folder with mode 0755 in the system's folder for temporary files."""
    folder = Path(tempfile.mkdtemp(prefix="ferryman-in-reach-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def give_away(folder: Path) -> None:
    """Have everything in a folder belong to a user that is not root; only root can."""
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
