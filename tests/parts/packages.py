"""Builds packages: well-formed ones from a dict, and raw tar members for the hostile ones."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True, slots=True)
class HardLink:
    """A further name of a file that stands before it."""

    target: str


class Folder:
    """A folder of its own, such as an empty one."""


Content = bytes | tuple[bytes, int] | Link | HardLink | Folder
"""Bytes (mode 0644), bytes with a mode, a link or a folder."""


def tar(files: Mapping[str, Content], layout: int = tarfile.PAX_FORMAT) -> bytes:
    """An uncompressed package."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=layout) as archive:
        for name, content in files.items():
            info, data = _member(name, content)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def tar_gz(files: Mapping[str, Content], layout: int = tarfile.PAX_FORMAT) -> bytes:
    """A .tar.gz package; equal files give equal bytes."""
    return gzip.compress(tar(files, layout), compresslevel=1, mtime=0)


def tar_zst(files: Mapping[str, Content], layout: int = tarfile.PAX_FORMAT) -> bytes:
    """A .tar.zst package."""
    return zst(tar(files, layout))


def zst(data: bytes) -> bytes:
    """`data` as zstd packs it, fast."""
    packed: bytes = zstd.compress(data, 1)
    return packed


def sha256(data: bytes) -> str:
    """The digest that tasks name."""
    return hashlib.sha256(data).hexdigest()


def _member(name: str, content: Content) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.mode = 0o644
    data = b""
    if isinstance(content, Link):
        info.type, info.linkname = tarfile.SYMTYPE, content.target
    elif isinstance(content, HardLink):
        info.type, info.linkname = tarfile.LNKTYPE, content.target
    elif isinstance(content, Folder):
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    elif isinstance(content, tuple):
        data, info.mode = content
    else:
        data = content
    info.size = len(data)
    return info, data


END = bytes(1024)
"""The end mark of a tar archive."""


def header(
    name: str | bytes,
    data: bytes = b"",
    *,
    kind: bytes = tarfile.REGTYPE,
    target: str | bytes = "",
    size: int | None = None,
    mode: int = 0o644,
    owner: int = 0,
    prefix: str = "",
) -> bytes:
    """One raw ustar member, whatever is in it: `size` may lie about `data`."""
    block = bytearray(512)
    raw = name if isinstance(name, bytes) else name.encode()
    link = target if isinstance(target, bytes) else target.encode()
    block[0 : len(raw)] = raw
    block[100:108] = b"%07o\0" % mode
    block[108:124] = b"%07o\0" % owner * 2
    block[124:136] = _number(len(data) if size is None else size)
    block[136:148] = b"00000000000\0"
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[157 : 157 + len(link)] = link
    block[257:265] = b"ustar\x0000"
    block[345 : 345 + len(prefix)] = prefix.encode()
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + data + bytes(-len(data) % 512)


def pax(
    records: Mapping[str, str | bytes], *, kind: bytes = tarfile.XHDTYPE, name: str = "PaxHeader"
) -> bytes:
    """An extended header with these records."""
    data = b"".join(
        _record(key.encode(), value if isinstance(value, bytes) else value.encode())
        for key, value in records.items()
    )
    return header(name, data, kind=kind)


def _record(key: bytes, value: bytes) -> bytes:
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest)
    while len(b"%d" % length) + len(rest) != length:
        length = len(b"%d" % length) + len(rest)
    return b"%d" % length + rest


def _number(value: int) -> bytes:
    if 0 <= value < 8**11:
        return b"%011o\0" % value
    marker = b"\x80" if value >= 0 else b"\xff"
    return marker + value.to_bytes(11, "big", signed=True)
