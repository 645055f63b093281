"""What a simulated rollout came to, as people read it: counts, and a bar for each batch."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from coordinator.cli.output import say
from coordinator.cli.text import duration

if TYPE_CHECKING:
    from coordinator.simulation import BatchOutcome, Outcome

WIDTH = 60
"""Cells of a bar."""
MOST_BARS = 24
"""Bars above which batches share one."""
NOT_YET, BAKES, ENDED = ".", "=", " "
LEGEND = "0-9: at work, so many tenths have ended   =: all have, the next one waits   .: not yet"


def print_outcome(outcome: Outcome) -> None:
    """Print the counts and the bars."""
    for line in (*_counts(outcome), "", *bars(outcome), "", LEGEND):
        say(line)


def _counts(outcome: Outcome) -> Iterator[str]:
    away = f" ({outcome.unreachable} of them away)" if outcome.unreachable else ""
    yield (
        f"{outcome.state} after {duration(outcome.seconds)}: of {outcome.instances} instances "
        f"{outcome.completed} completed, {outcome.failed} failed{away}, "
        f"{outcome.cancelled} cancelled"
    )
    if outcome.stopped:
        yield f"stopped: {outcome.stopped}"
    back = f", {outcome.taken_back} were taken back" if outcome.taken_back else ""
    unwell = f"; {outcome.unwell} of them are healthy no more" if outcome.unwell else ""
    yield f"at the end {outcome.runs_new} run the new version{unwell}{back}"
    yield f"most at work at once: {outcome.most_at_work}"


def bars(outcome: Outcome) -> list[str]:
    """A line for each batch, or for as many of them as share one, on one scale of time."""
    batches = outcome.batches
    each = -(-len(batches) // MOST_BARS)
    groups = [batches[0:1]] if batches[0].canary else []
    rest = batches[len(groups) :]
    groups += [rest[at : at + each] for at in range(0, len(rest), each)]
    rows = [(_name(group, len(batches)), group) for group in groups]
    if outcome.way_back is not None:
        rows.append(("way back", [outcome.way_back]))
    begins = [_began(group) for _, group in rows[1:]]
    wide = max(len(name) for name, _ in rows)
    return [
        f"{name:<{wide}}  {_bar(group, nexts, outcome.seconds)}  {_came_to(group)}".rstrip()
        for (name, group), nexts in zip(rows, [*begins, None], strict=True)
    ]


def _name(group: Sequence[BatchOutcome], batches: int) -> str:
    first, last = group[0].batch + 1, group[-1].batch + 1
    if group[0].canary:
        return "canary"
    return f"batch {first} of {batches}" if first == last else f"batches {first} to {last}"


def _began(group: Sequence[BatchOutcome]) -> float | None:
    return min((one.began for one in group if one.began is not None), default=None)


def _bar(group: Sequence[BatchOutcome], next_begins: float | None, seconds: float) -> str:
    began = _began(group)
    ends = sorted(end for one in group for end in one.ends)
    total = sum(one.instances for one in group)
    cells = []
    for at in range(WIDTH):
        cell_ends = seconds * (at + 1) / WIDTH
        ended = bisect_right(ends, cell_ends)
        if began is None or began >= cell_ends:
            cells.append(NOT_YET)
        elif ended < total:
            cells.append(str(min(9, 10 * ended // total)))
        elif bisect_right(ends, seconds * at / WIDTH) < total:
            cells.append("9")
        else:
            waits = next_begins is not None and next_begins >= cell_ends
            cells.append(BAKES if waits else ENDED)
    return "".join(cells)


def _came_to(group: Sequence[BatchOutcome]) -> str:
    counts = {
        word: sum(getattr(one, word) for one in group)
        for word in ("completed", "failed", "cancelled")
    }
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count)
