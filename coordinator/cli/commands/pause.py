"""`ferryman pause`: begin nothing new of a deployment or a rollback."""

from __future__ import annotations

import click

from coordinator.cli import tasks
from coordinator.cli.session import Command, Session, pass_session
from coordinator.cli.steered import print_steered


@click.command("pause", cls=Command)
@click.argument("task_id", metavar="ID")
@pass_session
def pause(session: Session, task_id: str) -> None:
    """Begin nothing new of a deployment or a rollback.

    What is at work goes on to its end; the clocks of what waits stand. Go on with
    `ferryman resume`.
    """
    session.show(lambda client: tasks.pause(client, task_id), print_steered)


COMMAND = pause
