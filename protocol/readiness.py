"""(+) Whether the instances of a service could go back, and from where."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from protocol.results import Model, Time


class InstanceReadiness(Model):
    """(+) Whether one instance could go back to a version, and from where."""

    instance_id: str
    host_id: str
    connected: bool = Field(description="false: its agent is silent, and this is its last word")
    current_version: str
    version: str = Field(description='to which it would go back; "" if there is none')
    source: Literal["from_disk", "from_url", "no_target"] = Field(
        description="from the host's own disk, by download from the URL of the version's last "
        "successful task, or not at all"
    )
    digest: str = Field(description='SHA-256 of the package it would be; "" if that is not known')
    proven_ago: float | None = Field(
        description="seconds since the host last found the release on its disk whole; none if it "
        "never told of that, or if it is not on its disk"
    )
    reason: str = Field(description="for people: what this rests on, or what is missing")


class RollbackReadiness(Model):
    """(+) For every instance of a service, whether and from where it could go back."""

    service: str
    version: str = Field(description='the version that was asked for; "": for each its last one')
    instances: list[InstanceReadiness]
    from_disk: int
    from_url: int
    no_target: int
    updated_at: Time
