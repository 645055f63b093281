"""What the demo says: chapters, commands and claims, each with its time. It decides nothing."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Sequence

COLUMNS = 79


class ClaimError(Exception):
    """Something that the demo shows did not hold."""


class Teller:
    """Prints the story on stdout, and remembers what was proved.

    Control characters never come in: everything told is the demo's own words.
    """

    def __init__(self) -> None:
        self._began = self._marked = time.monotonic()
        self._proved: list[str] = []

    def chapter(self, title: str) -> None:
        """Begin a part of the story; the clock of its first claim starts here."""
        _line()
        _line(f"== {title}")
        self._marked = time.monotonic()

    def say(self, text: str) -> None:
        """Tell something that needs no proof."""
        _line(_folded(f"   {text}"))

    def command(self, argv: Sequence[str]) -> None:
        """Show a command before it runs."""
        _line(f"$ {' '.join(argv)}")

    def claim(self, holds: bool, text: str, instead: object = "") -> None:
        """Tell that `text` was seen to hold, and how long that took; else `ClaimError`."""
        if not holds:
            raise ClaimError(f"this did not hold: {text}{f' ({instead})' if instead else ''}")
        now = time.monotonic()
        took, self._marked = now - self._marked, now
        self._proved.append(f"{took:5.1f} s  {text}")
        _line(_folded(f"   ok: {text} ({took:.1f} s)"))

    def proofs(self) -> None:
        """Tell again what was proved, and how long it took in all."""
        _line()
        _line("== What this proved")
        for proof in self._proved:
            _line(_folded(f"   {proof}"))
        _line(f"   {time.monotonic() - self._began:5.1f} s  in all")


def _folded(text: str) -> str:
    return textwrap.fill(text, COLUMNS, subsequent_indent=" " * 12, break_long_words=False)


def _line(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
