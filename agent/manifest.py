"""What a retained release is verified against: every file, folder and link that was unpacked.

A manifest is one file of JSON lines beside its release: a header, which is enough to list
releases, then one line for each entry. The header holds the digest of the lines after it.
It is written durably before the release it describes gets its name.

Extra files in a release are not looked at: services write caches and logs beside their code.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from agent.ports import StepError
from protocol.durable import write_durably

FORMAT = 1
_PIECE = 1024 * 1024


class EntryKind(Enum):
    """What an entry is, as it stands in the file."""

    FILE = "f"
    FOLDER = "d"
    LINK = "l"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, folder or symbolic link of a release; `path` is relative to it."""

    kind: EntryKind
    path: str
    size: int = 0
    mode: int = 0
    sha256: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Signed:
    """By whom, and for which service, a package was signed when it was taken in."""

    key: str
    service: str


@dataclass(frozen=True, slots=True)
class Header:
    """Which release a manifest describes. `number` grows with each one that is published."""

    version: str
    digest: str
    number: int
    signed: Signed | None = None
    """None if no signature was asked for."""


class ManifestError(StepError):
    """A manifest that is missing, damaged or of another format."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"the manifest {file} {reason}")


def encode(entry: Entry) -> bytes:
    """Return the line that tells an entry."""
    fields: list[Any] = [entry.kind.value, entry.path]
    if entry.kind is EntryKind.FILE:
        fields += [entry.size, entry.mode, entry.sha256]
    elif entry.kind is EntryKind.LINK:
        fields.append(entry.target)
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> Entry:
    """Read such a line; raises `ValueError` if it is none."""
    try:
        kind, path, *rest = json.loads(line)
        if kind == EntryKind.FILE.value:
            size, mode, sha256 = rest
            return Entry(EntryKind.FILE, path, size=size, mode=mode, sha256=sha256)
        if kind == EntryKind.LINK.value:
            (target,) = rest
            return Entry(EntryKind.LINK, path, target=target)
        return Entry(EntryKind(kind), path)
    except TypeError:
        raise ValueError("not an entry of a manifest") from None


def save(file: Path, header: Header, entries: Iterable[Entry]) -> None:
    """Write a manifest durably. Raises `OSError`."""
    lines = [encode(entry) for entry in entries]
    body = hashlib.sha256()
    for line in lines:
        body.update(line)
    first = {
        "format": FORMAT,
        "version": header.version,
        "digest": header.digest,
        "number": header.number,
        "entries": body.hexdigest(),
        "signed": asdict(header.signed) if header.signed else None,
    }
    write_durably(file, b"".join([json.dumps(first).encode() + b"\n", *lines]), mode=0o644)


def load_header(file: Path) -> Header:
    """Read only the first line. Raises `ManifestError`."""
    try:
        with file.open("rb") as lines:
            return _header(file, lines.readline(4096))[0]
    except OSError as error:
        raise ManifestError(file, f"can't be read: {error.strerror}") from None


def load_entries(file: Path) -> Iterator[Entry]:
    """Yield all entries, and raise `ManifestError` before the end if the file is not whole."""
    body = hashlib.sha256()
    try:
        with file.open("rb") as lines:
            expected = _header(file, lines.readline(4096))[1]
            for line in lines:
                body.update(line)
                yield decode(line)
    except ValueError:
        raise ManifestError(file, "is damaged") from None
    except OSError as error:
        raise ManifestError(file, f"can't be read: {error.strerror}") from None
    if body.hexdigest() != expected:
        raise ManifestError(file, "is damaged")


def compare(root: Path, entries: Iterable[Entry], check: Callable[[], None] = lambda: None) -> str:
    """Return "" if the tree at `root` still holds all entries as they were, else the difference.

    `check` is called before each entry, and each piece of a file, and may raise to stop early.
    """
    for entry in entries:
        check()
        difference = _compare(root / entry.path, entry, check)
        if difference:
            return f"{entry.path} {difference}"
    return ""


def _compare(path: Path, entry: Entry, check: Callable[[], None]) -> str:
    match entry.kind:
        case EntryKind.FILE:
            return _compare_file(path, entry, check)
        case EntryKind.FOLDER:
            return _compare_folder(path)
        case EntryKind.LINK:
            return _compare_link(path, entry)


def _compare_file(path: Path, entry: Entry, check: Callable[[], None]) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb", buffering=0) as file:
            return _compare_status(os.fstat(fd), entry) or _compare_content(file, entry, check)
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"can't be read: {error.strerror}"


def _compare_status(now: os.stat_result, entry: Entry) -> str:
    if not stat.S_ISREG(now.st_mode):
        return "is no regular file any more"
    if now.st_size != entry.size:
        return f"has {now.st_size} bytes, not {entry.size}"
    if stat.S_IMODE(now.st_mode) != entry.mode:
        return f"has the mode {stat.S_IMODE(now.st_mode):04o}, not {entry.mode:04o}"
    return ""


def _compare_content(file: io.FileIO, entry: Entry, check: Callable[[], None]) -> str:
    digest = hashlib.sha256()
    while piece := file.read(_PIECE):
        digest.update(piece)
        check()
    return "" if digest.hexdigest() == entry.sha256 else "has other content"


def _compare_folder(path: Path) -> str:
    try:
        mode = path.lstat().st_mode
    except OSError as error:
        return f"can't be looked at: {error.strerror}"
    return "" if stat.S_ISDIR(mode) else "is no folder any more"


def _compare_link(path: Path, entry: Entry) -> str:
    try:
        target = os.readlink(path)
    except OSError:
        return "is no link any more"
    return "" if target == entry.target else "leads elsewhere"


def _header(file: Path, line: bytes) -> tuple[Header, str]:
    try:
        raw = json.loads(line)
        if raw["format"] != FORMAT:
            raise ManifestError(file, f"has the format {raw['format']!r}, not {FORMAT}")
        header = Header(
            str(raw["version"]), str(raw["digest"]), int(raw["number"]), _signed(raw.get("signed"))
        )
        return header, str(raw["entries"])
    except (ValueError, TypeError, KeyError):
        raise ManifestError(file, "is damaged") from None


def _signed(raw: Any) -> Signed | None:
    return Signed(str(raw["key"]), str(raw["service"])) if raw else None
