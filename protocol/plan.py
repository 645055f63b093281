"""(+) A plan: what a deployment would do, told before anything is done."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from protocol.results import Model, Time
from protocol.strategy import Strategy

PLAN_RULE = "the id of a plan: plan- and 64 of a-z 2-7"

_PLAN = re.compile(r"plan-[a-z2-7]{64}", re.ASCII)


def _check_plan(text: str) -> str:
    if not _PLAN.fullmatch(text):
        raise ValueError(f"must be {PLAN_RULE}")
    return text


PlanId = Annotated[
    str,
    AfterValidator(_check_plan),
    WithJsonSchema({"type": "string", "pattern": f"^{_PLAN.pattern}$"}),
]


class PlannedSize(Model):
    """What one size of the strategy comes to."""

    field: Literal["max_parallel", "canary", "max_failures", "max_unreachable"]
    said: int | str = Field(description="as the strategy has it")
    instances: int = Field(description="what it comes to")
    text: str = Field(description="how, for people: 25% of 7 = 1 (1.75 rounded down)")


class PlannedBatch(Model):
    """One batch: its instances, in the order in which they are taken."""

    batch: int = Field(description="from 0")
    canary: bool
    instances: list[str]


class PlannedInstance(Model):
    """What the plan has for one instance."""

    instance_id: str
    host_id: str
    batch: int = Field(description="from 0")
    version: str = Field(description='what runs there now; "" if nothing was ever deployed')
    digest: str = Field(description='the SHA-256 of that; "" if nothing was')
    connected: bool = Field(description="false: its agent is away")
    away_since: Time | None = Field(description="when an agent that is away was last heard of")
    held_by: str = Field(description='the unfinished task that has the instance; "": none')
    download_bytes: int | None = Field(
        description="to fetch; 0 if the release is on its disk, none if no agent has told yet"
    )
    free_bytes: int | None = Field(
        description="about what its disk has free, as its agent last told; none: it did not"
    )
    free_bytes_after: int | None = Field(
        description="of these, once all of the plan's releases of its host are on it and none is "
        "removed yet; none if that is not known"
    )
    back_to: str = Field(description='the version that it would go back to; "" if there is none')
    back_from: Literal["from_disk", "from_url", "no_target"] = Field(
        description="from the host's own disk, by download from the URL of the version's last "
        "successful task, or not at all"
    )
    back_reason: str = Field(description="for people: why it can't go back, or can't from its disk")


class DeploymentPlan(Model):
    """(+) What a deployment would do. Nothing was changed, fetched or stored for it."""

    plan: str = Field(description="its id; given to the deployment, that holds to this plan")
    service: str
    version: str
    total_instances: int
    strategy: Strategy | None = Field(description="as it would be carried out; none: all at once")
    sizes: list[PlannedSize]
    batches: list[PlannedBatch]
    instances: list[PlannedInstance] = Field(description="in the order in which they are taken")
    away: int = Field(description="how many instances' agents are away")
    package_bytes: int | None = Field(
        description="of the package, as agents told that fetched it before; none: nobody did yet"
    )
    download_bytes: int | None = Field(description="for all instances; none if it is not known")
    begins_at: Time | None = Field(description="when something may begin; none: now")
    longest_seconds: float | None = Field(
        description="after so long it has ended, if nobody pauses it and no host loses what it had "
        "prepared; none: that is not known"
    )
    longest_reason: str = Field(description='for people: why that is not known; "" if it is')
    ends_by: Time | None = Field(description="the same as a time, if it began now")
    warnings: list[str] = Field(description="for people: what would probably not be meant so")
    made_at: Time
