"""A scripted coordinator, and a blocking client of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.client import Client
from tests.parts.fake_coordinator import TOKEN, FakeCoordinator, fake_coordinator


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeCoordinator]:
    with fake_coordinator(tmp_path) as served:
        yield served


@pytest.fixture
def client(fake: FakeCoordinator) -> Iterator[Client]:
    with Client(fake.url, TOKEN, fake.ca_file, timeout=10) as made:
        yield made
