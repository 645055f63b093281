"""A package's bytes in, the tar stream inside it out.

The format is told by the first bytes, never by the package's name. It
holds no more than a few blocks. Nothing here knows what a tar member is.
"""

from __future__ import annotations

import gzip
import io
import sys
from typing import Any, Protocol

from isal import igzip, isal_zlib

from agent.package_bytes import RATIO, PackageBytes
from agent.refused import RefusedError, TruncatedError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

HEAD = 512
"""Bytes that are looked at to tell the format: one tar header."""

ZSTD_WINDOW_LOG = 27
"""zstd's own limit for a decoder: a window of 128 MiB."""

ACCEPTED = "a package is .tar.gz, .tgz, .tar.zst or .tar"

_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"
_FOREIGN = {
    b"PK\x03\x04": "a zip file",
    b"\xfd7zXZ": "xz-compressed",
    b"BZh": "bzip2-compressed",
    b"7z\xbc\xaf": "a 7z file",
}


class ByteStream(Protocol):
    """Anything that gives up to `size` bytes, and b"" only at its end."""

    def read(self, size: int, /) -> bytes:
        """Read up to `size` bytes."""
        ...


class TarStream:
    """The tar stream inside a package. Raises `RefusedError` for what no package may be."""

    def __init__(self, package: PackageBytes) -> None:
        self._package = package
        self._stream, self._errors = _open(package)
        self._given = 0

    def promise(self, size: int) -> None:
        """Raise `RefusedError` at once if the whole package can't honestly hold `size` bytes."""
        if self._package.length_known and not self._package.may_unpack_to(size):
            raise RefusedError(f"it unpacks to more than {RATIO} times its size")

    def read(self, size: int) -> bytes:
        """Return `size` bytes, or fewer at the end of the stream."""
        try:
            data = self._stream.read(size)
        except EOFError:
            raise TruncatedError("the compressed data ends in the middle") from None
        except self._errors as error:
            raise RefusedError(f"the compressed data is damaged ({error})") from None
        self._given += len(data)
        self._package.gave_something()
        if not self._package.may_unpack_to(self._given):
            raise RefusedError(f"it unpacks to more than {RATIO} times its size")
        return data

    def exactly(self, size: int) -> bytes:
        """Return `size` bytes or raise `TruncatedError`."""
        data = self.read(size)
        if len(data) != size:
            raise TruncatedError("the archive ends in the middle")
        return data


def _open(package: PackageBytes) -> tuple[ByteStream, tuple[type[Exception], ...]]:
    """The unpacker for the package's format, and the exceptions it raises for damage."""
    head = package.head(HEAD)
    if not head:
        raise TruncatedError("it is empty")
    if head.startswith(_GZIP):
        return _gunzip(package)
    if head.startswith(_ZSTD) or head[1:4] == _ZSTD_SKIPPABLE:
        return _unzstd(package)
    for magic, name in _FOREIGN.items():
        if head.startswith(magic):
            raise RefusedError(f"it is {name}; {ACCEPTED}")
    return io.BufferedReader(package, 128 * 1024), ()


def _gunzip(package: PackageBytes) -> tuple[ByteStream, tuple[type[Exception], ...]]:
    # isal is only half typed: its files have no annotations and its error is a variable.
    files: Any = igzip
    damage: Any = isal_zlib.error
    return files.IGzipFile(fileobj=package, mode="rb"), (gzip.BadGzipFile, damage)


def _unzstd(package: PackageBytes) -> tuple[ByteStream, tuple[type[Exception], ...]]:
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
    return zstd.ZstdFile(package, "rb", options=options), (zstd.ZstdError,)
