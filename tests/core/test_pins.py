"""Pins while some are added and removed: bounded, and nothing outside is changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from coordinator.core.pins import MAX_OF_SERVICE, Key, PinDraft, PinRow
from protocol.codec import MAX_FRAME, decode_from_coordinator, encode
from protocol.errors import ConflictError, NotFoundError
from protocol.messages import MAX_PINS, PinnedVersion, Pins

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def pin(version: str, service: str = "web") -> PinRow:
    return PinRow(service, version, NOW, "ci")


def by_key(*rows: PinRow) -> dict[Key, PinRow]:
    return {(row.service, row.version): row for row in rows}


def test_what_is_pinned_again_stays_as_it_was() -> None:
    draft = PinDraft(by_key(pin("v1")))
    later = replace(pin("v1"), created_at=NOW + timedelta(days=1), created_by="somebody else")
    assert draft.add(later) == pin("v1")
    assert (draft.added, draft.removed) == ([], [])


def test_a_pin_that_comes_and_goes_in_one_draft_leaves_nothing() -> None:
    saved = by_key(pin("v1"))
    draft = PinDraft(saved)
    draft.add(pin("v2"))
    assert draft.versions("web") == ["v1", "v2"]
    draft.remove("web", "v2")
    draft.remove("web", "v1")
    assert (draft.versions("web"), draft.added) == ([], [])
    assert saved == by_key(pin("v1")), "nothing outside is changed"


def test_what_is_not_pinned_cannot_be_unpinned() -> None:
    with pytest.raises(NotFoundError, match="v1 of web is not pinned"):
        PinDraft(by_key(pin("v1", "another"))).remove("web", "v1")


def test_one_service_has_only_so_many() -> None:
    draft = PinDraft(by_key(*(pin(f"v{number}") for number in range(MAX_OF_SERVICE))))
    with pytest.raises(ConflictError, match=f"{MAX_OF_SERVICE} versions of web are pinned"):
        draft.add(pin("one-more"))
    assert draft.add(pin("v0")) == pin("v0"), "that one is there"
    assert draft.add(pin("v1", "another")).service == "another"
    draft.remove("web", "v0")
    assert draft.add(pin("one-more")).version == "one-more"


def test_there_are_never_more_than_one_frame_takes() -> None:
    draft = PinDraft(by_key(*(pin("v1", f"s-{number}") for number in range(MAX_PINS))))
    with pytest.raises(ConflictError, match=f"{MAX_PINS} versions in all are pinned"):
        draft.add(pin("v1"))
    longest = [PinnedVersion(service="s" * 128, version="v" * 128)] * MAX_PINS
    data = encode(Pins(pins=longest))
    assert len(data) < MAX_FRAME
    assert decode_from_coordinator(data) == Pins(pins=longest)
