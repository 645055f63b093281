"""`ferryman history`: what ended on one instance, newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coordinator.cli.options import paging_options
from coordinator.cli.output import note, print_table
from coordinator.cli.session import Command, Session, pass_session
from coordinator.cli.text import when

if TYPE_CHECKING:
    from protocol.models import VersionHistory


@click.command("history", cls=Command, short_help="Show what ended on INSTANCE, newest first.")
@click.argument("instance")
@paging_options(limit=50)
@pass_session
def history(session: Session, instance: str, limit: int, offset: int) -> None:
    """Show the deployments and rollbacks that ended on INSTANCE, newest first."""
    found = session.show(
        lambda client: client.get_instance_version_history(instance, limit, offset), _print
    )
    shown = offset + len(found.history)
    if found.history and shown < found.total:
        note(f"{shown} of {found.total}; more with --offset {shown}")


def _print(found: VersionHistory) -> None:
    print_table(
        ("time", "version", "action", "status", "id", "reason"),
        [
            (when(r.timestamp), r.version, r.action, r.status, r.deploy_id, r.reason)
            for r in found.history
        ],
    )


COMMAND = history
