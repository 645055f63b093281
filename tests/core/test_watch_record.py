"""What an instance's record tells of its watch: how long it lasted, and whether it may go on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agent.journal import Known, Record, Unsent, Watch, Work
from protocol.messages import Ended, Regressed, Result, Step

DIGEST = "ab" * 32


def test_a_watch_knows_how_long_it_had_lasted() -> None:
    """What is seen at its very end, by probes that began there, is still within its time."""
    watch = Watch("deploy-1", 1, DIGEST, "1", left=60, until=160, boot_id="", asked=60)
    assert [watch.lasted(now) for now in (100, 130, 160, 161.5)] == [0, 30, 60, 60]
    renewed = watch.renewed(150, 40)
    assert (renewed.until, renewed.left, renewed.asked) == (190, 40, 90)
    assert [renewed.lasted(now) for now in (100, 160, 195)] == [0, 60, 90]
    assert replace(watch, asked=None).renewed(150, 40).lasted(160) is None


def ended(result: Result = Result.SUCCEEDED, step: Step = Step.COMMIT) -> Unsent:
    return Unsent(1, "deploy-1", 2, Ended(result=result, step=step, digest=DIGEST))


COMMITTED = Record("instance-1", current=Known("v1", DIGEST), last=ended())


def test_what_was_committed_last_and_runs_may_be_watched() -> None:
    assert COMMITTED.stands("deploy-1", 2, DIGEST)
    assert not COMMITTED.stands("deploy-1", 1, DIGEST)
    assert not COMMITTED.stands("deploy-0", 2, DIGEST)
    assert not COMMITTED.stands("deploy-1", 2, "cd" * 32)


@pytest.mark.parametrize(
    "since",
    [
        {"trouble": "putting back failed, too"},
        {"current": None},
        {"current": Known("v2", "cd" * 32)},
        {"work": Work("deploy-2", 1, "v2", Step.PREPARED)},
        {"regressed": Unsent(2, "deploy-1", 2, Regressed())},
        {"last": None},
        {"last": ended(result=Result.FAILED)},
        {"last": ended(step=Step.PREPARED)},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_nothing_is_watched_anew_where_something_became_of_it(since: dict[str, Any]) -> None:
    assert not replace(COMMITTED, **since).stands("deploy-1", 2, DIGEST)
