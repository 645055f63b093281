"""(+) Releases on hosts' disks besides what runs: pinned versions, and those fetched ahead of time.

All of it is an addition to the interface reference.
"""

from __future__ import annotations

from pydantic import Field

from protocol.causes import FailureCause
from protocol.models import AssignmentStatus, TaskProgress
from protocol.names import (
    DIGEST_RULE,
    NAME_RULE,
    VERSION_RULE,
    Digest,
    ServiceName,
    TaskId,
    Version,
)
from protocol.params import (
    DEFAULT_TIMEOUT,
    INSTANCES_RULE,
    TIMEOUT_RULE,
    URL_RULE,
    InstanceIds,
    PackageUrl,
    Params,
    Timeout,
)
from protocol.results import Model, Time
from protocol.states import TaskState


class Pin(Model):
    """(+) A version of a service that its hosts keep on disk whatever `keep_releases` says."""

    service: str
    version: str
    created_at: Time
    created_by: str = Field(description="who pinned it, as the audit trail names them")
    instances: int = Field(description="instances of the service")
    on_disk: int = Field(description="those of them that are known to have it on disk")


class PinList(Model):
    """(+) Pinned versions, newest first."""

    pins: list[Pin]


class PrefetchParams(Params):
    """(+) What `prefetch` takes."""

    service: ServiceName = Field(description=NAME_RULE)
    version: Version = Field(description=VERSION_RULE)
    instances: InstanceIds = Field(description=INSTANCES_RULE)
    package_url: PackageUrl = Field(description=URL_RULE)
    prefetch_id: TaskId | None = Field(
        None, description=f"{NAME_RULE}; none: the coordinator gives one"
    )
    timeout: Timeout = Field(DEFAULT_TIMEOUT, description=TIMEOUT_RULE)
    sha256: Digest | None = Field(None, description=f"{DIGEST_RULE}: the package must have it")


class PrefetchResult(Model):
    """(+) The prefetch as it was accepted."""

    prefetch_id: str
    service: str
    version: str
    status: TaskState
    total_instances: int
    started_at: Time


class PrefetchStatus(Model):
    """(+) The whole state of a prefetch; a part is completed once the release is on disk."""

    prefetch_id: str
    service: str
    version: str
    status: TaskState
    progress: TaskProgress
    instances: list[AssignmentStatus]
    started_at: Time
    updated_at: Time
    digest: str = Field(description="the package's SHA-256, once given or verified")
    completed_at: Time | None
    cancelled_at: Time | None = Field(description="when a cancellation was asked for")
    package_url: str = Field("", description="where the package is, without a query")
    causes: list[FailureCause] = Field(
        default_factory=list,
        description="why instances failed, one for all that failed alike, the largest first",
    )


class PrefetchCancelResult(Model):
    """(+) `status` is `in_progress` until all parts have ended."""

    prefetch_id: str
    status: TaskState
    cancelled_at: Time


class PrefetchSummary(Model):
    """(+) One row of the list of prefetches."""

    prefetch_id: str
    service: str
    version: str
    status: TaskState
    progress: TaskProgress
    started_at: Time
    updated_at: Time


class PrefetchList(Model):
    """(+) Prefetches, newest first."""

    prefetches: list[PrefetchSummary]
    total: int
    limit: int
    offset: int
