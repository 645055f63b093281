"""The watch after the commit as arithmetic: no clock, no service."""

from __future__ import annotations

from dataclasses import replace

from agent.core.vigil import LONGEST_FAILING, MOST_FAILED, Vigil
from agent.core.window import Verdict

SICK = "health check answered 500"


def watched() -> Vigil:
    """It was healthy as generation 1, and is watched until 160."""
    return seen(Vigil(until=160, generation="1"), 100)


def booted() -> Vigil:
    """Its host has booted; it may be starting until 130."""
    return Vigil(until=160, settle_by=130)


def seen(vigil: Vigil, now: float, generation: str = "1") -> Vigil:
    return vigil.looked(now, running=True, generation=generation, detail="")


def gone(vigil: Vigil, now: float, detail: str = "exited with status 3") -> Vigil:
    return vigil.looked(now, running=False, generation="1", detail=detail)


def test_well_until_the_end_passes() -> None:
    vigil = watched().probed(101, "").probed(159.9, "")
    assert vigil.verdict is Verdict.WAITING
    assert vigil.probed(160, "").verdict is Verdict.PASSED


def test_it_tells_when_the_service_first_looked_unwell() -> None:
    probes = watched().probed(159, SICK).probed(160, SICK).probed(161, SICK)
    assert (probes.verdict, probes.failing_since) == (Verdict.FAILED, 159)
    assert gone(watched().probed(120, "").probed(130, SICK), 131).failing_since == 130
    assert gone(watched(), 140).failing_since == 140


def test_an_end_is_a_regression_at_once() -> None:
    vigil = gone(watched(), 101)
    assert (vigil.verdict, vigil.reason) == (Verdict.FAILED, "exited with status 3")
    assert gone(watched(), 101, "").reason == "it exited with status 0 or was stopped"


def test_a_restart_is_a_regression_at_once_though_it_runs() -> None:
    vigil = watched().looked(101, running=True, generation="2", detail="")
    assert (vigil.verdict, vigil.reason) == (Verdict.FAILED, "it restarted")
    told = watched().looked(101, running=True, generation="2", detail="status 3")
    assert told.reason == "it restarted: status 3"


def test_single_failures_are_hiccups() -> None:
    vigil = watched()
    for now in range(101, 159, 2):
        vigil = vigil.probed(now, SICK).probed(now + 1, "")
    assert vigil.verdict is Verdict.WAITING
    assert vigil.probed(160, "").verdict is Verdict.PASSED


def test_three_failures_in_a_row_are_none() -> None:
    assert MOST_FAILED == 3
    vigil = watched().probed(101, SICK).probed(102, SICK)
    assert vigil.verdict is Verdict.WAITING
    ended = vigil.probed(103, SICK)
    assert ended.verdict is Verdict.FAILED
    assert ended.reason == f"{SICK}; 3 probes in a row failed"


def test_where_probes_are_rare_two_failures_are_enough() -> None:
    vigil = watched().probed(101, SICK)
    assert vigil.probed(100 + LONGEST_FAILING, SICK).verdict is Verdict.WAITING
    ended = vigil.probed(101 + LONGEST_FAILING, SICK)
    assert ended.verdict is Verdict.FAILED
    assert ended.reason == f"{SICK}; 2 probes in a row failed"


def test_one_failure_is_never_enough_however_long_ago_the_last_probe_was() -> None:
    assert watched().probed(101, "").probed(158, SICK).verdict is Verdict.WAITING


def test_a_healthy_probe_begins_the_count_anew() -> None:
    vigil = watched().probed(101, SICK).probed(120, SICK).probed(121, "").probed(150, SICK)
    assert vigil.probed(151, SICK).verdict is Verdict.WAITING


def test_failures_at_the_end_leave_it_open_until_the_next_probes() -> None:
    vigil = watched().probed(159, SICK).probed(160, SICK)
    assert vigil.verdict is Verdict.WAITING
    assert vigil.probed(161, SICK).verdict is Verdict.FAILED
    assert vigil.probed(161, "").verdict is Verdict.PASSED


# ---- after a boot of the host -----------------------------------------------


def test_a_service_that_is_not_up_yet_is_waited_for() -> None:
    vigil = gone(booted(), 100).probed(100, "")
    for now in range(101, 110):
        vigil = vigil.probed(now, SICK)
    assert vigil.verdict is Verdict.WAITING
    vigil = seen(vigil, 110, "7").probed(110, "")
    assert (vigil.settle_by, vigil.generation) == (None, "7")
    assert seen(vigil, 111, "8").verdict is Verdict.FAILED


def test_no_check_makes_healthy_what_does_not_run_yet() -> None:
    assert gone(booted(), 100).probed(100, "").settle_by == 130


def test_a_restart_while_it_starts_is_none() -> None:
    vigil = seen(seen(booted(), 101, "1"), 102, "2")
    assert (vigil.verdict, vigil.generation) == (Verdict.WAITING, "2")


def test_what_never_came_up_has_regressed() -> None:
    assert gone(gone(booted(), 129.9), 130).verdict is Verdict.FAILED
    sick = seen(booted(), 101)
    for now in (129.9, 130, 131):
        sick = sick.probed(now, SICK)
    assert sick.verdict is Verdict.WAITING
    assert sick.probed(132, SICK).verdict is Verdict.FAILED


def test_it_is_waited_for_even_if_the_time_is_over_before() -> None:
    vigil = gone(replace(booted(), until=105), 106).probed(106, "")
    assert vigil.verdict is Verdict.WAITING
    assert seen(vigil, 107).probed(107, "").verdict is Verdict.PASSED
