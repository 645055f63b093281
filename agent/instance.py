"""One instance as the agent serves it: its settings, its releases, its driver, its check.

Put together by the wiring; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.ports import Driver, HealthCheck
from agent.releases import Releases


@dataclass(frozen=True, slots=True)
class Instance:
    """Everything that belongs to one instance. Times are seconds."""

    instance_id: str
    service: str
    port: int
    address: str
    metadata: Mapping[str, str]
    releases: Releases
    driver: Driver
    check: HealthCheck
    check_interval: float
    check_timeout: float
    check_stable: float
    keep_releases: int
    started_by_agent: bool = field(default=False)
    """Whether the agent has to start it again after the host has booted."""

    def environment(self, version: str) -> dict[str, str]:
        """What the service is told of itself (interface section 5)."""
        return {
            "FERRYMAN_SERVICE": self.service,
            "FERRYMAN_INSTANCE_ID": self.instance_id,
            "FERRYMAN_VERSION": version,
            "PORT": str(self.port),
        }
