"""What usual programs pack, the agent unpacks to the same tree as `tar` does.

Names, contents, link targets and hard links are equal; modes are tar's, reduced to two. It is
the same whoever unpacks: the agent's own user, or the second wall's.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.package_bytes import Arriving
from agent.unpack_apart import unpack_apart
from agent.walls import UnpackUser
from tests.lab.needs import need_programs, need_root
from tests.parts.stranger import STRANGER

BY_GO = Path(__file__).parents[1] / "archives/by_go"

LONG = "/".join(["a-folder-with-a-rather-long-name"] * 4 + ["and-a-file-with-one"])
VERY_LONG = "/".join(["n" * 90] * 5 + ["file"])
FOREIGN = ("données/été-servicé.txt", "服务/配置.json", "emoji-🚢", "Привет, it's me")


@dataclass(frozen=True)
class Tree:
    """Which names the folder has that is packed."""

    names: tuple[str, ...]
    links: bool = True


PLAIN = Tree(())
POSIX = Tree((LONG,))
ANY = Tree((LONG, VERY_LONG, *FOREIGN))


def planted(folder: Path, tree: Tree) -> Path:
    """Make a folder with everything that an honest package may have."""
    for name, content, mode in (
        ("bin/server", b"#!/bin/sh\nexit 0\n", 0o755),
        ("bin/only-the-owner", b"#!/bin/sh\n", 0o700),
        ("lib/private", b"not for all", 0o600),
        ("lib/data", os.urandom(300_000), 0o644),
        ("lib/empty", b"", 0o644),
        ("lib/of-one-block", b"x" * 512, 0o664),
        ("-starts with a dash", b"1", 0o644),
        *((name, name.encode(), 0o644) for name in tree.names),
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(mode)
    (folder / "spare/empty").mkdir(parents=True)
    if tree.links:
        (folder / "bin/second").hardlink_to(folder / "bin/server")
        (folder / "run").symlink_to("bin/server")
        (folder / "lib/up").symlink_to("../bin")
        (folder / "lib/through-another").symlink_to("up/server")
        (folder / "lib/dangling").symlink_to("made/later")
    return folder


Maker = Callable[[Path, Path], object]
"""Packs a folder into a file."""


def program(*argv: str, names: str = ".") -> Maker:
    """A maker that runs a program: {file} and {folder} stand for what they say."""

    def make(folder: Path, file: Path) -> None:
        need_programs(argv[0])
        words = [word.format(file=file, folder=folder) for word in argv]
        subprocess.run([*words, "-C", str(folder), *names.split()], check=True)

    return make


def files_only(folder: Path, file: Path) -> None:
    """Without a member for any folder."""
    found = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    names = "\0".join(str(path.relative_to(folder)) for path in found)
    argv = ["tar", "-czf", str(file), "-C", str(folder), "--null", "--verbatim-files-from"]
    subprocess.run([*argv, "-T", "-"], input=names.encode(), check=True)


def python(layout: int) -> Maker:
    def make(folder: Path, file: Path) -> None:
        with tarfile.open(file, "w:gz", format=layout) as archive:
            archive.add(folder, arcname=".")

    return make


def npm(folder: Path, file: Path) -> None:
    need_programs("npm")
    about = {"name": "user-service", "version": "1.0.0", "bin": "bin/server"}
    (folder / "package.json").write_text(json.dumps(about))
    into = file.parent / "packed"
    into.mkdir()
    argv = ["npm", "pack", "--silent", "--offline", "--ignore-scripts"]
    subprocess.run(
        [*argv, f"--pack-destination={into}"],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(file.parent), "npm_config_cache": str(file.parent / "npm")},
    )
    (into / "user-service-1.0.0.tgz").rename(file)


def go(layout: str) -> Maker:
    """What Go has made already (`make.go` there says how); the folder is another one than ours."""

    def make(folder: Path, file: Path) -> None:
        shutil.copy(BY_GO / f"{layout}.tar.gz", file)

    return make


MAKERS: dict[str, tuple[Maker, Tree]] = {
    "gnu-tar": (program("tar", "-cf", "{file}"), ANY),
    "gnu-tar-gnu-gzip": (program("tar", "--format=gnu", "-czf", "{file}"), ANY),
    "gnu-tar-pax-zstd": (program("tar", "--format=pax", "--zstd", "-cf", "{file}"), ANY),
    "gnu-tar-ustar": (program("tar", "--format=ustar", "-czf", "{file}"), POSIX),
    "gnu-tar-v7": (program("tar", "--format=v7", "-czf", "{file}"), PLAIN),
    "gnu-tar-oldgnu": (program("tar", "--format=oldgnu", "-czf", "{file}"), ANY),
    "gnu-tar-without-dot": (program("tar", "-czf", "{file}", names="bin lib spare run"), ANY),
    "gnu-tar-without-folders": (files_only, ANY),
    "gnu-tar-with-attributes": (
        program("tar", "--format=pax", "--xattrs", "--acls", "-czf", "{file}"),
        ANY,
    ),
    "gnu-tar-sorted-with-no-dates": (
        program(
            "tar", "--sort=name", "--mtime=@0", "--owner=0", "--numeric-owner", "-czf", "{file}"
        ),
        ANY,
    ),
    "bsdtar": (program("bsdtar", "-czf", "{file}"), ANY),
    "bsdtar-pax": (program("bsdtar", "--format=pax", "-czf", "{file}"), ANY),
    "bsdtar-ustar": (program("bsdtar", "--format=ustar", "-czf", "{file}"), POSIX),
    "bsdtar-gnutar": (program("bsdtar", "--format=gnutar", "-czf", "{file}"), ANY),
    "bsdtar-v7": (program("bsdtar", "--format=v7", "-czf", "{file}"), PLAIN),
    "bsdtar-zstd": (program("bsdtar", "--zstd", "-cf", "{file}"), ANY),
    "python-pax": (python(tarfile.PAX_FORMAT), ANY),
    "python-gnu": (python(tarfile.GNU_FORMAT), ANY),
    "python-ustar": (python(tarfile.USTAR_FORMAT), POSIX),
    "npm": (npm, Tree(FOREIGN[:2], links=False)),
    "go": (go("default"), ANY),
    "go-pax": (go("pax"), ANY),
    "go-gnu": (go("gnu"), ANY),
}


@dataclass(frozen=True)
class Packed:
    """An archive, and what `tar` makes of it."""

    file: Path
    by_tar: Path


@pytest.fixture(scope="module", params=MAKERS)
def packed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    maker, tree = MAKERS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    made = Packed(folder / "package", folder / "by-tar")
    for name in ("packed-from", "by-tar"):
        (folder / name).mkdir()
    maker(planted(folder / "packed-from", tree), made.file)
    argv = ["tar", "--no-same-owner", "--same-permissions", "-xf", str(made.file)]
    subprocess.run([*argv, "-C", str(made.by_tar)], check=True)
    return made


def test_an_honest_archive_unpacks_as_tar_does_it(packed: Packed, tmp_path: Path) -> None:
    unpacks_as_tar_does_it(packed, tmp_path, None)


def test_an_honest_archive_unpacks_alike_for_the_second_walls_user(
    packed: Packed, tmp_path: Path
) -> None:
    need_root("unpacking as another user")
    unpacks_as_tar_does_it(packed, tmp_path, STRANGER)


def unpacks_as_tar_does_it(packed: Packed, folder: Path, user: UnpackUser | None) -> None:
    with packed.file.open("rb") as package:
        arriving = Arriving(lambda: package.read(100_000))
        unpack_apart(arriving, packed.file.stat().st_size, folder, user)
    expected = looks(packed.by_tar)
    assert len(expected) > 8
    assert looks(folder) == expected
    assert shared(folder) == shared(packed.by_tar)
    owners = {(path.lstat().st_uid, path.lstat().st_gid) for path in folder.rglob("*")}
    assert owners == {(os.geteuid(), os.getegid())}


def looks(folder: Path) -> dict[str, tuple[str, bytes, int]]:
    """Each name with its kind, content or target, and the mode that a release may have."""
    found = {}
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            look = ("link", os.readlink(path).encode(), 0)
        elif stat.S_ISDIR(mode):
            look = ("folder", b"", 0o755)
        else:
            look = ("file", path.read_bytes(), 0o755 if mode & 0o111 else 0o644)
        found[str(path.relative_to(folder))] = look
    return found


def shared(folder: Path) -> set[frozenset[str]]:
    """The names that stand for one file."""
    names: dict[int, set[str]] = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            names.setdefault(path.stat().st_ino, set()).add(str(path.relative_to(folder)))
    return {frozenset(one) for one in names.values() if len(one) > 1}


def test_modes_of_the_unpacked_tree_are_the_two_of_a_release(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "out").mkdir()
    file = tmp_path / "package"
    MAKERS["gnu-tar"][0](planted(tmp_path / "from", ANY), file)
    data = iter([file.read_bytes()])
    unpack_apart(Arriving(lambda: next(data, b"")), None, tmp_path / "out", None)
    modes = {
        str(path.relative_to(tmp_path / "out")): stat.S_IMODE(path.lstat().st_mode)
        for path in (tmp_path / "out").rglob("*")
        if not path.is_symlink()
    }
    assert modes["bin/server"] == modes["bin/only-the-owner"] == modes["lib"] == 0o755
    assert modes["lib/private"] == modes["lib/of-one-block"] == 0o644
    assert set(modes.values()) == {0o644, 0o755}
