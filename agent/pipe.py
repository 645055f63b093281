"""Bytes from the event loop to one worker thread, with a bound on what waits between them.

The loop puts, the thread reads. Either side may leave at any time, and the other one
notices at once. Nothing here knows what the bytes are.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque

CAPACITY = 4 * 1024 * 1024
"""Bytes that may wait for the thread before the loop's side waits."""


class AbortedError(Exception):
    """The loop's side gave up: the thread shall stop."""


class Pipe:
    """One pipe; made on the loop that feeds it."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._loop = asyncio.get_running_loop()
        self._space = asyncio.Event()
        self._changed = threading.Condition()
        self._chunks: deque[bytes] = deque()
        self._waiting = 0
        self._loop_waits = False
        self._ended = False
        self._aborted = False
        self._reader_left = False

    async def put(self, data: bytes) -> bool:
        """Hand over `data`, waiting while the pipe is full; False once the reader has left."""
        with self._changed:
            self._chunks.append(data)
            self._waiting += len(data)
            self._changed.notify()
            self._loop_waits = self._waiting >= self._capacity and not self._reader_left
            if self._loop_waits:
                self._space.clear()
        if self._loop_waits:
            await self._space.wait()
        return not self._reader_left

    def end(self) -> None:
        """Say that everything was put."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def abort(self) -> None:
        """Make the reader stop with `AbortedError`."""
        with self._changed:
            self._aborted = True
            self._chunks.clear()
            self._changed.notify()

    def wait(self, seconds: float | None = None) -> bool:
        """In the thread: wait until `read` would not; False if that takes more than `seconds`."""
        with self._changed:
            return self._changed.wait_for(
                lambda: bool(self._chunks) or self._ended or self._aborted, seconds
            )

    def read(self) -> bytes:
        """In the thread: wait for bytes; b"" at the end. Raises `AbortedError`."""
        with self._changed:
            self.wait()
            self.check()
            if not self._chunks:
                return b""
            data = self._chunks.popleft()
            self._waiting -= len(data)
            if self._loop_waits and self._waiting <= self._capacity // 2:
                self._wake_loop()
            return data

    def check(self) -> None:
        """In the thread: raise `AbortedError` if the loop's side gave up."""
        if self._aborted:
            raise AbortedError

    def leave(self) -> None:
        """In the thread: say that nothing more will be read."""
        with self._changed:
            self._reader_left = True
            self._chunks.clear()
            self._wake_loop()

    def _wake_loop(self) -> None:
        self._loop_waits = False
        self._loop.call_soon_threadsafe(self._space.set)
