"""`ferryman why`: what a task or an instance waits for, since when and until when."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from coordinator.cli.choosing import pages
from coordinator.cli.output import paragraph, print_json, say
from coordinator.cli.session import Command, Session, pass_session
from coordinator.cli.tasks import find_status
from protocol.errors import NotFoundError

if TYPE_CHECKING:
    from coordinator.client import AsyncClient
    from protocol.models import ServiceInstance


@click.command("why", cls=Command)
@click.argument("name", metavar="ID|INSTANCE")
@pass_session
def why(session: Session, name: str) -> None:
    """Tell in one paragraph what a task or an instance waits for, since when and until when.

    Of a task that has ended it tells how; of an instance that no task has, how it does.
    """
    told = session.ask(lambda client: _explain(client, name))
    if session.json:
        print_json(told)
    else:
        say(paragraph(str(told["text"]), sys.stdout))


async def _explain(client: AsyncClient, name: str) -> dict[str, Any]:
    """The paragraph, and what it was made of: the task of this name, or else the instance."""
    from coordinator.cli.explaining import why_instance, why_task  # noqa: PLC0415

    try:
        task = await find_status(client, name)
    except NotFoundError:
        service, row = await _instance(client, name)
        holder = await find_status(client, row.held_by) if row.held_by else None
        return {
            "text": why_instance(row, service, holder),
            "task": holder and holder.model_dump(mode="json"),
            "instance": row.model_dump(mode="json"),
        }
    return {"text": why_task(task), "task": task.model_dump(mode="json"), "instance": None}


async def _instance(client: AsyncClient, name: str) -> tuple[str, ServiceInstance]:
    """The instance of this name, behind its service."""
    try:
        service = (await client.get_instance_version_history(name, limit=1)).service
    except NotFoundError:
        raise NotFoundError(f"there is no task and no instance {name}") from None
    async for row in pages(client, service):
        if row.instance_id == name:
            return service, row
    raise NotFoundError(f"{service} has no instance {name} any more")


COMMAND = why
