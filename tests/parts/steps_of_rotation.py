"""What a step of a rotation leaves on the coordinator's disk that is struck in the middle.

A program: DATA_DIR, `dies` or `fails`, and the name of the step.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from coordinator.pki import Authority, PkiError
from tests.parts.struck import strike


def main(data_dir: Path, how: str, step: str) -> None:
    def ready(folder: Path) -> Callable[[], object]:
        authority = Authority.open(folder)
        work: Callable[[], object] = getattr(authority, step)
        return work

    strike(data_dir, how, ready, PkiError)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
