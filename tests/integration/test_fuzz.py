"""A short run of what `make fuzz` does for long, and proof that it would find something."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from agent.archive import ArchiveReader
from agent.package_bytes import PackageBytes
from protocol.codec import DecodeError, decode_from_agent
from tests.fuzz.runs import fuzz
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS
from tests.lab.needs import need_fuzzer

RUNS = 10_000


@pytest.fixture
def fuzzer() -> None:
    need_fuzzer()


@pytest.mark.sweep
@pytest.mark.usefixtures("fuzzer")
@pytest.mark.parametrize("name", TARGETS)
async def test_nothing_but_declared_exceptions_comes_out(tmp_path: Path, name: str) -> None:
    done = await fuzz(name, tmp_path / name, RUNS)
    assert not done.found, done.found
    assert done.executions >= RUNS


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_themselves_pass(name: str) -> None:
    for seed in SEEDS[name]():
        TARGETS[name](seed)


def test_some_seeds_are_good() -> None:
    taken = 0
    for seed in SEEDS["codec"]():
        try:
            decode_from_agent(seed)
            taken += 1
        except DecodeError:
            pass
    assert taken >= 8
    members = 0
    for seed in SEEDS["archive"]():
        if seed[0] == 0 and seed[1:3] != b"\x1f\x8b":
            pieces = iter([seed[1:]])
            reader = ArchiveReader(PackageBytes(partial(next, pieces, b"")))
            for _ in reader.members():
                members += sum(1 for _ in reader.content()) or 1
                if members:
                    break
    assert members


@pytest.mark.sweep
@pytest.mark.usefixtures("fuzzer")
async def test_what_raises_something_else_is_found(tmp_path: Path) -> None:
    done = await fuzz("broken", tmp_path / "broken", RUNS)
    assert "IndexError" in done.found
    assert list((tmp_path / "broken").glob("found-*"))
