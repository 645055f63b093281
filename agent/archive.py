"""The guarded tar reader: one pass over untrusted headers, nothing believed before it is checked.

`agent.tar_header` parses each 512-byte header; long names and PAX records are read here, so
that their sizes are limited before a byte of them is read. The reader keeps no member in
memory and touches no file: `agent.unpack` writes what it yields.

Refused: devices, fifos, sparse files and any type it does not know; sizes that lie; an
archive without its end mark; data after the end mark.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from agent import tar_header
from agent.compression import ACCEPTED, TarStream
from agent.limits import LIMITS, Limits
from agent.member_names import check_path, check_target, shown
from agent.package_bytes import PackageBytes
from agent.refused import RefusedError
from agent.tar_header import BLOCK, DamagedHeaderError, Header, text

PIECE = 256 * 1024
"""Bytes of a file's content that are held at once."""

MAX_EXTENDED = 64 * 1024
"""Bytes of one extended header (PAX records, a GNU long name)."""
MAX_EXTENDED_CHAIN = 4
"""Extended headers that may stand before one member."""
MAX_EXTENDED_ALL = 128 * 1024 * 1024
"""Bytes of all extended headers together ..."""
MAX_RECORDS = 1_000_000
"""... and PAX records in them."""


class Kind(Enum):
    """What a member is."""

    FILE = "file"
    FOLDER = "folder"
    SYMLINK = "symlink"
    HARDLINK = "hardlink"


@dataclass(frozen=True, slots=True)
class Member:
    """One checked member. `target` is a link's text, or the path that a hard link names."""

    kind: Kind
    path: str
    size: int = 0
    executable: bool = False
    target: str = ""


@dataclass(slots=True)
class _Extension:
    """What extended headers say of the member that follows them."""

    path: str = ""
    target: str = ""
    size: int | None = None
    sparse: bool = False
    count: int = 0


_KINDS = {
    tar_header.FILE: Kind.FILE,
    tar_header.OLD_FILE: Kind.FILE,
    tar_header.CONTIGUOUS: Kind.FILE,
    tar_header.FOLDER: Kind.FOLDER,
    tar_header.SYMLINK: Kind.SYMLINK,
    tar_header.HARD_LINK: Kind.HARDLINK,
}
_REFUSED = {
    tar_header.CHARACTER_DEVICE: "a character device",
    tar_header.BLOCK_DEVICE: "a block device",
    tar_header.FIFO: "a fifo",
    tar_header.GNU_SPARSE: "a sparse file",
}
_EXTENSIONS = frozenset(
    {
        tar_header.PAX,
        tar_header.PAX_OF_SUN,
        tar_header.PAX_GLOBAL,
        tar_header.GNU_LONG_NAME,
        tar_header.GNU_LONG_LINK,
    }
)


