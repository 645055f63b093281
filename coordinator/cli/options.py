"""Options that several commands take, and the types of their values."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import click

from coordinator.cli.text import seconds_of

F = TypeVar("F", bound=Callable[..., Any])


def span(text: str) -> int:
    """The seconds in a span such as `90s`, `15m`, `24h`, `7d`; else a usage error."""
    try:
        return seconds_of(text)
    except ValueError as problem:
        raise click.BadParameter(str(problem)) from None


def moment(text: str) -> datetime:
    """The time that `text` says, such as `2026-11-01T12:00Z`; else a usage error."""
    from protocol.evidence import moment_of  # noqa: PLC0415

    try:
        return moment_of(text)
    except ValueError as problem:
        raise click.BadParameter(f"{text!r} {problem}") from None


def choosing_options(command: F) -> F:
    """`--instances`, `--all`, `--where`, `--rest-of`: which instances of the service."""
    for option in (
        click.option(
            "--rest-of",
            metavar="ID",
            help="Instances of this task that don't run VERSION.",
        ),
        click.option(
            "--where",
            metavar="KEY=VALUE",
            multiple=True,
            help="Instances whose metadata has this value; host and host_id are keys, too."
            " Several must all hold.",
        ),
        click.option("--all", "all_", is_flag=True, help="Every instance of the service."),
        click.option(
            "--instances", metavar="ID,ID…", multiple=True, help="These instances, by their ids."
        ),
    ):
        command = option(command)
    return command


def package_url_option(text: str, *, required: bool = False) -> Callable[[F], F]:
    """`--package-url`; `-` has it read from standard input, where no other user sees it."""

    def read(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
        return sys.stdin.readline().strip() if value == "-" else value

    def add(command: F) -> F:
        told = f"{text} - reads it from standard input: arguments are visible to other users."
        option = click.option(
            "--package-url", required=required, metavar="URL", callback=read, help=told
        )
        return option(command)

    return add


def waiting_options(command: F) -> F:
    """`--wait`, `--no-wait`, `--wait-timeout`."""
    for option in (
        click.option(
            "--wait-timeout",
            type=span,
            metavar="DURATION",
            help="Give up waiting after so long, such as 15m, and exit with 9; implies --wait.",
        ),
        click.option(
            "--wait/--no-wait",
            default=None,
            help="Wait for the end and show progress; the default on a terminal.",
        ),
    ):
        command = option(command)
    return command


def paging_options(limit: int) -> Callable[[F], F]:
    """`--limit` with this default, and `--offset`."""

    def add(command: F) -> F:
        command = click.option("--offset", type=int, default=0, help="Skip so many.")(command)
        return click.option(
            "--limit", type=int, default=limit, show_default=True, help="Show at most so many."
        )(command)

    return add


def wants_to_wait(wait: bool | None, wait_timeout: int | None) -> bool:
    """Whether to wait: as told, else if somebody is looking."""
    if wait is not None:
        return wait
    return wait_timeout is not None or sys.stdout.isatty() or sys.stderr.isatty()
