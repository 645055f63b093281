"""The pure rollout of a deployment: from the door to its end, with retries and the deadline."""

from __future__ import annotations

from dataclasses import replace

from coordinator.core.commands import PUT_BACK_GRACE
from coordinator.core.happenings import Begin, Said, Tick, Unblocked, Wake
from coordinator.core.retries import pause_before
from coordinator.core.rollout import step
from coordinator.core.task import Assignment, Moment
from protocol.messages import Activate, Cancel, Prepare, Prepared, Taken
from protocol.states import Phase, TaskState
from tests.parts.rollouts import (
    DIGEST,
    HEALTHY,
    OTHER,
    at,
    begun,
    failure,
    phase,
    prepared,
    sent,
    task,
)


def test_a_deployment_goes_from_the_door_to_the_host_and_back() -> None:
    first = step(task("a"), [Begin()], at(0))
    assert [type(command) for command in sent(first)] == [Prepare]
    assert first.task.state is TaskState.PENDING

    taken = step(first.task, [Said("a", 1, Taken())], at(1))
    assert taken.task.state is TaskState.IN_PROGRESS

    ready = step(taken.task, [Said("a", 1, Prepared(digest=DIGEST))], at(2))
    assert ready.task.digest == DIGEST
    assert [type(command) for command in sent(ready)] == [Activate]

    done = step(ready.task, [Said("a", 1, HEALTHY)], at(3))
    assert done.task.state is TaskState.COMPLETED
    assert done.task.completed_at == at(3).wall
    assert [part.instance_id for part in done.ended] == ["a"]


def test_the_digest_of_the_first_verified_download_binds_the_task() -> None:
    running = step(begun("a", "b"), [Said("a", 1, Prepared(digest=DIGEST))], at(1)).task
    done = step(running, [Said("b", 1, Prepared(digest=OTHER))], at(2))
    assert phase(done.task, "b") is Phase.FAILED
    assert "package changed" in done.task.assignments["b"].error
    assert [type(command) for command in sent(done, "b")] == [Cancel]


def test_a_cause_that_may_pass_is_tried_again_after_a_pause() -> None:
    done = step(begun("a"), [Said("a", 1, failure("HTTP 503", passing=True))], at(1))
    part = done.task.assignments["a"]
    assert part.phase is Phase.RETRYING
    assert part.retry_at is not None

    early = step(done.task, [Tick("a", connected=True)], at(1.1))
    assert phase(early.task) is Phase.RETRYING

    due = Moment(part.retry_at, at(5).wall)
    again = step(done.task, [Tick("a", connected=True)], due)
    (command,) = sent(again)
    assert isinstance(command, Prepare)
    assert command.attempt == 2


def test_a_cause_that_cannot_pass_ends_the_assignment_at_once() -> None:
    done = step(begun("a"), [Said("a", 1, failure("digest mismatch"))], at(1))
    assert done.task.state is TaskState.FAILED
    assert done.task.assignments["a"].error == "digest mismatch"


def test_retry_count_zero_is_one_attempt() -> None:
    done = step(begun("a", retry_count=0), [Said("a", 1, failure(passing=True))], at(1))
    assert done.task.state is TaskState.FAILED


def test_no_retry_is_begun_that_the_timeout_would_cut_off() -> None:
    done = step(begun("a", timeout=2), [Said("a", 1, failure(passing=True))], at(1.9))
    assert done.task.state is TaskState.FAILED


def test_a_server_that_asks_for_peace_is_not_asked_before_it() -> None:
    busy = failure("HTTP 429", passing=True).model_copy(update={"retry_after": 40.0})
    done = step(begun("a"), [Said("a", 1, busy)], at(1))
    pause = pause_before("deploy-1", "a", 2)
    assert done.task.assignments["a"].retry_at == at(1).steady + 40 + pause
    assert Wake("a", at(41).steady + pause) in done.effects

    too_late = step(begun("a", timeout=30), [Said("a", 1, busy)], at(1)).task
    assert too_late.state is TaskState.FAILED
    assert too_late.assignments["a"].error == "HTTP 429"


def test_pauses_grow_and_are_spread() -> None:
    assert 0.5 <= pause_before("t", "a", 2) <= 1.5
    assert 16 <= pause_before("t", "a", 7) <= 48
    assert len({pause_before("t", name, 5) for name in "abcdefgh"}) > 1


def test_an_instance_whose_agent_stays_away_times_out_and_says_so() -> None:
    done = step(begun("a"), [Tick("a", connected=False)], at(300))
    assert done.task.state is TaskState.FAILED
    assert done.task.assignments["a"].error == "timed out after 300 s: the agent was away"


def test_a_connected_agent_gets_time_to_put_back_after_the_deadline() -> None:
    switching = prepared("a")
    waiting = step(switching, [Tick("a", connected=True)], at(300))
    assert phase(waiting.task) is Phase.ACTIVATING
    over = step(waiting.task, [Tick("a", connected=True)], at(300 + PUT_BACK_GRACE))
    assert phase(over.task) is Phase.FAILED


def test_a_report_after_the_deadline_corrects_the_end() -> None:
    failed = step(prepared("a"), [Tick("a", connected=False)], at(300)).task
    assert failed.state is TaskState.FAILED
    done = step(failed, [Said("a", 1, HEALTHY)], at(400))
    assert done.task.state is TaskState.COMPLETED
    assert "corrected" in done.task.assignments["a"].reason
    assert [part.phase for part in done.ended] == [Phase.COMPLETED]


def test_a_taken_over_instance_waits_for_the_older_task() -> None:
    waiting = replace(task("a"), assignments={"a": Assignment("a", blocked_by="deploy-0")})
    held = step(waiting, [Begin()], at(0))
    assert (phase(held.task), held.effects) == (Phase.QUEUED, ())
    free = step(held.task, [Unblocked("a")], at(50))
    assert phase(free.task) is Phase.WAITING
    assert free.task.assignments["a"].deadline == at(350).steady
