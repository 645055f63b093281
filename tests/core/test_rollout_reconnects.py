"""The pure rollout when an agent is back: what it has in hand decides what it is sent."""

from __future__ import annotations

from coordinator.core.happenings import CancelAsked, Connected, Said
from coordinator.core.rollout import step
from protocol.messages import Activate, Cancel, Prepare
from protocol.messages import Step as AgentStep
from protocol.states import Phase
from tests.parts.rollouts import DIGEST, HEALTHY, at, begun, failure, in_hand, phase, prepared, sent


def test_field_note_7_nothing_is_resent_to_an_agent_that_has_it_in_hand() -> None:
    back = step(begun("a"), [Connected("a", in_hand(1, AgentStep.PREPARE))], at(5))
    assert sent(back) == []


def test_a_command_that_got_lost_is_sent_again_with_the_same_attempt() -> None:
    back = step(begun("a"), [Connected("a", None)], at(5))
    (command,) = sent(back)
    assert isinstance(command, Prepare)
    assert command.attempt == 1


def test_a_lost_activate_is_sent_again() -> None:
    back = step(prepared("a"), [Connected("a", in_hand(1, AgentStep.PREPARED))], at(5))
    assert [type(command) for command in sent(back)] == [Activate]
    busy = step(prepared("a"), [Connected("a", in_hand(1, AgentStep.CHECK))], at(5))
    assert sent(busy) == []


def test_an_agent_that_was_still_preparing_when_it_told_its_inventory_is_told_to_switch() -> None:
    """Its `prepared` overtook the inventory: what was decided then was let through to nobody."""
    back = step(prepared("a"), [Connected("a", in_hand(1, AgentStep.PREPARE))], at(5))
    assert [type(one) for one in sent(back)] == [Activate]


def test_a_cancelled_switch_of_which_nothing_is_in_hand_is_given_up_before_it_is_asked() -> None:
    asked = step(prepared("a"), [CancelAsked(connected={"a"})], at(2)).task
    back = step(asked, [Connected("a", None)], at(5))
    assert [type(one) for one in sent(back)] == [Cancel, Activate]


def test_an_agent_without_the_switch_in_hand_is_asked_how_it_ended() -> None:
    asked = step(prepared("a"), [Connected("a", None)], at(5))
    (command,) = sent(asked)
    assert isinstance(command, Activate)
    assert (command.attempt, command.digest) == (1, DIGEST)
    assert phase(asked.task) is Phase.ACTIVATING

    done = step(asked.task, [Said("a", 1, HEALTHY)], at(6)).task
    assert phase(done) is Phase.COMPLETED
    lost = step(asked.task, [Said("a", 1, failure(passing=False))], at(6)).task
    assert phase(lost) is Phase.FAILED


def test_after_a_restore_a_prepared_release_is_asked_for_again() -> None:
    back = step(begun("a"), [Connected("a", in_hand(1, AgentStep.PREPARED))], at(5))
    (command,) = sent(back)
    assert isinstance(command, Prepare)
    assert command.attempt == 1


def test_after_a_restore_an_agents_later_attempt_is_taken_up() -> None:
    early = begun("a")
    done = step(early, [Said("a", 3, HEALTHY)], at(5)).task
    assert (phase(done), done.assignments["a"].attempt) == (Phase.COMPLETED, 3)

    pausing = step(early, [Said("a", 1, failure(passing=True))], at(1)).task
    done = step(pausing, [Said("a", 2, HEALTHY)], at(5)).task
    assert (phase(done), done.assignments["a"].attempt) == (Phase.COMPLETED, 2)

    busy = step(early, [Connected("a", in_hand(2, AgentStep.CHECK))], at(5))
    assert sent(busy) == []
    assert busy.task.assignments["a"].attempt == 2


def test_work_of_an_ended_task_is_given_up_on_return() -> None:
    cancelled = step(begun("a"), [CancelAsked(connected=())], at(1)).task
    back = step(cancelled, [Connected("a", in_hand(1, AgentStep.PREPARED))], at(5))
    assert [type(command) for command in sent(back)] == [Cancel]
