"""`ferryman services`: the services that any agent reported."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coordinator.cli.options import paging_options
from coordinator.cli.output import note, print_table
from coordinator.cli.session import Command, Session, pass_session

if TYPE_CHECKING:
    from protocol.lists import ServiceList


@click.command("services", cls=Command)
@paging_options(limit=100)
@pass_session
def services(session: Session, limit: int, offset: int) -> None:
    """Show the services, and which versions they run."""
    session.show(lambda client: client.list_services(limit=limit, offset=offset), _print)


def _print(found: ServiceList) -> None:
    print_table(
        ("service", "instances", "running", "connected", "versions"),
        [
            (
                r.service,
                r.instances,
                r.running,
                r.connected,
                ", ".join(f"{name or 'none'}: {n}" for name, n in r.version_summary.items()),
            )
            for r in found.services
        ],
    )
    shown = found.offset + len(found.services)
    if found.services and shown < found.total:
        note(f"{shown} of {found.total}; more with --offset {shown}")


COMMAND = services
