"""`python -m tests.fuzz.one TARGET FOLDER [libFuzzer's options]`: one target, guided by coverage.

It ends with status 0 after its runs, and otherwise with the input that found something in
FOLDER. `seeds` and what is found on the way are kept there, too.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["agent", "coordinator", "protocol", "tomllib", "json"]):
    from tests.fuzz.seeds import SEEDS
    from tests.fuzz.targets import TARGETS, broken


def main() -> None:
    name, folder, *options = sys.argv[1:]
    corpus = Path(folder) / "corpus"
    corpus.mkdir(parents=True)
    target = TARGETS.get(name, broken)
    for number, seed in enumerate(SEEDS[name]() if name in SEEDS else [b"\x93ab"]):
        (corpus / f"seed-{number}").write_bytes(seed)
    artifacts = f"-artifact_prefix={folder}/found-"
    atheris.Setup([sys.argv[0], artifacts, *options, str(corpus)], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
