"""`ferryman health`: whether the coordinator works."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coordinator.cli.output import print_fields
from coordinator.cli.session import Command, Session, pass_session
from coordinator.cli.text import when
from protocol.errors import UnavailableError

if TYPE_CHECKING:
    from protocol.models import SystemHealth


@click.command("health", cls=Command)
@pass_session
def health(session: Session) -> int:
    """Show whether the coordinator works. Exits with 8 if it is unhealthy."""
    found = session.show(lambda client: client.get_system_health(), _print)
    return UnavailableError.exit_code if found.status == "unhealthy" else 0


def _print(found: SystemHealth) -> None:
    print_fields(
        [
            ("status", found.status),
            ("version", found.version),
            ("uptime", found.uptime),
            ("database", found.database),
            ("cache", found.cache),
            ("time", when(found.timestamp)),
        ]
    )


COMMAND = health
