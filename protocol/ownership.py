"""One daemon a folder: a lock that ends with the process that holds it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from protocol.settings import SettingsError


@contextlib.contextmanager
def own_folder(setting: str, folder: Path, daemon: str, mode: int) -> Iterator[None]:
    """Make `folder` with `mode` if it is missing, and keep it for this process.

    Raises `SettingsError` that names the `setting` if it can't be made, or is in use by
    another `daemon` ("coordinator" or "agent").
    """
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
        lock = os.open(folder / f"{daemon}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SettingsError(f"{setting}: {folder}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SettingsError(f"{setting}: {folder} is used by another {daemon}") from None
        yield
    finally:
        os.close(lock)
