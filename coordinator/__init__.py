"""The coordinator: the twelve documented functions, in process and over HTTP.

`Coordinator` answers them in process; `AsyncClient` and `Client` ask a daemon. The
names are loaded when first used, so that a client needs none of the daemon's libraries
and the command line starts fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from protocol import __version__
from protocol.errors import (
    ConflictError,
    FerrymanError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)

if TYPE_CHECKING:
    from coordinator.app import Coordinator
    from coordinator.client import AsyncClient, Client
    from protocol.access import TokenParams
    from protocol.models import (
        BatchRollbackParams,
        DeployParams,
        InstanceQueryParams,
        InstanceRollbackParams,
    )
    from protocol.releases import PrefetchParams
    from protocol.strategy import Strategy, Window

__all__ = [
    "AsyncClient",
    "BatchRollbackParams",
    "Client",
    "ConflictError",
    "Coordinator",
    "DeployParams",
    "FerrymanError",
    "InstanceQueryParams",
    "InstanceRollbackParams",
    "InvalidRequestError",
    "NotFoundError",
    "PermissionDeniedError",
    "PrefetchParams",
    "Strategy",
    "TokenParams",
    "UnauthenticatedError",
    "UnavailableError",
    "Window",
    "__version__",
]

_HOMES = {
    "Coordinator": "coordinator.app",
    "AsyncClient": "coordinator.client",
    "Client": "coordinator.client",
    "BatchRollbackParams": "protocol.models",
    "DeployParams": "protocol.models",
    "InstanceQueryParams": "protocol.models",
    "InstanceRollbackParams": "protocol.models",
    "PrefetchParams": "protocol.releases",
    "Strategy": "protocol.strategy",
    "TokenParams": "protocol.access",
    "Window": "protocol.strategy",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
