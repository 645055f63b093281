"""What agents report, and what a reconnected one has in hand: what follows for its assignment.

A report of another attempt than the assignment's changes nothing. What has ended stays
ended unless that was only assumed; then the host's report is the truth. What has completed
fails if its host, which watches it, tells of a regression while the task runs, or of one within
`guard`; nothing turns that back.
"""

from __future__ import annotations

from dataclasses import replace

from coordinator.core.commands import time_left
from coordinator.core.decisions import bakes
from coordinator.core.draft import Draft, allowed
from coordinator.core.retries import pause_before
from coordinator.core.signature import REGRESSED
from coordinator.core.task import Assignment
from protocol.messages import Ended, Prepared, Regressed, Result, Step, Taken, WorkInHand
from protocol.states import Happening, Phase, Receipt, TaskKind


def said(
    draft: Draft, part: Assignment, attempt: int, what: Taken | Prepared | Ended | Regressed
) -> None:
    """Take in a report of an attempt."""
    part = _caught_up(draft, part, attempt)
    if attempt != part.attempt:
        return
    match what:
        case Taken():
            draft.move(part, Happening.TAKEN)
        case Prepared(digest=digest):
            _prepared(draft, part, digest)
        case Ended(result=Result.SUCCEEDED):
            _succeeded(draft, part, what)
        case Regressed():
            _regressed(draft, part, what)
        case Ended(result=Result.FAILED):
            _failed(draft, part, what)
        case Ended():
            _given_up(draft, part, what)


def _prepared(draft: Draft, part: Assignment, digest: str) -> None:
    if part.phase.ended:
        draft.send_cancel(part)
    elif problem := _other_package(draft, part, digest):
        draft.send_cancel(part)
        draft.fail(part, problem)
    elif draft.task.kind is TaskKind.PREFETCH:
        draft.send_cancel(part)
        draft.fail(part, "its agent waits for a switch, and a prefetch has none")
    elif part.phase is Phase.ACTIVATING:
        draft.send_activate(part)
    else:
        was = part.phase
        part = draft.move(draft.decide_digest(part, digest), Happening.PREPARED)
        if part.phase is not was and draft.task.paused_at is not None:
            draft.send_prepare(part)


def _succeeded(draft: Draft, part: Assignment, what: Ended) -> None:
    if not _open_to_correction(part):
        _keep_evidence(draft, part, what.message)
        return
    if draft.task.kind is TaskKind.PREFETCH and (
        problem := _other_package(draft, part, what.digest)
    ):
        draft.fail(part, problem)
        return
    if what.digest:
        part = draft.decide_digest(part, what.digest)
    if what.step is Step.COMMIT:
        # Else this very release ran there already, and nothing was switched.
        part = replace(part, let_go=True)
    reason = what.message or "healthy"
    if part.phase is Phase.FAILED:
        reason = f"{reason}; corrected: it had been counted as failed ({part.error})"
    draft.succeed(part, reason)


def _other_package(draft: Draft, part: Assignment, digest: str) -> str:
    """What is wrong with a package of this digest; "" if it is the task's, or the first one."""
    known = draft.task.target_of(part).digest
    if known in ("", digest):
        return ""
    return f"package changed: the task's sha256 is {known}, this host got {digest}"


def _failed(draft: Draft, part: Assignment, what: Ended) -> None:
    if part.phase is Phase.FAILED or not _open_to_correction(part):
        _keep_evidence(draft, part, what.message)
        return
    if what.step is Step.PREPARED and what.passing:
        _discarded(draft, part, what.message)
        return
    tries = part.attempt - part.discards
    pause = pause_before(draft.task.task_id, part.instance_id, tries + 1)
    # Added, not the larger one: all hosts may have been told the same time.
    pause += what.retry_after
    again = what.passing and tries <= draft.task.retry_count
    if again and _may_go_on(draft, part, pause):
        retry_at = draft.now.steady + pause
        part = replace(part, error=what.message, retry_at=retry_at)
        draft.move(part, Happening.ATTEMPT_FAILED)
        draft.wake(part, retry_at)
    else:
        draft.fail(part, what.message)


def _discarded(draft: Draft, part: Assignment, message: str) -> None:
    """Have prepared again what the host no longer holds: the word to switch did not come in time.

    That is no failure of the host's: it counts as no attempt, and takes no pause but a place.
    """
    if _may_go_on(draft, part, 0):
        part = replace(part, error=message, discards=part.discards + 1)
        draft.move(part, Happening.ATTEMPT_FAILED)
    else:
        draft.fail(part, message)


