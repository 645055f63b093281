"""docs/security.md: every threat is there, and says what holds by which test and what does not."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import text_of

PAGE = "docs/security.md"
THREATS = (
    "A stolen join token",
    "A stolen agent host",
    "A stolen coordinator",
    "A hostile package server",
    "A hostile LAN",
    "A hostile service",
    "A curious viewer",
)


def told(threat: str) -> str:
    """What the page says of a threat."""
    _, _, rest = text_of(PAGE).partition(f"## {threat}\n")
    return rest.partition("\n## ")[0]


def rows_of(threat: str) -> list[str]:
    lines = [line for line in told(threat).splitlines() if line.startswith("|")]
    return lines[2:]


@pytest.mark.parametrize("threat", THREATS)
def test_every_threat_says_what_holds_by_which_test_and_what_does_not(threat: str) -> None:
    assert len(rows_of(threat)) >= 5
    for row in rows_of(threat):
        assert re.search(r"\| [^|]*`test[\w/.]+`[^|]* \|$", row), f"no test in: {row}"
    assert len(told(threat).partition("**What does not hold.**")[2]) > 100


def test_no_threat_is_left_out_of_the_list() -> None:
    headings = re.findall(r"^## (.+)$", text_of(PAGE), re.MULTILINE)
    assert tuple(headings[1:]) == THREATS
