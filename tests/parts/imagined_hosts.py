"""Imagined hosts for the pure rollout: what a real agent promises, and bad luck as it is told.

A host does what its `Luck` says of each attempt, keeps its reports until they are delivered,
and answers a repeated command from what it remembers. Times are seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from protocol.messages import (
    Activate,
    Cancel,
    Command,
    Ended,
    Prepare,
    Prepared,
    Regressed,
    Result,
    Taken,
    WorkInHand,
)
from protocol.messages import Step as AgentStep
from tests.parts.rollouts import DIGEST

Report = tuple[int, Taken | Prepared | Ended | Regressed]
Later = Callable[[float, Callable[[], None]], None]
"""Does something after so many seconds."""


@dataclass(frozen=True)
class Attempt:
    """How one attempt goes: how long its halves take, and whether each works out."""

    prepare: float = 1.0
    switch: float = 1.0
    fails: str = ""
    """"" (it works out), "prepare" or "switch"."""
    passing: bool = False


@dataclass(frozen=True)
class Luck:
    """What is to happen to one instance."""

    attempts: tuple[Attempt, ...] = (Attempt(),)
    """The last one is that of all later attempts, too."""
    away: tuple[tuple[float, float], ...] = ()
    """Since when and until when its agent is silent."""
    has_it: bool = False
    """Whether it runs the new version already."""
    old: bool = False
    """Whether it is of before 1.3: it knows of no `hold`, and watches nothing."""
    regresses: float | None = None
    """So many seconds after its switch, if it is watched for so long."""
    vanishes: bool = False
    """Whether its agent falls silent when it is told to switch, until long after its time."""
    ran: bool = True
    """Whether anything ran there before."""


@dataclass
class Host:
    """One instance and its agent."""

    name: str
    luck: Luck
    now: Callable[[], float]
    later: Later
    report: Callable[[str, Report], None]
    vanish: Callable[[str], None]
    attempt: int = 0
    step: AgentStep | None = None
    ended: dict[int, Ended] = field(default_factory=dict)
    switched: int = 0
    """How often it has switched; what fails is put back, and counts, too."""
    runs_new: bool = False
    has_prepared: bool = False
    """Whether it has held the release since it last lost its state."""
    watched_until: float | None = None
    """Until when its service is, or was, watched since its last switch."""
    fell: bool = False
    """Whether it has told of a regression."""
    fell_after: float | None = None
    """How long it had watched by then, if it told so."""
    _is_sick: bool = False
    _lapsed: bool = False
    _alarm: int = 0
    _hold: float = 0.0

    def hear(self, command: Command) -> None:
        """Take a command, as an agent does."""
        number = command.attempt
        if isinstance(command, Activate) and command.renews:
            self._watch_on(command)
            return
        if self.ended and number <= max(self.ended):
            self._say(max(self.ended), self.ended[max(self.ended)])
            return
        match command:
            case Prepare():
                self._prepare(command)
            case Activate() if number == self.attempt and self.step is AgentStep.PREPARED:
                self._activate(command)
            case Activate() if number != self.attempt or self.step is None:
                self._end(number, Result.FAILED)
            case Cancel() if number >= self.attempt and self.step in _BEFORE_THE_SWITCH:
                self._end(self.attempt, Result.CANCELLED)

    def in_hand(self) -> WorkInHand | None:
        """What it tells when it comes back."""
        if self.step is None:
            return None
        return WorkInHand(
            task_id="deploy-1", instance_id=self.name, attempt=self.attempt, step=self.step
        )

    def forget(self) -> None:
        """Its state folder is lost before the switch."""
        if self.step in _BEFORE_THE_SWITCH:
            self.step, self.has_prepared = None, False
            self._alarm += 1

    # ---- inside ------------------------------------------------------------

    def _prepare(self, command: Prepare) -> None:
        hold = 0.0 if self.luck.old else command.hold
        if command.attempt == self.attempt and self.step is not None:
            self._hold = hold or self._hold
            if self.step is AgentStep.PREPARED:
                if hold:
                    self._keep(hold)
                self._say(self.attempt, Prepared(digest=DIGEST))
            return
        self.attempt, self.step, self._hold = command.attempt, AgentStep.PREPARE, hold
        self._say(self.attempt, Taken())
        took = self._going.prepare
        self._when(min(took, command.time_left), lambda: self._prepared(command, took))

    def _prepared(self, command: Prepare, took: float) -> None:
        going = self._going
        if took >= command.time_left:
            self._end(self.attempt, Result.FAILED)
        elif going.fails == "prepare":
            self._end(self.attempt, Result.FAILED, passing=going.passing)
        elif self.luck.has_it:
            self.step = AgentStep.PREPARED
            self._end(self.attempt, Result.SUCCEEDED)
        else:
            self.step, self.has_prepared = AgentStep.PREPARED, True
            self._keep(self._hold or command.time_left - took)
            self._say(self.attempt, Prepared(digest=DIGEST))

    def _keep(self, seconds: float) -> None:
        self._when(seconds, lambda: self._end(self.attempt, Result.FAILED, passing=True))

    def _activate(self, command: Activate) -> None:
        self.step = AgentStep.STOP
        self.switched += 1
        if self.luck.vanishes and self.switched == 1:
            self.vanish(self.name)
        going = self._going
        self._when(going.switch, lambda: self._switched(going, command.watch))

    def _switched(self, going: Attempt, watch: float) -> None:
        if going.fails == "switch":
            self._end(self.attempt, Result.FAILED, passing=going.passing)
            return
        self.step, self.runs_new = AgentStep.COMMIT, True
        self._end(self.attempt, Result.SUCCEEDED)
        if watch and not self.luck.old:
            self.watched_until = self.now() + watch
        if self.luck.regresses is not None:
            self._when(self.luck.regresses, self._falls_sick)

    def _falls_sick(self) -> None:
        self._is_sick = True
        if self.watched_until is not None and self.now() <= self.watched_until:
            self._tell_of_it(None if self._lapsed else self.luck.regresses)

    def _watch_on(self, command: Activate) -> None:
        """One of before 1.3 is sent nothing; of another attempt nothing is done."""
        if self.luck.old or command.attempt != max(self.ended, default=0):
            return
        self._say(command.attempt, self.ended[command.attempt])
        if self.step is not None or not self.runs_new or self.fell:
            return
        now = self.now()
        if self.watched_until is None or self.watched_until < now:
            self._lapsed = True
        self.watched_until = max(self.watched_until or 0.0, now + command.watch)
        if self._is_sick:
            self._tell_of_it(None)

    def _tell_of_it(self, after: float | None) -> None:
        self.fell, self.fell_after = True, after
        self._say(self.attempt, Regressed(message=FELL_SICK, digest=DIGEST, after=after))

    @property
    def _going(self) -> Attempt:
        attempts = self.luck.attempts
        return attempts[min(self.attempt, len(attempts)) - 1]

    def _end(self, number: int, result: Result, *, passing: bool = False) -> None:
        reached = self.step or AgentStep.PREPARE
        self.step = None
        self._alarm += 1
        self.ended[number] = Ended(
            result=result, step=reached, message="so it ended", passing=passing, digest=DIGEST
        )
        self._say(number, self.ended[number])

    def _say(self, number: int, what: Taken | Prepared | Ended | Regressed) -> None:
        self.report(self.name, (number, what))

    def _when(self, seconds: float, do: Callable[[], None]) -> None:
        """Do it then, unless something else has been begun by then."""
        self._alarm += 1
        number = self._alarm
        self.later(seconds, lambda: do() if number == self._alarm else None)


_BEFORE_THE_SWITCH = (AgentStep.PREPARE, AgentStep.PREPARED)
FELL_SICK = "so it fell back"
"""What hosts say of it."""
