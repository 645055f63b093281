"""(+) Who is let in, and what they may: hosts, tokens and the authority.

All of it is an addition to the interface reference.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field, ValidationInfo, field_validator
from pydantic.config import JsonDict

from protocol.names import NAME_RULE, PATTERN_RULE, HostId
from protocol.params import MAX_PATTERNS, Params, ServicePatterns
from protocol.results import Model, Time
from protocol.states import HostState, RotationPhase

DEFAULT_USES = 1000
"""How many hosts a join token lets in that names none, if nobody says otherwise."""
MAX_USES = 100_000

_PATTERNS_RULE = (
    f"1 to {MAX_PATTERNS} different patterns of service names, for a viewer or a deployer only: "
    f"each {PATTERN_RULE}; none: all services"
)


class Host(Model):
    """(+) One row of the list of hosts."""

    host_id: str
    connected: bool
    agent_version: str
    address: str
    instances: list[str]
    joined_at: Time | None = Field(description="none: it has not joined")
    last_heartbeat: Time = Field(description="when it was last heard of, or last asked to join")
    state: HostState = HostState.JOINED
    fingerprint: str = Field(
        "", description="SHA-256 of its public key; empty until it comes with its certificate"
    )
    state_since: Time | None = Field(None, description="when it got into this state")
    reason: str = Field("", description="what an operator should know, such as a refused claim")


class ReleasedInstance(Model):
    """(+) An instance that belongs to no host now; the next one that brings it owns it."""

    instance_id: str
    service: str
    host_id: str = Field(description="the host that it belonged to")


class HostList(Model):
    """(+) Hosts, newest first."""

    hosts: list[Host]
    total: int
    limit: int
    offset: int


class JoinAnswer(Model):
    """(+) What was decided of an agent that asks to be let in without a token."""

    state: HostState
    fingerprint: str = Field(description="SHA-256 of the public key that asked")
    certificate: str = Field("", description="PEM, once it was approved")
    authority: str = Field("", description="the one that has signed it, PEM")


_FOR_SOME_ROLES: JsonDict = {
    "allOf": [
        {
            "if": {"properties": {"role": {"enum": ["join", "admin"]}}},
            "then": {"properties": {"services": {"type": "null"}}},
        },
        {
            "if": {"properties": {"role": {"enum": ["viewer", "deployer", "admin"]}}},
            "then": {"properties": {"uses": {"type": "null"}, "host_id": {"type": "null"}}},
        },
    ]
}
"""What `TokenParams` checks between its fields, for its JSON schema."""


class TokenParams(Params):
    """(+) What `token create` takes."""

    model_config = ConfigDict(json_schema_extra=_FOR_SOME_ROLES)

    role: Literal["join", "viewer", "deployer", "admin"] = Field(
        description="join, viewer, deployer or admin"
    )
    ttl: int | None = Field(
        None,
        ge=1,
        le=315_360_000,
        description="seconds of life, 1 to 315360000; none: for ever, a join token an hour",
    )
    name: str = Field("", max_length=128, description="at most 128 characters")
    services: ServicePatterns | None = Field(None, description=_PATTERNS_RULE)
    uses: int | None = Field(
        None,
        ge=1,
        le=MAX_USES,
        description=f"a number of hosts from 1 to {MAX_USES}, for role join only; "
        f"none: {DEFAULT_USES}, or 1 with a host_id",
    )
    host_id: HostId | None = Field(
        None, description=f"the one host that it lets in, for role join only: {NAME_RULE}"
    )

    @field_validator("services")
    @classmethod
    def _not_for_everybody(
        cls, patterns: list[str] | None, info: ValidationInfo
    ) -> list[str] | None:
        role = info.data.get("role")
        if patterns is not None and role in ("join", "admin"):
            raise ValueError(f"a token with the role {role} can't be restricted to services")
        return patterns

    @field_validator("uses", "host_id")
    @classmethod
    def _for_joining(cls, value: object, info: ValidationInfo) -> object:
        if value is not None and info.data.get("role", "join") != "join":
            raise ValueError("is for role join only")
        return value


class Token(Model):
    """(+) A token as it is listed: never the secret."""

    token_id: str
    role: Literal["join", "viewer", "deployer", "admin"]
    name: str
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None
    revoked_at: Time | None
    uses: int | None = Field(None, description="how many hosts it lets in; none: no limit")
    used: int = Field(0, description="how many hosts it has let in")
    host_id: str = Field("", description="the one host that it lets in; empty: any")
    services: list[str] = Field(
        default_factory=list,
        description="patterns of the services that it is restricted to; none: all",
    )


class CreatedToken(Token):
    """(+) A new token, with its secret for the only time."""

    secret: str = Field(repr=False)


class TokenList(Model):
    """(+) Tokens, newest first."""

    tokens: list[Token]


class ForceParams(Params):
    """(+) Whether hosts that stand in the way are passed over."""

    force: bool = Field(False, description="true or false: pass over hosts that are not ready")


class AuthorityCertificate(Model):
    """(+) An authority's certificate."""

    sha256: str
    ends_at: Time
    certificate: str
    """PEM."""


class UnreadyHost(Model):
    """(+) A host that is not yet as the rotation needs it, and why."""

    host_id: str
    connected: bool
    reason: str


class AuthorityStatus(Model):
    """(+) The coordinator's authority, and how far a rotation of it is."""

    phase: RotationPhase
    present: AuthorityCertificate
    """The one in `ca.pem`; after the switch it does not sign any more."""
    next: AuthorityCertificate | None
    hosts: int
    believing: int
    """Hosts that are known to believe the next authority; without one, the present one."""
    certified: int
    """Hosts whose certificate is of that authority."""
    unready: list[UnreadyHost]
    """At most 1,000, by id."""
