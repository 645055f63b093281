"""`ferryman instances`: one page of a service's instances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coordinator.cli.options import paging_options
from coordinator.cli.output import note, print_table
from coordinator.cli.session import Command, Session, pass_session
from coordinator.cli.text import when

if TYPE_CHECKING:
    from coordinator.client import AsyncClient
    from protocol.models import ServiceInstances


@click.command("instances", cls=Command)
@click.argument("service")
@click.option("--status", default="", help="Only running, stopped or error.")
@click.option("--version", default="", help="Only those with this version.")
@paging_options(limit=100)
@pass_session
def instances(
    session: Session, *, service: str, status: str, version: str, limit: int, offset: int
) -> None:
    """Show the instances of SERVICE: where they are and how they do."""

    async def ask(client: AsyncClient) -> ServiceInstances:
        from protocol.models import InstanceQueryParams  # noqa: PLC0415
        from protocol.params import parse_params  # noqa: PLC0415

        query = {"status": status, "version": version, "limit": limit, "offset": offset}
        params = parse_params(InstanceQueryParams, {"service_name": service, **query})
        return await client.get_service_instances(params)

    session.show(ask, _print)


def _print(found: ServiceInstances) -> None:
    print_table(
        (
            "instance",
            "host",
            "address",
            "status",
            "version",
            "connected",
            "heard",
            "metadata",
            "reason",
        ),
        [
            (
                r.instance_id,
                r.host_id,
                f"{r.host}:{r.port}",
                r.status.value,
                r.version,
                "yes" if r.connected else "no",
                when(r.last_heartbeat),
                ",".join(f"{key}={value}" for key, value in sorted(r.metadata.items())),
                r.reason,
            )
            for r in found.instances
        ],
    )
    shown = found.offset + len(found.instances)
    if found.instances and shown < found.total:
        note(f"{shown} of {found.total}; more with --offset {shown}")


COMMAND = instances
