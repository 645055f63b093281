"""`ferryman hosts`, which is `ferryman host list`, too: the hosts, and who asks to be one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coordinator.cli.options import paging_options
from coordinator.cli.output import note, print_table
from coordinator.cli.session import Command, Session, pass_session
from coordinator.cli.text import when

if TYPE_CHECKING:
    from protocol.access import HostList


@click.command("hosts", cls=Command)
@click.option("--state", default="", help="Only pending, approved, joined, rejected or revoked.")
@paging_options(limit=100)
@pass_session
def hosts(session: Session, state: str, limit: int, offset: int) -> None:
    """Show the hosts and who asks to be one, newest first."""
    session.show(lambda client: client.list_hosts(state=state, limit=limit, offset=offset), _print)


def _print(found: HostList) -> None:
    print_table(
        (
            "host",
            "state",
            "connected",
            "address",
            "agent",
            "instances",
            "heard",
            "joined",
            "key",
            "reason",
        ),
        [
            (
                r.host_id,
                r.state.value,
                "yes" if r.connected else "no",
                r.address,
                r.agent_version,
                len(r.instances),
                when(r.last_heartbeat),
                when(r.joined_at),
                r.fingerprint,
                r.reason,
            )
            for r in found.hosts
        ],
    )
    shown = found.offset + len(found.hosts)
    if found.hosts and shown < found.total:
        note(f"{shown} of {found.total}; more with --offset {shown}")


COMMAND = hosts
