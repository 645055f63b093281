"""The documentation as tests read it: pages, sections, rows of tables, blocks of code, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block of code."""

    page: Path
    language: str
    text: str


def all_pages() -> list[Path]:
    """Every page of the documentation."""
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@cache
def text_of(name: str) -> str:
    """A page by its path from the top."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(language: str) -> list[Block]:
    """Every block of a language, in all pages."""
    return [
        Block(page, found[1], found[2])
        for page in all_pages()
        for found in _FENCE.finditer(page.read_text(encoding="utf-8"))
        if found[1] == language
    ]


def links(page: Path) -> Iterator[str]:
    """The targets of a page's links that stay within the project."""
    for target in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
        if "://" not in target and not target.startswith("mailto:"):
            yield target


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    plain = _FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.+)$", plain, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def section(page: str, heading: str) -> str:
    """What stands under a heading, up to the next one of any level; "" if there is none."""
    title = re.escape(heading)
    found = re.search(rf"^#+ {title}$\n(.*?)(?=^#+ |\Z)", text_of(page), re.DOTALL | re.MULTILINE)
    return found[1] if found else ""


def rows(page: str) -> dict[str, list[str]]:
    """Every row of a page's tables by its first cell, without the backticks around that."""
    made = {}
    for line in text_of(page).splitlines():
        if line.startswith("| ") and not line.startswith("| ---"):
            cells = [cell.strip() for cell in line.strip("|").split(" | ")]
            made[cells[0].strip().strip("`")] = cells
    return made


@cache
def written_tests() -> frozenset[str]:
    """The names of all tests."""
    defined = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)
    return frozenset(
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in defined.findall(file.read_text(encoding="utf-8"))
    )
