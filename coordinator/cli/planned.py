"""A plan as people read it: what it comes to, each instance, what to look at, and how to go on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from coordinator.cli.output import folded, print_fields, print_table, say
from coordinator.cli.text import duration, safe, size, when

if TYPE_CHECKING:
    from protocol.plan import DeploymentPlan, PlannedBatch, PlannedInstance

UNKNOWN = "not known"
_BACK = {"from_disk": "from disk", "from_url": "from URL", "no_target": "no"}


def print_plan(plan: DeploymentPlan, arguments: Sequence[str]) -> None:
    """Print the plan; `arguments` are those of the command line that asked for it."""
    print_fields(_fields(plan))
    say()
    names = {one.batch: _name(one, len(plan.batches)) for one in plan.batches}
    print_table(
        ("batch", "instance", "host", "runs", "goes back", "download", "free after", "note"),
        [
            (
                names[one.batch],
                one.instance_id,
                one.host_id,
                one.version,
                _back(one),
                _bytes(one.download_bytes),
                _bytes(one.free_bytes_after),
                _note(one),
            )
            for one in plan.instances
        ],
    )
    say()
    for warning in plan.warnings:
        say(folded(f"warning: {safe(warning)}", sys.stdout))
    say(f"To carry it out: {to_carry_out(arguments, plan.plan)}")


def to_carry_out(arguments: Sequence[str], plan_id: str) -> str:
    """The command line that carries out what `arguments` of `deploy` asked the plan for.

    A URL with a query may be a secret: it is read from standard input again.
    """
    kept = [argument for argument in arguments if argument != "--plan"]
    for at, argument in enumerate(kept):
        if "?" in argument and kept[at - 1 : at] == ["--package-url"]:
            kept[at] = "-"
        elif "?" in argument and argument.startswith("--package-url="):
            kept[at] = "--package-url=-"
    return safe(shlex.join(["ferryman", "deploy", *kept, "--plan-id", plan_id]))


def _fields(plan: DeploymentPlan) -> list[tuple[str, object]]:
    fields: list[tuple[str, object]] = [
        ("plan", plan.plan),
        ("service", plan.service),
        ("version", plan.version),
        ("instances", f"{plan.total_instances}, {plan.away} of them away"),
        ("batches", len(plan.batches)),
        *((one.field, one.text) for one in plan.sizes),
        ("begins", when(plan.begins_at) or "at once"),
        ("ends", _end(plan)),
        ("download", _download(plan)),
    ]
    return fields


def _end(plan: DeploymentPlan) -> str:
    if plan.longest_seconds is None:
        return plan.longest_reason
    return f"within {duration(plan.longest_seconds)}, by {when(plan.ends_by)}"


def _download(plan: DeploymentPlan) -> str:
    if plan.package_bytes is None and plan.download_bytes is None:
        return f"{UNKNOWN}: no agent has told yet how large the package is"
    each = "" if plan.package_bytes is None else f", {size(plan.package_bytes)} each"
    return f"{_bytes(plan.download_bytes)} in all{each}"


def _name(batch: PlannedBatch, batches: int) -> str:
    return "canary" if batch.canary else f"{batch.batch + 1} of {batches}"


def _bytes(count: int | None) -> str:
    return UNKNOWN if count is None else size(count)


def _back(one: PlannedInstance) -> str:
    return f"{one.back_to} {_BACK[one.back_from]}" if one.back_to else _BACK[one.back_from]


def _note(one: PlannedInstance) -> str:
    parts = []
    if not one.connected:
        parts.append(f"away since {when(one.away_since) or 'the start'}")
    if one.held_by:
        parts.append(f"held by {one.held_by}")
    if one.back_reason and one.back_to:
        parts.append(one.back_reason)
    return safe(" · ".join(parts))
