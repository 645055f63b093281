"""Has a package unpacked by a process without rights, and makes the result the agent's own.

The agent hands the bytes on, hashed by itself, and never parses one of them. The child
(`agent.unpacker`) has the staging folder's descriptor and nothing else, and is killed
whatever ends this early. Only what `agent.take_over` has seen counts.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from agent import manifest
from agent.limits import LIMITS, Limits
from agent.manifest import Entry
from agent.package_bytes import Arriving
from agent.ports import StepError
from agent.refused import RefusedError, TruncatedError
from agent.take_over import take_over
from agent.walls import UnpackUser

_LOOK_SECONDS = 0.1
"""So often it is seen whether the work was given up while the child is waited for."""
_PIPE_SIZE = 1024 * 1024
_PIECE = 256 * 1024
_MAX_LINE = 64 * 1024
_MAX_REASON = 2000


def unpack_apart(
    arriving: Arriving,
    length: int | None,
    folder: Path,
    user: UnpackUser | None,
    *,
    limits: Limits = LIMITS,
    check: Callable[[], None] = lambda: None,
) -> tuple[Entry, ...]:
    """Take the package to its end, unpack it into the empty `folder`, and return what is there.

    It is durable then, and the agent's. `length` is how many bytes there will be, None if
    nobody said so; `user` unpacks it, None stands for this process's own one without its
    capabilities. `check` is called often and may raise to stop. Raises `RefusedError` for
    an archive that breaks a rule and `StepError` if the host can't take it; the folder then
    holds rubbish.
    """
    with _translated(folder):
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if user:
                os.fchmod(root, 0o700)
                os.fchown(root, user.uid, user.gid)
            with _child(root, length, limits, user) as child:
                _hand_on(arriving, child.stdin, check)
                entries = tuple(_entries(_lines(child.stdout, check), limits))
            take_over(root, entries, user.uid if user else os.geteuid(), check)
        finally:
            os.close(root)
    return entries


@contextmanager
def _translated(folder: Path) -> Iterator[None]:
    """Say what the system said while the tree was made."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StepError(f"no space left for the package in {folder.parent}") from None
        raise StepError(f"can't unpack into {folder.parent}: {error.strerror}") from None


@contextmanager
def _child(
    root: int, length: int | None, limits: Limits, user: UnpackUser | None
) -> Iterator[subprocess.Popen[bytes]]:
    """The child, gone at the end whatever happens."""
    asked = {
        "folder": root,
        "length": length,
        "limits": asdict(limits),
        "user": (user.uid, user.gid) if user else None,
    }
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "agent.unpacker", json.dumps(asked)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=[root],
        pipesize=_PIPE_SIZE,
    )
    try:
        yield child
    except _SilentError:
        child.kill()
        raise StepError(_how_it_ended(child.wait()), passing=True) from None
    finally:
        child.kill()
        child.wait()
        for end in (child.stdin, child.stdout):
            if end and not end.closed:
                end.close()


class _SilentError(Exception):
    """The child ended without a whole answer."""


def _how_it_ended(status: int) -> str:
    how = signal.Signals(-status).name if status < 0 else f"status {status}"
    return f"the process that unpacks packages ended early ({how})"


def _hand_on(arriving: Arriving, end: IO[bytes] | None, check: Callable[[], None]) -> None:
    """Write the whole package, or as much as the child wants."""
    assert end is not None
    fd = end.fileno()
    os.set_blocking(fd, False)
    try:
        while chunk := _next(arriving, fd, check):
            left = memoryview(chunk)
            while left:
                check()
                try:
                    left = left[os.write(fd, left) :]
                except BlockingIOError:
                    _wait_for(fd, select.POLLOUT)
    except BrokenPipeError:
        pass
    end.close()


def _next(arriving: Arriving, fd: int, check: Callable[[], None]) -> bytes:
    """Return the next bytes. Raises `BrokenPipeError` once nobody reads at the pipe's other end."""
    while not arriving.wait(_LOOK_SECONDS):
        check()
        if _wait_for(fd, 0, seconds=0):
            raise BrokenPipeError
    return arriving.take()


def _lines(end: IO[bytes] | None, check: Callable[[], None]) -> Iterator[bytes]:
    """What the child says, line by line. Raises `_SilentError` for what is no line."""
    assert end is not None
    fd = end.fileno()
    os.set_blocking(fd, False)
    rest = b""
    while True:
        check()
        try:
            data = os.read(fd, _PIECE)
        except BlockingIOError:
            _wait_for(fd, select.POLLIN)
            continue
        *lines, rest = (rest + data).split(b"\n")
        yield from lines
        if not data or len(rest) > _MAX_LINE:
            raise _SilentError


def _wait_for(fd: int, event: int, seconds: float = _LOOK_SECONDS) -> bool:
    """Whether the event came, or the other end was closed, which is always looked for."""
    waiting = select.poll()
    waiting.register(fd, event)
    return bool(waiting.poll(seconds * 1000))


def _entries(lines: Iterator[bytes], limits: Limits) -> Iterator[Entry]:
    """The entries that the child tells. Raises `StepError` if it tells why there are none."""
    for count, line in enumerate(lines):
        if line.startswith(b"{"):
            _raise_unless_done(line)
            return
        if count >= limits.members or len(line) > _MAX_LINE:
            raise _SilentError
        try:
            yield manifest.decode(line)
        except ValueError:
            raise _SilentError from None


def _raise_unless_done(line: bytes) -> None:
    said = _said(line)
    if said.get("done") is True:
        return
    if "truncated" in said:
        raise TruncatedError(_text(said["truncated"]))
    if "refused" in said:
        raise RefusedError(_text(said["refused"]))
    if "failed" in said:
        raise StepError(_text(said["failed"]))
    if "walls" in said:
        raise StepError(f"packages can't be unpacked without root's rights: {_text(said['walls'])}")
    if isinstance(number := said.get("errno"), int):
        raise OSError(number, os.strerror(number))
    raise _SilentError


def _said(line: bytes) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        raise _SilentError from None
    return said if isinstance(said, dict) else {}


def _text(said: object) -> str:
    """A reason as it may be shown, whoever wrote it."""
    return "".join(char if char.isprintable() else "?" for char in str(said)[:_MAX_REASON])
