"""The stable window as arithmetic: no clock, no service."""

from __future__ import annotations

from agent.core.window import Verdict, Window


def begun(*, timeout: float = 30, stable: float = 2) -> Window:
    window = Window(started_at=100, timeout=timeout, stable=stable)
    return window.looked(running=True, generation="1", detail="")


def test_healthy_through_the_whole_window_passes() -> None:
    window = begun().probed(101, "")
    assert window.verdict is Verdict.WAITING
    assert window.due_at == 103
    assert window.probed(102.9, "").verdict is Verdict.WAITING
    assert window.probed(103, "").verdict is Verdict.PASSED


def test_without_a_window_the_first_healthy_probe_passes() -> None:
    assert begun(stable=0).probed(101, "").verdict is Verdict.PASSED


def test_a_sick_start_is_waited_for_until_the_timeout() -> None:
    window = begun().probed(129.9, "answered 503")
    assert window.verdict is Verdict.WAITING
    ended = window.probed(130, "answered 503")
    assert ended.verdict is Verdict.FAILED
    assert ended.reason == "answered 503; not healthy within 30 s"


def test_a_hurried_last_probe_does_not_hide_what_was_wrong_all_along() -> None:
    window = begun().probed(129.8, "answered 503")
    ended = window.probed(130, "no answer within 0.1 s", hurried=True)
    assert ended.reason == "answered 503; not healthy within 30 s"
    alone = begun().probed(130, "no answer within 0.1 s", hurried=True)
    assert alone.reason == "no answer within 0.1 s; not healthy within 30 s"


def test_healthy_just_before_the_timeout_still_gets_its_whole_window() -> None:
    window = begun().probed(129.9, "")
    assert window.probed(131, "").verdict is Verdict.WAITING
    assert window.probed(131.9, "").verdict is Verdict.PASSED


def test_a_death_fails_at_once_with_its_reason() -> None:
    window = begun().looked(running=False, generation="1", detail="exited with status 3")
    assert (window.verdict, window.reason) == (Verdict.FAILED, "exited with status 3")


def test_a_restart_behind_our_back_fails_though_it_runs() -> None:
    window = begun().probed(101, "").looked(running=True, generation="2", detail="")
    assert window.verdict is Verdict.FAILED
    assert "restarted by itself" in window.reason


def test_sickness_within_the_window_fails_at_once() -> None:
    window = begun().probed(101, "").probed(102.5, "answered 500")
    assert window.verdict is Verdict.FAILED
    assert window.reason == "answered 500, 1.5 s after it had become healthy"
