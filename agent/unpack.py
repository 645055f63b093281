"""Writes a checked archive into an empty folder, every file by its own hands.

Each name is opened relative to its parent's descriptor with O_NOFOLLOW and O_EXCL; links
are made last, when nothing is written through them any more. A path, or its twin on a
case-folding or normalising file system, is accepted once. Small files wait in memory, so
that most archives are refused before anything is written. Nothing is made durable here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from sys import getsizeof

from agent.archive import ArchiveReader, Kind, Member
from agent.limits import LIMITS, Limits
from agent.manifest import Entry, EntryKind
from agent.member_names import check_links, shown, twin_key
from agent.package_bytes import PackageBytes
from agent.ports import StepError
from agent.refused import RefusedError

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER_MODE = 0o755
_LARGE = 1024 * 1024
"""Files from this size on are not begun unless the disk has room for them."""
_SMALL = 64 * 1024
"""Files up to this size may wait to be written ..."""
_WAITING = 8 * 1024 * 1024
"""... until so many bytes do."""


def unpack(package: PackageBytes, folder: Path, *, limits: Limits = LIMITS) -> tuple[Entry, ...]:
    """Read the package to its end into the empty `folder`; return what is in it now.

    A folder stands before what is in it. Raises `RefusedError` for an archive that breaks a
    rule, `StepError` if the disk has no room for it, `OSError` for what else the disk says;
    the folder then holds rubbish.
    """
    reader = ArchiveReader(package, limits)
    with _Tree(folder, limits) as tree:
        for member in reader.members():
            tree.add(member, reader.content())
        return tree.finish()


class _Tree:
    """The release while it grows."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self._limits = limits
        self._entries: dict[str, Entry] = {}
        self._links: dict[str, str] = {}
        self._names = 0
        self._files = 0
        self._waiting: list[tuple[Entry, bytes | Entry]] = []
        self._waiting_bytes = 0
        self._root = os.open(root, _FOLDER_FLAGS)
        self._at = ""
        self._fd = os.dup(self._root)

    def __enter__(self) -> _Tree:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
        os.close(self._root)

    def add(self, member: Member, content: Iterable[bytes]) -> None:
        """Take one member of the archive."""
        if member.kind is Kind.FOLDER:
            self._need_folder(member.path)
            return
        self._need_folder(member.path.rpartition("/")[0])
        if member.kind is Kind.FILE:
            self._add_file(member, content)
        elif member.kind is Kind.SYMLINK:
            self._add_link(member.path, member.target)
        else:
            self._add_hard_link(member)

    def finish(self) -> tuple[Entry, ...]:
        """Write what waits, make the links, and return the whole tree."""
        if not self._files:
            raise RefusedError("it holds no file")
        check_links(self._links)
        self._write_waiting()
        for path, target in self._links.items():
            folder, name = self._place(path)
            os.symlink(target, name, dir_fd=folder)
        return tuple(self._entries.values())

    def _add_file(self, member: Member, content: Iterable[bytes]) -> None:
        self._check_room(member)
        self._take(member.path)
        self._files += 1
        mode = 0o755 if member.executable else 0o644
        if member.size <= _SMALL:
            data = b"".join(content)
            sha256 = hashlib.sha256(data).hexdigest()
            entry = Entry(EntryKind.FILE, member.path, member.size, mode, sha256)
            self._wait(entry, data)
        else:
            self._write_waiting()
            sha256 = self._write(member.path, mode, content)
            entry = Entry(EntryKind.FILE, member.path, member.size, mode, sha256)
        self._keep(entry)

    def _add_link(self, path: str, target: str) -> None:
        if len(self._links) >= self._limits.links:
            raise RefusedError(
                f"with {shown(path)} it has more than {self._limits.links} symbolic links"
            )
        self._take(path)
        self._links[path] = target
        self._keep(Entry(EntryKind.LINK, path, target=target))

    def _add_hard_link(self, member: Member) -> None:
        """A second name of a file before it; of a symbolic link, another such link."""
        first = self._entries.get(twin_key(member.target))
        if first is None or first.path != member.target or first.kind is EntryKind.FOLDER:
            raise RefusedError(
                f"the hard link {shown(member.path)} names no file before it: "
                f"{shown(member.target)}"
            )
        if first.kind is EntryKind.LINK:
            self._add_link(member.path, first.target)
            return
        self._take(member.path)
        entry = Entry(EntryKind.FILE, member.path, first.size, first.mode, first.sha256)
        self._wait(entry, first)
        self._keep(entry)

    def _need_folder(self, path: str) -> None:
        """Make sure that `path` and all above it are folders of this tree."""
        if not path:
            return
        known = self._entries.get(twin_key(path))
        if known and known.path == path:
            if known.kind is not EntryKind.FOLDER:
                raise RefusedError(f"{shown(path)} is used as a folder and is none")
            return
        self._need_folder(path.rpartition("/")[0])
        self._take(path)
        entry = Entry(EntryKind.FOLDER, path)
        self._wait(entry, b"")
        self._keep(entry)

    def _take(self, path: str) -> None:
        """Refuse a path that is there already, or that could be taken for one that is."""
        known = self._entries.get(twin_key(path))
        if known is None:
            return
        if known.path == path:
            raise RefusedError(f"{shown(path)} stands in it twice")
        raise RefusedError(f"{shown(path)} and {shown(known.path)} differ only in spelling")

    def _keep(self, entry: Entry) -> None:
        key = twin_key(entry.path)
        self._entries[key] = entry
        self._names += getsizeof(entry.path) + getsizeof(entry.target)
        if key is not entry.path:
            self._names += getsizeof(key)
        if self._names > self._limits.names:
            raise RefusedError(
                f"with {shown(entry.path)} its names take more than {self._limits.names} bytes"
            )
        if len(self._entries) > self._limits.members:
            raise RefusedError(
                f"with {shown(entry.path)} it has more than {self._limits.members} members"
            )

    def _wait(self, entry: Entry, what: bytes | Entry) -> None:
        """Have an entry made later: a file with these bytes, one like another, or a folder."""
        self._waiting.append((entry, what))
        self._waiting_bytes += len(what) if isinstance(what, bytes) else 0
        if self._waiting_bytes > _WAITING:
            self._write_waiting()

    def _write_waiting(self) -> None:
        for entry, what in self._waiting:
            if isinstance(what, Entry):
                self._link(what.path, entry.path)
            elif entry.kind is EntryKind.FOLDER:
                self._make_folder(entry.path)
            else:
                self._write(entry.path, entry.mode, (what,))
        self._waiting = []
        self._waiting_bytes = 0

    def _make_folder(self, path: str) -> None:
        folder, name = self._place(path)
        os.mkdir(name, _FOLDER_MODE, dir_fd=folder)
        os.chmod(name, _FOLDER_MODE, dir_fd=folder)

    def _write(self, path: str, mode: int, content: Iterable[bytes]) -> str:
        """Write a file, and return the SHA-256 of its bytes."""
        folder, name = self._place(path)
        digest = hashlib.sha256()
        fd = os.open(name, _FILE_FLAGS, 0o600, dir_fd=folder)
        try:
            for piece in content:
                digest.update(piece)
                left = memoryview(piece)
                while left:
                    left = left[os.write(fd, left) :]
            os.fchmod(fd, mode)
        finally:
            os.close(fd)
        return digest.hexdigest()

    def _link(self, first: str, second: str) -> None:
        folder, name = self._place(first)
        source = os.dup(folder)
        try:
            folder, other = self._place(second)
            os.link(name, other, src_dir_fd=source, dst_dir_fd=folder, follow_symlinks=False)
        finally:
            os.close(source)

    def _place(self, path: str) -> tuple[int, str]:
        """The descriptor of the folder of `path`, valid until the next call, and its name."""
        parent, _, name = path.rpartition("/")
        if parent != self._at:
            fd = os.dup(self._root)
            for part in parent.split("/") if parent else ():
                try:
                    below = os.open(part, _FOLDER_FLAGS, dir_fd=fd)
                finally:
                    os.close(fd)
                fd = below
            os.close(self._fd)
            self._fd, self._at = fd, parent
        return self._fd, name

    def _check_room(self, member: Member) -> None:
        if member.size < _LARGE:
            return
        disk = os.fstatvfs(self._root)
        free = disk.f_bavail * disk.f_frsize
        if member.size > free:
            raise StepError(
                f"no space left for the package: {shown(member.path)} needs {member.size} bytes, "
                f"{free} are free"
            )
