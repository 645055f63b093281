"""What goes into a step of the rollout and what comes out: events and effects as values."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from coordinator.core.task import Relation, Target
from protocol.messages import Command, Ended, Prepared, Regressed, Taken, WorkInHand

# ---- events ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Begin:
    """The task was accepted."""


@dataclass(frozen=True, slots=True)
class Said:
    """The agent reported something about an attempt."""

    instance_id: str
    attempt: int
    what: Taken | Prepared | Ended | Regressed


@dataclass(frozen=True, slots=True)
class Connected:
    """The agent is there again and told what it has in hand; its reports came before."""

    instance_id: str
    in_hand: WorkInHand | None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed, or the agent went away: look whether something is due.

    Without an instance it is the task itself that waits for a time.
    """

    instance_id: str
    connected: bool


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Stop what can be stopped: everywhere, or on the instances in `only`."""

    connected: Collection[str] = ()
    only: Collection[str] | None = None
    why: str = "cancelled on request"


@dataclass(frozen=True, slots=True)
class Unblocked:
    """The task that held the instance before has ended there, and `ran` is what runs now."""

    instance_id: str
    ran: Target | None = None


@dataclass(frozen=True, slots=True)
class PauseAsked:
    """Begin nothing new, and stop the clocks of what waits."""


@dataclass(frozen=True, slots=True)
class ResumeAsked:
    """Go on."""


@dataclass(frozen=True, slots=True)
class PromoteAsked:
    """Let the others follow the canary."""

    by: str


Steering = CancelAsked | PauseAsked | ResumeAsked | PromoteAsked
"""What people ask of a running task."""

Event = (
    Begin
    | Said
    | Connected
    | Tick
    | CancelAsked
    | Unblocked
    | PauseAsked
    | ResumeAsked
    | PromoteAsked
)


# ---- effects ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Hand a command to the instance's agent, once the state is saved."""

    instance_id: str
    command: Command


@dataclass(frozen=True, slots=True)
class Wake:
    """Give the task a `Tick` for this instance ("": for itself) at `at` steady seconds."""

    instance_id: str
    at: float


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Bring these instances back to what they ran before, by a task of its own."""

    instances: tuple[str, ...]
    relation: Relation


Effect = Send | Wake | TakeBack