def _may_go_on(draft: Draft, part: Assignment, pause: float) -> bool:
    """Whether another attempt may follow after so many seconds."""
    unwanted = part.phase.ended or part.cancel_asked or draft.task.stopped
    return not unwanted and pause < time_left(part, draft.now)


def _regressed(draft: Draft, part: Assignment, what: Regressed) -> None:
    """Fail what had completed.

    Before its end this is what a lost database knew, and the agent tells it again after its
    `Ended`; after another end it decides nothing, nor after the task's end and the guard's.
    """
    message = f"{REGRESSED}{what.message}"
    guard = draft.task.strategy.guard if draft.task.strategy else 0
    guarded = guard > 0 and what.after is not None and what.after <= guard
    if allowed(part, Happening.REGRESSED) and (guarded or not draft.ended_now()):
        part = replace(part, regressed=True, guarded=guarded)
        draft.fail(part, message, Happening.REGRESSED)
    elif part.phase.ended:
        _keep_evidence(draft, part, message)


def _given_up(draft: Draft, part: Assignment, what: Ended) -> None:
    if part.phase is Phase.CANCELLED and part.receipt is Receipt.UNKNOWN:
        reason = "the agent returned: it had not been switched"
        draft.correct(replace(part, receipt=Receipt.STOPPED_BEFORE_SWITCH, reason=reason))
    elif part.cancel_asked or allowed(part, Happening.WITHDRAWN):
        stopped = draft.task.stopped
        reason = f"stopped: {stopped}" if stopped else what.message
        draft.withdraw(part, Receipt.STOPPED_BEFORE_SWITCH, reason)


def _caught_up(draft: Draft, part: Assignment, attempt: int) -> Assignment:
    """The part as it was when this attempt was sent out.

    Attempts are numbered here alone: an agent that knows a later one than is saved has it
    from a coordinator whose database has since been put back to an older one.
    """
    final = part.phase is Phase.COMPLETED or not _open_to_correction(part)
    if attempt <= part.attempt or part.phase is Phase.QUEUED or final:
        return part
    part = replace(part, attempt=attempt, retry_at=None)
    if part.phase is Phase.RETRYING:
        return draft.move(part, Happening.RETRY_DUE)
    return draft.put(part)


def _keep_evidence(draft: Draft, part: Assignment, message: str) -> None:
    """A report that comes after the end no longer decides anything, and is not lost."""
    if message not in f"{part.reason}\n{part.error}":
        reason = f"{part.reason}; the agent said: {message}"
        draft.correct(replace(part, reason=reason))


def _open_to_correction(part: Assignment) -> bool:
    """An ended assignment stays as it is unless its end was only assumed."""
    if part.regressed:
        return False
    return part.phase is not Phase.CANCELLED or part.receipt is Receipt.UNKNOWN


# ---- reconnects --------------------------------------------------------


def connected(draft: Draft, part: Assignment, in_hand: WorkInHand | None) -> None:
    """Ask a reconnected agent for what its work in hand, None if there is none, leaves open."""
    if in_hand is not None and not part.phase.ended:
        part = _caught_up(draft, part, in_hand.attempt)
    known = in_hand is not None and in_hand.attempt == part.attempt
    if in_hand is not None and (part.phase.ended or not known):
        draft.send_cancel(part, in_hand.attempt)
    if part.phase.ended:
        if in_hand is None and bakes(draft.task, part):
            _goes_on_watching(draft, part)
        return
    prepared = known and in_hand is not None and in_hand.step is Step.PREPARED
    if part.phase is Phase.PREPARED and not known:
        _discarded(draft, part, "its host no longer knows of the release that it had prepared")
    elif part.phase in (Phase.WAITING, Phase.PREPARING, Phase.PREPARED):
        held = part.phase is Phase.WAITING and draft.task.paused_at is not None
        if not held and (not known or prepared):
            # Its report was lost with what the database has lost.
            draft.send_prepare(part)
    elif part.phase is Phase.ACTIVATING:
        _connected_while_activating(draft, part, in_hand if known else None)


def _goes_on_watching(draft: Draft, part: Assignment) -> None:
    """Have the part watched for what is left of the bake: it may not have heard so."""
    left = (draft.task.bake_until or 0.0) - draft.now.steady
    if left > 0:
        draft.send_watch(part, left)


def _connected_while_activating(draft: Draft, part: Assignment, in_hand: WorkInHand | None) -> None:
    if part.cancel_asked:
        draft.send_cancel(part)
    if in_hand is None:
        # It has ended there, or is lost there: the agent's journal answers either way.
        draft.send_activate(part)
    elif not part.cancel_asked and in_hand.step in (Step.PREPARE, Step.PREPARED):
        # Still preparing when it said so, and prepared since: `activate` may have been
        # decided while no command was let through yet.
        draft.send_activate(part)
