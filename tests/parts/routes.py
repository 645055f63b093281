"""The routes of the table as tests ask them: each with a path, and a body that it accepts."""

from __future__ import annotations

from typing import Any

from coordinator.http.route import Answer, Route
from coordinator.http.routes import ROUTES
from tests.parts.http_server import DEPLOYMENT

BODIES: dict[str, dict[str, Any]] = {
    "execute_deployment": DEPLOYMENT,
    "plan_deployment": DEPLOYMENT,
    "rollback_instance": {"target_version": "v1.2.2"},
    "rollback_batch": {
        "service": "user-service",
        "target_version": "v1.2.2",
        "instances": ["instance-1"],
    },
    "prefetch": {
        "service": "user-service",
        "version": "v1.2.3",
        "instances": ["instance-1"],
        "package_url": "https://packages.example.com/v1.2.3.tar.gz",
    },
    "create_token": {"role": "viewer", "ttl": 60, "name": "wall", "services": ["web-*", "[!a]b?"]},
    "ask_to_join": {"host_id": "host-a", "csr": "PEM"},
    "enroll": {"token": "ferryman-join-1.abc.def", "host_id": "host-a", "csr": "PEM"},
}
ENVELOPED = [route for route in ROUTES if route.answer is Answer.ENVELOPE]
CHANGING = [route for route in ROUTES if route.changes and "/authority/" not in route.path]
"""Those that change something; the steps of a rotation need an order of their own."""
WITH_TOKEN = [route for route in ROUTES if route.role is not None]


def named(route: Route) -> str:
    return route.name


def path_of(route: Route) -> str:
    return route.path.format(**dict.fromkeys(route.path_fields, "some-1"))
