"""Mixed versions after a task that did not complete, and the commands that would end them.

The commands are for pasting: they are whole, nothing in them is broken or shortened, and they
reach exactly the task's own instances. A package URL with a query, which may be a signature,
is left for standard input. The rows tell what runs now, so both commands stand whatever came of
the task meanwhile. Where each instance has a target of its own, only a retry leads on.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from coordinator.cli.tasks import id_of, is_deployment
from coordinator.cli.text import instances, safe
from protocol.states import TaskState
from protocol.urls import CUT

if TYPE_CHECKING:
    from coordinator.cli.tasks import Status, Switching

MOST_NAMES = 20
"""With more instances, a command names the task that they are of."""

_TO_RETRY = (TaskState.FAILED, TaskState.CANCELLED)


def mixed_versions(status: Status) -> Iterator[str]:
    """Say which versions run and how to get to one; nothing if it is one, or the task goes on.

    Nor if each instance runs the target of its own; a prefetch has changed nothing of that.
    """
    if hasattr(status, "prefetch_id"):
        return
    if status.status not in _TO_RETRY or len(status.versions) < 2:
        return
    if all(row.current_version == row.target_version for row in status.instances):
        return
    targets = {row.target_version for row in status.instances}
    new = targets.pop() if len(targets) == 1 else None
    yield f"  mixed versions: {_told(status, new)}"
    for aim, command in _ways_out(status, new):
        if command:
            yield f"    {safe(aim)}:"
            yield f"      {safe(shlex.join(command))}"


def _ways_out(status: Switching, new: str | None) -> Iterator[tuple[str, list[str]]]:
    """What came of it, the way on and the way back; `new` is None for several targets."""
    if status.rollout.led_to:
        yield "what came of it", ["ferryman", "status", status.rollout.led_to[-1]]
    if new:
        yield f"all on {new}", _onward(status, new)
    elif any(row.status in _TO_RETRY for row in status.instances):
        yield "each on its own target", ["ferryman", "retry", id_of(status)]
    if old := _version_before(status):
        yield f"all on {old}", _rollback(status, old)


def _told(status: Switching, new: str | None) -> str:
    """3 instances run v2, 4 run v1."""
    counts = sorted(status.versions.items(), key=lambda one: (one[0] != new, not one[0], -one[1]))
    (version, count), *others = counts
    word = "runs" if count == 1 else "run"
    told = [f"{instances(count)} {word} {safe(version)}"]
    told += [f"{n} {'runs' if n == 1 else 'run'} {safe(v) or 'nothing'}" for v, n in others]
    return ", ".join(told)


def _version_before(status: Switching) -> str:
    """What most of those run that don't run their target; "" if they run nothing."""
    rest = (r.current_version for r in status.instances if r.current_version != r.target_version)
    most = Counter(version for version in rest if version).most_common(1)
    return most[0][0] if most else ""


def _onward(status: Switching, new: str) -> list[str]:
    """Bring the new version to the rest."""
    if not is_deployment(status):
        return _rollback(status, new)
    rest = [row.instance_id for row in status.instances if row.current_version != new]
    url = status.package_url
    shown = "-" if not url or url.endswith(CUT) else url
    digest = ["--sha256", status.digest] if status.digest else []
    head = ["ferryman", "deploy", status.service, new, "--package-url", shown]
    return [*head, *digest, *_which(status, rest)]


def _rollback(status: Switching, version: str) -> list[str]:
    """Take back what runs another version; what runs nothing has no version to go back to."""
    names = [r.instance_id for r in status.instances if r.current_version not in ("", version)]
    if not names:
        return []
    return ["ferryman", "rollback", status.service, version, *_which(status, names)]


def _which(status: Switching, names: Sequence[str]) -> list[str]:
    if len(names) <= MOST_NAMES:
        return ["--instances", ",".join(names)]
    return ["--rest-of", id_of(status)]
