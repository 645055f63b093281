"""Mixed versions after a task that did not complete, and the commands that would end them.

The commands are for pasting: they are whole, nothing in them is broken or shortened, and they
reach exactly the task's own instances. A package URL with a query, which may be a signature,
is left for standard input. A task from which another came has its say there.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from coordinator.cli.tasks import id_of, is_deployment, version_of
from coordinator.cli.text import instances, safe
from protocol.states import TaskState
from protocol.urls import CUT

if TYPE_CHECKING:
    from coordinator.cli.tasks import Status, Switching

MOST_NAMES = 20
"""With more instances, a command names the task that they are of."""


def mixed_versions(status: Status) -> Iterator[str]:
    """Say which versions run and how to get to one; nothing if it is one, or the task goes on.

    A prefetch has changed nothing of that.
    """
    if hasattr(status, "prefetch_id"):
        return
    if status.status not in (TaskState.FAILED, TaskState.CANCELLED) or len(status.versions) < 2:
        return
    new = version_of(status)
    yield f"  mixed versions: {_told(status, new)}"
    for aim, command in _ways_out(status, new):
        if command:
            yield f"    {safe(aim)}:"
            yield f"      {safe(shlex.join(command))}"


def _ways_out(status: Switching, new: str) -> Iterator[tuple[str, list[str]]]:
    if status.rollout.led_to:
        yield "what came of it", ["ferryman", "status", status.rollout.led_to[-1]]
    elif all(row.target_version == new for row in status.instances):
        yield f"all on {new}", _onward(status, new)
        if old := _version_before(status, new):
            yield f"all on {old}", _rollback(status, old)


def _told(status: Switching, new: str) -> str:
    """3 instances run v2, 4 run v1."""
    counts = sorted(status.versions.items(), key=lambda one: (one[0] != new, not one[0], -one[1]))
    (version, count), *others = counts
    word = "runs" if count == 1 else "run"
    told = [f"{instances(count)} {word} {safe(version)}"]
    told += [f"{n} {'runs' if n == 1 else 'run'} {safe(v) or 'nothing'}" for v, n in others]
    return ", ".join(told)


def _version_before(status: Switching, new: str) -> str:
    """What most of the others run; "" if they run nothing."""
    others = {v: n for v, n in status.versions.items() if v not in ("", new)}
    return max(others, key=others.__getitem__, default="")


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
