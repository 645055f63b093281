"""`ferryman release`: versions that hosts keep on disk whatever else they remove there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coordinator.cli.output import note, print_fields, print_table
from coordinator.cli.session import Command, Session, pass_session
from coordinator.cli.text import when

if TYPE_CHECKING:
    from protocol.releases import Pin, PinList


@click.group("release")
def release() -> None:
    """Keep versions on the hosts' disks."""


@release.command("list", cls=Command)
@click.argument("service", metavar="[SERVICE]", default="")
@pass_session
def list_(session: Session, service: str) -> None:
    """Show the pinned versions, and how many instances have each on disk."""
    session.show(lambda client: client.list_pins(service), _print_all)


@release.command("pin", cls=Command)
@click.argument("service")
@click.argument("version")
@pass_session
def pin(session: Session, service: str, version: str) -> None:
    """Keep VERSION of SERVICE on its hosts' disks whatever keep_releases says."""
    session.show(lambda client: client.pin_release(service, version), _print)


@release.command("unpin", cls=Command)
@click.argument("service")
@click.argument("version")
@pass_session
def unpin(session: Session, service: str, version: str) -> None:
    """Let VERSION of SERVICE go: the hosts' next clean-up may remove it."""
    session.show(lambda client: client.unpin_release(service, version), _print)


def _print_all(found: PinList) -> None:
    print_table(
        ("service", "version", "on disk", "pinned", "by"),
        [(p.service, p.version, _on_disk(p), when(p.created_at), p.created_by) for p in found.pins],
    )
    if not found.pins:
        note("nothing is pinned")


def _print(found: Pin) -> None:
    print_fields(
        [
            ("service", found.service),
            ("version", found.version),
            ("on disk", _on_disk(found)),
            ("pinned", when(found.created_at)),
            ("by", found.created_by),
        ]
    )


def _on_disk(found: Pin) -> str:
    return f"{found.on_disk} of {found.instances}"


COMMAND = release
