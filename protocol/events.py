"""(+) What the stream of events tells."""

from __future__ import annotations

from typing import Any, Literal

from protocol.results import Model, Time


class Event(Model):
    """(+) One server-sent event: one change of a task, an assignment or an instance."""

    seq: int
    at: Time
    kind: Literal["task", "assignment", "instance"]
    data: dict[str, Any]
