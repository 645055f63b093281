"""`ferryman promote`: let the others follow the canary of a deployment or a rollback."""

from __future__ import annotations

import click

from coordinator.cli import tasks
from coordinator.cli.session import Command, Session, pass_session
from coordinator.cli.steered import print_steered


@click.command("promote", cls=Command)
@click.argument("task_id", metavar="ID")
@pass_session
def promote(session: Session, task_id: str) -> None:
    """Let the others follow the canary of a deployment or a rollback.

    Refused until all of the canary has ended and baked.
    """
    session.show(lambda client: tasks.promote(client, task_id), print_steered)


COMMAND = promote
