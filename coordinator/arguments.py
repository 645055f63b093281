"""The plain arguments of the documented functions as models, and pages of lists.

Every door checks with them, so that it refuses the same in the same words. The
documented parameter types check themselves (`protocol.models`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from protocol.evidence import MOMENT_RULE, Moment
from protocol.names import (
    DIGEST_RULE,
    NAME_RULE,
    VERSION_RULE,
    Digest,
    HostId,
    InstanceId,
    ServiceName,
    Version,
)
from protocol.params import Limit, Offset, Params

_LIMIT_RULE = "a whole number from 1 to 1000"
_OFFSET_RULE = "a whole number from 0"
_STATUS_RULE = "pending, in_progress, completed, failed, cancelled or empty"


class ServiceVersionsParams(Params):
    """Reference 2.1."""

    service_name: ServiceName = Field(description=NAME_RULE)
    include_stopped: bool = Field(False, description="true or false")
    at: Moment | None = Field(
        None, description=f"(+) {MOMENT_RULE}, not in the future; left out: what runs now"
    )


class RollbackReadinessParams(Params):
    """(+) Which instances could go back, to one version or each to its last one."""

    service_name: ServiceName = Field(description=NAME_RULE)
    version: Version | Literal[""] = Field("", description=f"{VERSION_RULE}, or empty")


class VersionHistoryParams(Params):
    """Reference 2.3."""

    instance_id: InstanceId = Field(description=NAME_RULE)
    limit: Limit = Field(50, description=_LIMIT_RULE)
    offset: Offset = Field(0, description=_OFFSET_RULE)


class SystemStatsParams(Params):
    """Reference 4.2."""

    period: Literal["1h", "24h", "7d", "30d"] = Field("24h", description="1h, 24h, 7d or 30d")


class PageParams(Params):
    """(+) One page of a list."""

    limit: Limit = Field(100, description=_LIMIT_RULE)
    offset: Offset = Field(0, description=_OFFSET_RULE)


class ServiceListParams(PageParams):
    """(+) One page of services. An empty filter matches everything."""

    version: Version | Literal[""] = Field(
        "", description=f"only services with an instance of it: {VERSION_RULE}, or empty"
    )


class HostListParams(PageParams):
    """(+) One page of hosts. Empty filters match everything."""

    service: ServiceName | Literal[""] = Field(
        "", description=f"only hosts with an instance of it: {NAME_RULE}, or empty"
    )
    connected: bool | None = Field(None, description="true or false; left out: both")
    state: Literal["", "pending", "approved", "joined", "rejected", "revoked"] = Field(
        "", description="pending, approved, joined, rejected, revoked or empty"
    )


class HostDecisionParams(Params):
    """(+) A decision about a host that asks to be let in."""

    host_id: HostId = Field(description=NAME_RULE)
    fingerprint: Digest | None = Field(
        None, description=f"{DIGEST_RULE}: the key that is meant, needed if several ask"
    )


class HostIdParams(Params):
    """(+) One host."""

    host_id: HostId = Field(description=NAME_RULE)


class InstanceIdParams(Params):
    """(+) One instance."""

    instance_id: InstanceId = Field(description=NAME_RULE)


class PinParams(Params):
    """(+) One version of a service, to be kept on disk or not any more."""

    service: ServiceName = Field(description=NAME_RULE)
    version: Version = Field(description=VERSION_RULE)


class PinListParams(Params):
    """(+) The list of pinned versions. An empty filter matches everything."""

    service: ServiceName | Literal[""] = Field("", description=f"{NAME_RULE}, or empty")


class TaskListParams(PageParams):
    """(+) One page of a list of tasks. Empty filters match everything."""

    service: ServiceName | Literal[""] = Field("", description=f"{NAME_RULE}, or empty")
    status: Literal["", "pending", "in_progress", "completed", "failed", "cancelled"] = Field(
        "", description=_STATUS_RULE
    )