class ArchiveReader:
    """Yields the members of one package in order; see `members` and `content`."""

    def __init__(self, package: PackageBytes, limits: Limits = LIMITS) -> None:
        self._package = package
        self._stream = TarStream(package)
        self._limits = limits
        self._members = 0
        self._unpacked = 0
        self._extended = 0
        self._records = 0
        self._last = ""
        self._left = 0
        self._padding = 0

    def members(self) -> Iterator[Member]:
        """Yield each member; after a file, take all of `content` before the next one.

        When it ends, the package has been read to its last byte. Raises `RefusedError`.
        """
        while True:
            extension = _Extension()
            header = self._next(extension)
            if header is None:
                return
            member = self._member(header, extension)
            self._last = member.path or header.name
            if member.path:
                yield member
            elif member.kind is not Kind.FOLDER:
                raise RefusedError(f"the {member.kind.value} {shown(header.name)} names no file")
            self._skip_content()

    def content(self) -> Iterator[bytes]:
        """Yield the bytes of the file that `members` yielded last."""
        try:
            while self._left:
                piece = self._stream.exactly(min(self._left, PIECE))
                self._left -= len(piece)
                yield piece
            if self._padding:
                self._stream.exactly(self._padding)
                self._padding = 0
        except RefusedError as error:
            raise error.at(f"in {shown(self._last)}") from None

    def _next(self, extension: _Extension) -> Header | None:
        """The next member's header, with what extended ones before it say; None at the end."""
        try:
            while (block := self._header()) is not None:
                header = self._parse(block)
                if header.type not in _EXTENSIONS:
                    return header
                self._extend(extension, header)
            if extension.count:
                raise RefusedError("the last extended header has no member")
            self._expect_end()
        except RefusedError as error:
            raise error.at(self._after) from None
        return None

    @property
    def _after(self) -> str:
        return f"after {shown(self._last)}" if self._last else ""

    def _header(self) -> bytes | None:
        """The next header, or None at the end mark."""
        block = self._stream.exactly(BLOCK) if self._members else self._first()
        if not any(block):
            return None
        self._members += 1
        if self._members > self._limits.members:
            raise RefusedError(f"it has more than {self._limits.members} members")
        return block

    def _first(self) -> bytes:
        block = self._stream.read(BLOCK)
        if len(block) < BLOCK:
            raise _no_archive(block)
        return block

    def _parse(self, block: bytes) -> Header:
        try:
            header = tar_header.parse(block)
        except DamagedHeaderError as error:
            if self._members == 1:
                raise _no_archive(block) from None
            raise RefusedError(self._damaged(block, str(error))) from None
        if header.size < 0:
            raise RefusedError(f"{shown(header.name)} has a negative size")
        return header

    def _damaged(self, block: bytes, why: str) -> str:
        name = text(block[:100].split(b"\0", 1)[0])
        called = f", which seems to be {shown(name)}," if name.isprintable() and name else ""
        return f"the header of member {self._members}{called} is damaged: {why}"

    def _extend(self, extension: _Extension, info: Header) -> None:
        """Read one extended header into `extension`."""
        extension.count += 1
        if extension.count > MAX_EXTENDED_CHAIN:
            raise RefusedError(f"more than {MAX_EXTENDED_CHAIN} extended headers in a row")
        if info.size > MAX_EXTENDED:
            raise RefusedError(
                f"an extended header of {info.size} bytes; at most {MAX_EXTENDED} are accepted"
            )
        self._extended += info.size
        if self._extended > MAX_EXTENDED_ALL:
            raise RefusedError(
                f"its extended headers have more than {MAX_EXTENDED_ALL} bytes together"
            )
        data = self._stream.exactly(info.size)
        self._stream.exactly(-info.size % BLOCK)
        if info.type == tar_header.GNU_LONG_NAME:
            extension.path = extension.path or text(data.split(b"\0", 1)[0])
        elif info.type == tar_header.GNU_LONG_LINK:
            extension.target = extension.target or text(data.split(b"\0", 1)[0])
        else:
            records = _records(data)
            self._records += len(records)
            if self._records > MAX_RECORDS:
                raise RefusedError(f"its extended headers hold more than {MAX_RECORDS} records")
            # The last record of a key counts.
            self._apply(extension, dict(records), common=info.type == tar_header.PAX_GLOBAL)

    def _apply(self, extension: _Extension, records: dict[str, bytes], *, common: bool) -> None:
        if any(key.startswith("GNU.sparse.") for key in records):
            extension.sparse = True
            extension.path = text(records.get("GNU.sparse.name", b"")) or extension.path
        if common:
            extension.count -= 1
            if records.keys() & {"path", "linkpath", "size"}:
                raise RefusedError("a global header renames or resizes members")
            return
        extension.path = text(records.get("path", b"")) or extension.path
        extension.target = text(records.get("linkpath", b"")) or extension.target
        if size := records.get("size"):
            if not size.isdigit() or len(size) > 20:
                raise RefusedError(f"an extended header has the size {shown(text(size))}")
            extension.size = int(size)

    def _member(self, info: Header, extension: _Extension) -> Member:
        name = extension.path or info.name
        if not name:
            raise RefusedError("a member has an empty name").at(self._after)
        kind = None if extension.sparse else _KINDS.get(info.type)
        if kind is None:
            raise RefusedError(f"{shown(name)} is {_foreign(info, extension)}")
        if name.endswith("/") and info.type == tar_header.OLD_FILE:
            kind = Kind.FOLDER
        if name.endswith("/") and kind is not Kind.FOLDER:
            raise RefusedError(f"the {kind.value} {shown(name)} has the name of a folder")
        path = check_path(name)
        target = extension.target or info.target
        if kind is Kind.SYMLINK:
            check_target(path, target)
        elif kind is Kind.HARDLINK:
            target = check_path(target)
        else:
            target = ""
        size = 0
        if kind is Kind.FILE:
            size = info.size if extension.size is None else extension.size
            self._count_bytes(path, size)
        return Member(kind, path, size, bool(info.mode & 0o111), target)

    def _count_bytes(self, path: str, size: int) -> None:
        self._unpacked += size
        if self._unpacked > self._limits.unpacked:
            raise RefusedError(
                f"with {shown(path)} it unpacks to {self._unpacked} bytes; "
                f"at most {self._limits.unpacked} are accepted"
            )
        self._stream.promise(self._unpacked)
        self._left = size
        self._padding = -size % BLOCK

    def _skip_content(self) -> None:
        if self._left or self._padding:
            for _ in self.content():
                pass

    def _expect_end(self) -> None:
        """Read on to the last byte: after the end mark there are only zeros."""
        while data := self._stream.read(PIECE):
            if data.count(0) != len(data):
                raise RefusedError("there is data after the end of the archive")
        self._package.drain()


def _foreign(info: Header, extension: _Extension) -> str:
    """What a member is that can't be in a package."""
    if extension.sparse:
        return _REFUSED[tar_header.GNU_SPARSE]
    return _REFUSED.get(info.type, f"of the unknown type {info.type!r}")


def _no_archive(begin: bytes) -> RefusedError:
    text = shown(begin[:24].decode("latin-1"))
    return RefusedError(f"it is not an archive (it begins with {text}); {ACCEPTED}")


def _records(data: bytes) -> list[tuple[str, bytes]]:
    """The records "LENGTH KEY=VALUE\\n" of a PAX header."""
    records: list[tuple[str, bytes]] = []
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 9)
        digits = data[at:space] if space > at else b""
        length = int(digits) if digits.isdigit() else 0
        record = data[at : at + length]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if len(record) != length or not record.endswith(b"\n") or not equals or not key:
            raise RefusedError("an extended header is damaged")
        records.append((text(key), value))
        at += length
    return records
