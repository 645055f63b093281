"""`ferryman stats`: tasks of a period, and instances now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coordinator.cli.output import print_table, say
from coordinator.cli.session import Command, Session, pass_session

if TYPE_CHECKING:
    from protocol.models import SystemStats


@click.command("stats", cls=Command, short_help="Count the tasks of a period.")
@click.option("--period", default="24h", show_default=True, help="1h, 24h, 7d or 30d.")
@pass_session
def stats(session: Session, period: str) -> None:
    """Count the tasks that were created within the period, and the instances now."""
    session.show(lambda client: client.get_system_stats(period), _print)


def _print(found: SystemStats) -> None:
    print_table(
        (f"last {found.period}", "total", "success", "failed", "success rate"),
        [
            (name, counts.total, counts.success, counts.failed, f"{counts.success_rate:.1%}")
            for name, counts in (("deployments", found.deployments), ("rollbacks", found.rollbacks))
        ],
    )
    now = found.instances
    say()
    say(f"instances now: {now.total} ({now.healthy} healthy, {now.unhealthy} unhealthy)")


COMMAND = stats
