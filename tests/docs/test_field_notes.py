"""docs/field-notes.md names every note and exactly the tests that there are."""

from __future__ import annotations

import re

from agent.core.swap import MOST_RECOVERIES
from coordinator.core.commands import PUT_BACK_GRACE
from tests.docs.pages import rows, written_tests

PAGE = "docs/field-notes.md"
NOTES = [str(number) for number in range(1, 36)]
_NAME = re.compile(r"test_field_note_(\d+)_[a-z0-9_]+")


def written() -> set[str]:
    """The names of all tests of field notes."""
    return {name for name in written_tests() if name.startswith("test_field_note_")}


def named(note: str) -> set[str]:
    """The names of the tests in a note's row."""
    *_, tests = rows(PAGE)[note]
    return {found[0] for found in _NAME.finditer(tests)}


def test_every_note_has_its_row_in_order() -> None:
    assert [note for note in rows(PAGE) if note.isdigit()] == NOTES
    assert all(len(rows(PAGE)[note]) == 4 for note in NOTES)


def test_every_test_that_is_named_exists() -> None:
    assert {name for note in NOTES for name in named(note)} <= written()


def test_every_test_of_a_note_is_named_in_its_row() -> None:
    for name in written():
        found = _NAME.fullmatch(name)
        assert found, f"{name}: small letters, digits and underscores"
        assert name in named(found[1]), name


def test_every_note_has_a_test() -> None:
    assert not {note for note in NOTES if not named(note)}


def test_figures_in_the_notes_are_those_of_the_code() -> None:
    assert f" {PUT_BACK_GRACE:g} s after the assignment's timeout" in rows(PAGE)["5"][2]
    assert f"after {MOST_RECOVERIES} times" in rows(PAGE)["34"][2]
