"""`ferryman status`: one deployment, rollback or prefetch, or the newest ones."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from coordinator.cli.options import span
from coordinator.cli.output import note, print_fields, print_json, print_table, say
from coordinator.cli.session import Command, Session, pass_session
from coordinator.cli.summary import closing_lines, detail
from coordinator.cli.tasks import exit_code_of, find_status, id_of, kind_of, version_of
from coordinator.cli.text import when
from coordinator.cli.waiting import Waiting

if TYPE_CHECKING:
    from coordinator.cli.tasks import Status
    from coordinator.client import AsyncClient
    from protocol.lists import DeploymentList, RollbackList
    from protocol.releases import PrefetchList

NEWEST = 20


@click.command("status", cls=Command)
@click.argument("task_id", metavar="[ID]", required=False)
@click.option("--watch", is_flag=True, help="Follow it until it has ended.")
@click.option(
    "--wait-timeout",
    type=span,
    metavar="DURATION",
    help="Stop watching after so long (exit 9); implies --watch.",
)
@pass_session
def status(session: Session, task_id: str | None, watch: bool, wait_timeout: int | None) -> int:
    """Show a deployment, a rollback or a prefetch; without ID the newest ones.

    Exits with 5 if it has failed, 6 if it was cancelled.
    """
    if task_id is None:
        if watch:
            raise click.UsageError("--watch needs an ID")
        _show_newest(session)
        return 0
    if not (watch or wait_timeout):
        found = session.ask(lambda client: find_status(client, task_id))
        if session.json:
            print_json(found)
        else:
            _print(found)
        return exit_code_of(found)
    waiting = Waiting(session, task_id, wait_timeout)
    seen_live = sys.stderr.isatty() and sys.stdout.isatty()
    prints = not (session.json or seen_live)
    code = waiting.run(keep=seen_live, sums_up=not prints)
    if waiting.last is not None and prints:
        _print(waiting.last)
    return code


def _print(status: Status) -> None:
    fields = [
        (kind_of(status), id_of(status)),
        ("service", status.service),
        ("version", version_of(status)),
        ("status", status.status.value),
        ("started", when(status.started_at)),
    ]
    if status.completed_at is not None:
        fields.append(("completed", when(status.completed_at)))
    if status.cancelled_at is not None:
        fields.append(("cancel asked", when(status.cancelled_at)))
    if status.digest:
        fields.append(("digest", status.digest))
    print_fields(fields)
    say()
    print_table(
        ("instance", "status", "phase", "runs", "detail"),
        [
            (r.instance_id, r.status.value, r.phase.value, r.current_version, detail(r))
            for r in status.instances
        ],
    )
    say()
    for line in closing_lines(status, sys.stdout):
        say(line)


def _show_newest(session: Session) -> None:
    async def newest_of_all(
        client: AsyncClient,
    ) -> tuple[DeploymentList, RollbackList, PrefetchList]:
        return (
            await client.list_deployments(limit=NEWEST),
            await client.list_rollbacks(limit=NEWEST),
            await client.list_prefetches(limit=NEWEST),
        )

    deployments, rollbacks, prefetches = session.ask(newest_of_all)
    if session.json:
        print_json(
            {
                "deployments": deployments.model_dump(mode="json"),
                "rollbacks": rollbacks.model_dump(mode="json"),
                "prefetches": prefetches.model_dump(mode="json"),
            }
        )
        return
    rows = [
        (d.started_at, d.deploy_id, d.service, d.version, d.status, d.progress)
        for d in deployments.deployments
    ]
    rows += [
        (r.started_at, r.rollback_id, r.service, r.target_version, r.status, r.progress)
        for r in rollbacks.rollbacks
    ]
    rows += [
        (p.started_at, p.prefetch_id, p.service, p.version, p.status, p.progress)
        for p in prefetches.prefetches
    ]
    newest = sorted(rows, key=lambda row: row[0], reverse=True)[:NEWEST]
    print_table(
        ("started", "id", "service", "version", "status", "completed"),
        [
            (when(at), id_, service, version, state.value, f"{done.completed}/{done.total}")
            for at, id_, service, version, state, done in newest
        ],
    )
    if not newest:
        note("nothing was deployed yet")


COMMAND = status
