"""`ferryman instance`: take an instance from the host that it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coordinator.cli.output import print_fields
from coordinator.cli.session import Command, Session, pass_session

if TYPE_CHECKING:
    from protocol.access import ReleasedInstance


@click.group("instance")
def instance() -> None:
    """Say which host an instance belongs to."""


@instance.command("release", cls=Command)
@click.argument("instance_id", metavar="ID")
@pass_session
def release(session: Session, instance_id: str) -> None:
    """Let an instance belong to no host: the next one that brings it owns it."""
    session.show(lambda client: client.release_instance(instance_id), _print)


def _print(found: ReleasedInstance) -> None:
    print_fields(
        [
            ("instance", found.instance_id),
            ("service", found.service),
            ("released by", found.host_id),
        ]
    )


COMMAND = instance
