"""What this host asks of every package: where from, by whom, how large, how fast.

`[packages]` of the agent's settings; the defaults are here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from agent.allowed_hosts import AllowedHosts
from agent.limits import LIMITS
from agent.trust import Trust

MAX_BYTES = LIMITS.unpacked
MAX_SECONDS = 3600.0
MIN_RATE = 1024


@dataclass(frozen=True, slots=True)
class Terms:
    """The terms of one agent."""

    hosts: AllowedHosts = field(default_factory=AllowedHosts)
    trust: Trust = field(default_factory=Trust)
    max_bytes: int = MAX_BYTES
    """Of the package itself."""
    max_seconds: float = MAX_SECONDS
    """From the first request to the last byte, unpacking included."""
    min_rate: int = MIN_RATE
    """Bytes a second; 0 for none."""
