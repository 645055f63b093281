"""Who may do what: which role each route and command needs, and who may send which frame.

This is the one table of it. The router refuses by it, the OpenAPI document and the pages show
it, and a coordinator with a route that does not stand here does not start. What a token that
is restricted to some services gets is held in `known`, by what `About` says of each route.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from coordinator.caller import Caller, Role
from protocol import messages
from protocol.errors import PermissionDeniedError

# ---- routes ----------------------------------------------------------------


class About(Enum):
    """What of the fleet a route is about: what a token that is restricted to services gets."""

    NOTHING = "nothing of the fleet"
    """The same answer as everybody."""
    SERVICE = "one service"
    """One that is not the token's is `permission_denied`, whether it exists or not."""
    INSTANCE = "one instance"
    """One of a service that is not the token's is `not_found`, as if it did not exist."""
    TASK = "one task"
    """One of a service that is not the token's is `not_found`, as if it did not exist."""
    SERVICES = "all services"
    """The answer holds, and counts, what is of the token's services."""
    INSTALLATION = "the installation"
    """`permission_denied`: only for those who are not restricted."""


@dataclass(frozen=True, slots=True)
class Permission:
    """What a route asks of its caller. `role` None: no token is needed."""

    role: Role | None
    about: About


ROUTES: Final[Mapping[str, Permission]] = {
    "execute_deployment": Permission(Role.DEPLOYER, About.SERVICE),
    "plan_deployment": Permission(Role.VIEWER, About.SERVICE),
    "list_deployments": Permission(Role.VIEWER, About.SERVICES),
    "get_deployment_status": Permission(Role.VIEWER, About.TASK),
    "get_deployment_timeline": Permission(Role.VIEWER, About.TASK),
    "cancel_deployment": Permission(Role.DEPLOYER, About.TASK),
    "pause_deployment": Permission(Role.DEPLOYER, About.TASK),
    "resume_deployment": Permission(Role.DEPLOYER, About.TASK),
    "promote_deployment": Permission(Role.DEPLOYER, About.TASK),
    "retry_deployment": Permission(Role.DEPLOYER, About.TASK),
    "rollback_deployment": Permission(Role.DEPLOYER, About.TASK),
    "get_service_instance_versions": Permission(Role.VIEWER, About.SERVICE),
    "get_service_instances": Permission(Role.VIEWER, About.SERVICE),
    "get_instance_version_history": Permission(Role.VIEWER, About.INSTANCE),
    "get_rollback_readiness": Permission(Role.VIEWER, About.SERVICE),
    "rollback_instance": Permission(Role.DEPLOYER, About.INSTANCE),
    "rollback_batch": Permission(Role.DEPLOYER, About.SERVICE),
    "list_rollbacks": Permission(Role.VIEWER, About.SERVICES),
    "get_rollback_status": Permission(Role.VIEWER, About.TASK),
    "get_rollback_timeline": Permission(Role.VIEWER, About.TASK),
    "cancel_rollback": Permission(Role.DEPLOYER, About.TASK),
    "pause_rollback": Permission(Role.DEPLOYER, About.TASK),
    "resume_rollback": Permission(Role.DEPLOYER, About.TASK),
    "promote_rollback": Permission(Role.DEPLOYER, About.TASK),
    "retry_rollback": Permission(Role.DEPLOYER, About.TASK),
    "get_system_health": Permission(Role.VIEWER, About.NOTHING),
    "get_system_stats": Permission(Role.VIEWER, About.SERVICES),
    "list_services": Permission(Role.VIEWER, About.SERVICES),
    "list_strategies": Permission(Role.VIEWER, About.SERVICES),
    "prefetch": Permission(Role.DEPLOYER, About.SERVICE),
    "list_prefetches": Permission(Role.VIEWER, About.SERVICES),
    "get_prefetch_status": Permission(Role.VIEWER, About.TASK),
    "cancel_prefetch": Permission(Role.DEPLOYER, About.TASK),
    "pin_release": Permission(Role.DEPLOYER, About.SERVICE),
    "unpin_release": Permission(Role.DEPLOYER, About.SERVICE),
    "list_pins": Permission(Role.VIEWER, About.SERVICES),
    "list_hosts": Permission(Role.VIEWER, About.SERVICES),
    "approve_host": Permission(Role.ADMIN, About.INSTALLATION),
    "reject_host": Permission(Role.ADMIN, About.INSTALLATION),
    "revoke_host": Permission(Role.ADMIN, About.INSTALLATION),
    "release_instance": Permission(Role.ADMIN, About.INSTALLATION),
    "events": Permission(Role.VIEWER, About.SERVICES),
    "create_token": Permission(Role.ADMIN, About.INSTALLATION),
    "list_tokens": Permission(Role.ADMIN, About.INSTALLATION),
    "revoke_token": Permission(Role.ADMIN, About.INSTALLATION),
    "list_audit": Permission(Role.ADMIN, About.INSTALLATION),
    "verify_audit": Permission(Role.ADMIN, About.INSTALLATION),
    "authority_status": Permission(Role.VIEWER, About.INSTALLATION),
    "begin_rotation": Permission(Role.ADMIN, About.INSTALLATION),
    "switch_rotation": Permission(Role.ADMIN, About.INSTALLATION),
    "finish_rotation": Permission(Role.ADMIN, About.INSTALLATION),
    "abort_rotation": Permission(Role.ADMIN, About.INSTALLATION),
    "authority": Permission(None, About.NOTHING),
    "enroll": Permission(None, About.NOTHING),
    "ask_to_join": Permission(None, About.NOTHING),
    "connect": Permission(None, About.NOTHING),
    "livez": Permission(None, About.NOTHING),
    "readyz": Permission(None, About.NOTHING),
    "openapi": Permission(Role.VIEWER, About.NOTHING),
}
"""By the route's name. Agents prove themselves by what they bring: `enroll` takes a join token
in its body, `connect` a certificate, and `ask_to_join` a key that an operator has to approve."""


