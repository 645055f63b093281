"""What every command shares: the global flags, the connection, and `-o` behind the command.

`Session.ask` is the only way from a command to the coordinator.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from coordinator.cli.output import print_json

if TYPE_CHECKING:
    from pydantic import BaseModel

    from coordinator.client import AsyncClient
    from coordinator.client.settings import ClientSettings

T = TypeVar("T")
M = TypeVar("M", bound="BaseModel")

GIVEN = "ferryman.arguments"
FORMATS = click.Choice(["table", "json"])


@dataclass(frozen=True, slots=True)
class Session:
    """The global flags as they were given."""

    url: str | None = None
    token: str | None = None
    ca_file: str | None = None
    output: str = "table"

    @property
    def json(self) -> bool:
        """Whether stdout is for one JSON document."""
        return self.output == "json"

    def settings(self) -> ClientSettings:
        """Flags, then the environment, then the configuration file."""
        from coordinator.client.settings import find_settings  # noqa: PLC0415

        return find_settings(self.url, self.token, self.ca_file)

    def ask(self, work: Callable[[AsyncClient], Awaitable[T]]) -> T:
        """Run `work` with a client of its own, and close that."""
        import asyncio  # noqa: PLC0415

        from coordinator.client import AsyncClient  # noqa: PLC0415
        from coordinator.client.settings import need_token  # noqa: PLC0415

        async def connected() -> T:
            found = self.settings()
            async with AsyncClient(found.url, need_token(found), found.ca_file) as client:
                return await work(client)

        return asyncio.run(connected())

    def show(self, work: Callable[[AsyncClient], Awaitable[M]], as_table: Callable[[M], None]) -> M:
        """Ask, and print the answer as JSON or by `as_table`."""
        answer = self.ask(work)
        if self.json:
            print_json(answer)
        else:
            as_table(answer)
        return answer


pass_session = click.make_pass_decorator(Session)


class Command(click.Command):
    """A command that takes `-o` behind its name, too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["-o", "--output"],
                type=FORMATS,
                expose_value=False,
                callback=_set_output,
                help="How to print the result.",
            )
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments; they are kept as they were given, too."""
        ctx.meta[GIVEN] = tuple(args)
        return super().parse_args(ctx, args)


def given_arguments() -> tuple[str, ...]:
    """The arguments of the command that runs, as they were given behind its name."""
    given: tuple[str, ...] = click.get_current_context().meta[GIVEN]
    return given


def _set_output(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.obj = replace(context.obj, output=value)
