"""A hostile archive is refused by its member's name, soon, and has touched nothing.

The whole corpus (`tests/archives`) goes through the reader alone, with no second wall, on
every Python of this machine that the agent may run on; and through the agent's own way,
both walls, on this one, where the child's start counts, too.

"Soon" is measured in CPU time of all that takes part but the builder. There is nothing in it
that waits but for the archive's bytes and the disk, so that alone on a machine it takes no
longer. Wall time would measure what else this machine does, and how fast Python builds an
archive of gigabytes, which is slower than to refuse it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.archives.hostile import Hostile, everything
from tests.archives.interpreters import PROJECT, Interpreter, interpreters
from tests.parts.stranger import STRANGER

pytestmark = pytest.mark.sweep

CORPUS = everything()
FLOOR = 60
REFUSED_WITHIN = 2.0
"""Seconds of CPU time."""
MEMORY = 64 * 1024 * 1024
LONGEST_REASON = 1000


def test_the_corpus_is_large_enough() -> None:
    assert len(CORPUS) >= FLOOR


@pytest.mark.timeout(600)
@pytest.mark.parametrize("interpreter", interpreters(), ids=lambda one: one.version)
def test_every_hostile_archive_is_refused_on(interpreter: Interpreter, tmp_path: Path) -> None:
    results = _ran("reader", interpreter, tmp_path)
    _refused(results)
    _tell(f"Python {interpreter.version}", results)


@pytest.mark.timeout(600)
def test_every_hostile_archive_is_refused_behind_the_second_wall(tmp_path: Path) -> None:
    ours = next(one for one in interpreters() if one.is_ours)
    results = _ran("walls", ours, tmp_path)
    _refused(results)
    if os.geteuid() == 0:
        refused = [name for name, entry in CORPUS.items() if not entry.modes]
        assert {results[name]["given_to"] for name in refused} == {STRANGER.uid}
    _tell("behind the second wall", results)


def _ran(way: str, interpreter: Interpreter, folder: Path) -> dict[str, dict[str, Any]]:
    """What the runner tells of each archive."""
    ran = subprocess.run(
        [interpreter.program, "-P", "-m", "tests.archives.runner", folder, way],
        cwd=PROJECT,
        env=_environment(interpreter, folder),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return {one["name"]: one for one in map(json.loads, ran.stdout.splitlines())}


def _refused(results: dict[str, dict[str, Any]]) -> None:
    assert results.keys() == CORPUS.keys()
    wrong = {name: list(_wrong(CORPUS[name], one)) for name, one in results.items()}
    assert {name: what for name, what in wrong.items() if what} == {}


def _tell(where: str, results: dict[str, dict[str, Any]]) -> None:
    slowest = max(results.values(), key=lambda one: float(one["cpu"]))
    largest = max(results.values(), key=lambda one: int(one["grew"]))
    print(
        f"\n{where}: {len(results)} hostile archives; at most "
        f"{slowest['cpu']:.2f} s ({slowest['name']}) and "
        f"{largest['grew'] / 1024**2:.0f} MiB more ({largest['name']})"
    )


def _environment(interpreter: Interpreter, tmp_path: Path) -> dict[str, str]:
    if interpreter.is_ours:
        return {**os.environ, "PYTHONPATH": str(PROJECT)}
    try:
        return interpreter.with_libraries(tmp_path)
    except subprocess.CalledProcessError as error:
        why = f"the libraries for Python {interpreter.version} can't be had: {error.stderr!r}"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)


def _wrong(entry: Hostile, ran: dict[str, Any]) -> Iterator[str]:
    """What is not as it must be."""
    if "crashed" in ran:
        yield ran["crashed"]
        return
    if ran["touched"]:
        yield f"touched {ran['touched']}"
    if ran["links"]:
        yield f"made the links {ran['links']}"
    if ran["cpu"] >= REFUSED_WITHIN:
        yield f"took {ran['cpu']:.1f} s"
    if ran["grew"] >= MEMORY:
        yield f"took {ran['grew']} bytes of memory"
    if set(ran["modes"].values()) - {0o644, 0o755, 0o600}:
        yield f"made {ran['modes']}"
    yield from _reason_is_wrong(entry, ran["refused"])
    if entry.modes and ran["modes"] != entry.modes:
        yield f"unpacked {ran['modes']}"


def _reason_is_wrong(entry: Hostile, reason: str) -> Iterator[str]:
    if entry.modes:
        if reason:
            yield reason
        return
    if not reason.startswith("package refused: ") or entry.says not in reason:
        yield f"said {reason!r}, not {entry.says!r}"
    if not reason.isprintable() or len(reason) > LONGEST_REASON:
        yield f"said something that is not safe to print: {reason!r}"
    reason.encode()
