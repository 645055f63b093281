"""`ferryman-coordinator restore FILE`: put a backup in the place of what is in the data directory.

Nothing is deleted: what was there is moved into `replaced-<time>`. Everything is unpacked,
checked and on disk before anything of the folder is touched. A crash leaves

- before the folder `restoring` is there: the old files, and rubbish that the next restore
  removes;
- while it is there: a folder that the daemon refuses to start on, saying that restore is to be
  run again, which completes it from any point;
- after it is gone: the new files.

`restoring` holds `replaced-<time>` as long as old files are being moved into it, and `new` until
all new files are in their places, so that what is there tells how far it is. The old
database's log is moved with it before the new database takes its place.
"""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from coordinator.backup_file import MODES, BackupError, Contents, unpack
from coordinator.config import Settings, load_settings
from coordinator.data_dir import (
    BESIDE_DATABASE,
    DATABASE,
    RESTORING,
    restore_command,
    sqlite_file,
)
from coordinator.store.migrate import examine
from protocol.durable import sync_folder, write_durably
from protocol.ownership import own_folder
from protocol.settings import SettingsError

_CONTENTS = "contents.json"
_DRAFT = ".restore-"
_REPLACED = "replaced-"


def restore(file: Path, *, config: Path | None = None, data_dir: Path | None = None) -> str:
    """Put the backup `file` into the data directory; return what was done, in one line.

    Raises SettingsError and UnavailableError: while a coordinator holds the folder, and for a
    backup that is damaged or of a newer schema; then nothing was changed.
    """
    settings = load_settings(config, data_dir)
    _refuse_other_database(settings)
    with ExitStack() as stack:
        try:
            source = stack.enter_context(file.open("rb"))
        except OSError as error:
            raise BackupError(f"{file}: {error.strerror or error}") from None
        _take(settings.data_dir, stack)
        return _restore(file, source, settings.data_dir)


def _restore(file: Path, source: BinaryIO, folder: Path) -> str:
    with _nothing_changed(file, folder):
        _remove_drafts(folder)
        draft, contents = _prepared(file, source, folder)
    with _to_be_run_again(folder):
        if (folder / RESTORING).exists() and _begun(folder) == contents:
            shutil.rmtree(draft, ignore_errors=True)
        else:
            _finish(folder)
            os.rename(draft, folder / RESTORING)
        replaced = _finish(folder)
    kept = f"; what was there is in {replaced}" if replaced else ""
    made = f"{contents.created_at:%Y-%m-%dT%H:%M:%SZ}"
    return f"restored {folder} from {file}, made {made}, schema {contents.schema_revision}{kept}"


def _refuse_other_database(settings: Settings) -> None:
    if sqlite_file(settings.database_url) != settings.data_dir / DATABASE:
        raise BackupError(
            f"database_url: not {settings.data_dir / DATABASE}, where restore puts the database; "
            "restore into an empty folder with --data-dir alone, and put the files in place"
        )


def _take(folder: Path, stack: ExitStack) -> None:
    """Keep the folder for ourselves, as a coordinator does; the lock stays its owner's."""
    try:
        stack.enter_context(own_folder("data_dir", folder, "coordinator", 0o700))
    except SettingsError as error:
        if "used by another" not in error.message:
            raise
        raise BackupError(f"data_dir: {folder} is used by a coordinator: stop it first") from None
    _give_to_owner(folder, folder / "coordinator.lock")


# ---- before anything is touched ----------------------------------------------


def _prepared(file: Path, source: BinaryIO, folder: Path) -> tuple[Path, Contents]:
    """A draft of `restoring` that is whole and on disk, and what is in it."""
    draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=folder))
    try:
        new, replaced = draft / "new", draft / _free_name(folder)
        new.mkdir()
        replaced.mkdir(mode=0o700)
        contents = unpack(source, new)
        _refuse_unknown_schema(file, new / DATABASE)
        write_durably(draft / _CONTENTS, contents.model_dump_json().encode())
        _give_to_owner(folder, replaced, *new.iterdir())
        sync_folder(new)
        sync_folder(draft)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return draft, contents


def _refuse_unknown_schema(file: Path, database: Path) -> None:
    if examine(database, shown=file, advice="restore another backup") is None:
        raise BackupError("is damaged: its database has no tables")


def _free_name(folder: Path) -> str:
    """A name for the folder of what is replaced that nothing has."""
    name = f"{_REPLACED}{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    number = 1
    while (folder / name).exists():
        number += 1
        name = f"{name.partition('.')[0]}.{number}"
    return name


def _remove_drafts(folder: Path) -> None:
    """Remove what restores left that were cut off; nobody else is at work in the folder."""
    for draft in folder.glob(f"{_DRAFT}*"):
        shutil.rmtree(draft)


def _give_to_owner(folder: Path, *paths: Path) -> None:
    """Let what root has made belong to whom the folder does: the daemon must read it."""
    owner = folder.stat()
    if os.geteuid() == 0 and owner.st_uid != 0:
        for path in paths:
            os.chown(path, owner.st_uid, owner.st_gid)


# ---- from the first change to the last ---------------------------------------


def _begun(folder: Path) -> Contents | None:
    """What the restore that was cut off is putting in place."""
    try:
        return Contents.model_validate_json((folder / RESTORING / _CONTENTS).read_bytes())
    except ValidationError:
        return None


def _finish(folder: Path) -> Path | None:
    """Bring what was begun to its end, however far it is; return where old files went now."""
    begun = folder / RESTORING
    if not begun.exists():
        return None
    replaced = None
    for kept in begun.glob(f"{_REPLACED}*"):
        replaced = _move_away(folder, kept)
    new = begun / "new"
    for name in MODES:
        if os.path.lexists(new / name):
            os.rename(new / name, folder / name)
    sync_folder(folder)
    done = folder / f"{_DRAFT}done-{secrets.token_hex(4)}"
    os.rename(begun, done)
    sync_folder(folder)
    shutil.rmtree(done, ignore_errors=True)
    return replaced


def _move_away(folder: Path, kept: Path) -> Path | None:
    """Move every old file into `kept` and that into the folder; None if there was nothing."""
    for name in (*MODES, *BESIDE_DATABASE):
        if os.path.lexists(folder / name):
            os.rename(folder / name, kept / name)
    sync_folder(kept)
    sync_folder(folder)
    if not any(kept.iterdir()):
        kept.rmdir()
        return None
    replaced = folder / kept.name
    os.rename(kept, replaced)
    sync_folder(folder)
    sync_folder(kept.parent)
    return replaced


# ---- what went wrong ---------------------------------------------------------


@contextmanager
def _nothing_changed(file: Path, folder: Path) -> Iterator[None]:
    try:
        yield
    except BackupError as error:
        raise BackupError(f"{file} {error.message}; nothing was changed") from None
    except OSError as error:
        text = error.strerror or error
        raise BackupError(f"{file}: nothing was restored to {folder}: {text}") from None


@contextmanager
def _to_be_run_again(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackupError(
            f"{folder}: {error.strerror or error}; it is half restored: mend the cause and "
            f"run it again: {restore_command(folder)}"
        ) from None
