"""The longer run of `tests/e2e/test_openapi_for_real.py`: more requests for each operation."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from tests.e2e.test_openapi_for_real import hold

pytestmark = pytest.mark.sweep

EXAMPLES = 6
FLOOR = 1_000


@pytest.mark.timeout(300)
@pytest.mark.parametrize("role", ["viewer", "deployer", "admin"])
async def test_every_answer_is_as_documented(
    tmp_path: Path, role: Literal["viewer", "deployer", "admin"]
) -> None:
    cases = await hold(tmp_path, role, examples=EXAMPLES, floor=FLOOR)
    print(f"\n{role}: {cases} requests made from /openapi.json, all answered as documented")
