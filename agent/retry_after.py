"""What a server asks for by `Retry-After`: seconds of peace (RFC 9110, section 10.2.3).

A date is compared with the answer's own `Date`, since this host's clock decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

LONGEST = 86_400.0
"""Seconds; more is taken as this much, which no assignment outlives."""


def asked_pause(headers: Mapping[str, str]) -> float:
    """Return the seconds that the server wants to be left alone; 0.0 if it does not say."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), LONGEST)
    try:
        then, now = parsedate_to_datetime(text), parsedate_to_datetime(headers.get("Date", ""))
        pause = then.timestamp() - now.timestamp()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(pause, 0.0), LONGEST)
