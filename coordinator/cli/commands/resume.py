"""`ferryman resume`: go on with a deployment or a rollback that was paused."""

from __future__ import annotations

import click

from coordinator.cli import tasks
from coordinator.cli.session import Command, Session, pass_session
from coordinator.cli.steered import print_steered


@click.command("resume", cls=Command)
@click.argument("task_id", metavar="ID")
@pass_session
def resume(session: Session, task_id: str) -> None:
    """Go on with a deployment or a rollback that was paused."""
    session.show(lambda client: tasks.resume(client, task_id), print_steered)


COMMAND = resume
