"""The pure rollout of a prefetch: it ends with the release on disk, and nothing ever switches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coordinator.core.happenings import Begin, CancelAsked, Said
from coordinator.core.rollout import step
from coordinator.core.task import Task
from coordinator.skew import why_not_sent
from protocol.messages import (
    PREFETCH_MINOR,
    Cancel,
    Ended,
    Prepare,
    Prepared,
    Result,
    Taken,
)
from protocol.messages import Step as AgentStep
from protocol.states import Phase, Receipt, TaskKind, TaskState
from tests.parts.rollouts import DIGEST, OTHER, at, failure, phase, sent, task

FETCHED = Ended(result=Result.SUCCEEDED, step=AgentStep.PREPARED, message="on disk", digest=DIGEST)


def begun(*names: str) -> Task:
    return step(replace(task(*names), kind=TaskKind.PREFETCH), [Begin()], at(0)).task


def test_it_is_completed_once_the_release_is_on_disk() -> None:
    first = step(replace(task("a"), kind=TaskKind.PREFETCH), [Begin()], at(0))
    (command,) = sent(first)
    assert isinstance(command, Prepare)
    assert command.kind is TaskKind.PREFETCH
    taken = step(first.task, [Said("a", 1, Taken())], at(1)).task
    assert phase(taken) is Phase.PREPARING
    done = step(taken, [Said("a", 1, FETCHED)], at(2))
    assert (phase(done.task), done.task.state) == (Phase.COMPLETED, TaskState.COMPLETED)
    assert done.task.digest == DIGEST
    assert sent(done) == []


def test_an_agent_that_waits_for_a_switch_is_told_to_give_it_up() -> None:
    told = step(begun("a"), [Said("a", 1, Prepared(digest=DIGEST))], at(1))
    assert [type(command) for command in sent(told)] == [Cancel]
    assert phase(told.task) is Phase.FAILED
    assert "a prefetch has none" in told.task.assignments["a"].error


def test_hosts_that_got_other_bytes_have_failed() -> None:
    other = FETCHED.model_copy(update={"digest": OTHER})
    says = [Said("a", 1, FETCHED), Said("b", 1, other)]
    done = step(begun("a", "b"), says, at(1)).task
    assert (phase(done, "a"), phase(done, "b")) == (Phase.COMPLETED, Phase.FAILED)
    assert "package changed" in done.assignments["b"].error


def test_it_is_tried_again_as_a_deployment_is() -> None:
    again = step(begun("a"), [Said("a", 1, failure("503", passing=True))], at(1)).task
    assert phase(again) is Phase.RETRYING


def test_cancelling_it() -> None:
    fetching = step(begun("a"), [Said("a", 1, Taken())], at(1)).task
    done = step(fetching, [CancelAsked(connected={"a"})], at(2))
    part = done.task.assignments["a"]
    assert (part.phase, part.receipt) == (Phase.CANCELLED, Receipt.STOPPED_BEFORE_SWITCH)
    assert [type(command) for command in sent(done)] == [Cancel]


@pytest.mark.parametrize("minor", [0, PREFETCH_MINOR - 1])
def test_an_older_agent_fails_it_at_once_and_names_the_version(minor: int) -> None:
    begin = step(replace(task("a"), kind=TaskKind.PREFETCH), [Begin()], at(0))
    (command,) = sent(begin)
    ended = why_not_sent(minor, command)
    assert ended is not None
    failed = step(begin.task, [Said("a", command.attempt, ended)], at(1)).task
    assert phase(failed) is Phase.FAILED, "another try would not help"
    assert f"speaks protocol 1.{minor}, and a prefetch needs 1.3" in failed.assignments["a"].error


def test_everything_else_is_sent_to_older_agents() -> None:
    (deployed,) = sent(step(task("a"), [Begin()], at(0)))
    (fetched,) = sent(step(replace(task("a"), kind=TaskKind.PREFETCH), [Begin()], at(0)))
    cancel = Cancel(task_id="deploy-1", instance_id="a", attempt=1)
    assert why_not_sent(0, deployed) is why_not_sent(0, cancel) is None
    assert why_not_sent(PREFETCH_MINOR, fetched) is None
