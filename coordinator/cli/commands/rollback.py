"""`ferryman rollback`: take instances of a service, or one instance, back to a version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
from coordinator.cli.strategy import strategy_of, strategy_options

if TYPE_CHECKING:
    from coordinator.client import AsyncClient
    from protocol.models import BatchRollbackResult, RollbackResult


@click.command("rollback", cls=Command)
@click.argument("words", nargs=-1, metavar="[SERVICE] VERSION")
@choosing_options
@click.option("--instance", metavar="ID", help="This one instance; SERVICE is left out then.")
@click.option(
    "--deployment",
    metavar="ID",
    help="What this deployment has switched, to what it ran before; nothing else is named then.",
)
@package_url_option("Where to fetch VERSION if it is not on disk.")
@click.option("--force", is_flag=True, help="Also if VERSION runs; take instances over.")
@click.option(
    "--timeout", type=int, help="Seconds for each instance, retries included.  [default: 300]"
)
@click.option("--sha256", help="The SHA-256 that the package must have.")
@strategy_options
@waiting_options
@pass_session
def rollback(
    session: Session,
    /,
    *,
    words: tuple[str, ...],
    instances: tuple[str, ...],
    all_: bool,
    where: tuple[str, ...],
    rest_of: str | None,
    instance: str | None,
    deployment: str | None,
    package_url: str | None,
    force: bool,
    timeout: int | None,
    sha256: str | None,
    wait: bool | None,
    wait_timeout: int | None,
    **strategy: Any,
) -> int:
    """Take instances back to VERSION.

    \b
    ferryman rollback SERVICE VERSION --instances a,b | --all | --where KEY=VALUE
    ferryman rollback --instance ID VERSION
    ferryman rollback --deployment ID

    VERSION is a version, or @previous: for each instance the last other one that was healthy
    there. A release that is still on the host's disk is used without a download. Prints the
    rollback's id first; exits as `deploy` does.
    """
    given = {
        "package_url": package_url,
        "timeout": timeout,
        "sha256": sha256,
        "strategy": strategy_of(strategy),
    }
    fields: dict[str, object] = {
        "force": force,
        **{field: value for field, value in given.items() if value is not None},
    }
    result: RollbackResult | BatchRollbackResult
    if deployment is not None:
        if words or instances or all_ or where or rest_of or instance or package_url or sha256:
            raise click.UsageError(
                "with --deployment ID give no version, instances or package: it knows them"
            )
        fields |= {"deploy_id": deployment}
        result = session.ask(lambda client: _deployment(client, fields))
    elif instance is not None:
        if len(words) != 1 or instances or all_ or where or rest_of:
            raise click.UsageError("with --instance ID give VERSION alone")
        fields |= {"instance_id": instance, "target_version": words[0]}
        result = session.ask(lambda client: _one(client, fields))
    else:
        if len(words) != 2:
            raise click.UsageError(
                "give SERVICE and VERSION, or --instance ID and VERSION, or --deployment ID"
            )
        choice = chosen(instances, all_, where, rest_of)
        fields |= {"service": words[0], "target_version": words[1]}
        result = session.ask(lambda client: _several(client, choice, fields))
    waits = wants_to_wait(wait, wait_timeout)
    return follow_up(session, result.rollback_id, result, waits=waits, limit=wait_timeout)


async def _deployment(client: AsyncClient, fields: dict[str, object]) -> BatchRollbackResult:
    from protocol.params import parse_params  # noqa: PLC0415
    from protocol.steering import RollbackDeploymentParams  # noqa: PLC0415

    params = parse_params(RollbackDeploymentParams, fields)
    return await client.rollback_deployment(
        params.deploy_id, force=params.force, timeout=params.timeout, strategy=params.strategy
    )


async def _one(client: AsyncClient, fields: dict[str, object]) -> RollbackResult:
    from protocol.models import InstanceRollbackParams  # noqa: PLC0415
    from protocol.params import parse_params  # noqa: PLC0415

    return await client.rollback_instance(parse_params(InstanceRollbackParams, fields))


async def _several(
    client: AsyncClient, choice: Choice, fields: dict[str, object]
) -> BatchRollbackResult:
    from protocol.models import BatchRollbackParams  # noqa: PLC0415
    from protocol.params import parse_params  # noqa: PLC0415

    service, version = str(fields["service"]), str(fields["target_version"])
    instances = await choice.resolve(client, service, version, back=True)
    params = parse_params(BatchRollbackParams, {**fields, "instances": instances})
    return await client.rollback_batch(params)


COMMAND = rollback
