"""Where output goes: results to stdout, everything else to stderr.

On a terminal a table is drawn to fit it; elsewhere it is aligned text in which nothing is
cut and no cell is empty, so that `cut`, `awk` and `grep` can read it. With `-o json`
stdout carries one JSON document and nothing else.
"""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TextIO

from coordinator.cli.text import safe

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console
    from rich.text import Text

STYLES = {
    "running": "green",
    "completed": "green",
    "success": "green",
    "healthy": "green",
    "yes": "green",
    "approved": "green",
    "in_progress": "cyan",
    "stopped": "yellow",
    "cancelled": "yellow",
    "degraded": "yellow",
    "error": "red",
    "failed": "red",
    "rejected": "red",
    "revoked": "red",
    "unhealthy": "red",
    "no": "red",
}
_STYLED_COLUMNS = frozenset({"status", "connected", "joined", "state"})


def say(text: str = "") -> None:
    """Print one line of the result."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Tell people something that is not the result."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def folded(text: str, stream: TextIO) -> str:
    """`text` for this stream: on a terminal broken between words, elsewhere as it is."""
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    indent = " " * (len(text) - len(text.lstrip()) + 4)
    return textwrap.fill(
        text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def paragraph(text: str, stream: TextIO) -> str:
    """`text` for this stream as one paragraph: on a terminal broken between words."""
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)


def print_json(answer: BaseModel | dict[str, Any]) -> None:
    """Print the whole answer as one JSON document."""
    raw = answer if isinstance(answer, dict) else answer.model_dump(mode="json")
    say(json.dumps(raw, indent=2))


def print_fields(fields: Sequence[tuple[str, object]]) -> None:
    """Print names and values, one pair a line."""
    width = max(len(name) for name, _ in fields)
    for name, value in fields:
        say(f"{name:<{width}}  {safe(value)}")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their column names."""
    cells = [[safe(cell) or "-" for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(columns, cells)
        return
    table = [[column.upper() for column in columns], *cells]
    widths = [max(len(row[at]) for row in table) for at in range(len(columns))]
    for row in table:
        padded = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        say("  ".join(padded).rstrip())


def styled(column: str, cell: str) -> Text:
    """A cell for rich, which must not read markup in it."""
    from rich.text import Text  # noqa: PLC0415

    return Text(cell, style=STYLES.get(cell, "") if column in _STYLED_COLUMNS else "")


def console(*, stderr: bool) -> Console:
    """A rich console that interprets nothing in the text it is given."""
    from rich.console import Console  # noqa: PLC0415

    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, soft_wrap=False)


def _draw(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from coordinator.cli.drawing import lines_of  # noqa: PLC0415

    screen = console(stderr=False)
    for line in lines_of(columns, rows, screen.size.width, styled):
        screen.print(line, no_wrap=True, overflow="ignore", crop=False)
