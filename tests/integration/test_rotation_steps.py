"""The steps of a rotation through every door, and what is refused: nothing of it is left behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from coordinator.app import Coordinator
from coordinator.client import AsyncClient
from protocol.errors import InvalidRequestError, UnavailableError
from protocol.states import RotationPhase
from tests.behaviour.installation import DOORS, Site
from tests.parts.doors import InThread

NONE, BEGUN, SWITCHED = RotationPhase.NONE, RotationPhase.BEGUN, RotationPhase.SWITCHED


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with Site.open(tmp_path) as opened:
        yield opened


@asynccontextmanager
async def through(site: Site, door: str) -> AsyncIterator[Coordinator | AsyncClient | InThread]:
    """A door that knows the authority of now."""
    async with AsyncExitStack() as stack:
        if door == "Coordinator":
            yield site.coordinator
        elif door == "AsyncClient":
            client = AsyncClient(site.url, site.token, site.ca_file)
            yield await stack.enter_async_context(client)
        else:
            blocking = InThread(site.url, site.token, str(site.ca_file))
            stack.push_async_callback(blocking.close)
            yield blocking


@pytest.mark.parametrize("name", DOORS)
async def test_through_every_door_the_same_steps(site: Site, name: str) -> None:
    async with through(site, name) as door:
        assert (await door.begin_rotation()).phase is BEGUN
        assert (await door.abort_rotation()).phase is NONE
        await door.begin_rotation()
        assert (await door.switch_rotation()).phase is SWITCHED
        assert (await door.authority_status()).phase is SWITCHED
        last = await door.finish_rotation(force=True)
        assert last.phase is NONE
    async with through(site, name) as door:
        assert await door.authority_status() == last


async def test_a_step_that_is_not_due_is_refused_and_changes_nothing(site: Site) -> None:
    steps = ("begin", "switch", "finish", "abort")
    due = {NONE: {"begin"}, BEGUN: {"switch", "abort"}, SWITCHED: {"finish"}}
    for phase, way in ((NONE, ""), (BEGUN, "begin"), (SWITCHED, "switch")):
        if way:
            assert (await site.ask("POST", f"/v1/authority/{way}", {})).status == 200
        before = {p.name: p.read_bytes() for p in site.ca_file.parent.glob("*.[kp]e[ym]")}
        for step in set(steps) - due[phase]:
            answer = await site.ask("POST", f"/v1/authority/{step}", {})
            assert answer.status == 409
            assert f"the rotation's phase is {phase.value}" in answer.body["message"]
        after = {p.name: p.read_bytes() for p in site.ca_file.parent.glob("*.[kp]e[ym]")}
        assert after == before


@pytest.mark.parametrize("wrong", ["yes", 1, None, [True]])
async def test_force_is_true_or_false(site: Site, wrong: object) -> None:
    await site.coordinator.begin_rotation()
    answer = await site.ask("POST", "/v1/authority/switch", {"force": wrong})
    assert (answer.status, answer.body["message"]) == (400, FORCE_RULE)
    for name in DOORS:
        async with through(site, name) as door:
            with pytest.raises(InvalidRequestError, match="force: must be true or false"):
                await door.switch_rotation(force=wrong)  # type: ignore[arg-type]
    answer = await site.ask("POST", "/v1/authority/begin", {"when": "now"})
    assert answer.status == 400
    assert (await site.coordinator.authority_status()).phase is BEGUN


FORCE_RULE = "force: must be true or false: pass over hosts that are not ready"


async def test_a_disk_that_takes_nothing_leaves_the_phase_as_it_is(site: Site) -> None:
    (site.ca_file.parent / "ca.next.pem").mkdir()
    with pytest.raises(UnavailableError, match=r"ca\.next\.pem.*Is a directory"):
        await site.client.begin_rotation()
    assert (await site.coordinator.authority_status()).phase is NONE
    (site.ca_file.parent / "ca.next.pem").rmdir()
    await site.client.begin_rotation()


async def test_every_step_and_every_refusal_is_in_the_audit_trail(site: Site) -> None:
    for step in ("begin", "begin", "switch", "finish"):
        await site.ask("POST", f"/v1/authority/{step}", {})
    rows = (await site.coordinator.list_audit()).rows
    told = [(row.operation, row.result) for row in rows if "rotation" in row.operation]
    assert told[::-1] == [
        ("begin_rotation", "accepted"),
        ("begin_rotation", "conflict"),
        ("switch_rotation", "accepted"),
        ("finish_rotation", "accepted"),
    ]
    finished = next(row for row in rows if row.operation == "finish_rotation")
    assert (finished.before["phase"], finished.after["phase"]) == ("switched", "none")
