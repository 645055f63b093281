"""`ferryman discover`: who announces itself on the LAN, and which hosts have not joined."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coordinator.cli.options import span
from coordinator.cli.output import note, print_json, print_table, say
from coordinator.cli.session import Command, Session, pass_session
from coordinator.cli.text import some
from protocol.errors import UnavailableError

if TYPE_CHECKING:
    from protocol.discovery import AgentSighting, CoordinatorSighting, Sighting


@click.command("discover", cls=Command, short_help="Show who announces itself on the LAN.")
@click.option(
    "--for",
    "seconds",
    type=span,
    default="3s",
    show_default=True,
    metavar="DURATION",
    help="How long to look.",
)
@pass_session
def discover(session: Session, seconds: int) -> None:
    """Show the coordinators and agents on the LAN, and which hosts have not joined.

    Needs no token. What is shown is what they say of themselves; it proves nothing.
    """
    from protocol.discovery import AgentSighting, CoordinatorSighting  # noqa: PLC0415

    found = _browse(seconds)
    coordinators = [one for one in found if isinstance(one, CoordinatorSighting)]
    agents = [one for one in found if isinstance(one, AgentSighting)]
    if session.json:
        _print_json(coordinators, agents)
    else:
        _print(coordinators, agents)
    if not found:
        note(f"nobody announced itself within {seconds} s")


def _browse(seconds: float) -> list[Sighting]:
    import asyncio  # noqa: PLC0415

    from protocol.discovery import DiscoveryError, browse  # noqa: PLC0415

    try:
        return asyncio.run(browse(seconds))
    except DiscoveryError as error:
        raise UnavailableError(str(error)) from None


def _not_joined(agents: list[AgentSighting]) -> list[str]:
    return [one.host_id for one in agents if not one.joined]


def _print(coordinators: list[CoordinatorSighting], agents: list[AgentSighting]) -> None:
    print_table(
        ("coordinator", "authority", "version"),
        [(",".join(one.urls), one.ca, one.version) for one in coordinators],
    )
    say()
    print_table(
        ("host", "joined", "address", "instances", "version"),
        [
            (
                one.host_id,
                "yes" if one.joined else "no",
                ",".join(one.addresses),
                one.instances,
                one.version,
            )
            for one in agents
        ],
    )
    if waiting := _not_joined(agents):
        say()
        say(f"not joined: {some(waiting, most=len(waiting))}")


def _print_json(coordinators: list[CoordinatorSighting], agents: list[AgentSighting]) -> None:
    from dataclasses import asdict  # noqa: PLC0415

    print_json(
        {
            "coordinators": [asdict(one) for one in coordinators],
            "agents": [asdict(one) for one in agents],
            "not_joined": _not_joined(agents),
        }
    )


COMMAND = discover
