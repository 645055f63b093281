"""The swap transaction as one table: the steps, the undo of each, and what a crash means.

`TABLE` is read by the executor to go forward, by `undo_of` after a failure and by
`recover` after a crash; there is no other description of the order. Every step and
every undo is idempotent, so that either may be done again. Pure: no I/O, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from protocol.messages import Step

MOST_RECOVERIES = 3
"""How often one assignment may be taken up again after a crash before the agent gives up."""


class Undo(Enum):
    """What takes a step back. The `old` ones are nothing where there was no old release."""

    START_OLD = "start_old"
    CHECK_OLD = "check_old"
    LINK_BACK = "link_back"
    STOP_NEW = "stop_new"


@dataclass(frozen=True, slots=True)
class Row:
    """One step of the swap. `undo` is in the order in which it is done."""

    step: Step
    undo: tuple[Undo, ...]


TABLE: tuple[Row, ...] = (
    Row(Step.STOP, undo=(Undo.START_OLD, Undo.CHECK_OLD)),
    Row(Step.SWITCH, undo=(Undo.LINK_BACK,)),
    Row(Step.START, undo=(Undo.STOP_NEW,)),
    Row(Step.CHECK, undo=()),
    Row(Step.COMMIT, undo=()),
)

STEPS: tuple[Step, ...] = tuple(row.step for row in TABLE)


class Recovery(Enum):
    """What to do with work that was in hand when the agent ended."""

    FORGET = "forget"  # nothing was stopped; the coordinator will ask again
    KEEP = "keep"  # prepared: wait for the word to switch
    GO_ON = "go_on"  # do the step again and all that follow
    PUT_BACK = "put_back"  # a failure was being undone: undo all of it again
    GIVE_UP = "give_up"  # it ended the agent too often: leave both releases, say `error`


def steps_from(step: Step) -> tuple[Step, ...]:
    """`step` and all that follow it."""
    return STEPS[STEPS.index(step) :]


def undo_of(failed: Step, *, in_trouble: bool = False) -> tuple[Undo, ...]:
    """Everything that takes back the steps up to and including `failed`.

    `in_trouble`: an earlier assignment could not be put back, so that nobody knows how far
    it had come: then all there is to undo is undone.
    """
    reached = TABLE if in_trouble else TABLE[: STEPS.index(failed) + 1]
    return tuple(undo for row in reversed(reached) for undo in row.undo)


def recover(step: Step, *, putting_back: bool, recoveries: int) -> Recovery:
    """What a crash at `step` calls for; `recoveries` are those of this assignment so far."""
    if step is Step.PREPARE:
        return Recovery.FORGET
    if step is Step.PREPARED:
        return Recovery.KEEP
    if recoveries >= MOST_RECOVERIES:
        return Recovery.GIVE_UP
    return Recovery.PUT_BACK if putting_back else Recovery.GO_ON


def step_to_repeat(step: Step, *, booted: bool) -> Step:
    """Where to go on after a crash at `step`: a host that has booted runs nothing yet."""
    return Step.START if booted and Step.START in STEPS[: STEPS.index(step)] else step
