"""The agent believes nothing of a tree that was unpacked for it: it looks, and makes it its own."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.manifest import Entry, EntryKind
from agent.refused import RefusedError
from agent.take_over import take_over

TREE = (
    Entry(EntryKind.FOLDER, "bin"),
    Entry(EntryKind.FILE, "bin/server", 2, 0o755, "0" * 64),
    Entry(EntryKind.FILE, "bin/second", 2, 0o755, "0" * 64),
    Entry(EntryKind.LINK, "run", target="bin/server"),
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "staging"
    folder.mkdir()
    (folder / "bin").mkdir()
    (folder / "bin/server").write_bytes(b"hi")
    (folder / "bin/second").hardlink_to(folder / "bin/server")
    (folder / "run").symlink_to("bin/server")
    return folder


def take(tree: Path, entries: tuple[Entry, ...] = TREE, made_by: int | None = None) -> None:
    root = os.open(tree, os.O_RDONLY)
    try:
        take_over(root, entries, os.geteuid() if made_by is None else made_by)
    finally:
        os.close(root)


def replaced(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


LIES: dict[str, Callable[[Path], object]] = {
    "one file more": lambda tree: (tree / "bin/more").write_bytes(b""),
    "one file less": lambda tree: (tree / "bin/second").unlink(),
    "another size": lambda tree: (tree / "bin/server").write_bytes(b"longer"),
    "another target": lambda tree: replaced(tree / "run", lambda run: run.symlink_to("/etc")),
    "a link for a file": lambda tree: replaced(
        tree / "bin/server", lambda server: server.symlink_to("/etc/passwd")
    ),
    "a fifo for a file": lambda tree: replaced(tree / "bin/server", os.mkfifo),
    "a file for a link": lambda tree: replaced(tree / "run", lambda run: run.write_bytes(b"")),
    "a name elsewhere": lambda tree: os.link(tree / "bin/server", tree.parent / "outside"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_tree_that_is_not_as_told_is_refused(tree: Path, lie: str) -> None:
    LIES[lie](tree)
    with pytest.raises((RefusedError, OSError), match=r"not what was told|\[Errno (22|40)\]"):
        take(tree)


def test_a_file_that_was_linked_in_from_elsewhere_keeps_its_mode_and_owner(
    tmp_path: Path, tree: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"hi")
    secret.chmod(0o600)
    for name in ("server", "second"):
        replaced(tree / "bin" / name, lambda path: path.hardlink_to(secret))
    with pytest.raises(RefusedError, match="not what was told: 'bin/server'"):
        take(tree)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_what_belongs_to_somebody_else_is_refused(tree: Path) -> None:
    with pytest.raises(RefusedError, match="not what was told"):
        take(tree, made_by=os.geteuid() + 1)


def test_modes_are_set_anew(tree: Path) -> None:
    (tree / "bin/server").chmod(0o6777)
    (tree / "bin").chmod(0o3777)
    take(tree)
    assert stat.S_IMODE((tree / "bin/server").stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "bin").stat().st_mode) == 0o755


@pytest.mark.parametrize(
    "entry",
    [
        Entry(EntryKind.FOLDER, ".."),
        Entry(EntryKind.FOLDER, "/etc"),
        Entry(EntryKind.FOLDER, "bin/../bin"),
        Entry(EntryKind.FOLDER, ""),
        Entry(EntryKind.FOLDER, "missing/below"),
        Entry(EntryKind.FOLDER, "bin"),
        Entry(EntryKind.LINK, "link", target="/etc/passwd"),
        Entry(EntryKind.LINK, "link", target="../outside"),
        Entry(EntryKind.FILE, "bin/x", 2, 0o4755, "0" * 64),
        Entry(EntryKind.FILE, "bin/x", -1, 0o755, "0" * 64),
    ],
    ids=str,
)
def test_an_entry_that_no_archive_may_have_is_refused(tree: Path, entry: Entry) -> None:
    with pytest.raises(RefusedError):
        take(tree, (*TREE, entry))
