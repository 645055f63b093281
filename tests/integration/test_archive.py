"""The guarded archive reader: what unpacks, and what is refused before it can do harm."""

from __future__ import annotations

import gzip
import os
import stat
import tarfile
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from backports import zstd

from agent.limits import Limits
from agent.manifest import Entry
from agent.package_bytes import PackageBytes
from agent.refused import RefusedError, TruncatedError
from agent.unpack import unpack
from tests.parts.packages import (
    END,
    Content,
    Folder,
    HardLink,
    Link,
    header,
    pax,
    tar,
    tar_gz,
    tar_zst,
)


def take_in(data: bytes, folder: Path, limits: Limits | None = None) -> tuple[Entry, ...]:
    """Unpack `data` as if it came from the network in small pieces."""
    pieces: Iterator[bytes] = (data[at : at + 1000] for at in range(0, len(data), 1000))
    package = PackageBytes(lambda: next(pieces, b""), len(data))
    folder.mkdir()
    return unpack(package, folder, limits=limits or Limits())


def tree(folder: Path) -> dict[str, bytes | str]:
    """Files by content, links by target, folders as ""."""
    found: dict[str, bytes | str] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        else:
            found[name] = "" if path.is_dir() else path.read_bytes()
    return found


FILES: dict[str, Content] = {
    "bin": Folder(),
    "bin/server": (b"#!/bin/sh\n", 0o755),
    "lib/deep/er/data": b"x" * 700_000,
    "lib/empty": b"",
    "spare": Folder(),
    "run": Link("bin/server"),
    "lib/up": Link("../bin"),
    "bin/second": HardLink("bin/server"),
}
EXPECTED: dict[str, bytes | str] = {
    "bin": "",
    "bin/server": b"#!/bin/sh\n",
    "bin/second": b"#!/bin/sh\n",
    "lib": "",
    "lib/deep": "",
    "lib/deep/er": "",
    "lib/deep/er/data": b"x" * 700_000,
    "lib/empty": b"",
    "lib/up": "-> ../bin",
    "run": "-> bin/server",
    "spare": "",
}


def dotted(files: dict[str, Content]) -> dict[str, Content]:
    """As `tar -C folder .` names them; hard links name their target so, too."""
    made: dict[str, Content] = {"./": Folder()}
    for name, content in files.items():
        one = HardLink(f"./{content.target}") if isinstance(content, HardLink) else content
        made[f"./{name}"] = one
    return made


def gzip_in_members(files: dict[str, Content]) -> bytes:
    plain = tar(files)
    return gzip.compress(plain[:5000]) + gzip.compress(plain[5000:]) + bytes(64)


def zstd_in_frames(files: dict[str, Content]) -> bytes:
    plain = tar(files)
    skippable = b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"
    return skippable + zstd.compress(plain[:5000]) + skippable + zstd.compress(plain[5000:])


@pytest.mark.parametrize(
    "build",
    [
        tar,
        tar_gz,
        tar_zst,
        lambda files: tar(files, tarfile.GNU_FORMAT),
        lambda files: tar(files, tarfile.USTAR_FORMAT),
        lambda files: tar_gz(dotted(files)),
        gzip_in_members,
        zstd_in_frames,
    ],
    ids=["tar", "tar.gz", "tar.zst", "gnu", "ustar", "dot-slash", "gzip-members", "zstd-frames"],
)
def test_every_usual_package_unpacks_to_the_same_tree(
    tmp_path: Path, build: Callable[[dict[str, Content]], bytes]
) -> None:
    entries = take_in(build(FILES), tmp_path / "out")
    assert tree(tmp_path / "out") == EXPECTED
    assert {entry.path for entry in entries} == set(EXPECTED)


def test_modes_are_reduced_to_two_whatever_the_umask_and_the_archive_say(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        take_in(
            tar({"setuid": (b"x", 0o6777), "open": (b"x", 0o666), "dir/none": (b"x", 0)}),
            tmp_path / "out",
        )
    finally:
        os.umask(before)
    modes = {
        str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode)
        for path in (tmp_path / "out").rglob("*")
    }
    assert modes == {
        "out/setuid": 0o755,
        "out/open": 0o644,
        "out/dir": 0o755,
        "out/dir/none": 0o644,
    }


