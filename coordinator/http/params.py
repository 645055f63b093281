"""The inputs and answers that only the HTTP door has: paths and queries as models.

Each model holds everything that one route takes, wherever it stands in the request.
The documented parameters are in `protocol.models`, plain arguments in
`coordinator.arguments`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from protocol.names import NAME_RULE, HostId, TaskId
from protocol.params import Params
from protocol.results import Model

MAX_SEQUENCE = 2**63 - 1


class NoParams(Params):
    """Nothing."""


class DeployIdParams(Params):
    """One deployment, by its path (reference 1.2 and 1.3)."""

    deploy_id: TaskId = Field(description=NAME_RULE)


class RollbackIdParams(Params):
    """One rollback, by its path (reference 3.3 and 3.4)."""

    rollback_id: TaskId = Field(description=NAME_RULE)


class PrefetchIdParams(Params):
    """(+) One prefetch, by its path."""

    prefetch_id: TaskId = Field(description=NAME_RULE)


class TokenIdParams(Params):
    """(+) One token, by its path."""

    token_id: TaskId = Field(description=NAME_RULE)


class EventsParams(Params):
    """(+) Where the stream of events begins; the header `Last-Event-ID` goes before it."""

    after: int | None = Field(
        None,
        ge=0,
        le=MAX_SEQUENCE,
        description=f"the number of the last event seen, 0 to {MAX_SEQUENCE}",
    )


class EnrollParams(Params):
    """(+) What an agent sends to join."""

    token: Annotated[str, Field(min_length=1, max_length=1024)] = Field(
        repr=False, description="a join token, at most 1024 characters"
    )
    host_id: HostId = Field(description=NAME_RULE)
    csr: Annotated[str, Field(min_length=1, max_length=16_384)] = Field(
        description="a certificate request in PEM, at most 16384 characters"
    )


class AskToJoinParams(Params):
    """(+) What an agent without a token sends to be let in."""

    host_id: HostId = Field(description=NAME_RULE)
    csr: Annotated[str, Field(min_length=1, max_length=16_384)] = Field(
        description="a certificate request in PEM, at most 16384 characters"
    )


class Enrolment(Model):
    """(+) What an agent gets when it joins, both PEM."""

    certificate: str
    authority: str


class Authority(Model):
    """(+) The certificate of the coordinator's authority, PEM."""

    authority: str
    older: str = ""
    """The one before, from its replacement until it is forgotten; else ""."""


class Alive(Model):
    """(+) The process answers."""

    status: Literal["alive"] = "alive"


class Ready(Model):
    """(+) Requests can be served."""

    status: Literal["ready"] = "ready"
