"""The one file that a backup is: a tar of a coordinator's files, with a digest of each.

`backup.json` stands first and says what follows. Rules: it is written as a draft and takes
its name when it is whole on disk; it is read by its fixed names only, each file is made by
our own hands, and nothing counts before every digest was right. Where the files come from
and where they go is not its business.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from coordinator.data_dir import DATABASE, NEEDED
from protocol import __version__
from protocol.settings import SettingsError

FORMAT = 1

MODES: Mapping[str, int] = {
    "ca.key": 0o600,
    "ca.pem": 0o644,
    "ca.next.key": 0o600,
    "ca.next.pem": 0o644,
    "ca.cross.pem": 0o644,
    "ca.old.pem": 0o644,
    "server.key": 0o600,
    "server.pem": 0o644,
    "admin.token": 0o600,
    DATABASE: 0o600,
}
"""Every file that a backup may hold, in the order in which they are put in place."""

_INDEX = "backup.json"
_LARGEST_INDEX = 64 * 1024
_PIECE = 1024 * 1024


class BackupError(SettingsError):
    """A backup can't be made or can't be used; the message names the file and says why."""


class Contents(BaseModel):
    """`backup.json`."""

    model_config = ConfigDict(frozen=True)

    format: int
    ferryman: str
    """The version of Ferryman that made it."""
    schema_revision: str
    created_at: AwareDatetime
    sha256: dict[str, str]
    """The digest of each file that follows, in lower-case hex."""


# ---- writing ---------------------------------------------------------------


def pack(files: Mapping[str, Path], schema_revision: str, now: datetime, target: Path) -> None:
    """Write a backup of `files` (by their names in it) to the new file `target`, mode 0600.

    It is on disk when this returns. Raises OSError.
    """
    contents = Contents(
        format=FORMAT,
        ferryman=__version__,
        schema_revision=schema_revision,
        created_at=now,
        sha256={name: _digest_of(path) for name, path in files.items()},
    )
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as out:
        with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
            index = contents.model_dump_json(indent=1).encode()
            archive.addfile(_header(_INDEX, len(index), now), io.BytesIO(index))
            for name, path in files.items():
                with path.open("rb") as file:
                    archive.addfile(_header(name, path.stat().st_size, now), file)
        out.flush()
        os.fsync(out.fileno())


def _header(name: str, size: int, now: datetime) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size, made.mode, made.mtime = size, MODES.get(name, 0o600), int(now.timestamp())
    return made


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---- reading ---------------------------------------------------------------


def unpack(backup: BinaryIO, folder: Path) -> Contents:
    """Write the files of an open backup into the empty `folder`, and see them on disk.

    Raises BackupError if it is not a whole backup that this version knows, or a digest is
    wrong; OSError if it can't be read or the files can't be written.
    """
    contents = _read_index(backup)
    missing = dict(contents.sha256)
    while found := _next_member(backup):
        name, size = found
        promised = missing.pop(name, None)
        if promised is None or name not in MODES:
            raise BackupError(f"is damaged: it holds {name!r}, which backup.json does not name")
        if _write(backup, size, folder / name, MODES[name]) != promised:
            raise BackupError(f"is damaged: {name} does not have its digest")
    if missing:
        raise BackupError(f"is damaged: {', '.join(missing)} not in it")
    return contents


def _read_index(backup: BinaryIO) -> Contents:
    name, size = _next_member(backup) or ("", 0)
    if name != _INDEX or size > _LARGEST_INDEX:
        raise BackupError("is not a backup: backup.json does not stand first")
    data = _exactly(backup, size)
    _skip_padding(backup, size)
    try:
        contents = Contents.model_validate_json(data)
    except ValidationError:
        raise BackupError("is damaged: backup.json can't be read") from None
    if contents.format != FORMAT:
        raise BackupError(
            f"has the format {contents.format}, made by Ferryman {contents.ferryman}; "
            f"this version knows {FORMAT}"
        )
    if lacking := [name for name in NEEDED if name not in contents.sha256]:
        raise BackupError(f"is damaged: {', '.join(lacking)} not in it")
    return contents


def _next_member(backup: BinaryIO) -> tuple[str, int] | None:
    """Name and size of the file that follows; None at the end."""
    block = _exactly(backup, tarfile.BLOCKSIZE)
    if not any(block):
        return None
    try:
        info = tarfile.TarInfo.frombuf(block, "ascii", "strict")
    except (tarfile.HeaderError, ValueError):
        raise BackupError("is not a backup, or is damaged") from None
    if info.type != tarfile.REGTYPE or info.size < 0:
        raise BackupError(f"is not a backup: it holds {info.name!r}")
    return info.name, info.size


def _skip_padding(backup: BinaryIO, size: int) -> None:
    _exactly(backup, -size % tarfile.BLOCKSIZE)


def _write(backup: BinaryIO, size: int, path: Path, mode: int) -> str:
    """Copy `size` bytes to a new file, see it on disk, and return its digest."""
    digest, left = hashlib.sha256(), size
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(file.fileno(), mode)
        while left:
            piece = _exactly(backup, min(left, _PIECE))
            left -= len(piece)
            digest.update(piece)
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    _skip_padding(backup, size)
    return digest.hexdigest()


def _exactly(backup: BinaryIO, size: int) -> bytes:
    data = backup.read(size)
    if len(data) != size:
        raise BackupError("is cut off")
    return data
