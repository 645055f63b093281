"""The agent makes an unpacked tree its own, believing nothing that was said of it.

Whoever unpacked may have been taken over by the package. So the tree must hold exactly what
it is said to hold, each file has as many names as the tree gives it, and every owner and
mode is set anew, from the outside in. Then all of it is made durable. Contents are not read:
who could change them could also have unpacked something else.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable

from agent.durable import FileSyncer
from agent.manifest import Entry, EntryKind
from agent.member_names import check_links, check_path, check_target, shown
from agent.refused import RefusedError

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER_MODE = 0o755
_FILE_MODES = frozenset({0o644, 0o755})
_MAX_HASH = 64

_Folder = dict[str, Entry]
"""The entries right inside one folder, by their names."""


def take_over(
    root: int, entries: Iterable[Entry], made_by: int, check: Callable[[], None] = lambda: None
) -> None:
    """Take over the tree in the open folder `root`, which the user `made_by` has unpacked.

    `check` is called often and may raise to stop. Raises `RefusedError` if the tree is not
    what the entries say, and `OSError`.
    """
    folders = _by_folder(entries)
    with FileSyncer() as syncer:
        _Owner(folders, made_by, syncer, check).take(root)
        syncer.finish()


def _by_folder(entries: Iterable[Entry]) -> dict[str, _Folder]:
    folders: dict[str, _Folder] = {"": {}}
    links = {}
    for entry in entries:
        _check_entry(entry)
        parent, _, name = entry.path.rpartition("/")
        if parent not in folders or name in folders[parent]:
            raise _differs(entry.path)
        folders[parent][name] = entry
        if entry.kind is EntryKind.FOLDER:
            folders[entry.path] = {}
        elif entry.kind is EntryKind.LINK:
            links[entry.path] = entry.target
    check_links(links)
    return folders


def _check_entry(entry: Entry) -> None:
    if not entry.path or check_path(entry.path) != entry.path:
        raise _differs(entry.path)
    if entry.kind is EntryKind.LINK:
        check_target(entry.path, entry.target)
    if entry.kind is EntryKind.FILE and (
        entry.mode not in _FILE_MODES or entry.size < 0 or len(entry.sha256) != _MAX_HASH
    ):
        raise _differs(entry.path)


class _Owner:
    """Walks the tree, each folder by its descriptor."""

    def __init__(
        self,
        folders: dict[str, _Folder],
        made_by: int,
        syncer: FileSyncer,
        check: Callable[[], None],
    ) -> None:
        self._folders = folders
        self._made_by = made_by
        self._syncer = syncer
        self._check = check
        self._owner = (os.geteuid(), os.getegid())
        self._shared: dict[int, list[Entry]] = {}
        """Files with several names, by inode: they are the last, once all names are known."""

    def take(self, root: int) -> None:
        """Take everything below `root`, and `root` itself."""
        self._take_folder(root, "")
        for inode, entries in self._shared.items():
            self._check()
            fd = self._open(root, entries[0].path)
            now = os.fstat(fd)
            inside = now.st_ino == inode and now.st_nlink == len(entries)
            if not inside or any(entry.mode != entries[0].mode for entry in entries):
                os.close(fd)
                raise _differs(entries[0].path)
            self._finish_file(fd, entries[0])

    def _take_folder(self, fd: int, path: str) -> None:
        self._check()
        self._own(fd, path, _FOLDER_MODE)
        inside = self._folders[path]
        if set(os.listdir(fd)) != inside.keys():
            raise _differs(path)
        for name, entry in inside.items():
            self._check()
            if entry.kind is EntryKind.FILE:
                self._take_file(fd, name, entry)
            elif entry.kind is EntryKind.LINK:
                self._take_link(fd, name, entry)
            else:
                below = os.open(name, _FOLDER_FLAGS, dir_fd=fd)
                try:
                    self._take_folder(below, entry.path)
                finally:
                    os.close(below)
        os.fsync(fd)

    def _take_file(self, folder: int, name: str, entry: Entry) -> None:
        fd = os.open(name, _FILE_FLAGS, dir_fd=folder)
        now = os.fstat(fd)
        if not stat.S_ISREG(now.st_mode) or now.st_size != entry.size:
            os.close(fd)
            raise _differs(entry.path)
        if now.st_nlink == 1:
            self._finish_file(fd, entry)
        else:
            os.close(fd)
            self._shared.setdefault(now.st_ino, []).append(entry)

    def _finish_file(self, fd: int, entry: Entry) -> None:
        try:
            self._own(fd, entry.path, entry.mode)
        except BaseException:
            os.close(fd)
            raise
        self._syncer.sync_and_close(fd)

    def _open(self, root: int, path: str) -> int:
        """Open a file of the tree; its folders are the agent's by now."""
        parent, _, name = path.rpartition("/")
        folder = os.open(parent or ".", _FOLDER_FLAGS, dir_fd=root)
        try:
            return os.open(name, _FILE_FLAGS, dir_fd=folder)
        finally:
            os.close(folder)

    def _take_link(self, folder: int, name: str, entry: Entry) -> None:
        if os.readlink(name, dir_fd=folder) != entry.target:
            raise _differs(entry.path)
        os.chown(name, *self._owner, dir_fd=folder, follow_symlinks=False)

    def _own(self, fd: int, path: str, mode: int) -> None:
        """Let nobody but the agent change what `fd` is from now on."""
        if os.fstat(fd).st_uid != self._made_by:
            raise _differs(path)
        os.fchown(fd, *self._owner)
        os.fchmod(fd, mode)


def _differs(path: str) -> RefusedError:
    return RefusedError(f"what was unpacked is not what was told: {shown(path)}")
