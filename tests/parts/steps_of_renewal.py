"""What a renewal, or a change of whom to believe, leaves on a host's disk that is struck.

A program: STATE_DIR, `dies` or `fails`, and either CERTIFICATE and KEY of the new pair, or the
file with the one AUTHORITY that is to be believed beside the present one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from agent.identity import Identity
from tests.parts.struck import strike


def main(state_dir: Path, how: str, *files: str) -> None:
    given = [Path(file).read_text() for file in files]

    def ready(folder: Path) -> Callable[[], object]:
        identity = Identity.load(folder)
        assert identity is not None
        known = (folder / "ca.pem").read_text()
        if len(given) == 1:
            return lambda: identity.believing([known, given[0]])
        return lambda: identity.renewed(given[0], given[1])

    strike(state_dir, how, ready)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