def admit(caller: Caller, permission: Permission) -> None:
    """Return if the caller may use such a route; else raise `PermissionDeniedError`."""
    if permission.role is None:
        return
    require(caller, permission.role)
    if permission.about is About.INSTALLATION and caller.restricted:
        patterns = ", ".join(caller.services)
        raise _denied(f"this is for all services; the token is restricted to {patterns}")


def require(caller: Caller, needed: Role) -> None:
    """Return if the caller's role includes it; else raise `PermissionDeniedError`."""
    if caller.role is None or not caller.role.includes(needed):
        has = caller.role.value if caller.role else "none"
        raise _denied(f"this needs the role {needed.value}; the token has the role {has}")


def _denied(message: str) -> PermissionDeniedError:
    return PermissionDeniedError(message, [{"field": "role", "message": message}])


# ---- commands --------------------------------------------------------------

_CHOOSING: Final = (
    "get_service_instances",
    "get_deployment_status",
    "get_rollback_status",
    "get_prefetch_status",
)

COMMANDS: Final[Mapping[str, Sequence[str]]] = {
    "deploy": ("execute_deployment", "plan_deployment", *_CHOOSING),
    "status": (
        "get_deployment_status",
        "get_rollback_status",
        "get_prefetch_status",
        "list_deployments",
        "list_rollbacks",
        "list_prefetches",
    ),
    "why": (
        "get_deployment_status",
        "get_rollback_status",
        "get_prefetch_status",
        "get_instance_version_history",
        "get_service_instances",
    ),
    "timeline": ("get_deployment_timeline", "get_rollback_timeline"),
    "cancel": ("cancel_deployment", "cancel_rollback", "cancel_prefetch"),
    "pause": ("pause_deployment", "pause_rollback"),
    "resume": ("resume_deployment", "resume_rollback"),
    "promote": ("promote_deployment", "promote_rollback"),
    "retry": ("retry_deployment", "retry_rollback", "get_deployment_status", "get_rollback_status"),
    "rollback": ("rollback_batch", "rollback_instance", "rollback_deployment", *_CHOOSING),
    "prefetch": ("prefetch", *_CHOOSING),
    "versions": ("get_service_instance_versions",),
    "instances": ("get_service_instances",),
    "history": ("get_instance_version_history",),
    "ready": ("get_rollback_readiness",),
    "services": ("list_services",),
    "strategies": ("list_strategies",),
    "hosts": ("list_hosts",),
    "host list": ("list_hosts",),
    "host approve": ("approve_host",),
    "host reject": ("reject_host",),
    "host revoke": ("revoke_host",),
    "instance release": ("release_instance",),
    "release list": ("list_pins",),
    "release pin": ("pin_release",),
    "release unpin": ("unpin_release",),
    "health": ("get_system_health",),
    "stats": ("get_system_stats",),
    "discover": (),
    "token create": ("create_token",),
    "token list": ("list_tokens",),
    "token revoke": ("revoke_token",),
    "authority status": ("authority_status",),
    "authority begin": ("begin_rotation",),
    "authority switch": ("switch_rotation",),
    "authority finish": ("finish_rotation",),
    "authority abort": ("abort_rotation",),
    "authority bundle": ("authority_status",),
    "audit": ("list_audit", "verify_audit"),
    "simulate": (),
    "completion": (),
}
"""Each command of `ferryman` with the routes that it asks: it needs the highest of their roles."""


def role_of_command(command: str) -> Role | None:
    """The role that a command needs; None if it needs no token."""
    needed = [role for name in COMMANDS[command] if (role := ROUTES[name].role)]
    return max(needed, key=list(Role).index, default=None)


# ---- frames ----------------------------------------------------------------


class SpeaksFor(Enum):
    """Of whom a frame of an agent's connection may speak."""

    HOST = "the host that its certificate names"
    INSTANCES = "instances that belong to the host that its certificate names"


FROM_AGENTS: Final[Mapping[type[messages.Frame], SpeaksFor]] = {
    messages.Hello: SpeaksFor.HOST,
    messages.Inventory: SpeaksFor.INSTANCES,
    messages.Heartbeat: SpeaksFor.HOST,
    messages.StateChanged: SpeaksFor.INSTANCES,
    messages.Progress: SpeaksFor.INSTANCES,
    messages.Report: SpeaksFor.INSTANCES,
    messages.Past: SpeaksFor.INSTANCES,
    messages.CertificateRequest: SpeaksFor.HOST,
    messages.Renewed: SpeaksFor.HOST,
    messages.AuthoritiesKept: SpeaksFor.HOST,
}
"""What only an agent may send, on the connection that its certificate opened."""

TO_AGENTS: Final[Mapping[type[messages.Frame], SpeaksFor]] = {
    messages.Welcome: SpeaksFor.HOST,
    messages.HeartbeatAck: SpeaksFor.HOST,
    messages.Ack: SpeaksFor.HOST,
    messages.Prepare: SpeaksFor.INSTANCES,
    messages.Activate: SpeaksFor.INSTANCES,
    messages.Cancel: SpeaksFor.INSTANCES,
    messages.RenewCertificate: SpeaksFor.HOST,
    messages.Certificate: SpeaksFor.HOST,
    messages.InstanceRefused: SpeaksFor.HOST,
    messages.Authorities: SpeaksFor.HOST,
    messages.Pins: SpeaksFor.HOST,
}
"""What only the coordinator may send, and to the host that it speaks of alone."""
