"""The pages that promise something name the tests that hold it: all of them exist."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import ROOT, text_of, written_tests

PAGES = ("docs/reliability.md", "docs/security.md")


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_exists(page: str) -> None:
    named = re.findall(r"`(test_\w+)`", text_of(page))
    assert len(named) >= 10
    assert not set(named) - written_tests()


@pytest.mark.parametrize("page", PAGES)
def test_every_file_of_tests_that_is_named_exists(page: str) -> None:
    named = re.findall(r"`(tests/[\w/]+(?:\.\w+)?)", text_of(page))
    assert named
    assert not {path for path in named if not (ROOT / path).exists()}
