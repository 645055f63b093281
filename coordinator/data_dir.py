"""The data directory: its files' names, and what a start looks at before it makes anything.

Rule: a folder in which a restore was begun and not finished is never started on, nor one
whose database was emptied after a coordinator had worked with it. A missing database is a
legitimate start, and is said aloud. Nothing here writes.
"""

from __future__ import annotations

import logging
import shlex
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from coordinator.config import Settings
from protocol.settings import SettingsError

DATABASE = "coordinator.db"
BESIDE_DATABASE = (f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal")
"""What SQLite keeps beside the file; it belongs to that very file and to no other."""

NEEDED = ("ca.key", "ca.pem", DATABASE)
"""Without one of these there is no coordinator; the rest is made again at a start."""

ADMIN_TOKEN = "admin.token"  # noqa: S105 - the file's name, and that of the token in it
"""Made once the database has its schema: where it is, a coordinator has worked."""

RESTORING = "restoring"
"""The folder that is there from a restore's first change to its last one."""

log = logging.getLogger(__name__)


def restore_command(data_dir: Path) -> str:
    """The command that puts a backup back, for messages."""
    return f"ferryman-coordinator restore BACKUP --data-dir {shlex.quote(str(data_dir))}"


def sqlite_file(url: str) -> Path | None:
    """The file that a `database_url` names; None if it is no SQLite file."""
    try:
        place = make_url(url)
    except ArgumentError:
        return None
    if place.get_backend_name() != "sqlite" or place.database in (None, "", ":memory:"):
        return None
    return Path(str(place.database))


def refuse_if_half_restored(data_dir: Path) -> None:
    """Raise `SettingsError` if a restore of `data_dir` was cut off in the middle."""
    if (data_dir / RESTORING).exists():
        raise SettingsError(
            f"{data_dir} is half restored: a restore was cut off; nothing was changed now; "
            f"run it again: {restore_command(data_dir)}"
        )


def look_before_start(settings: Settings) -> None:
    """Refuse a half restored folder and an emptied database; warn if it is gone altogether.

    To be called before anything is made. Raises `SettingsError`.
    """
    refuse_if_half_restored(settings.data_dir)
    database = sqlite_file(settings.database_url)
    if database is not None:
        _refuse_if_emptied(database, settings.data_dir)
    if database is None or database.exists() or not (settings.data_dir / "ca.pem").exists():
        return
    log.warning(
        "%s is not there, but the authority is: starting with an empty database. Hosts and what "
        "they run are learnt again from the agents that connect; tasks and tokens are gone. "
        "If you have a backup, stop now and: %s",
        database,
        restore_command(settings.data_dir),
    )


def _refuse_if_emptied(database: Path, data_dir: Path) -> None:
    """An empty file without the token is what a first start that was cut off left."""
    if not (data_dir / ADMIN_TOKEN).exists() or not database.is_file():
        return
    if database.stat().st_size == 0:
        raise SettingsError(
            f"{database} is empty, and a coordinator has worked with it before; nothing was "
            f"changed; put a backup back: {restore_command(data_dir)}; if there is none, move "
            "it away to begin anew"
        )
