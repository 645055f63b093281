"""`ferryman ready`: whether the instances of a service could go back, and from where."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coordinator.cli.output import print_table, say
from coordinator.cli.session import Command, Session, pass_session
from coordinator.cli.text import instances, span
from protocol.errors import ConflictError

if TYPE_CHECKING:
    from protocol.readiness import RollbackReadiness


@click.command("ready", cls=Command)
@click.argument("service")
@click.option("--version", default="", help="Back to this one.  [default: each to its last one]")
@pass_session
def ready(session: Session, service: str, version: str) -> int:
    """Show for each instance of SERVICE whether it could go back, and from where.

    Exits with 0 if all could, with 7 if one could not.
    """
    found = session.show(lambda client: client.get_rollback_readiness(service, version), _print)
    return ConflictError.exit_code if found.no_target else 0


def _print(found: RollbackReadiness) -> None:
    print_table(
        ("instance", "runs", "back to", "source", "proven", "connected", "reason"),
        [
            (
                one.instance_id,
                one.current_version,
                one.version,
                one.source,
                "" if one.proven_ago is None else f"{span(one.proven_ago)} ago",
                "yes" if one.connected else "no",
                one.reason,
            )
            for one in found.instances
        ],
    )
    say()
    for source in ("from_disk", "from_url", "no_target"):
        if count := getattr(found, source):
            say(f"{source}: {instances(count)}")


COMMAND = ready
