"""A table on a terminal: nothing is cut, and what is meant to be copied is not broken.

Columns that do not fit beside the others go to a further line of the same row, under a
header of the same shape. Only a cell that is wider than the terminal is folded, and the
last column, which is text for people, between words. Columns in which no row has anything
are left out.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from rich.text import Text

GAP = 2
INDENT = 2
LEAST_FOR_TEXT = 30
EMPTY = "-"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a column stands: its index and its width, on one line of a row."""

    column: int
    width: int


def lines_of(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    width: int,
    styled: Callable[[str, str], Text],
) -> Iterator[Text]:
    """The lines of the table, each at most `width` columns wide, the header first."""
    shown = [at for at in range(len(columns)) if not rows or any(r[at] != EMPTY for r in rows)]
    names = [columns[at] for at in shown]
    kept = [[row[at] for at in shown] for row in rows]
    header = [name.upper() for name in names]
    widths = [max(len(row[at]) for row in [header, *kept]) for at in range(len(names))]
    layout = _layout(widths, width)
    yield from _row(layout, header, lambda _, cell: Text(cell, style="bold"))
    for row in kept:
        yield from _row(layout, row, lambda at, cell: styled(names[at], cell))


def _layout(widths: Sequence[int], width: int) -> list[list[_Place]]:
    """Which columns stand on which line."""
    lines: list[list[_Place]] = [[]]
    used = 0
    for at, wanted in enumerate(widths):
        room = width - used
        is_text = at == len(widths) - 1 and room >= LEAST_FOR_TEXT
        if lines[-1] and wanted > room and not is_text:
            lines.append([])
            used = INDENT
            room = width - used
        taken = max(min(wanted, room), 1)
        lines[-1].append(_Place(at, taken))
        used += taken + GAP
    return lines


def _row(
    layout: Sequence[Sequence[_Place]], cells: Sequence[str], styled: Callable[[int, str], Text]
) -> Iterator[Text]:
    for number, places in enumerate(layout):
        folded = [_folded(cells[place.column], place.width) for place in places]
        for parts in zip_longest(*folded, fillvalue=""):
            line = Text(" " * INDENT if number else "")
            for place, part in zip(places, parts, strict=True):
                line.append_text(styled(place.column, part))
                line.append(" " * (place.width - len(part) + GAP))
            line.rstrip()
            yield line


def _folded(cell: str, width: int) -> list[str]:
    return textwrap.wrap(cell, width, break_on_hyphens=False) or [""]
