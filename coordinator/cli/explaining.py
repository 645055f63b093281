"""Why a task or an instance is as it is, as one paragraph: what it waits for, since and until when.

Instances that wait for the same are told together, whatever is each one's own in its reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from coordinator.cli.summary import summary
from coordinator.cli.tasks import id_of, kind_of, rollout_of, version_of
from coordinator.cli.text import instances, safe, some, when

if TYPE_CHECKING:
    from datetime import datetime

    from coordinator.cli.tasks import Status
    from protocol.models import AssignmentStatus, Rollout, ServiceInstance

MOST_GROUPS = 20

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")

_COMES_FROM = {
    "retry": "It tries {0} again.",
    "rollback": "It takes {0} back.",
    "on_failure": "It takes {0} back, which was stopped by a limit.",
    "guard": "It takes back what regressed of {0}.",
}


def why_task(status: Status) -> str:
    """A task in one paragraph."""
    if status.status.ended:
        return " ".join(_sentence(line.strip()) for line in summary(status))
    counts = status.progress
    ended = f"{counts.total - counts.pending} of {counts.total} have ended"
    failed = f", {counts.failed} of them failed" if counts.failed else ""
    told = [f"{_named(status)} is {status.status.value}: {ended}{failed}."]
    rollout = rollout_of(status)
    told += _rollout(rollout) if rollout is not None else []
    waiting = [row for row in status.instances if not row.status.ended]
    told += _groups(waiting, rollout.reason if rollout else "")
    return " ".join(told)


def why_instance(row: ServiceInstance, service: str, holder: Status | None) -> str:
    """An instance in one paragraph; `holder` is the unfinished task that has it."""
    runs = f"runs {row.version}" if row.version else "runs nothing yet"
    reason = f" ({row.reason})" if row.reason else ""
    connected = "connected" if row.connected else f"silent since {when(row.last_heartbeat)}"
    told = [
        safe(
            f"{row.instance_id} of {service} on host {row.host_id} {runs}; "
            f"its status is {row.status.value}{reason}, and its agent is {connected}."
        )
    ]
    if holder is None:
        told.append("No task has it.")
        return " ".join(told)
    told.append(f"{_named(holder)} has it.")
    part = next((p for p in holder.instances if p.instance_id == row.instance_id), None)
    if part is not None:
        told.append(_sentence(f"There it is {part.phase.value}: {_reason([part])}"))
    if (rollout := rollout_of(holder)) is not None:
        shown = part is not None and rollout.reason in part.reason
        told += [] if shown else _rollout(rollout)
    return " ".join(told)


def _named(status: Status) -> str:
    kind = kind_of(status).capitalize()
    return safe(f"{kind} {id_of(status)} ({status.service} {version_of(status)})")


def _rollout(rollout: Rollout) -> list[str]:
    told = []
    if rollout.follows:
        told.append(_COMES_FROM.get(rollout.relation, "It comes from {0}.").format(rollout.follows))
    if rollout.reason:
        span = _span(rollout.reason, [rollout.waits_since], [rollout.waits_until])
        told.append(f"The task itself: {rollout.reason}{span}.")
    return [safe(sentence) for sentence in told]


def _groups(rows: Sequence[AssignmentStatus], of_task: str) -> Iterator[str]:
    """A sentence for all instances that wait for the same, the largest group first."""
    groups: dict[str, list[AssignmentStatus]] = {}
    for row in rows:
        groups.setdefault(_TIME.sub("TIME", row.reason), []).append(row)
    ordered = sorted(groups.values(), key=len, reverse=True)
    for alike in ordered[:MOST_GROUPS]:
        names = some([row.instance_id for row in alike])
        who = f"{instances(len(alike))} ({names})" if len(alike) > 1 else names
        if of_task and alike[0].reason == of_task:
            yield safe(f"For that {'wait' if len(alike) > 1 else 'waits'} {who}.")
        else:
            yield _sentence(f"{who}: {_reason(alike)}")
    if len(ordered) > MOST_GROUPS:
        yield f"And {len(ordered) - MOST_GROUPS} more groups."


def _reason(alike: Sequence[AssignmentStatus]) -> str:
    """The reason of the first, with since and until when for all of them."""
    reason = alike[0].reason or alike[0].phase.value
    sinces = [row.waits_since for row in alike]
    return reason + _span(reason, sinces, [row.waits_until or row.deadline for row in alike])


def _span(reason: str, sinces: Sequence[datetime | None], untils: Sequence[datetime | None]) -> str:
    """Since when and until when at the latest, as far as the reason does not say it itself."""
    known_since = [one for one in sinces if one is not None]
    known_until = [one for one in untils if one is not None]
    since = when(min(known_since)) if known_since else ""
    until = when(max(known_until)) if known_until else ""
    told = [f"since {since}"] if since and since not in reason else []
    if until and until not in reason:
        told.append(f"until {until}" + (" at the latest" if len(set(known_until)) > 1 else ""))
    return f" ({', '.join(told)})" if told else ""


def _sentence(text: str) -> str:
    text = safe(text)
    return text if text.endswith((".", "!", "?")) else f"{text}."
