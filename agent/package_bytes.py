"""A package's bytes as they arrive: `Arriving` hashes them, `PackageBytes` is read from.

The agent hashes what it hands on, so that whoever unpacks can't lie about what was taken.
Nothing here knows what the bytes are.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from agent.refused import RefusedError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

RATIO = 200
"""A package may unpack to so many times its own size ..."""

RATIO_FLOOR = 256 * 1024 * 1024
"""... or to so many bytes, whichever is more."""


HOLLOW = 512 * 1024
"""Bytes of a package that may come one after the other and unpack to nothing."""


class Arriving:
    """The package on its way to whoever unpacks it: hashed as it passes.

    `next_chunk` returns b"" at the end; `wait` waits at most so many seconds and says
    whether it would return at once.
    """

    def __init__(
        self,
        next_chunk: Callable[[], bytes],
        wait: Callable[[float], bool] = lambda seconds: True,
    ) -> None:
        self._next_chunk = next_chunk
        self.wait = wait
        self._hash = hashlib.sha256()

    def take(self) -> bytes:
        """Return the next bytes, b"" at the end."""
        chunk = self._next_chunk()
        self._hash.update(chunk)
        return chunk

    @property
    def digest(self) -> str:
        """The SHA-256 of all bytes that were taken, in hex."""
        return self._hash.hexdigest()


class PackageBytes(io.RawIOBase):
    """The package as it arrives: `next_chunk` returns b"" at the end.

    `length` is how many bytes there will be, None if nobody said so.
    """

    def __init__(self, next_chunk: Callable[[], bytes], length: int | None = None) -> None:
        self._next_chunk = next_chunk
        self._length = length
        self._left = memoryview(b"")
        self.count = 0
        self._read = 0
        self._hollow_since = 0

    def readable(self) -> bool:
        """Whether this can be read: yes."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill the beginning of `buffer`; 0 at the end of the package."""
        if self._read - self._hollow_since > HOLLOW:
            raise RefusedError(f"it has more than {HOLLOW} bytes in a row that hold nothing")
        if not self._left:
            self._left = memoryview(self._arrive())
        view = memoryview(buffer)
        size = min(len(view), len(self._left))
        view[:size] = self._left[:size]
        self._left = self._left[size:]
        self._read += size
        return size

    def head(self, size: int) -> bytes:
        """Return the first bytes without taking them; fewer than `size` only at the end."""
        pieces = [bytes(self._left)]
        while sum(map(len, pieces)) < size and (chunk := self._arrive()):
            pieces.append(chunk)
        whole = b"".join(pieces)
        self._left = memoryview(whole)
        return whole[:size]

    def gave_something(self) -> None:
        """Say that what was read so far has unpacked to something."""
        self._hollow_since = self._read

    def drain(self) -> None:
        """Take what is left."""
        self._left = memoryview(b"")
        while self._arrive():
            pass

    def may_unpack_to(self, size: int) -> bool:
        """Whether so many bytes can honestly come out of this package, as far as is known."""
        return size <= max(RATIO_FLOOR, RATIO * (self._length or self.count))

    @property
    def length_known(self) -> bool:
        """Whether the package's whole size is known before its end."""
        return self._length is not None

    def _arrive(self) -> bytes:
        chunk = self._next_chunk()
        self.count += len(chunk)
        return chunk
