"""The stores that the Store's contract runs on: databases, and the one in memory of the model.

PostgreSQL joins by one more name here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.ports import Store
from coordinator.store import SqlStore
from tests.parts.memory_store import MemoryStore

DATABASES = ["sqlite"]


@pytest.fixture(params=DATABASES)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new, empty database."""
    return url_of(request.param, tmp_path)


def url_of(database: str, folder: Path) -> str:
    return {"sqlite": f"sqlite+aiosqlite:///{folder}/store.db"}[database]


@pytest.fixture(params=[*DATABASES, "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param == "memory":
        yield MemoryStore(keep_events=50)
        return
    opened = await SqlStore.open(url_of(request.param, tmp_path), keep_events=50)
    yield opened
    await opened.close()
