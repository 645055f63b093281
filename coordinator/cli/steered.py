"""A task that was steered, in a few lines: how it does now, and what it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coordinator.cli.output import print_fields
from coordinator.cli.tasks import id_of

if TYPE_CHECKING:
    from protocol.models import DeployStatus, RollbackStatus


def print_steered(status: DeployStatus | RollbackStatus) -> None:
    """Print the task without its instances."""
    counts = status.progress
    fields = [
        ("id", id_of(status)),
        ("status", status.status.value),
        ("ended", f"{counts.total - counts.pending} of {counts.total}"),
    ]
    if status.rollout.reason:
        fields.append(("waits", status.rollout.reason))
    print_fields(fields)
