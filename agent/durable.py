"""Durable folders, links and many files: what a release needs besides `protocol.durable`.

Nothing here knows what is written. Errors are the system's own `OSError`.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from protocol.durable import sync_folder

_SYNC_THREADS = 4
_SYNC_PENDING = 64
"""Written files that may wait to be durable: each holds a descriptor."""


def make_folders(folder: Path) -> None:
    """Make `folder` and its parents, durably. An existing one is no error."""
    missing = [path for path in (folder, *folder.parents) if not path.is_dir()]
    for path in reversed(missing):
        path.mkdir(mode=0o755, exist_ok=True)
        sync_folder(path.parent)


def replace_link(link: Path, target: str, temporary: Path) -> None:
    """Point `link` at `target` in one step, by way of the free name `temporary` beside it."""
    temporary.symlink_to(target)
    try:
        temporary.replace(link)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(link.parent)


class FileSyncer:
    """Makes many new files durable: a few at once, since the disk then joins their waits."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="sync")
        self._pending: deque[Future[None]] = deque()

    def __enter__(self) -> FileSyncer:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def sync_and_close(self, fd: int) -> None:
        """Take over `fd`. Raises the `OSError` of an earlier file, if there was one."""
        self._pending.append(self._pool.submit(_sync_and_close, fd))
        while len(self._pending) > _SYNC_PENDING:
            self._pending.popleft().result()

    def finish(self) -> None:
        """Wait until all files are durable. Raises the first `OSError`."""
        while self._pending:
            self._pending.popleft().result()


def _sync_and_close(fd: int) -> None:
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
