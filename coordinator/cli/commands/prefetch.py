"""`ferryman prefetch`: bring a release to the hosts' disks ahead of its deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coordinator.cli.choosing import Choice, chosen
from coordinator.cli.options import (
    choosing_options,
    package_url_option,
    waiting_options,
    wants_to_wait,
)
from coordinator.cli.session import Command, Session, pass_session
from coordinator.cli.starting import follow_up

if TYPE_CHECKING:
    from coordinator.client import AsyncClient
    from protocol.releases import PrefetchResult


@click.command("prefetch", cls=Command)
@click.argument("service")
@click.argument("version")
@package_url_option("Where the package is: https.", required=True)
@choosing_options
@click.option("--id", "prefetch_id", help="The prefetch's id; the same id never starts it twice.")
@click.option(
    "--timeout", type=int, help="Seconds for each instance, retries included.  [default: 300]"
)
@click.option("--sha256", help="The SHA-256 that the package must have.")
@waiting_options
@pass_session
def prefetch(
    session: Session,
    *,
    service: str,
    version: str,
    package_url: str,
    instances: tuple[str, ...],
    all_: bool,
    where: tuple[str, ...],
    rest_of: str | None,
    prefetch_id: str | None,
    timeout: int | None,
    sha256: str | None,
    wait: bool | None,
    wait_timeout: int | None,
) -> int:
    """Bring VERSION of SERVICE to the disks of instances; nothing is stopped or started.

    A deployment of it from the same URL is then only the switch. Prints the prefetch's id
    first; exits as `deploy` does.
    """
    choice = chosen(instances, all_, where, rest_of)
    given = {"prefetch_id": prefetch_id, "timeout": timeout, "sha256": sha256}
    fields: dict[str, object] = {
        "service": service,
        "version": version,
        "package_url": package_url,
        **{field: value for field, value in given.items() if value is not None},
    }
    result = session.ask(lambda client: _start(client, choice, fields))
    waits = wants_to_wait(wait, wait_timeout)
    return follow_up(session, result.prefetch_id, result, waits=waits, limit=wait_timeout)


async def _start(client: AsyncClient, choice: Choice, fields: dict[str, object]) -> PrefetchResult:
    from protocol.params import parse_params  # noqa: PLC0415
    from protocol.releases import PrefetchParams  # noqa: PLC0415

    instances = await choice.resolve(client, str(fields["service"]), str(fields["version"]))
    return await client.prefetch(parse_params(PrefetchParams, {**fields, "instances": instances}))


COMMAND = prefetch
