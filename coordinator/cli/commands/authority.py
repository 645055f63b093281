"""`ferryman authority`: look at the coordinator's authority, and rotate it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import click

from coordinator.cli.output import note, print_fields, print_table, say
from coordinator.cli.session import Command, Session, pass_session
from coordinator.cli.text import when

if TYPE_CHECKING:
    from coordinator.client import AsyncClient
    from protocol.access import AuthorityCertificate, AuthorityStatus

FORCE = click.option("--force", is_flag=True, help="Pass over hosts that are not ready.")

NEXT_STEP = {
    "begun": "next: `ferryman authority switch` when all hosts believe it, or `abort`",
    "switched": "next: hand out ca.pem (`ferryman authority bundle`), then `finish` when all "
    "hosts have renewed",
}


@click.group("authority")
def authority() -> None:
    """Look at the coordinator's certificate authority, and rotate it."""


@authority.command("status", cls=Command)
@pass_session
def status(session: Session) -> None:
    """Show how far a rotation is, and which hosts are not ready for its next step."""
    session.show(lambda client: client.authority_status(), _print)


@authority.command("begin", cls=Command)
@pass_session
def begin(session: Session) -> None:
    """Make the next authority. Hosts believe both from now on."""
    _step(session, lambda client: client.begin_rotation())


@authority.command("switch", cls=Command)
@FORCE
@pass_session
def switch(session: Session, force: bool) -> None:
    """Let the next authority sign. Hosts renew their certificates by themselves.

    Refused while a host does not believe it yet. With --force such a host goes on with the
    one of before until `finish`.
    """
    _step(session, lambda client: client.switch_rotation(force))


@authority.command("finish", cls=Command)
@FORCE
@pass_session
def finish(session: Session, force: bool) -> None:
    """Forget the authority of before, here and on every host.

    Refused while a host still needs it. With --force such a host must join again.
    """
    _step(session, lambda client: client.finish_rotation(force))


@authority.command("abort", cls=Command)
@pass_session
def abort(session: Session) -> None:
    """Forget the next authority, before the switch."""
    _step(session, lambda client: client.abort_rotation())


@authority.command("bundle", cls=Command)
@pass_session
def bundle(session: Session) -> None:
    """Print the certificates of all authorities that are believed now, for people's ca.pem."""
    session.show(lambda client: client.authority_status(), _print_bundle)


def _step(session: Session, work: Callable[[AsyncClient], Awaitable[AuthorityStatus]]) -> None:
    done = session.show(work, _print)
    if not session.json and (hint := NEXT_STEP.get(done.phase.value)):
        note(hint)


def _print(found: AuthorityStatus) -> None:
    of = f"of {found.hosts} hosts"
    fields = [("phase", found.phase.value), ("present", _shown(found.present))]
    if found.next is not None:
        fields.append(("next", _shown(found.next)))
    fields += [
        ("believed by", f"{found.believing} {of}"),
        ("certified", f"{found.certified} {of}"),
    ]
    print_fields(fields)
    if found.unready:
        say()
        print_table(
            ("host", "connected", "not ready"),
            [(r.host_id, "yes" if r.connected else "no", r.reason) for r in found.unready],
        )


def _shown(one: AuthorityCertificate) -> str:
    return f"{one.sha256} until {when(one.ends_at)}"


def _print_bundle(found: AuthorityStatus) -> None:
    for one in (found.present, found.next):
        if one is not None:
            say(one.certificate.rstrip())


COMMAND = authority
