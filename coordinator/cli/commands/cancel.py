"""`ferryman cancel`: stop what a task has not switched, or not brought to disk, yet."""

from __future__ import annotations

import click

from coordinator.cli import tasks
from coordinator.cli.output import note, print_fields, print_json
from coordinator.cli.session import Command, Session, pass_session
from coordinator.cli.text import safe, when


@click.command("cancel", cls=Command)
@click.argument("task_id", metavar="ID")
@pass_session
def cancel(session: Session, task_id: str) -> None:
    """Cancel a deployment, a rollback or a prefetch.

    What has stopped the old version already finishes or is put back.
    """
    result = session.ask(lambda client: tasks.cancel(client, task_id))
    if session.json:
        print_json(result)
    else:
        print_fields(
            [
                ("id", task_id),
                ("status", result.status.value),
                ("cancelled at", when(result.cancelled_at)),
            ]
        )
    if not result.status.ended:
        note(f"Some instances have not ended yet. Look: ferryman status {safe(task_id)} --watch")


COMMAND = cancel
