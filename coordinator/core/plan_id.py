"""The id of a plan: a digest of what the plan depends on, one part for each kind of it. Pure.

Of a plan only its id is kept, by whoever asked for it. Each kind of thing has a part of the id of
its own, so that two ids tell what differs between their plans, though not where.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b32encode
from collections.abc import Mapping, Sequence
from typing import Any, Final

PART: Final = 8
"""Characters of one part: 40 bits."""

KINDS: Final[Mapping[str, str]] = {
    "request": "the request (service, version, instances, timeout, retries) or its package",
    "strategy": "the strategy",
    "batches": "the order or the batches of the instances",
    "hosts": "the host or the service of an instance",
    "versions": "what runs on an instance",
    "ways": "from where an instance could go back to what it runs",
    "held": "which task holds an instance",
    "away": "whose agents are away",
}
"""What a plan depends on, in the order of the parts, and in words."""


def plan_id(depends_on: Mapping[str, Any]) -> str:
    """The id of a plan that depends on these: a value that JSON can tell for each of `KINDS`."""
    return "plan-" + "".join(_part(depends_on[kind]) for kind in KINDS)


def differences(told: str, now: str) -> Sequence[str]:
    """The kinds in which two plans differ."""
    parts = range(len("plan-"), len(now), PART)
    return [
        kind
        for kind, at in zip(KINDS, parts, strict=True)
        if told[at : at + PART] != now[at : at + PART]
    ]


def _part(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return b32encode(hashlib.sha256(text.encode()).digest()).decode().lower()[:PART]
