"""A joined pair of daemons, made once, and for each test a copy in which nothing is weak."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.e2e.checks.place import Place
from tests.parts.daemons import AgentDaemon, CoordinatorDaemon, InstanceSpec, connected
from tests.parts.in_reach import folder_in_reach, give_away


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def joined(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CoordinatorDaemon]:
    folder = tmp_path_factory.mktemp("joined")
    async with CoordinatorDaemon(folder / "data") as coordinator:
        token = await coordinator.join_token()
        agent = AgentDaemon(
            folder, "state", [InstanceSpec("one")], coordinator=coordinator.url, join_token=token
        )
        async with agent, coordinator.client() as client:
            await connected(client, "one")
        yield coordinator


@pytest.fixture
def place(joined: CoordinatorDaemon) -> Iterator[Place]:
    """A place in which nothing is weak."""
    with folder_in_reach() as folder:
        place = Place(folder)
        source = joined.data_dir.parent
        for name in ("data", "state"):
            shutil.copytree(source / name, folder / name)
            give_away(folder / name)
        place.data.chmod(0o700)
        for file in place.data.iterdir():
            file.chmod(0o644 if file.suffix == ".pem" else 0o600)
        place.state.chmod(0o711)
        place.coordinator_toml.write_text(f'data_dir = "{place.data}"\n')
        place.declare()
        yield place
