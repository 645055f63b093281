"""`ferryman token`: make, list and revoke access tokens and join tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coordinator.cli.options import span
from coordinator.cli.output import print_fields, print_table, say
from coordinator.cli.session import Command, Session, pass_session
from coordinator.cli.text import safe, when

if TYPE_CHECKING:
    from coordinator.client import AsyncClient
    from protocol.access import CreatedToken, Token, TokenList

ROLES = click.Choice(["join", "viewer", "deployer", "admin"])


@click.group("token")
def token() -> None:
    """Make, list and revoke tokens."""


@token.command("create", cls=Command)
@click.option("--role", type=ROLES, required=True, help="What the token allows.")
@click.option(
    "--ttl",
    type=span,
    metavar="DURATION",
    help="How long it is valid, such as 24h.  [default: for ever; a join token 1h]",
)
@click.option("--name", default="", help="A name for people.")
@click.option(
    "--service",
    "services",
    multiple=True,
    metavar="PATTERN",
    help="Only services that match, such as 'web-*'; may be repeated.  [default: all]",
)
@click.option(
    "--uses",
    type=int,
    help="How many hosts a join token lets in.  [default: 1000; with --host 1]",
)
@click.option("--host", "host_id", metavar="HOST", help="The one host that a join token lets in.")
@pass_session
def create(session: Session, /, *, services: tuple[str, ...], **given: str | int | None) -> None:
    """Make a token. It is the last word on stdout, and is never shown again."""

    async def ask(client: AsyncClient) -> CreatedToken:
        from protocol.access import TokenParams  # noqa: PLC0415
        from protocol.params import parse_params  # noqa: PLC0415

        restricted = {"services": list(services)} if services else {}
        return await client.create_token(parse_params(TokenParams, {**given, **restricted}))

    session.show(ask, _print_created)


@token.command("list", cls=Command)
@pass_session
def list_tokens(session: Session) -> None:
    """Show all tokens, without their secrets."""
    session.show(lambda client: client.list_tokens(), _print_all)


@token.command("revoke", cls=Command)
@click.argument("token_id")
@pass_session
def revoke(session: Session, token_id: str) -> None:
    """Make a token useless from now on."""
    session.show(lambda client: client.revoke_token(token_id), _print_one)


def _print_created(made: CreatedToken) -> None:
    _print_one(made)
    say()
    say(safe(made.secret))


def _print_one(found: Token) -> None:
    print_fields(
        [
            ("token", found.token_id),
            ("role", found.role),
            ("name", found.name or "-"),
            ("services", _services(found)),
            ("expires", when(found.expires_at) or "never"),
            ("revoked", when(found.revoked_at) or "no"),
            *_joining(found),
        ]
    )


def _joining(found: Token) -> list[tuple[str, str]]:
    if found.role != "join":
        return []
    return [("lets in", found.host_id or "any host"), ("hosts", _uses(found))]


def _uses(found: Token) -> str:
    if found.role != "join":
        return ""
    return f"{found.used} of {found.uses}" if found.uses else str(found.used)


def _print_all(found: TokenList) -> None:
    print_table(
        (
            "token",
            "role",
            "name",
            "services",
            "created",
            "expires",
            "last used",
            "revoked",
            "hosts",
            "only",
        ),
        [
            (
                r.token_id,
                r.role,
                r.name,
                _services(r),
                when(r.created_at),
                when(r.expires_at) or "never",
                when(r.last_used_at) or "never",
                when(r.revoked_at) or "no",
                _uses(r),
                r.host_id,
            )
            for r in found.tokens
        ],
    )


def _services(found: Token) -> str:
    return " ".join(found.services) or "all"


COMMAND = token
