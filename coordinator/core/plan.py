"""What a plan says of a strategy: what its sizes come to, its batches, and warnings in words. Pure.

A warning is about what a strategy says and would not come to, or what stands against the
deployment now. None of them keeps it from being carried out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from coordinator.core.waves import Place, Sizes, sizes
from protocol.plan import PlannedBatch, PlannedSize
from protocol.room import ROOM
from protocol.strategy import Strategy

_Field = Literal["max_parallel", "canary", "max_failures", "max_unreachable"]


@dataclass(frozen=True, slots=True)
class Seen:
    """One instance as the plan finds it."""

    instance_id: str
    host_id: str
    metadata: Mapping[str, str]
    version: str
    away: bool
    held_by: str
    can_go_back: bool
    short_of_bytes: int
    """So much more room would its disk want (`short_of`)."""


# ---- sizes and batches -----------------------------------------------------


def planned_sizes(strategy: Strategy | None, total: int) -> list[PlannedSize]:
    """What each size of the strategy comes to for so many instances, and how."""
    if strategy is None:
        return []
    comes_to = sizes(strategy, total)
    said: list[tuple[_Field, int | str | None, int | None]] = [
        ("max_parallel", strategy.max_parallel, comes_to.parallel),
        ("canary", strategy.canary or None, comes_to.canary),
        ("max_failures", strategy.max_failures, comes_to.failures),
        ("max_unreachable", strategy.max_unreachable, comes_to.unreachable),
    ]
    return [
        PlannedSize(
            field=name, said=size, instances=count, text=_rounding(name, size, count, total)
        )
        for name, size, count in said
        if size is not None and count is not None
    ]


def planned_batches(strategy: Strategy | None, places: Sequence[Place]) -> list[PlannedBatch]:
    """The batches with their instances, in the order in which they are taken."""
    has_canary = strategy is not None and sizes(strategy, len(places)).canary > 0
    members: dict[int, list[str]] = {}
    for place in sorted(places, key=lambda place: place.turn):
        members.setdefault(place.batch, []).append(place.instance_id)
    return [
        PlannedBatch(batch=number, canary=has_canary and number == 0, instances=names)
        for number, names in members.items()
    ]


def _rounding(field: _Field, said: int | str, comes_to: int, total: int) -> str:
    """How a size comes to so many instances."""
    if isinstance(said, int):
        return f"{said}" if said == comes_to else f"{said}, but there are only {comes_to}"
    exact = total * int(said.removesuffix("%")) / 100
    text = f"{said} of {total} = {comes_to}"
    if exact == comes_to:
        return text
    how = "rounded up" if field == "canary" else "rounded down"
    if field == "max_parallel" and comes_to > exact:
        how += ", but at least 1"
    return f"{text} ({exact:g} {how})"


# ---- room ------------------------------------------------------------------


def short_of(releases: int, package: int | None, unpacked: int | None, free: int | None) -> int:
    """How many bytes too few one disk has for so many releases of a package; 0: not known, too.

    For the last of them the agent wants `ROOM` before it takes a byte, and then the release must
    fit. The others are there by then; where nobody has told what they unpack to, `ROOM` is
    taken for that.
    """
    if not releases or package is None or free is None:
        return 0
    wanted = ROOM * package
    each = wanted if unpacked is None else unpacked
    return max(0, (releases - 1) * each + max(wanted, each) - free)


# ---- warnings --------------------------------------------------------------


def warnings(
    strategy: Strategy | None, instances: Sequence[Seen], batches: Sequence[PlannedBatch]
) -> list[str]:
    """What would probably not be meant so, the worst first."""
    return [
        *_in_the_way(instances),
        *(_of_strategy(strategy, instances, batches) if strategy else ()),
        *_of_instances(instances),
    ]


def _in_the_way(instances: Sequence[Seen]) -> Iterator[str]:
    held = [f"{one.instance_id} by {one.held_by}" for one in instances if one.held_by]
    if held:
        yield f"it would be refused now: other tasks hold {_some(held)}"
    full = [one.host_id for one in instances if one.short_of_bytes]
    if full:
        yield f"too little room on the disks of {_some(full)}: it would fail there"


def _of_instances(instances: Sequence[Seen]) -> Iterator[str]:
    away = [one.instance_id for one in instances if one.away]
    if away:
        yield f"away, and would fail unless they return within their timeout: {_some(away)}"
    stuck = [one.instance_id for one in instances if one.version and not one.can_go_back]
    if stuck:
        yield f"could not go back to what they run: {_some(stuck)}"


def _of_strategy(
    strategy: Strategy, instances: Sequence[Seen], batches: Sequence[PlannedBatch]
) -> Iterator[str]:
    size = sizes(strategy, len(instances))
    yield from _of_limits(strategy, size, instances, batches)
    yield from _of_batches(strategy, size, instances, batches)
    yield from _of_spread(strategy, instances)


def _of_limits(
    strategy: Strategy, size: Sizes, instances: Sequence[Seen], batches: Sequence[PlannedBatch]
) -> Iterator[str]:
    yield from _of_the_way_back(strategy, size, instances)
    limits = (
        ("max_failures", strategy.max_failures, size.failures, "failed instance"),
        ("max_unreachable", strategy.max_unreachable, size.unreachable, "instance that stays away"),
    )
    for name, said, comes_to, first in limits:
        if isinstance(said, str) and comes_to == 0 and said != "0%":
            yield f"{name} of {said} comes to 0: the first {first} stops it"
    away = [one.instance_id for one in instances if one.away]
    if size.unreachable is not None:
        if len(away) > size.unreachable:
            yield (
                f"{len(away)} are away and max_unreachable allows {size.unreachable}: "
                f"it would stop unless they return: {_some(away)}"
            )
    elif strategy.prepare == "all" and away:
        yield f"it would stop unless they return, as not all could prepare: {_some(away)}"
    elif size.canary and (first_away := [one for one in batches[0].instances if one in away]):
        yield f"it would stop unless its canary returns: {_some(first_away)}"


def _of_the_way_back(strategy: Strategy, size: Sizes, instances: Sequence[Seen]) -> Iterator[str]:
    if strategy.on_failure != "rollback":
        return
    no_limit = size.failures is None and size.unreachable is None
    if no_limit and not size.canary and strategy.prepare == "each":
        yield "on_failure is rollback, but no limit stops it: nothing would ever be taken back"
    first = [one.instance_id for one in instances if not one.version]
    if first:
        yield f"could not be taken back, as nothing ran there before: {_some(first)}"


def _of_batches(
    strategy: Strategy, size: Sizes, instances: Sequence[Seen], batches: Sequence[PlannedBatch]
) -> Iterator[str]:
    total = len(instances)
    if size.canary == total:
        yield f"the canary is all of the {total}: nothing would follow it"
    elif strategy.promote == "manual" and not size.canary:
        yield "promote is manual, but there is no canary to promote"
    if strategy.bake and len(batches) == 1:
        yield "bake changes nothing: there is one batch, and the last one does not bake"
    if strategy.max_parallel is not None and total > 1 and size.parallel >= total:
        yield f"max_parallel limits nothing: all {total} would be at work at once"


def _of_spread(strategy: Strategy, instances: Sequence[Seen]) -> Iterator[str]:
    key = strategy.spread
    if key is None:
        return
    without = [one.instance_id for one in instances if key not in one.metadata]
    if len(without) == len(instances):
        yield f"spread changes nothing: no instance has {key} in its metadata"
    elif without:
        yield f"without {key} in their metadata, which spread takes as one value: {_some(without)}"
    elif len({one.metadata[key] for one in instances}) == 1 < len(instances):
        yield f"spread changes nothing: all instances have the same {key}"


def _some(names: Sequence[str]) -> str:
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
