"""`ferryman audit`: what was asked and refused, and whether that is still as it was written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from coordinator.cli.options import paging_options
from coordinator.cli.output import note, print_fields, print_table
from coordinator.cli.session import Command, Session, pass_session
from coordinator.cli.text import safe, seconds_of, when

if TYPE_CHECKING:
    from protocol.evidence import AuditEntry, AuditList, AuditVerdict

BROKEN = 1


def _since(_: click.Context, __: click.Parameter, text: str | None) -> datetime | None:
    """The time that a span before now, or a time, says."""
    from protocol.evidence import MOMENT_RULE, moment_of  # noqa: PLC0415

    if text is None:
        return None
    try:
        if "T" in text:
            return moment_of(text)
        return datetime.now(UTC) - timedelta(seconds=seconds_of(text))
    except (ValueError, OverflowError):
        rule = f"{text!r} is neither a span such as 24h nor {MOMENT_RULE}"
        raise click.BadParameter(rule) from None


@click.command("audit", cls=Command, short_help="Show what was asked and refused, and verify it.")
@click.option(
    "--since",
    metavar="WHEN",
    callback=_since,
    help="Only what is younger than so long, such as 24h, or than a time such as"
    " 2026-11-24T01:39:50Z.",
)
@paging_options(limit=100)
@click.option("--verify", is_flag=True, help="Look at the whole chain instead; exit 1 if broken.")
@click.option(
    "--expect",
    metavar="HASH",
    default="",
    help="A hash that --verify told before: it must be there.",
)
@pass_session
def audit(
    session: Session,
    *,
    since: datetime | None,
    limit: int,
    offset: int,
    verify: bool,
    expect: str,
) -> int:
    """Show who asked for what, from where, and what came of it, newest first.

    With --verify the coordinator computes the hash of every row anew. Note the last hash
    that it tells somewhere else: only with --expect is it seen that rows at the end are gone.
    """
    if verify:
        verdict = session.show(lambda client: client.verify_audit(expect), _print_verdict)
        return 0 if verdict.sound else BROKEN
    if expect:
        raise click.UsageError("--expect is for --verify")
    found = session.show(
        lambda client: client.list_audit(since=since, limit=limit, offset=offset), _print
    )
    shown = offset + len(found.rows)
    if found.rows and shown < found.total:
        note(f"{shown} of {found.total}; more with --offset {shown}")
    return 0


def _print(found: AuditList) -> None:
    print_table(
        ("#", "time", "who", "role", "from", "what", "object", "result", "detail"),
        [
            (
                r.seq,
                when(r.at),
                _who(r),
                r.role,
                r.address,
                r.operation,
                r.object_id,
                r.result if r.count == 1 else f"{r.result} {r.count} times",
                r.message or _detail(r),
            )
            for r in found.rows
        ],
    )


def _who(row: AuditEntry) -> str:
    if row.proof == "certificate":
        return f"host {row.who}"
    if row.proof == "token" and row.who != row.token_id:
        return f"{row.who} ({row.token_id})"
    return row.who


def _detail(row: AuditEntry) -> str:
    """What became another, as briefly as it can be said."""
    parts = []
    for name in ("version", "target_version"):
        if value := row.parameters.get(name):
            parts.append(f"{_versions(row)}to {value}")
    if row.before.get("status") or row.after.get("status"):
        parts.append(f"{row.before.get('status', '-')} to {row.after.get('status', '-')}")
    if row.after.get("task_id") not in (None, row.object_id):
        parts.append(f"as {row.after['task_id']}")
    return ", ".join(parts)


def _versions(row: AuditEntry) -> str:
    running = row.before.get("versions")
    if not isinstance(running, dict) or not running:
        return ""
    return "from " + ", ".join(f"{name} ({count})" for name, count in running.items()) + " "


def _print_verdict(verdict: AuditVerdict) -> None:
    print_fields(
        [
            ("audit trail", "sound" if verdict.sound else "BROKEN"),
            ("rows", verdict.rows),
            ("from", f"#{verdict.first_seq} of {when(verdict.first_at) or '-'}"),
            ("to", f"#{verdict.last_seq} of {when(verdict.last_at) or '-'}"),
            ("last hash", verdict.last_hash or "-"),
        ]
    )
    if verdict.removed_up_to_seq:
        note(
            f"rows up to #{verdict.removed_up_to_seq} were removed for their age, the last ones "
            f"at {when(verdict.removed_at)}"
        )
    if not verdict.sound:
        note(f"ferryman: row #{verdict.broken_seq}: {safe(verdict.problem)}")


COMMAND = audit
