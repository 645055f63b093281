"""The timeline of a task: which transitions are kept, and how long each phase took by them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from coordinator.core.task import Assignment, Task
from coordinator.core.timeline import Transition, entered, has_moved, timeline
from protocol.states import Phase, TaskState
from protocol.timeline import InstanceTimeline
from tests.parts.rollouts import at, task


def went(name: str, *steps: tuple[float, Phase], attempt: int = 1) -> list[Transition]:
    return [Transition(name, at(when).wall, phase, attempt, "") for when, phase in steps]


def ended(of: Task, name: str, phase: Phase) -> Task:
    part = Assignment(name, phase, attempt=1)
    return replace(of, assignments={**of.assignments, name: part})


def one(*steps: tuple[float, Phase], now: float) -> InstanceTimeline:
    (row,) = timeline(task("a"), went("a", *steps), at(now).wall).instances
    return row


SUCCESS = (
    (0, Phase.WAITING),
    (1, Phase.PREPARING),
    (5.5, Phase.ACTIVATING),
    (8, Phase.COMPLETED),
)


# ---- what is kept ------------------------------------------------------------


def test_another_phase_or_another_attempt_is_a_move_and_another_reason_is_none() -> None:
    part = Assignment("a", Phase.PREPARING, attempt=1)
    assert has_moved(part, replace(part, phase=Phase.ACTIVATING))
    assert has_moved(part, replace(part, attempt=2))
    assert not has_moved(part, replace(part, reason="still at it", deadline=5.0))


def test_a_retry_says_what_had_failed_and_the_attempt_that_follows_does_not() -> None:
    failed = Assignment("a", Phase.RETRYING, attempt=1, error="no route", reason="")
    assert entered(failed, at(0).wall).reason == "no route"
    again = replace(failed, phase=Phase.PREPARING, attempt=2)
    assert entered(again, at(0).wall).reason == ""


# ---- one instance --------------------------------------------------------------


def test_each_phase_lasts_until_the_next_one_and_the_end_takes_no_time() -> None:
    row = one(*SUCCESS, now=100)
    assert [(step.phase, step.seconds) for step in row.steps] == [
        (Phase.WAITING, 1.0),
        (Phase.PREPARING, 4.5),
        (Phase.ACTIVATING, 2.5),
        (Phase.COMPLETED, None),
    ]
    assert row.phases == {"waiting": 1.0, "preparing": 4.5, "activating": 2.5}
    assert (row.seconds, row.began_at, row.ended_at) == (8.0, at(1).wall, at(8).wall)
    assert (row.status, row.phase, row.attempts) == (TaskState.COMPLETED, Phase.COMPLETED, 1)


def test_the_phase_that_goes_on_is_open_until_now() -> None:
    row = one((0, Phase.WAITING), (1, Phase.PREPARING), now=31)
    assert row.phases == {"waiting": 1.0, "preparing": 30.0}
    assert (row.seconds, row.ended_at, row.status) == (31.0, None, TaskState.IN_PROGRESS)


def test_phases_that_come_again_are_added_up() -> None:
    steps = [(0, Phase.WAITING), (1, Phase.PREPARING), (3, Phase.RETRYING), (7, Phase.PREPARING)]
    row = one(*steps, (8, Phase.FAILED), now=9)
    assert row.phases == {"waiting": 1.0, "preparing": 3.0, "retrying": 4.0}
    assert (row.seconds, row.status) == (8.0, TaskState.FAILED)


def test_time_in_the_queue_is_told_and_is_none_of_the_instances_own() -> None:
    row = one((0, Phase.QUEUED), (60, Phase.WAITING), (61, Phase.PREPARING), now=65)
    assert row.phases == {"queued": 60.0, "waiting": 1.0, "preparing": 4.0}
    assert row.seconds == 5.0


def test_an_instance_that_never_began_says_so() -> None:
    for steps in (
        [(0, Phase.QUEUED), (9, Phase.CANCELLED)],
        [(0, Phase.WAITING), (300, Phase.FAILED)],
        [(0, Phase.WAITING)],
        [(0, Phase.QUEUED)],
    ):
        assert one(*steps, now=400).began_at is None, steps
    at_once = one((0, Phase.WAITING), (2, Phase.COMPLETED), now=3)
    assert at_once.began_at == at(2).wall, "the release ran there already"


def test_a_correction_is_shown_and_is_no_more_work() -> None:
    steps = [(0, Phase.WAITING), (2, Phase.ACTIVATING), (10, Phase.FAILED), (999, Phase.COMPLETED)]
    row = one(*steps, now=2000)
    assert row.phases == {"waiting": 2.0, "activating": 8.0}
    assert (row.seconds, row.ended_at) == (10.0, at(10).wall)
    assert row.status is TaskState.COMPLETED


def test_a_regression_is_shown_and_the_time_until_then_is_no_work() -> None:
    row = one(*SUCCESS, (500, Phase.FAILED), now=600)
    assert (row.seconds, row.ended_at, row.status) == (8.0, at(8).wall, TaskState.FAILED)
    assert [step.seconds for step in row.steps[-2:]] == [None, None]


def test_of_what_was_not_recorded_only_the_end_is_told() -> None:
    (row,) = timeline(ended(task("a"), "a", Phase.FAILED), [], at(5).wall).instances
    assert (row.steps, row.phases, row.seconds) == ([], {}, 0.0)
    assert (row.status, row.phase) == (TaskState.FAILED, Phase.FAILED)


def test_a_wall_clock_that_was_set_back_takes_no_time_away() -> None:
    row = one((0, Phase.WAITING), (-50, Phase.PREPARING), (-45, Phase.COMPLETED), now=0)
    assert row.phases == {"waiting": 0.0, "preparing": 5.0}


# ---- the whole task --------------------------------------------------------------


def test_the_task_has_its_own_time_and_the_sums_of_all_instances() -> None:
    made = ended(ended(task("a", "b"), "a", Phase.COMPLETED), "b", Phase.COMPLETED)
    made = replace(made, completed_at=at(20).wall)
    both = went("a", *SUCCESS) + went(
        "b", (0, Phase.QUEUED), (8, Phase.WAITING), (20, SUCCESS[-1][1])
    )
    told = timeline(made, sorted(both, key=lambda step: step.at), at(500).wall)
    assert (told.task_id, told.kind, told.service, told.version) == (
        "deploy-1",
        "deploy",
        "user-service",
        "v2",
    )
    assert (told.started_at, told.ended_at, told.seconds) == (at(0).wall, at(20).wall, 20.0)
    assert told.phases == {"queued": 8.0, "waiting": 13.0, "preparing": 4.5, "activating": 2.5}
    assert [row.instance_id for row in told.instances] == ["a", "b"]
    assert told.as_of == at(500).wall


def test_a_task_that_runs_has_lasted_until_now() -> None:
    told = timeline(task("a"), went("a", (0, Phase.WAITING)), at(7).wall)
    assert (told.seconds, told.ended_at, told.status) == (7.0, None, TaskState.PENDING)


running = st.tuples(
    st.integers(0, 1000), st.sampled_from([phase for phase in Phase if not phase.ended])
)


@given(st.lists(running, min_size=1, max_size=8), st.integers(1000, 2000))
def test_the_steps_of_an_instance_have_no_gaps(drawn: list[tuple[int, Phase]], now: int) -> None:
    row = one(*sorted(drawn, key=lambda step: step[0]), now=now)
    for step, after in pairwise(row.steps):
        assert step.seconds == (after.at - step.at).total_seconds()
    assert sum(row.phases.values()) == now - min(when for when, _ in drawn)
