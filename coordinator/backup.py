"""`ferryman-coordinator backup FILE`: one file with all that a coordinator needs to go on.

It needs no daemon and disturbs none: the database is copied by SQLite itself as it was at
one moment, whatever is committed meanwhile, and the copy is checked before it counts. A
rotation of the authority that takes a step meanwhile makes it fail. FILE
appears only when it is whole. What must exist once is not made here: putting it back is
`coordinator.restore`.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from coordinator.backup_file import MODES, BackupError, pack
from coordinator.config import Settings, load_settings
from coordinator.data_dir import DATABASE, NEEDED, refuse_if_half_restored, sqlite_file
from coordinator.store.migrate import examine
from protocol.durable import sync_folder

Seen = dict[str, tuple[int, int]]
"""(inode, time of change) of each file by its name."""

_BUSY_TIMEOUT = 30.0
_MIB = 1024 * 1024


def backup(
    file: Path, *, config: Path | None = None, data_dir: Path | None = None, force: bool = False
) -> str:
    """Back up the coordinator of these settings to `file`; return what was done, in one line.

    A file that is there already is replaced only with `force`. Raises SettingsError and
    UnavailableError; then nothing was changed.
    """
    settings = load_settings(config, data_dir)
    file = file.absolute()
    with _translated(file):
        _refuse_bad_target(file, force)
        before = _seen(settings.data_dir)
        parts = _parts(settings)
        schema = _make(file, parts, settings.data_dir, before)
        size = file.stat().st_size / _MIB
    return f"backed up {settings.data_dir} to {file}: {size:.1f} MiB, schema {schema}"


def _make(file: Path, parts: dict[str, Path], data_dir: Path, before: Seen) -> str:
    """Make the backup beside `file` and give it its name; return the schema's revision."""
    drafts = Path(tempfile.mkdtemp(prefix=f".{file.name}.", dir=file.parent))
    try:
        copy, draft = drafts / DATABASE, drafts / "draft"
        schema = _copy(parts[DATABASE], copy)
        pack({**parts, DATABASE: copy}, schema, datetime.now(UTC), draft)
        refuse_if_half_restored(data_dir)
        if _seen(data_dir) != before:
            raise BackupError(
                f"{file}: no backup was made: the certificates in {data_dir} changed meanwhile; "
                "run it again"
            )
        os.rename(draft, file)
    finally:
        shutil.rmtree(drafts, ignore_errors=True)
    sync_folder(file.parent)
    return schema


def _seen(data_dir: Path) -> Seen:
    """Which of the small files are there: each is only ever replaced by another one."""
    found = {}
    for name in MODES:
        with suppress(FileNotFoundError):
            if name != DATABASE:
                status = (data_dir / name).stat()
                found[name] = status.st_ino, status.st_mtime_ns
    return found


def _refuse_bad_target(file: Path, force: bool) -> None:
    if not file.parent.is_dir():
        raise BackupError(f"{file}: there is no folder {file.parent}")
    if file.is_dir():
        raise BackupError(f"{file} is a folder; name a file")
    if os.path.lexists(file) and not force:
        raise BackupError(f"{file} exists; name another file, or replace it with --force")


def _parts(settings: Settings) -> dict[str, Path]:
    """The files to back up by their names in it. Raises BackupError if one is missing."""
    folder = settings.data_dir
    refuse_if_half_restored(folder)
    database = sqlite_file(settings.database_url)
    if database is None:
        raise BackupError(
            "database_url: not an SQLite file; back it up with that database's own tools, "
            f"and ca.key and ca.pem of {folder} beside it"
        )
    if not database.exists():
        raise BackupError(f"{database}: there is no database to back up")
    parts = {name: folder / name for name in MODES} | {DATABASE: database}
    for name in NEEDED:
        if not parts[name].exists():
            raise BackupError(f"{parts[name]} is missing: {folder} is not whole")
    return {name: path for name, path in parts.items() if path.exists()}


def _copy(database: Path, copy: Path) -> str:
    """Copy a database as it is at one moment, look it over, and return its schema's revision.

    The copy is one file without a log beside it.
    """
    uri = f"{database.as_uri()}?mode=rw"
    with (
        closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT)) as live,
        closing(sqlite3.connect(copy)) as made,
    ):
        live.backup(made)
        made.execute("PRAGMA journal_mode = DELETE").fetchone()
    revision = examine(copy, shown=database, thorough=True)
    if revision is None:
        raise BackupError(f"{database} holds nothing yet: no coordinator has started on it")
    return revision


@contextmanager
def _translated(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        text = f"{error.strerror or error}{where}"
        raise BackupError(f"{file}: no backup was made: {text}") from None
    except sqlite3.Error as error:
        raise BackupError(f"{file}: no backup was made: database: {error}") from None
