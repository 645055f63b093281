"""One archive in each format, ended at every 512 bytes.

The reason names the member in which it ends, or the one before. Of compressed data that is what
could be unpacked: none, if the end comes in the first piece.
"""

from __future__ import annotations

import gzip
import random
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate

from tests.archives.hostile import Builder, Hostile
from tests.parts.packages import END, header, zst

_STEP = 512
_FILES = 6
_CONTENT, _MEMBER = 1_600, 2_560
"""Bytes of a file; with its header and what fills its last block up."""
_GZIP_PIECE = 8_192
"""So much is unpacked from gzip at once; a piece that ends too early is lost."""


@dataclass(frozen=True)
class _Format:
    name: str
    whole: bytes
    unpacked: Callable[[int], int]
    """How many bytes of the tar stream so many bytes of it give."""


def _formats() -> Iterator[_Format]:
    noise = random.Random(8194)
    files = (header(_name(number), noise.randbytes(_CONTENT)) for number in range(_FILES))
    plain = b"".join(files)
    # An end mark of one block is an end.
    assert END not in plain
    assert len(plain) == _FILES * _MEMBER
    yield _Format("tar", plain, lambda size: size)
    yield _gzip(plain + END)
    yield _zstd(plain + END)


def _gzip(plain: bytes) -> _Format:
    whole = gzip.compress(plain, 1, mtime=0)

    def unpacked(size: int) -> int:
        got = len(zlib.decompressobj(wbits=31).decompress(whole[:size]))
        return got // _GZIP_PIECE * _GZIP_PIECE

    return _Format("gzip", whole, unpacked)


def _zstd(plain: bytes) -> _Format:
    """A frame for each block, so that there is something to be read before the end."""
    frames = [zst(plain[at : at + _STEP]) for at in range(0, len(plain), _STEP)]
    ends = list(accumulate(map(len, frames)))
    return _Format("zstd", b"".join(frames), lambda size: bisect_right(ends, size) * _STEP)


def _name(number: int) -> str:
    return f"folder/{number}"


def _where(unpacked: int) -> str:
    number, into = divmod(unpacked, _MEMBER)
    if into:
        return f" (in '{_name(number)}')"
    return f" (after '{_name(number - 1)}')" if number else ""


def _ended(format_: _Format) -> Iterator[Hostile]:
    for size in range(0, len(format_.whole) + (format_.name == "tar"), _STEP):
        says = f"ends in the middle{_where(format_.unpacked(size))}" if size else "is empty"
        yield Hostile(f"{format_.name}-ended-at-{size}", _begin(format_.whole, size), says)


def _begin(whole: bytes, size: int) -> Builder:
    return lambda scene: [whole[:size]]


ARCHIVES = tuple(entry for format_ in _formats() for entry in _ended(format_))
