"""The longer run of `tests/e2e/test_openapi_for_real.py`: more requests for each operation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from tests.e2e.test_openapi_for_real import hold
from tests.parts.schemathesis import ALL_PHASES

pytestmark = pytest.mark.sweep

EXAMPLES = 6
WITHOUT_COVERAGE = "examples,fuzzing,stateful"
"""For a viewer: what it may not ask is refused before anything of the request is looked at."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("role", "phases", "floor"),
    [
        ("viewer", WITHOUT_COVERAGE, 300),
        ("deployer", ALL_PHASES, 1_000),
        ("admin", ALL_PHASES, 1_000),
    ],
)
async def test_every_answer_is_as_documented(
    tmp_path: Path, role: Literal["viewer", "deployer", "admin"], phases: str, floor: int
) -> None:
    cases = await hold(tmp_path, role, examples=EXAMPLES, floor=floor, phases=phases)
    print(f"\n{role}: {cases} requests made from /openapi.json, all answered as documented")
