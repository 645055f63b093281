"""What hosts tell of the releases on their disks becomes rows, which change only if that does."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest

from coordinator.claims import Claims
from coordinator.core.task import Moment
from coordinator.fleet import Fleet
from coordinator.ports import InstanceRow, Retained
from coordinator.session import Session
from protocol.codec import decode_from_agent, encode
from protocol.messages import InstanceState, RetainedRelease, StateChanged
from protocol.states import InstanceStatus
from tests.lab.model.coordinator import LIFE

DAY = 86_400.0
DIGEST = "ab" * 32


class Clock:
    """The coordinator's time, moved by hand."""

    def __init__(self) -> None:
        self.steady = 1000.0

    def now(self) -> Moment:
        return Moment(self.steady, datetime(2026, 1, 1, tzinfo=UTC) + timedelta(0, self.steady))


class Desk:
    """One host, and what the coordinator makes of its words."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.fleet = Fleet(self.clock, 10.0)
        self._claims = Claims(self.fleet, self.clock)
        self._session = Session("host-a", "10.0.0.5", lambda _: None, LIFE)

    def tells(self, **release: object) -> InstanceRow:
        """The row after the host has told of the instance with this one release."""
        return self._tells("retained", release)

    def tells_fetched(self, **release: object) -> InstanceRow:
        """The same of a release that was fetched ahead of time."""
        return self._tells("fetched", release)

    def _tells(self, how: str, release: dict[str, object]) -> InstanceRow:
        told = RetainedRelease.model_validate({"version": "v1", "digest": DIGEST, **release})
        looks = InstanceState(instance_id="i-1", service="web", status=InstanceStatus.RUNNING)
        state = looks.model_copy(update={how: [told]})
        frame = decode_from_agent(encode(StateChanged(instance=state)))
        assert isinstance(frame, StateChanged)
        (row,) = self._claims.rows(self._session, [frame.instance])
        self.fleet.load([], [row])
        return row


def test_an_older_agent_tells_of_no_proof() -> None:
    assert Desk().tells().retained == (Retained("v1", DIGEST),)


def test_told_again_after_an_hour_it_is_the_same_row() -> None:
    desk = Desk()
    first = desk.tells(proven_ago=DAY)
    desk.clock.steady += 3600 + 4.0
    assert desk.tells(proven_ago=DAY + 3600).retained == first.retained
    assert first.retained == (Retained("v1", DIGEST, proven=1000.0 - DAY),)


def test_a_new_proof_and_damage_are_told(caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk()
    desk.tells(proven_ago=DAY)
    assert desk.tells(proven_ago=0.0).retained == (Retained("v1", DIGEST, proven=1000.0),)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            row = desk.tells(proven_ago=0.0, damaged="bin/server is missing")
    assert row.retained == (Retained("v1", DIGEST, 1000.0, "bin/server is missing"),)
    assert caplog.messages == [
        "i-1: the release v1 on its host's disk is damaged: bin/server is missing"
    ], "once"


def test_so_is_what_was_fetched_ahead_of_time() -> None:
    desk = Desk()
    first = desk.tells_fetched(proven_ago=DAY)
    assert first.fetched == (Retained("v1", DIGEST, proven=1000.0 - DAY),)
    desk.clock.steady += 3600.0
    assert desk.tells_fetched(proven_ago=DAY + 3600 + 2).fetched == first.fetched
    assert desk.tells(proven_ago=DAY + 3600 + 3).retained == first.fetched, "now it is deployed"


def test_what_is_not_known_takes_no_room_in_a_frame() -> None:
    told = RetainedRelease(version="v1", digest=DIGEST)
    assert told.model_dump(mode="json") == {"version": "v1", "digest": DIGEST}
    proven = RetainedRelease(version="v1", digest=DIGEST, proven_ago=0.0, damaged="gone")
    assert RetainedRelease.model_validate(proven.model_dump(mode="json")) == proven
    assert proven.model_dump()["proven_ago"] == 0.0
