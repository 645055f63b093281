"""The blocks of `docs/architecture.md` that are drawn from the tables, never by hand.

`python -m tests.docs.diagrams` prints them; with `--write` it puts them into the page. A
block stands behind a line `<!-- drawn: NAME -->` and ends with the next blank line.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from pathlib import Path
from typing import TypeVar

from agent.core.swap import MOST_RECOVERIES, STEPS, TABLE, Recovery, recover, undo_of
from coordinator.admission import MOVES
from protocol.messages import Step
from protocol.states import ASSIGNMENT, TASK, HostState, Phase, TaskState

E = TypeVar("E", bound=Enum)
F = TypeVar("F", bound=Enum)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "architecture.md"

_RECOVERY_WORDS: Mapping[Recovery, str] = {
    Recovery.FORGET: "forget it; the coordinator asks again",
    Recovery.KEEP: "keep it; wait for `activate`",
    Recovery.GO_ON: "do the step again and go on",
    Recovery.PUT_BACK: "put the old release back",
    Recovery.GIVE_UP: "give up: `error`, both releases stay",
}


def assignment() -> str:
    """The phases of an assignment: `protocol.states.ASSIGNMENT`."""
    lines = _arrows(ASSIGNMENT)
    ends = [phase.value for phase in Phase if phase.ended]
    return _states(Phase.QUEUED.value, lines, ends)


def host() -> str:
    """The states of a host: `coordinator.admission.MOVES`."""
    return _states(HostState.PENDING.value, _arrows(MOVES), [])


def task() -> str:
    """The states of a task: `protocol.states.TASK`."""
    lines = [
        f"{state.value} --> {target.value}"
        for state, targets in TASK.items()
        for target in TaskState
        if target in targets
    ]
    return _states(TaskState.PENDING.value, lines, [s.value for s in TaskState if s.ended])


def swap() -> str:
    """The steps of the swap, and what takes each back: `agent.core.swap.TABLE`."""
    lines = ["flowchart LR"]
    lines += [f"    {a.value} --> {b.value}" for a, b in itertools.pairwise(STEPS)]
    lines.append(f"    {STEPS[-1].value} --> done([the new release is current])")
    for row in TABLE:
        undo = " → ".join(undo.value for undo in undo_of(row.step))
        lines.append(f"    {row.step.value} -. fails .-> undo_{row.step.value}[{undo}]")
    return _mermaid(lines)


def recovery() -> str:
    """What a start of the agent does with work in hand: `agent.core.swap.recover`."""
    lines = [
        "| step in the journal | going forward | putting back "
        f"| after {MOST_RECOVERIES} recoveries |",
        "| --- | --- | --- | --- |",
    ]
    for step in (Step.PREPARE, Step.PREPARED, *STEPS):
        cells = [
            _RECOVERY_WORDS[recover(step, putting_back=back, recoveries=times)]
            for back, times in ((False, 0), (True, 0), (False, MOST_RECOVERIES))
        ]
        if step not in STEPS:
            cells[1] = "-"
        lines.append(f"| `{step.value}` | {' | '.join(cells)} |")
    return "\n".join(lines)


BLOCKS: Mapping[str, Callable[[], str]] = {
    "host": host,
    "assignment": assignment,
    "task": task,
    "swap": swap,
    "recovery": recovery,
}


def drawn(page: str) -> dict[str, str]:
    """The blocks that stand in the page, by name."""
    return dict(re.findall(_BLOCK, page))


def redrawn(page: str) -> str:
    """The page with every block as the tables give it."""
    return re.sub(_BLOCK, lambda found: f"<!-- drawn: {found[1]} -->\n{BLOCKS[found[1]]()}\n", page)


_BLOCK = re.compile(r"<!-- drawn: (\w+) -->\n(.*?)\n(?=\n)", re.DOTALL)


def _arrows(table: Mapping[E, Mapping[F, E]]) -> list[str]:
    """One line for each pair of states that the table joins, with all that leads there."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for state, row in table.items():
        for event, target in row.items():
            arrows.setdefault((state.value, target.value), []).append(event.value)
    return [f"{a} --> {b}: {', '.join(words)}" for (a, b), words in arrows.items()]


def _states(first: str, lines: list[str], ends: list[str]) -> str:
    body = [f"[*] --> {first}", *lines, *(f"{end} --> [*]" for end in ends)]
    return _mermaid(["stateDiagram-v2", *(f"    {line}" for line in body)])


def _mermaid(lines: list[str]) -> str:
    return "\n".join(["```mermaid", *lines, "```"])


def _printed() -> Iterator[str]:
    for name, draw in BLOCKS.items():
        yield f"<!-- drawn: {name} -->\n{draw()}\n"


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(redrawn(PAGE.read_text()))
    else:
        print("\n".join(_printed()))
