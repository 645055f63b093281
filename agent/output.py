"""A service's output: a log of bounded size, and its last lines made fit for people.

The file of the last start is kept beside the present one. While a service runs its file is
cut whenever somebody looks (`trim`), so that no process has to stand between them.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from agent.shorten import take_from_front

KEEP_BYTES = 8 * 1024 * 1024
"""Of a log larger than this, so much of its end is moved to its `.1`."""

TAIL_LINES = 10
_LINE_CHARACTERS = 200
_TAIL_CHARACTERS = 1500
_LAST_LINES = "; last lines:\n"
_TAIL_BYTES = 16 * 1024
_COPY_BYTES = 64 * 1024


def rotate(log: Path, limit: int = KEEP_BYTES) -> None:
    """Keep the log of the last start as `.1`, at most its last `limit` bytes.

    The next one begins empty. Trouble is not reported: no log may hinder a start.
    """
    with contextlib.suppress(OSError):
        if log.stat().st_size > limit:
            _keep_end(log, limit)
            log.unlink()
        else:
            os.replace(log, _previous(log))
        _tail(log).unlink(missing_ok=True)


def trim(log: Path, limit: int = KEEP_BYTES) -> None:
    """Cut a log that has grown beyond `limit` bytes, under the hands of its writer.

    The writer appends, so it goes on at the new end. Where the file system can't take away
    the beginning alone, lines written between the look at the tail and the cut are lost.
    Trouble is not reported: the next look tries again.
    """
    try:
        size = log.stat().st_size
        if size > limit:
            _keep_end(log, limit)
            if not take_from_front(log, size - _TAIL_BYTES):
                _tail(log).write_bytes(_end(log))
                os.truncate(log, 0)
    except OSError:
        return


def last_lines(log: Path) -> str:
    """Return the end of a log, at most ten lines, safe to show; "" if there is none.

    What was cut off it since the last `rotate` counts, too.
    """
    return readable((_end(_tail(log)) + _end(log)).decode(errors="replace"))


def readable(text: str) -> str:
    """Return the last lines of `text`, bounded, with control characters as `\\x1b`."""
    lines = [visible(line.rstrip()[:_LINE_CHARACTERS]) for line in text.splitlines()]
    return "\n".join([line for line in lines if line][-TAIL_LINES:])[-_TAIL_CHARACTERS:]


def visible(line: str) -> str:
    """Return a line with control characters as `\\x1b`."""
    shown = (c if c.isprintable() else f"\\x{ord(c):02x}" for c in line.replace("\t", " "))
    return "".join(shown)


def with_lines(reason: str, tail: str) -> str:
    """Return `reason` with the last lines of the output, if there are any."""
    return f"{reason}{_LAST_LINES}{tail}" if tail else reason


def has_lines(reason: str) -> bool:
    """Tell whether `with_lines` has added lines to it."""
    return _LAST_LINES in reason


def _keep_end(log: Path, left: int) -> None:
    with log.open("rb") as source, _previous(log).open("wb") as kept:
        source.seek(-left, os.SEEK_END)
        while left > 0 and (chunk := source.read(min(left, _COPY_BYTES))):
            left -= kept.write(chunk)


def _end(log: Path) -> bytes:
    try:
        with log.open("rb") as source:
            size = source.seek(0, os.SEEK_END)
            source.seek(max(0, size - _TAIL_BYTES))
            return source.read(_TAIL_BYTES)
    except OSError:
        return b""


def _previous(log: Path) -> Path:
    return log.with_name(log.name + ".1")


def _tail(log: Path) -> Path:
    """Where the last lines before the latest cut are, so that a cut never hides them."""
    return log.with_name(log.name + ".tail")
