"""Server-sent events: lines in, `Event` out.

Only what the coordinator sends is read: `id`, `event` and `data` fields, blank lines
that end an event, and comments that keep the connection alive.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from pydantic import ValidationError

from protocol.errors import UnavailableError
from protocol.events import Event


async def parse_events(lines: AsyncIterator[str]) -> AsyncIterator[Event]:
    """Yield one `Event` for each block of lines that holds data."""
    data: list[str] = []
    async for line in lines:
        name, _, value = line.partition(":")
        if not line and data:
            yield _event("\n".join(data))
            data = []
        elif name == "data":
            data.append(value.removeprefix(" "))


def _event(text: str) -> Event:
    try:
        return Event.model_validate(json.loads(text))
    except (ValueError, ValidationError):
        raise UnavailableError("the coordinator sent an event that is none") from None
