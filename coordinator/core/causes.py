"""The failures of a task, grouped by cause: "7 instances, one cause". Pure.

Failures are one cause if they have one signature (`core.signature`). Whose fault it is, tells
`core.faults`, from the words and from how many came through the step at which others failed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from coordinator.core.faults import Spread, verdict
from coordinator.core.signature import Failure, Signature, read
from coordinator.core.task import Assignment, Task
from protocol.causes import FailureCause
from protocol.messages import Step
from protocol.states import Phase

MOST_NAMES = 20
"""Instances that are named for one cause."""

NOTHING_TOLD = "no cause was told"


def causes(task: Task, host_of: Callable[[str], str]) -> list[FailureCause]:
    """Why instances of the task failed, what struck most of them first.

    `host_of` tells the host of an instance, "" if it is not known.
    """
    parts = task.assignments.values()
    if not any(part.phase is Phase.FAILED for part in parts):
        return []
    hosts = {name: host_of(name) for name in task.assignments}
    own = task.assignments.keys() | hosts.values()
    messages = {p.instance_id: p.error or p.reason for p in parts if p.phase is Phase.FAILED}
    known = {message: read(message, own) for message in set(messages.values())}
    failures = {name: known[message] for name, message in messages.items()}
    groups: dict[Signature, list[Assignment]] = {}
    for name, failure in failures.items():
        groups.setdefault(failure.signature, []).append(task.assignments[name])
    came = _Came.of(parts, failures, hosts)
    ordered = sorted(groups.values(), key=len, reverse=True)
    return [_cause(struck, failures, hosts, came) for struck in ordered]


def _cause(
    struck: Sequence[Assignment],
    failures: Mapping[str, Failure],
    hosts: Mapping[str, str],
    came: _Came,
) -> FailureCause:
    names = [part.instance_id for part in struck]
    failure = failures[names[0]]
    signature = failure.signature
    on = {hosts[name] for name in names}
    spread = Spread(
        struck=len(names),
        through=came.beyond(signature.step),
        one_host=len(on) == 1,
        elsewhere=len(on) == 1 and came.elsewhere(signature.step, on),
        put_back=any(failures[name].put_back for name in names),
    )
    fault, why = verdict(failure, spread)
    return FailureCause(
        message=struck[0].error or struck[0].reason or NOTHING_TOLD,
        fault=fault,
        why=why,
        step=signature.step,
        exit_status=signature.exit_status,
        signal=signature.signal,
        http_status=signature.http_status,
        count=len(names),
        instances=names[:MOST_NAMES],
    )


# ---- how far the instances came --------------------------------------------

_IN_ORDER = (Step.PREPARE, Step.STOP, Step.SWITCH, Step.START, Step.CHECK, Step.COMMIT)
_PLACES = {"": 0} | {step.value: at for at, step in enumerate(_IN_ORDER, start=1)}
_THE_END = len(_PLACES)


@dataclass(frozen=True, slots=True)
class _Came:
    """How many instances came to each place in the order of the steps, and of which hosts."""

    counts: Sequence[int]
    hosts: Sequence[set[str]]

    @classmethod
    def of(
        cls,
        parts: Iterable[Assignment],
        failures: Mapping[str, Failure],
        hosts: Mapping[str, str],
    ) -> _Came:
        """Count them."""
        counts = [0] * (_THE_END + 1)
        seen: list[set[str]] = [set() for _ in counts]
        for part in parts:
            place = _place(part, failures)
            counts[place] += 1
            seen[place].add(hosts[part.instance_id])
        return cls(counts, seen)

    def beyond(self, step: str) -> int:
        """How many came through `step`; through everything if that is not known."""
        return sum(self.counts[_after(step) :])

    def elsewhere(self, step: str, on: set[str]) -> bool:
        """Whether some came through `step`, and none of these hosts did."""
        return self.beyond(step) > 0 and all(
            on.isdisjoint(hosts) for hosts in self.hosts[_after(step) :]
        )


def _after(step: str) -> int:
    return _PLACES[step] + 1 if step else _THE_END


def _place(part: Assignment, failures: Mapping[str, Failure]) -> int:
    """The step that an instance came to: what has prepared to the next one, what regressed to
    the last."""
    match part.phase:
        case Phase.COMPLETED:
            return _THE_END
        case Phase.FAILED if part.regressed:
            return _PLACES[Step.COMMIT.value]
        case Phase.FAILED:
            return _PLACES[failures[part.instance_id].signature.step]
        case Phase.PREPARED | Phase.ACTIVATING:
            return _PLACES[Step.STOP.value]
        case _:
            return _PLACES[""]
