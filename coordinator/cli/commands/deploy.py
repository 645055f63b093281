"""`ferryman deploy`: start a deployment, tell its id, and wait for its end if wanted."""

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
from coordinator.cli.output import note
from coordinator.cli.planned import print_plan
from coordinator.cli.session import Command, Session, given_arguments, pass_session
from coordinator.cli.starting import follow_up
from coordinator.cli.strategy import strategy_of, strategy_options
from coordinator.cli.text import safe
from protocol.errors import UnavailableError

if TYPE_CHECKING:
    from coordinator.client import AsyncClient
    from protocol.models import DeployParams, DeployResult
    from protocol.plan import DeploymentPlan


@click.command("deploy", cls=Command)
@click.argument("service")
@click.argument("version")
@package_url_option("Where the package is: https.", required=True)
@choosing_options
@click.option("--id", "deploy_id", help="The deployment's id; the same id never starts it twice.")
@click.option(
    "--timeout", type=int, help="Seconds for each instance, retries included.  [default: 300]"
)
@click.option("--retry-count", type=int, help="Further attempts for each instance.  [default: 3]")
@click.option("--sha256", help="The SHA-256 that the package must have.")
@click.option("--force", is_flag=True, help="Also where no way back to what runs would be left.")
@click.option("--plan", "plans", is_flag=True, help="Show what it would do, and do nothing.")
@click.option("--plan-id", metavar="PLAN", help="Only if this plan of it is still the same.")
@strategy_options
@waiting_options
@pass_session
def deploy(
    session: Session,
    /,
    *,
    service: str,
    version: str,
    package_url: str,
    instances: tuple[str, ...],
    all_: bool,
    where: tuple[str, ...],
    rest_of: str | None,
    deploy_id: str | None,
    timeout: int | None,
    retry_count: int | None,
    sha256: str | None,
    force: bool,
    plans: bool,
    plan_id: str | None,
    wait: bool | None,
    wait_timeout: int | None,
    **strategy: Any,
) -> int:
    """Bring VERSION of SERVICE to instances.

    Prints the deployment's id first. Exits with 5 if it failed, 6 if it was cancelled, 9 if
    --wait-timeout ran out; without waiting with 0 once it is accepted. --plan shows the batches,
    what they come to and how to carry it out.
    """
    if plans and plan_id is not None:
        raise click.UsageError("--plan makes a plan, --plan-id holds to one: give one of them")
    choice = chosen(instances, all_, where, rest_of)
    given = {
        "timeout": timeout,
        "retry_count": retry_count,
        "sha256": sha256,
        "strategy": strategy_of(strategy),
        "plan": plan_id,
    }
    fields: dict[str, object] = {
        "service": service,
        "version": version,
        "package_url": package_url,
        "deploy_id": deploy_id or _new_id(),
        **{field: value for field, value in given.items() if value is not None},
        **({"force": True} if force else {}),
    }
    if plans:
        arguments = given_arguments()
        session.show(
            lambda client: _plan(client, choice, fields), lambda plan: print_plan(plan, arguments)
        )
        return 0
    result = session.ask(lambda client: _start(client, choice, fields))
    waits = wants_to_wait(wait, wait_timeout)
    return follow_up(session, result.deploy_id, result, waits=waits, limit=wait_timeout)


async def _start(client: AsyncClient, choice: Choice, fields: dict[str, object]) -> DeployResult:
    from asyncio import CancelledError  # noqa: PLC0415

    from coordinator.client.transport import NOT_SENT  # noqa: PLC0415

    params = await _params(client, choice, fields)
    try:
        return await client.execute_deployment(params)
    except (UnavailableError, CancelledError) as error:
        if isinstance(error, UnavailableError) and NOT_SENT in error.details:
            raise
        deploy_id = safe(params.deploy_id)
        note(f"Whether {deploy_id} was taken is not known: --id {deploy_id} won't start it twice.")
        raise


async def _plan(client: AsyncClient, choice: Choice, fields: dict[str, object]) -> DeploymentPlan:
    return await client.plan_deployment(await _params(client, choice, fields))


async def _params(client: AsyncClient, choice: Choice, fields: dict[str, object]) -> DeployParams:
    from protocol.models import DeployParams  # noqa: PLC0415
    from protocol.params import parse_params  # noqa: PLC0415

    instances = await choice.resolve(client, str(fields["service"]), str(fields["version"]))
    return parse_params(DeployParams, {**fields, "instances": instances})


def _new_id() -> str:
    from ulid import ULID  # noqa: PLC0415

    return f"deploy-{ULID()}"


COMMAND = deploy
