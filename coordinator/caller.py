"""Who asks: one value that a door makes once, and that authorisation and records go by.

The HTTP door makes it of the token and the peer's address, the agents' door of the
certificate. In process nobody shows anything, and may do everything. Which role a route needs
stands in `permissions`; nothing here knows routes, tasks or instances.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from fnmatch import fnmatchcase
from typing import Final

from coordinator.ports import TokenRow


class Role(Enum):
    """What a token allows: each of people's roles may do what those before it do.

    `join` only enrols hosts, and no other role includes it.
    """

    JOIN = "join"
    VIEWER = "viewer"
    DEPLOYER = "deployer"
    ADMIN = "admin"

    def includes(self, needed: Role) -> bool:
        """Whether this role may do what `needed` may."""
        if Role.JOIN in (self, needed):
            return self is needed
        order = list(Role)
        return order.index(self) >= order.index(needed)


class Proof(Enum):
    """By what a caller is known."""

    TOKEN = "token"  # noqa: S105 - the word, not one of them
    CERTIFICATE = "certificate"
    IN_PROCESS = "in_process"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, from where, and what of the fleet is theirs to see."""

    proof: Proof
    name: str = ""
    """The token's name, or its id if it has none; the host's id; "" for a stranger."""
    token_id: str = ""
    role: Role | None = None
    """None for hosts and strangers: no role is theirs."""
    address: str = ""
    """Where the request came from; "" in process."""
    services: tuple[str, ...] = ()
    """Shell-style patterns of the services that the caller is restricted to; none: all."""
    expires_at: datetime | None = None
    """When the token ends by itself; None: never."""

    @classmethod
    def of_token(cls, row: TokenRow, address: str = "") -> Caller:
        """Who shows a valid token."""
        return cls(
            proof=Proof.TOKEN,
            name=row.name or row.token_id,
            token_id=row.token_id,
            role=Role(row.role),
            address=address,
            services=row.services,
            expires_at=row.expires_at,
        )

    @classmethod
    def of_host(cls, host_id: str, address: str = "") -> Caller:
        """The agent that shows the host's certificate."""
        return cls(proof=Proof.CERTIFICATE, name=host_id, address=address)

    @classmethod
    def stranger(cls, address: str = "") -> Caller:
        """Who shows nothing that is valid."""
        return cls(proof=Proof.NONE, address=address)

    @property
    def restricted(self) -> bool:
        """Whether some services are none of theirs."""
        return bool(self.services)

    def sees(self, service: str) -> bool:
        """Whether the service is theirs to see and to act on."""
        return not self.services or any(fnmatchcase(service, one) for one in self.services)


IN_PROCESS: Final = Caller(proof=Proof.IN_PROCESS, name="in process", role=Role.ADMIN)
"""Whoever runs the process: full rights."""
