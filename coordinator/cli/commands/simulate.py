"""`ferryman simulate`: a strategy against imagined hosts, here and without a coordinator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from coordinator.cli.options import span
from coordinator.cli.output import print_json
from coordinator.cli.session import Command, Session, pass_session
from coordinator.cli.simulated import print_outcome
from coordinator.cli.strategy import strategy_of, strategy_options

F = TypeVar("F", bound=Callable[..., Any])


def _share(_: click.Context, __: click.Parameter, text: str) -> float:
    """A percentage such as `2%` or `0.5%`, as a share from 0 to 1; else a usage error."""
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not text.endswith("%") or not 0 <= share <= 1:
        raise click.BadParameter(f"{text!r} is no percentage from 0% to 100%")
    return share


def _share_option(flag: str, help_: str) -> Callable[[F], F]:
    return click.option(flag, metavar="PERCENT", default="0%", callback=_share, help=help_)


SECONDS = click.FloatRange(0, 86_400)


@click.command("simulate", cls=Command, short_help="Try a strategy on imagined hosts.")
@click.option(
    "--instances", type=click.IntRange(1, 20_000), default=100, show_default=True, help="How many."
)
@_share_option("--fail", "Whose switch fails, at each attempt.")
@_share_option("--prepare-fail", "Who can't fetch the package.")
@_share_option("--unreachable", "Whose agent is away.")
@_share_option("--regress", "Who is healthy only at first.")
@click.option(
    "--prepare-seconds", type=SECONDS, default=20, show_default=True, help="To prepare, on average."
)
@click.option(
    "--switch-seconds", type=SECONDS, default=5, show_default=True, help="To switch, on average."
)
@click.option(
    "--regress-seconds",
    type=SECONDS,
    default=30,
    show_default=True,
    help="From the switch to a regression, on average.",
)
@click.option(
    "--promote-after",
    type=span,
    metavar="DURATION",
    default="1m",
    show_default=True,
    help="How long somebody takes to promote a canary.",
)
@click.option(
    "--timeout",
    type=click.IntRange(1, 86_400),
    default=300,
    show_default=True,
    help="Seconds for each instance, retries included.",
)
@click.option(
    "--retry-count",
    type=click.IntRange(0, 100),
    default=3,
    show_default=True,
    help="Further attempts for each instance.",
)
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Imagines the same hosts again."
)
@strategy_options
@pass_session
def simulate(
    session: Session,
    /,
    *,
    instances: int,
    fail: float,
    prepare_fail: float,
    unreachable: float,
    regress: float,
    prepare_seconds: float,
    switch_seconds: float,
    regress_seconds: float,
    promote_after: int,
    timeout: int,
    retry_count: int,
    seed: int,
    **strategy: Any,
) -> None:
    """Carry a deployment out on imagined hosts, and show what becomes of it.

    It runs here, in seconds, and asks nobody: the coordinator's own rules with agents that are
    imagined. The percentages are of all instances; a host that fails does so at each attempt.
    The same --seed imagines the same hosts, whatever the strategy is.
    """
    from dataclasses import asdict  # noqa: PLC0415
    from datetime import UTC, datetime  # noqa: PLC0415

    from coordinator.imagined import Imagined  # noqa: PLC0415
    from coordinator.simulation import simulate  # noqa: PLC0415
    from protocol.params import parse_params  # noqa: PLC0415
    from protocol.strategy import Strategy  # noqa: PLC0415

    asked = strategy_of(strategy)
    if asked and "name" in asked:
        raise click.UsageError("strategies have names at a coordinator: here, give their fields")
    imagined = Imagined(
        instances=instances,
        fail=fail,
        prepare_fail=prepare_fail,
        unreachable=unreachable,
        regress=regress,
        prepare_seconds=prepare_seconds,
        switch_seconds=switch_seconds,
        regress_seconds=regress_seconds,
        promote_seconds=promote_after,
        timeout=timeout,
        retry_count=retry_count,
        seed=seed,
    )
    tried = parse_params(Strategy, asked) if asked else None
    outcome = simulate(tried, imagined, datetime.now(UTC))
    if session.json:
        print_json(asdict(outcome))
    else:
        print_outcome(outcome)


COMMAND = simulate
