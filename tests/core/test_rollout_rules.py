"""Rules of the pure rollout that hold for every order of events."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.core.happenings import Begin, CancelAsked, Connected, Event, Said, Tick, Wake
from coordinator.core.rollout import step, wakes
from coordinator.core.task import Task
from protocol.messages import Ended, Prepared, Result, Taken, WorkInHand
from protocol.messages import Step as AgentStep
from protocol.states import ASSIGNMENT, Happening, Phase
from tests.parts.rollouts import DIGEST, HEALTHY, OTHER, at, begun, failure, prepared, task

NAMES = ("a", "b", "c")

events = st.one_of(
    st.builds(
        Said,
        st.sampled_from(NAMES),
        st.integers(1, 3),
        st.sampled_from(
            [
                Taken(),
                Prepared(digest=DIGEST),
                Prepared(digest=OTHER),
                HEALTHY,
                failure(passing=True),
                failure(passing=False),
                Ended(result=Result.CANCELLED, step=AgentStep.PREPARED),
            ]
        ),
    ),
    st.builds(
        lambda name, attempt, reached: Connected(
            name,
            attempt
            and WorkInHand(task_id="deploy-1", instance_id=name, attempt=attempt, step=reached),
        ),
        st.sampled_from(NAMES),
        st.sampled_from([None, 1, 2]),
        st.sampled_from(list(AgentStep)),
    ),
    st.builds(Tick, st.sampled_from(NAMES), st.booleans()),
    st.builds(CancelAsked, st.sets(st.sampled_from(NAMES))),
)


def check_counts(seen: Task) -> None:
    progress = seen.progress
    assert progress.total == len(NAMES)
    assert (
        progress.total
        == progress.completed + progress.failed + progress.pending + progress.cancelled
    )
    assert progress.in_progress <= progress.pending


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(events, st.floats(0, 40)), max_size=30))
def test_whatever_happens_the_counts_add_up_and_every_task_ends(
    story: Sequence[tuple[Event, float]],
) -> None:
    seen = step(task(*NAMES, timeout=60, retry_count=1), [Begin()], at(0)).task
    clock = 0.0
    for event, passed in story:
        clock += passed
        before = seen
        seen = step(seen, [event], at(clock)).task
        check_counts(seen)
        for name in NAMES:
            old, new = before.assignments[name], seen.assignments[name]
            assert new.attempt >= old.attempt
            reachable = {old.phase, *ASSIGNMENT[old.phase].values()}
            for _ in range(1 + (new.attempt > old.attempt)):
                reachable |= {far for near in reachable for far in ASSIGNMENT[near].values()}
            assert new.phase in reachable
            if old.phase is Phase.COMPLETED:
                assert new == old
    for name in NAMES:
        seen = step(seen, [Tick(name, connected=True)], at(clock + 10_000)).task
    assert seen.state.ended


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(events, st.floats(0, 40)), max_size=20))
def test_what_a_restart_arms_again_covers_every_deadline(
    story: Sequence[tuple[Event, float]],
) -> None:
    first = step(task(*NAMES, timeout=60, retry_count=1), [Begin()], at(0))
    seen, clock = first.task, 0.0
    armed = {(e.instance_id, e.at) for e in first.effects if isinstance(e, Wake)}
    for event, passed in story:
        clock += passed
        done = step(seen, [event], at(clock))
        armed |= {(e.instance_id, e.at) for e in done.effects if isinstance(e, Wake)}
        seen = done.task
    again = {(wake.instance_id, wake.at) for wake in wakes(seen)}
    still_due = {
        (part.instance_id, when)
        for part in seen.assignments.values()
        if not part.phase.ended
        for when in (part.deadline, part.retry_at)
        if when is not None
    }
    assert still_due <= again
    assert still_due <= armed


def test_a_pair_that_is_not_in_the_table_changes_nothing() -> None:
    done = step(prepared("a"), [Said("a", 1, HEALTHY)], at(2)).task
    for what in (Taken(), Prepared(digest=DIGEST), failure(), HEALTHY):
        after = step(done, [Said("a", 1, what)], at(3))
        assert after.task.assignments == done.assignments


def test_an_older_attempt_changes_nothing() -> None:
    retried = step(begun("a"), [Said("a", 1, failure(passing=True))], at(1)).task
    second = step(retried, [Tick("a", connected=True)], at(10)).task
    assert second.assignments["a"].attempt == 2
    assert step(second, [Said("a", 1, HEALTHY)], at(11)).task == second


def test_every_phase_stands_in_the_table() -> None:
    assert set(ASSIGNMENT) == set(Phase)
    assert {happening for row in ASSIGNMENT.values() for happening in row} == set(Happening)
