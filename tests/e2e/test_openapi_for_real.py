"""The OpenAPI document is true of a running coordinator, for every role: schemathesis says so.

The longer run is in tests/sweeps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from schemathesis.checks import CHECKS as KNOWN
from schemathesis.checks import load_all_checks

from protocol.access import TokenParams
from tests.parts.daemons import CoordinatorDaemon, connected
from tests.parts.local_agent import LocalAgent, LocalInstance
from tests.parts.schemathesis import ALL_PHASES, CHECKS, LEFT_OUT, tried

pytestmark = pytest.mark.sweep

SEED = 20_260_101


@pytest.mark.parametrize("role", ["viewer", "deployer", "admin"])
async def test_every_answer_is_as_documented(
    tmp_path: Path, role: Literal["viewer", "deployer", "admin"]
) -> None:
    await hold(tmp_path, role, examples=5, floor=100, phases="fuzzing")


def test_every_check_of_schemathesis_is_on_or_left_out_by_name() -> None:
    load_all_checks()
    assert sorted([*CHECKS, *LEFT_OUT]) == sorted(KNOWN.get_all_names())


async def hold(
    folder: Path,
    role: Literal["viewer", "deployer", "admin"],
    *,
    examples: int,
    floor: int,
    phases: str = ALL_PHASES,
) -> int:
    """Hold a coordinator with a host to its document; return how many requests that took."""
    async with (
        CoordinatorDaemon(folder / "coordinator") as coordinator,
        coordinator.client() as client,
        LocalAgent(
            folder,
            "host-a",
            [LocalInstance("instance-1")],
            url=coordinator.url,
            join_token=await coordinator.join_token(),
        ),
    ):
        await connected(client, "instance-1")
        token = (await client.create_token(TokenParams(role=role))).secret
        run = await tried(coordinator, token, folder, examples=examples, seed=SEED, phases=phases)
        assert run.status == 0, run.output
        assert run.cases >= floor, run.output
        assert (await client.get_system_health()).status == "healthy"
        assert "ERROR" not in coordinator.said()
        assert "Traceback" not in coordinator.said()
    return run.cases
