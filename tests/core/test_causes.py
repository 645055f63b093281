"""Failures of a task grouped by cause: one line for all that failed alike."""

from __future__ import annotations

from dataclasses import replace

from coordinator.core.causes import MOST_NAMES, causes
from coordinator.core.task import Assignment, Task
from protocol.causes import FailureCause
from protocol.states import Phase
from tests.parts.rollouts import task

URL = "https://packages.example/v2.tar.gz"
HEALTH = "check: health check http://127.0.0.1:{port}/ok answered 500; not healthy within 3 s"


def ended(**errors: str | None) -> Task:
    """A task of these instances: the error of each that failed, None for what completed."""
    parts = {
        name: Assignment(name, Phase.COMPLETED)
        if error is None
        else Assignment(name, Phase.FAILED, error=error)
        for name, error in errors.items()
    }
    return replace(task(), assignments=parts)


def own_host(name: str) -> str:
    return f"host-of-{name}"


def told(of: Task) -> list[tuple[int, str, list[str]]]:
    return [(one.count, one.fault, one.instances) for one in causes(of, own_host)]


def test_a_task_without_failures_has_no_causes() -> None:
    assert causes(task("a"), own_host) == []
    assert causes(ended(a=None), own_host) == []


def test_equal_failures_are_one_cause_in_one_instances_own_words() -> None:
    errors = {f"i{n}": HEALTH.format(port=8000 + n) + f"; v{n} was put back" for n in range(7)}
    (cause,) = causes(ended(**errors), own_host)
    assert cause == FailureCause(
        message=errors["i0"],
        fault="package",
        why="7 failed alike, none came through",
        step="check",
        http_status=500,
        count=7,
        instances=list(errors),
    )


def test_the_largest_cause_is_told_first_and_names_are_bounded() -> None:
    errors = {"odd": "no space left for the package", "gone": f"{URL}: the server answered 404"}
    errors |= {f"i{n}": HEALTH.format(port=8000 + n) for n in range(MOST_NAMES + 5)}
    first, *others = causes(ended(**errors), own_host)
    assert (first.count, first.instances) == (25, [f"i{n}" for n in range(MOST_NAMES)])
    assert [(one.count, one.instances) for one in others] == [(1, ["odd"]), (1, ["gone"])]


def test_who_came_further_tells_whose_fault_it_is() -> None:
    refused = f"{URL}: can't connect (Connection refused)"
    assert told(ended(a=refused, b=refused)) == [(2, "package", ["a", "b"])]
    assert told(ended(a=refused, b=None)) == [(1, "host", ["a"])]
    came_further = ended(a=refused, b="check: it ended")
    assert told(came_further) == [(1, "host", ["a"]), (1, "unknown", ["b"])]

    waiting = replace(came_further, assignments={"a": came_further.assignments["a"]})
    assert told(waiting) == [(1, "unknown", ["a"])]
    for phase, fault in (
        (Phase.PREPARING, "unknown"),
        (Phase.PREPARED, "host"),
        (Phase.ACTIVATING, "host"),
        (Phase.CANCELLED, "unknown"),
    ):
        parts = {**waiting.assignments, "b": Assignment("b", phase)}
        assert told(replace(waiting, assignments=parts)) == [(1, fault, ["a"])]


def test_what_regressed_had_come_through_and_is_a_cause_of_its_own() -> None:
    later = "healthy at first, then: exited with status 3 5.0 s after the start"
    parts = {
        "a": Assignment("a", Phase.FAILED, error="check: exited with status 3"),
        "b": Assignment("b", Phase.FAILED, error=later, regressed=True),
        "c": Assignment("c", Phase.FAILED, error=later, regressed=True),
    }
    of = replace(task(), assignments=parts)
    assert told(of) == [(2, "package", ["b", "c"]), (1, "unknown", ["a"])]
    assert causes(of, own_host)[1].why == "2 others came through with the same package"


def test_all_of_one_host_while_others_came_through_is_the_hosts_fault() -> None:
    sick = {f"i{n}": HEALTH.format(port=8000 + n) for n in range(3)}
    mixed = ended(**sick, j0=None, j1=None)
    (cause,) = causes(mixed, lambda name: "host-a" if name in sick else "host-b")
    assert cause.fault == "host"
    (cause,) = causes(mixed, lambda name: "host-a")
    assert cause.fault == "unknown", "others of the same host came through"


def test_what_most_failed_at_and_others_came_through_is_not_the_packages_fault() -> None:
    sick = {f"i{n}": HEALTH.format(port=8000 + n) for n in range(10)}
    (cause,) = causes(ended(**sick, **{f"j{n}": None for n in range(9)}), own_host)
    assert (cause.fault, cause.why) == ("unknown", "9 others came through with the same package")


def test_an_instance_that_names_another_of_the_task_failed_like_the_others() -> None:
    of = ended(a="check: a lost b on host-of-a", b="check: b lost a on host-of-b")
    assert [one.count for one in causes(of, own_host)] == [2]


def test_a_failure_without_words_is_told_as_one() -> None:
    (cause,) = causes(ended(a="", b=""), lambda name: "")
    assert (cause.message, cause.count, cause.step) == ("no cause was told", 2, "")
