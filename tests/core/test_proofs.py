"""A proof that is told again is the same moment; a new one is another."""

from __future__ import annotations

import pytest

from coordinator.core.proofs import age_of, proven_at

DAY = 86_400.0


def test_the_first_word_of_a_proof_says_when_it_was() -> None:
    assert proven_at(60.0, 1000.0, None) == 940.0
    assert proven_at(DAY, 10.0, None) == 10.0 - DAY, "before this database was"


@pytest.mark.parametrize(("ago", "late"), [(0.0, 0.9), (600.0, 5.0), (DAY, 60.0)])
def test_told_again_it_stays_the_same_however_long_the_frame_was_under_way(
    ago: float, late: float
) -> None:
    before = proven_at(ago, 5000.0, None)
    assert before is not None
    assert proven_at(ago + 100.0, 5100.0 + late, before) == before
    assert proven_at(ago + 100.0, 5100.0 - late, before) == before


@pytest.mark.parametrize("between", [2.0, 3600.0, DAY])
def test_a_new_proof_is_a_new_moment(between: float) -> None:
    before = proven_at(0.0, 5000.0, None)
    assert proven_at(0.5, 5000.0 + between, before) == 5000.0 + between - 0.5


def test_what_was_never_proven_has_no_age() -> None:
    assert proven_at(None, 1000.0, 900.0) is None
    assert age_of(None, 1000.0) is None
    assert age_of(940.0, 1000.0) == 60.0
    assert age_of(1001.0, 1000.0) == 0.0
