"""Values as people read them: safe text, times, bytes, spans of time.

Everything that came over the network passes `safe` before it reaches a terminal.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPAN = re.compile(r"(?:[0-9]{1,9}[smhd])+", re.ASCII)


def safe(text: object) -> str:
    """`text` with every character that a terminal would act upon written as an escape."""
    return "".join(c if c.isprintable() else _escape(c) for c in str(text))


def when(moment: datetime | None) -> str:
    """A time in UTC as RFC 3339, to the second; "" for none."""
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def size(count: int) -> str:
    """A number of bytes with a decimal unit."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def some(names: Sequence[str], most: int = 3, count: int | None = None) -> str:
    """The first few of many names, and how many more there are; `count` if not all are given."""
    shown = ", ".join(safe(name) for name in names[:most])
    count = len(names) if count is None else count
    return shown if count <= most else f"{shown} and {count - most} more"


def instances(count: int) -> str:
    """A number of instances, in words."""
    return "1 instance" if count == 1 else f"{count} instances"


def span(seconds: float) -> str:
    """A span of time by its largest unit, rounded down: `59s`, `3h`, `12d`."""
    for unit, length in reversed(_UNITS.items()):
        if seconds >= length:
            return f"{seconds // length:.0f}{unit}"
    return "0s"


def seconds_of(span: str) -> int:
    """The seconds in a span such as `90s`, `15m`, `24h`, `7d` or `1h30m`; else ValueError."""
    if not _SPAN.fullmatch(span):
        raise ValueError(f"{span!r} is no span of time such as 90s, 15m, 24h, 7d or 1h30m")
    seconds = sum(int(part[:-1]) * _UNITS[part[-1]] for part in re.findall(r"[0-9]+[smhd]", span))
    if not seconds:
        raise ValueError(f"{span!r} is no time at all")
    return seconds


def duration(seconds: float) -> str:
    """A span of time in whole seconds, rounded up: `45s`, `12m5s`, `3h`, `2d1h`."""
    left, parts = math.ceil(seconds), []
    for unit, length in reversed(_UNITS.items()):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