@pytest.mark.parametrize("layout", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_and_foreign_names_unpack(tmp_path: Path, layout: int) -> None:
    long = "/".join(["folder" * 10] * 8) + "/服务-é"
    take_in(tar({long: b"1", "link": Link(long)}, layout), tmp_path / "out")
    assert (tmp_path / "out" / "link").read_bytes() == b"1"


def test_the_size_in_an_extended_header_counts(tmp_path: Path) -> None:
    member = pax({"size": "3", "mtime": "1.5"}) + header("a", b"abc", size=0)
    comment = pax({"comment": "made by git"}, kind=tarfile.XGLTYPE)
    take_in(comment + member + header("b", b"b") + END, tmp_path / "out")
    assert tree(tmp_path / "out") == {"a": b"abc", "b": b"b"}


def test_a_link_may_dangle_inside_the_package(tmp_path: Path) -> None:
    take_in(tar({"a": b"1", "var": Link("later/made/by/service")}), tmp_path / "out")
    assert os.readlink(tmp_path / "out" / "var") == "later/made/by/service"


def device(kind: bytes) -> bytes:
    return header("fine", b"x") + header("evil", kind=kind) + END


def files(content: dict[str, Content]) -> bytes:
    return tar({"fine": b"x", **content})


def raw(*members: bytes) -> bytes:
    return header("fine", b"x") + b"".join(members) + END


NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))

