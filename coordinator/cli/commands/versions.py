"""`ferryman versions`: what runs on every instance of a service, or what ran at a past time."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING

import click

from coordinator.cli.options import moment
from coordinator.cli.output import folded, note, print_table, say
from coordinator.cli.session import Command, Session, pass_session
from coordinator.cli.text import instances, safe, when

if TYPE_CHECKING:
    from protocol.models import ServiceVersions


@click.command("versions", cls=Command)
@click.argument("service")
@click.option("--include-stopped", is_flag=True, help="Stopped instances, too.")
@click.option(
    "--at",
    type=moment,
    metavar="TIME",
    help="What ran then, such as 2026-11-01T12:00Z, as far as the history says.",
)
@pass_session
def versions(session: Session, *, service: str, include_stopped: bool, at: datetime | None) -> None:
    """Show what runs on every instance of SERVICE, or what ran at a past time.

    With --at an instance to which nothing had been deployed by then counts as stopped.
    """
    session.show(
        lambda client: client.get_service_instance_versions(service, include_stopped, at), _print
    )


def _print(found: ServiceVersions) -> None:
    if found.at is None:
        _print_now(found)
    else:
        _print_then(found)
    say()
    for version, count in found.version_summary.items():
        say(f"{safe(version) or 'never deployed'}: {instances(count)}")


def _print_now(found: ServiceVersions) -> None:
    print_table(
        ("instance", "version", "status", "host", "since", "reason"),
        [
            (r.instance_id, r.version, r.status.value, r.host_id, when(r.last_updated), r.reason)
            for r in found.instances
        ],
    )


def _print_then(found: ServiceVersions) -> None:
    """Without status and host: nothing is known of those."""
    told = (
        f"as of {when(found.at)}, by the history of deployments and rollbacks: whether a version"
        " was up at that moment, and what was changed by hand, is not in it"
    )
    note(folded(told, sys.stderr))
    print_table(
        ("instance", "version", "since", "reason"),
        [
            (r.instance_id, r.version, when(r.last_updated) if r.version else "", r.reason)
            for r in found.instances
        ],
    )


COMMAND = versions
