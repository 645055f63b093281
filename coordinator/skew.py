"""Commands that an older agent would not understand: answered in its place, or kept back. Pure."""

from __future__ import annotations

from protocol.messages import (
    PREFETCH_MINOR,
    PROTOCOL_MAJOR,
    WATCH_MINOR,
    Activate,
    Command,
    Ended,
    Prepare,
    Result,
    Step,
)
from protocol.states import TaskKind


def is_kept_back(minor: int, command: Command) -> bool:
    """Whether the command is nothing to an agent of this minor version: it watches nothing."""
    return minor < WATCH_MINOR and isinstance(command, Activate) and command.renews


def why_not_sent(minor: int, command: Command) -> Ended | None:
    """The end of an attempt that an agent of this minor version can't begin; None if it can."""
    if (
        minor >= PREFETCH_MINOR
        or not isinstance(command, Prepare)
        or command.kind is not TaskKind.PREFETCH
    ):
        return None
    message = (
        f"its agent speaks protocol {PROTOCOL_MAJOR}.{minor}, and a prefetch needs "
        f"{PROTOCOL_MAJOR}.{PREFETCH_MINOR}: upgrade the agent"
    )
    return Ended(result=Result.FAILED, step=Step.PREPARE, message=message)
