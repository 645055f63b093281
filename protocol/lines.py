"""Text that others chose, made fit for one line of a log, a message or a close reason.

What could forge a second line, move a terminal's cursor or turn the text around is written
as an escape, and what is too long is cut. Nothing here knows secrets.
"""

from __future__ import annotations

MORE = "…"


def one_line(text: str, longest: int) -> str:
    """`text` with everything escaped that is not printable, at most `longest` characters."""
    cut = text if len(text) <= longest else text[:longest]
    if not cut.isprintable():
        cut = "".join(c if c.isprintable() else _escape(c) for c in cut)
    if len(cut) > longest or len(text) > longest:
        return cut[: longest - len(MORE)] + MORE
    return cut


def close_reason(text: str) -> bytes:
    """`text` as the reason of a websocket's close: at most 123 bytes, whole characters only."""
    return one_line(text, 123).encode("utf-8", "replace")[:123].decode("utf-8", "ignore").encode()


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