HOSTILE: dict[str, tuple[bytes, str]] = {
    "upwards": (files({"../evil": b"x"}), "'../evil' leads upwards"),
    "upwards-inside": (files({"a/../../evil": b"x"}), "leads upwards"),
    "absolute": (files({"/tmp/evil": b"x"}), "is an absolute path"),
    "drive": (files({"C:/evil": b"x"}), "is an absolute path"),
    "backslash": (files({"..\\evil": b"x"}), "has a backslash"),
    "newline": (files({"a\nb": b"x"}), r"'a\nb' has a control character"),
    "escape": (files({"a\x1b[31m": b"x"}), r"'a\x1b[31m' has a control character"),
    "bidi": (files({"a\u202etxt.exe": b"x"}), "has a control character"),
    "not-utf8": (raw(header(b"caf\xe9", b"x")), "is not UTF-8"),
    "empty-name": (raw(header("", b"x")), "empty name"),
    "names-the-root": (raw(header(".", b"x")), "names no file"),
    "file-named-as-folder": (raw(header("a/", b"x")), "has the name of a folder"),
    "duplicate": (raw(header("fine", b"y")), "'fine' stands in it twice"),
    "case-twin": (files({"Fine": b"y"}), "'Fine' and 'fine' differ only in spelling"),
    "folder-case-twin": (files({"A/x": b"1", "a/y": b"2"}), "differ only in spelling"),
    "unicode-twin": (files({NFC: b"1", NFD: b"2"}), "differ only in spelling"),
    "file-as-folder": (files({"fine/x": b"y"}), "'fine' is used as a folder and is none"),
    "link-as-folder": (files({"l": Link("."), "l/x": b"y"}), "'l' is used as a folder"),
    "link-then-file": (raw(header("l", kind=b"2", target="fine"), header("l", b"y")), "twice"),
    "link-absolute": (files({"l": Link("/etc/passwd")}), "leads to the absolute path"),
    "link-upwards": (files({"d/l": Link("../../evil")}), "'d/l' leads out of the package"),
    "link-by-link": (
        files({"d/e/f": b"", "up": Link("d/e"), "l": Link("up/../../../evil")}),
        "'l' leads out of the package",
    ),
    "link-chain": (
        files({"d/a": Link(".."), "b": Link("d/a/.."), "d/x": b""}),
        "leads out of the package",
    ),
    "link-circle": (files({"a": Link("b"), "b": Link("a")}), "leads in a circle"),
    "link-without-target": (raw(header("l", kind=b"2")), "'l' has no target"),
    "hard-link-upwards": (files({"h": HardLink("../../etc/passwd")}), "leads upwards"),
    "hard-link-nowhere": (files({"h": HardLink("missing")}), "names no file before it"),
    "hard-link-to-folder": (files({"d": Folder(), "h": HardLink("d")}), "names no file before"),
    "character-device": (device(tarfile.CHRTYPE), "'evil' is a character device"),
    "block-device": (device(tarfile.BLKTYPE), "'evil' is a block device"),
    "fifo": (device(tarfile.FIFOTYPE), "'evil' is a fifo"),
    "unknown-type": (device(b"Z"), "'evil' is of the unknown type"),
    "sparse-gnu": (device(tarfile.GNUTYPE_SPARSE), "'evil' is a sparse file"),
    "sparse-pax": (
        raw(pax({"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}), header("s", b"")),
        "sparse file",
    ),
    "deep": (files({"/".join("d" * 65): b"x"}), "more than 64 folders deep"),
    "long-part": (files({"n" * 256: b"x"}), "a part longer than 255 bytes"),
    "long-path": (files({"/".join(["n" * 100] * 30): b"x"}), "is longer than 2048 bytes"),
    "huge-member": (raw(header("bomb", size=2**60)), "at most 21474836480 are accepted"),
    "bomb-by-size": (raw(header("bomb", size=2**31)), "unpacks to more than 200 times its size"),
    "negative-size": (raw(header("evil", size=-1)), "has a negative size"),
    "pax-size-lie": (raw(pax({"size": "-5"}), header("a", b"")), "has the size '-5'"),
    "pax-size-digits": (raw(pax({"size": "9" * 30}), header("a", b"")), "has the size"),
    "pax-upwards": (raw(pax({"path": "../evil"}), header("a", b"x")), "leads upwards"),
    "pax-nul": (raw(pax({"path": "a\0b"}), header("a", b"x")), "has a control character"),
    "pax-huge": (raw(header("P", kind=b"x", size=2**40)), "extended header of 1099511627776"),
    "pax-damaged": (raw(header("P", b"99 path=a\n", kind=b"x")), "extended header is damaged"),
    "pax-global": (
        raw(pax({"path": "a"}, kind=b"g"), header("b", b"x")),
        "a global header renames or resizes",
    ),
    "pax-chain": (raw(pax({"path": "a"}) * 5, header("b", b"x")), "more than 4 extended headers"),
    "pax-last": (raw(pax({"path": "a"})), "last extended header has no member"),
    "long-name-huge": (raw(header("L", kind=b"L", size=2**33)), "extended header of 8589934592"),
    "damaged-header": (raw(b"\x01" * 512, header("b", b"x")), "header of member 2 is damaged"),
    "data-after-end": (raw() + header("late", b"x") + END, "data after the end"),
    "no-files": (tar({"d": Folder(), "l": Link("d")}), "holds no file"),
    "nothing": (END, "holds no file"),
    "html": (b"<!DOCTYPE html>" + b" " * 1000, "not an archive (it begins with '<!DOCTYPE html>"),
    "short-text": (b"hello", "not an archive (it begins with 'hello')"),
    "gzip-of-text": (gzip.compress(b"hello" * 500), "not an archive (it begins with 'hello"),
    "zip": (b"PK\x03\x04" + bytes(600), "it is a zip file"),
    "gzip-damaged": (tar_gz(FILES)[:-8] + bytes(8), "damaged"),
    "gzip-and-rubbish": (tar_gz(FILES) + b"rubbish" * 20, "damaged"),
    "zstd-damaged": (tar_zst(FILES)[:60] + b"\xff" * 600, "damaged"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_by_name_and_touches_nothing_else(
    tmp_path: Path, name: str
) -> None:
    data, reason = HOSTILE[name]
    with pytest.raises(RefusedError) as refusal:
        take_in(data, tmp_path / "out")
    assert reason in refusal.value.message
    assert refusal.value.message.startswith("package refused: ")
    assert refusal.value.message.isprintable()
    assert not refusal.value.passing
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))


TRUNCATED = {
    "empty": b"",
    "gzip": tar_gz(FILES)[:-4],
    "gzip-second-member": gzip_in_members(FILES)[:-80],
    "zstd": tar_zst(FILES)[:-4],
    "in-a-file": tar(FILES)[:-400_000],
    "in-a-header": tar({"a": b"x" * 512})[:1300],
    "without-end-mark": header("a", b"x"),
}


@pytest.mark.parametrize("name", TRUNCATED)
def test_an_archive_that_ends_early_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(TruncatedError, match=r"ends in the middle|is empty"):
        take_in(TRUNCATED[name], tmp_path / "out")


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (Limits(members=3), "more than 3 members"),
        (Limits(unpacked=100_000), "with 'lib/deep/er/data' it unpacks to 700010 bytes"),
        (Limits(names=150), "with 'bin/server' its names take more than 150 bytes"),
        (Limits(links=1), "more than 1 symbolic links"),
    ],
)
def test_each_limit_refuses(tmp_path: Path, limits: Limits, reason: str) -> None:
    with pytest.raises(RefusedError, match=reason):
        take_in(tar_gz(FILES), tmp_path / "out", limits)


def test_a_compression_bomb_is_refused_before_it_is_written(tmp_path: Path) -> None:
    zeros = 2 * 1024**3
    begin = header("fine", b"x") + header("bomb", size=zeros)
    frames = zstd.compress(begin) + zstd.compress(bytes(32 * 1024**2)) * 64 + zstd.compress(END)
    with pytest.raises(RefusedError, match="unpacks to more than 200 times"):
        take_in(frames, tmp_path / "out")
    assert tree(tmp_path / "out") == {}
