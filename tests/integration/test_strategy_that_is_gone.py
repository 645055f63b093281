"""A task outlives the named strategy that it was accepted with."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from protocol.errors import ConflictError, NotFoundError
from protocol.states import TaskState
from protocol.strategy import Strategy
from tests.behaviour.installation import Site
from tests.behaviour.world import World


async def test_an_equal_body_gets_the_first_answer_when_its_strategy_is_gone(
    tmp_path: Path,
) -> None:
    async with Site.open(tmp_path) as site, AsyncExitStack() as stack:
        world = World(site, site.coordinator, stack)
        place = await world.place()
        params = world.params("v1", place, strategy=Strategy(name="careful", canary=0))
        first = await world.door.execute_deployment(params)
        assert (await world.ended(first.deploy_id)).status is TaskState.COMPLETED
    async with Site.open(tmp_path, strategies=False) as site:
        for door in site.doors.values():
            assert await door.execute_deployment(params) == first
            with pytest.raises(ConflictError, match="deploy_id"):
                await door.execute_deployment(params.model_copy(update={"timeout": 1}))
            with pytest.raises(NotFoundError, match=r"strategy\.name: no strategy careful"):
                await door.execute_deployment(params.model_copy(update={"deploy_id": "d-2"}))
