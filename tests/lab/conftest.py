"""Real hosts for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.lab import faults
from tests.lab.host import SystemdHost
from tests.lab.needs import need_hosts, need_programs
from tests.lab.tally import tally

__all__ = ["host", "lab_machine", "tally"]


@pytest.fixture
def lab_machine() -> None:
    """For tests that boot hosts of their own."""
    need_hosts()


@pytest.fixture
async def host(lab_machine: None) -> AsyncIterator[SystemdHost]:
    """One booted host, powered off afterwards."""
    async with SystemdHost("h1") as booted:
        yield booted


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library of faults, to be preloaded."""
    need_programs("cc")
    return faults.build(tmp_path_factory.mktemp("faults"))
