"""`ferryman host`: let hosts in, turn them away, cut them off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coordinator.cli.commands import hosts
from coordinator.cli.output import print_fields
from coordinator.cli.session import Command, Session, pass_session
from coordinator.cli.text import when

if TYPE_CHECKING:
    from protocol.access import Host

_fingerprint = click.option(
    "--fingerprint", metavar="SHA256", help="The key that is meant; needed if several ask."
)


@click.group("host")
def host() -> None:
    """List hosts, let them in, cut them off."""


host.add_command(hosts.COMMAND, "list")


@host.command("approve", cls=Command)
@click.argument("host_id", metavar="HOST")
@_fingerprint
@pass_session
def approve(session: Session, host_id: str, fingerprint: str | None) -> None:
    """Let in the key that asks to be HOST.

    Compare it with the one in the agent's log first.
    """
    session.show(lambda client: client.approve_host(host_id, fingerprint), _print)


@host.command("reject", cls=Command)
@click.argument("host_id", metavar="HOST")
@_fingerprint
@pass_session
def reject(session: Session, host_id: str, fingerprint: str | None) -> None:
    """Refuse the key that asks to be HOST. It may be approved later."""
    session.show(lambda client: client.reject_host(host_id, fingerprint), _print)


@host.command("revoke", cls=Command)
@click.argument("host_id", metavar="HOST")
@pass_session
def revoke(session: Session, host_id: str) -> None:
    """Cut HOST off at once, and refuse all certificates that it ever got."""
    session.show(lambda client: client.revoke_host(host_id), _print)


def _print(found: Host) -> None:
    print_fields(
        [
            ("host", found.host_id),
            ("state", found.state.value),
            ("since", when(found.state_since) or "-"),
            ("key", found.fingerprint or "-"),
            ("address", found.address or "-"),
        ]
    )


COMMAND = host
