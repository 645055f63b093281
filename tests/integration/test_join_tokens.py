"""Join tokens on a real coordinator: for how many hosts, for which one, what a refusal leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agent.keys import NewKey
from coordinator.app import Coordinator
from protocol.access import DEFAULT_USES, CreatedToken, TokenParams
from protocol.errors import (
    ConflictError,
    FerrymanError,
    InvalidRequestError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from tests.parts.coming_in import hosts, settings
from tests.parts.local_agent import csr_here


@pytest.fixture
async def coordinator(tmp_path: Path) -> AsyncIterator[Coordinator]:
    async with Coordinator(settings(tmp_path / "coordinator")) as opened:
        yield opened


async def token(coordinator: Coordinator, **params: Any) -> CreatedToken:
    return await coordinator.create_token(TokenParams(role="join", **params))


def request() -> str:
    """A certificate request for a new key."""
    return NewKey.of(csr_here("-", "whoever")).request


async def joins(coordinator: Coordinator, made: CreatedToken, host_id: str, csr: str = "") -> str:
    """The certificate that the host gets."""
    certificate, _ = await coordinator.enroll(made.secret, host_id, csr or request(), "10.0.0.9")
    return certificate


async def used(coordinator: Coordinator, made: CreatedToken) -> int:
    rows = (await coordinator.list_tokens()).tokens
    return next(row.used for row in rows if row.token_id == made.token_id)


async def refused(
    error: type[FerrymanError], coordinator: Coordinator, made: CreatedToken, *host: str
) -> str:
    """A refusal leaves nothing: no host, and no use of the token."""
    before = await hosts(coordinator), await used(coordinator, made)
    with pytest.raises(error) as caught:
        await joins(coordinator, made, *host)
    assert (await hosts(coordinator), await used(coordinator, made)) == before
    assert made.secret not in caught.value.message
    return caught.value.message


async def test_a_token_lets_in_as_many_hosts_as_it_was_made_for(coordinator: Coordinator) -> None:
    made = await token(coordinator, uses=2)
    await joins(coordinator, made, "host-a")
    await joins(coordinator, made, "host-b")
    said = await refused(UnauthenticatedError, coordinator, made, "host-c")
    assert said == "the token is used up: it was good for 2 hosts"
    assert set(await hosts(coordinator)) == {"host-a", "host-b"}


async def test_hosts_that_come_at_once_share_the_last_uses(coordinator: Coordinator) -> None:
    made = await token(coordinator, uses=3)
    came = await asyncio.gather(
        *(joins(coordinator, made, f"host-{n}") for n in range(12)), return_exceptions=True
    )
    assert sum(isinstance(one, str) for one in came) == 3
    assert sum(isinstance(one, UnauthenticatedError) for one in came) == 9
    assert (await used(coordinator, made), len(await hosts(coordinator))) == (3, 3)


async def test_a_host_that_lost_the_answer_asks_again_and_is_not_counted_again(
    coordinator: Coordinator,
) -> None:
    made = await token(coordinator, uses=1)
    csr = request()
    first = await joins(coordinator, made, "host-a", csr)
    second = await joins(coordinator, made, "host-a", csr)
    assert first != second
    assert await used(coordinator, made) == 1
    await refused(UnauthenticatedError, coordinator, made, "host-a")
    await refused(UnauthenticatedError, coordinator, made, "host-b", csr)


async def test_a_token_for_one_host_lets_no_other_in(coordinator: Coordinator) -> None:
    made = await token(coordinator, host_id="host-a")
    assert (made.host_id, made.uses) == ("host-a", 1)
    said = await refused(PermissionDeniedError, coordinator, made, "host-b")
    assert said == "the token lets only host-a join, not host-b"
    await joins(coordinator, made, "host-a")
    assert "used up" in await refused(UnauthenticatedError, coordinator, made, "host-a")


async def test_a_token_that_names_nobody_takes_no_host_over(coordinator: Coordinator) -> None:
    made = await token(coordinator)
    assert made.uses == DEFAULT_USES
    await joins(coordinator, await token(coordinator), "host-a")
    said = await refused(ConflictError, coordinator, made, "host-a")
    assert "host-a has joined already with another key" in said
    assert "ferryman token create --role join --host host-a" in said
    await joins(coordinator, await token(coordinator, host_id="host-a"), "host-a")


async def test_a_host_that_lost_its_state_comes_back_with_the_token_that_let_it_in(
    coordinator: Coordinator,
) -> None:
    made = await token(coordinator, uses=2)
    await joins(coordinator, made, "host-a")
    await joins(coordinator, made, "host-a")
    assert await used(coordinator, made) == 2
    await refused(UnauthenticatedError, coordinator, made, "host-a")


async def test_what_only_join_tokens_have_is_refused_by_name_for_others(
    coordinator: Coordinator,
) -> None:
    count = len((await coordinator.list_tokens()).tokens)
    for field, value in (("uses", 1), ("host_id", "host-a")):
        with pytest.raises(InvalidRequestError, match=f"{field}: is for role join only"):
            TokenParams(role="viewer", **{field: value})  # type: ignore[arg-type]
    for field, value in (("uses", 0), ("uses", 100_001), ("host_id", "a..b")):
        with pytest.raises(InvalidRequestError, match=f"^{field}: must be"):
            TokenParams(role="join", **{field: value})  # type: ignore[arg-type]
    assert len((await coordinator.list_tokens()).tokens) == count


async def test_a_bad_request_burns_no_use(coordinator: Coordinator) -> None:
    made = await token(coordinator, uses=1)
    said = await refused(InvalidRequestError, coordinator, made, "host-a", "nonsense")
    assert said == "csr: must be a PKCS #10 certificate request in PEM"


async def test_uses_are_counted_over_a_restart(tmp_path: Path) -> None:
    folder = settings(tmp_path / "coordinator")
    csr = request()
    async with Coordinator(folder) as first:
        made = await token(first, uses=1)
        await joins(first, made, "host-a", csr)
    async with Coordinator(folder) as second:
        await joins(second, made, "host-a", csr)
        await refused(UnauthenticatedError, second, made, "host-b")
