"""A batch that begins to bake: its agents are told to go on watching, and older ones nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.messages import (
    WATCH_MINOR,
    Activate,
    InstanceState,
    Inventory,
    Prepare,
    Prepared,
)
from protocol.models import DeployParams
from protocol.strategy import Strategy
from tests.integration.test_regression_is_told import DIGEST, HEALTHY, STATE, Agent
from tests.parts.coming_in import approved, dialled, serving
from tests.parts.waiting import until

BAKE = 600


@pytest.mark.parametrize("minor", [WATCH_MINOR - 1, WATCH_MINOR])
async def test_a_canary_that_begins_to_bake(tmp_path: Path, minor: int) -> None:
    async with serving(tmp_path / "coordinator") as (coordinator, url):
        identity = await approved(coordinator, url, tmp_path / "host-a", "host-a")
        async with dialled(url, identity) as line:
            await line.greet("host-a", minor=minor)
            other: InstanceState = STATE.model_copy(update={"instance_id": "instance-2"})
            await line.say(Inventory(instances=[STATE, other]))
            await until(coordinator.list_services, lambda seen: seen.services)
            await coordinator.execute_deployment(
                DeployParams(
                    deploy_id="deploy-1",
                    service="user-service",
                    version="v2",
                    package_url="https://packages.example/v2.tar.gz",
                    instances=["instance-1", "instance-2"],
                    strategy=Strategy(canary=1, bake=BAKE),
                    force=True,
                )
            )
            agent = Agent(line)
            await agent.hears(Prepare)
            await agent.tells(Prepared(digest=DIGEST))
            await agent.tells(HEALTHY)
            await agent.tells(HEALTHY)
            told = [frame for frame in agent.heard if isinstance(frame, Activate)]
            renewals = [one for one in told if one.renews]
            assert len(told) - len(renewals) == 1
            assert [one.watch for one in renewals] == [BAKE] * (minor >= WATCH_MINOR)
            assert {(one.instance_id, one.attempt, one.digest) for one in told} == {
                ("instance-1", 1, DIGEST)
            }
