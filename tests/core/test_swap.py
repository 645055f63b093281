"""The swap table: what is undone after a failure, and what a crash calls for."""

from __future__ import annotations

import pytest

from agent.core.swap import (
    MOST_RECOVERIES,
    STEPS,
    Recovery,
    Undo,
    recover,
    step_to_repeat,
    steps_from,
    undo_of,
)
from protocol.messages import Step


def test_the_steps_stand_in_the_order_of_the_transaction() -> None:
    assert STEPS == (Step.STOP, Step.SWITCH, Step.START, Step.CHECK, Step.COMMIT)


@pytest.mark.parametrize(
    ("failed", "undone"),
    [
        (Step.STOP, (Undo.START_OLD, Undo.CHECK_OLD)),
        (Step.SWITCH, (Undo.LINK_BACK, Undo.START_OLD, Undo.CHECK_OLD)),
        (Step.START, (Undo.STOP_NEW, Undo.LINK_BACK, Undo.START_OLD, Undo.CHECK_OLD)),
        (Step.CHECK, (Undo.STOP_NEW, Undo.LINK_BACK, Undo.START_OLD, Undo.CHECK_OLD)),
        (Step.COMMIT, (Undo.STOP_NEW, Undo.LINK_BACK, Undo.START_OLD, Undo.CHECK_OLD)),
    ],
)
def test_a_failure_undoes_what_was_reached_last_first(
    failed: Step, undone: tuple[Undo, ...]
) -> None:
    assert undo_of(failed) == undone


@pytest.mark.parametrize("failed", STEPS)
def test_a_failure_on_an_instance_in_trouble_undoes_everything(failed: Step) -> None:
    assert undo_of(failed, in_trouble=True) == undo_of(STEPS[-1])


def test_going_on_repeats_the_step_that_the_crash_interrupted() -> None:
    assert steps_from(Step.START) == (Step.START, Step.CHECK, Step.COMMIT)


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_of_the_agent_alone_goes_on_at_its_step(step: Step) -> None:
    assert step_to_repeat(step, booted=False) is step


def test_what_a_lost_host_had_started_is_started_again() -> None:
    assert [step_to_repeat(step, booted=True) for step in STEPS] == [
        *(Step.STOP, Step.SWITCH, Step.START),
        *(Step.START, Step.START),
    ]


def test_a_crash_before_stop_leaves_the_old_version_serving() -> None:
    assert recover(Step.PREPARE, putting_back=False, recoveries=0) is Recovery.FORGET
    assert recover(Step.PREPARED, putting_back=False, recoveries=0) is Recovery.KEEP


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_from_stop_on_ends_the_swap_one_way_or_the_other(step: Step) -> None:
    assert recover(step, putting_back=False, recoveries=0) is Recovery.GO_ON
    assert recover(step, putting_back=True, recoveries=0) is Recovery.PUT_BACK


@pytest.mark.parametrize("step", STEPS)
def test_field_note_34_a_crash_loop_is_given_up(step: Step) -> None:
    for putting_back in (False, True):
        assert (
            recover(step, putting_back=putting_back, recoveries=MOST_RECOVERIES) is Recovery.GIVE_UP
        )
