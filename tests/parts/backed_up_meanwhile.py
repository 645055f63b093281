"""A program: backs DATA_DIR up to FILE; the rotation of the authority takes a STEP in the middle.

The step is taken when the draft of the backup is opened, after all was looked at.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from coordinator.backup import backup
from coordinator.pki import Authority


def main(data_dir: Path, file: Path, step: str) -> None:
    authority = Authority.open(data_dir)
    taken: list[str] = []

    def look(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith("/draft") and not taken:
            taken.append(step)
            getattr(authority, step)()

    sys.addaudithook(look)
    backup(file, data_dir=data_dir)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
