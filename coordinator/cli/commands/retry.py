"""`ferryman retry`: try a task again where it has failed or was cancelled."""

from __future__ import annotations

import click

from coordinator.cli import tasks
from coordinator.cli.options import waiting_options, wants_to_wait
from coordinator.cli.session import Command, Session, pass_session
from coordinator.cli.starting import follow_up


@click.command("retry", cls=Command)
@click.argument("task_id", metavar="ID")
@click.option("--id", "new_id", help="The new task's id; the same id never starts it twice.")
@click.option(
    "--force",
    is_flag=True,
    help="Of a deployment: even where no way back to what runs would be left.",
)
@waiting_options
@pass_session
def retry(
    session: Session,
    *,
    task_id: str,
    new_id: str | None,
    force: bool,
    wait: bool | None,
    wait_timeout: int | None,
) -> int:
    """Try a deployment or a rollback that has ended again where it did not complete.

    A new task for exactly those instances, with the same package and strategy. Prints the new
    id first; exits as `deploy` does.
    """
    result = session.ask(lambda client: tasks.retry(client, task_id, new_id, force=force))
    waits = wants_to_wait(wait, wait_timeout)
    return follow_up(session, tasks.id_of_new(result), result, waits=waits, limit=wait_timeout)


COMMAND = retry
