"""What a row of the audit trail may hold: bounded, fit for one line, and without secrets.

Everything in it that others chose passes here. A URL loses its query and fragment, where
signatures stand, and its user. What is called a secret is left out whatever it holds, and what
looks like a token loses its secret wherever it stands. Long lists and texts are cut, and say so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Any, Final

from coordinator.core.chain import AuditRow
from coordinator.core.task import Task
from protocol.lines import one_line
from protocol.params import MAX_URL
from protocol.urls import without_queries

LONGEST_TEXT: Final = 256
LONGEST_MESSAGE: Final = 500
MOST_NAMES: Final = 20
"""Of a list, or of a mapping's keys; how many more there are is said."""

_SECRETS: Final = frozenset({"token", "secret", "csr", "key", "password"})
_TOKEN: Final = re.compile(r"(ferryman-(?:[a-z]+-|join-1\.[0-9a-f]{64}\.))[\w-]{16,}", re.ASCII)
_DEEPEST: Final = 4


def said(value: Mapping[str, Any]) -> dict[str, Any]:
    """What a request says, as it may be kept."""
    return _mapping({name: item for name, item in value.items() if name not in _SECRETS}, 0)


def done(row: AuditRow, after: Mapping[str, Any], object_id: str = "") -> AuditRow:
    """The row, now that it is known what came of it."""
    return replace(row, after=said(after), object_id=text(object_id) or row.object_id)


def text(value: object, longest: int = LONGEST_TEXT) -> str:
    """One text, as it may be kept."""
    cut = without_queries(str(value)[: 2 * MAX_URL])
    return one_line(_TOKEN.sub(r"\1…", cut), longest)


def versions(running: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Which instance runs which version: all counted, and by name."""
    by_name = {name: version or "none" for name, version in running}
    return {"versions": dict(Counter(by_name.values()).most_common()), "instances": by_name}


def accepted(task: Task) -> dict[str, Any]:
    """A task that was accepted."""
    return {
        "task_id": task.task_id,
        "service": task.service,
        "version": task.version,
        "instances": len(task.assignments),
    }


def under_way(task: Task) -> dict[str, Any]:
    """How far a task is that is cancelled, paused, resumed or promoted."""
    steered = {"paused": task.paused_at is not None, "promoted_by": task.promoted_by}
    return {
        "status": task.state.value,
        "progress": task.progress.model_dump(),
        **{name: value for name, value in steered.items() if value},
    }


def _mapping(value: Mapping[str, Any], depth: int) -> dict[str, Any]:
    first = islice(value.items(), MOST_NAMES)
    made = {text(name): _kept(item, depth + 1) for name, item in first}
    if len(value) > MOST_NAMES:
        made["…"] = f"and {len(value) - MOST_NAMES} more"
    return made


def _kept(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping) and depth < _DEEPEST:
        return _mapping(value, depth)
    if isinstance(value, list | tuple) and depth < _DEEPEST:
        made = [_kept(item, depth + 1) for item in value[:MOST_NAMES]]
        more = len(value) - MOST_NAMES
        return [*made, f"… and {more} more"] if more > 0 else made
    return text(value)
