"""`ferryman strategies`: the strategies of the coordinator's configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coordinator.cli.output import note, print_table
from coordinator.cli.session import Command, Session, pass_session

if TYPE_CHECKING:
    from protocol.strategy import StrategyList, UnnamedStrategy


@click.command("strategies", cls=Command)
@pass_session
def strategies(session: Session) -> None:
    """Show the strategies that --strategy takes, and which services take which by default."""
    session.show(lambda client: client.list_strategies(), _print)


def _print(found: StrategyList) -> None:
    print_table(
        ("strategy", "default for", "fields"),
        [
            (
                one.name,
                ", ".join(by.services for by in found.defaults if by.name == one.name),
                _fields(one.strategy),
            )
            for one in found.strategies
        ],
    )
    if not found.strategies:
        note("the coordinator's configuration has no strategies")


def _fields(strategy: UnnamedStrategy) -> str:
    given = strategy.model_dump(mode="json", exclude_defaults=True)
    windows = [_window(window) for window in given.pop("windows", None) or ()]
    return "; ".join([*(f"{field} {value}" for field, value in given.items()), *windows])


def _window(window: dict[str, object]) -> str:
    """As `--window` takes it."""
    days = window.get("days")
    told = f"{','.join(days)} " if isinstance(days, list) else ""
    zone = f" {window['timezone']}" if "timezone" in window else ""
    return f"window {told}{window['begin']}-{window['until']}{zone}"


COMMAND = strategies
