"""What may be shown of a URL: never its query, which may be a signature, nor its user info.

This is for texts that people read and that somebody else wrote: a service's last words, an
error of a library, an agent's report. It keeps the rest of the text as it is.
"""

from __future__ import annotations

import re
from typing import Final

CUT: Final = "?…"
"""What stands in the place of a query or a fragment."""

_REST: Final = re.compile(
    r"""://(?:[^\s/?#"<>]*@)?  # user info, up to the last @
        ([^\s?#"<>]*)          # host and path
        ([?#][^\s"<>]*[^\s"'<>:;,.)])?  # query and fragment, without a sentence's own end""",
    re.VERBOSE,
)
"""All of a URL but its scheme. It looks at each character a fixed number of times.

What ends a URL here can't stand in one: a `'` can, in its path and in its query.
"""


def without_queries(text: str) -> str:
    """Return the text with every URL in it cut before its query. It never gets longer."""
    return _REST.sub(_shown, text) if "://" in text else text


def _shown(found: re.Match[str]) -> str:
    return f"://{found[1]}{CUT if found[2] else ''}"
