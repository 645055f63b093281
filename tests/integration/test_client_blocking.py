"""The blocking client: a shell around the asynchronous one, for scripts without a loop."""

from __future__ import annotations

import asyncio

import pytest

from coordinator.client import Client
from protocol.states import TaskState
from tests.parts.fake_coordinator import TOKEN, FakeCoordinator, ok, row, task


async def test_inside_a_running_loop_the_blocking_client_says_what_to_use() -> None:
    client = Client("https://127.0.0.1:1", TOKEN)
    with pytest.raises(RuntimeError, match="use AsyncClient"):
        client.get_system_health()
    with pytest.raises(RuntimeError, match="use AsyncClient"):
        client.__enter__()
    await asyncio.to_thread(client.close)


def test_closing_twice_is_closing_once(fake: FakeCoordinator) -> None:
    fake.script("GET", "/v1/deployment/d-1", ok(task("failed", [row("a", "failed")])))
    client = Client(fake.url, TOKEN, fake.ca_file)
    assert client.get_deployment_status("d-1").status is TaskState.FAILED
    client.close()
    client.close()


def test_one_connection_serves_many_requests_of_two_clients(fake: FakeCoordinator) -> None:
    fake.script("GET", "/v1/token", ok({"tokens": []}))
    with (
        Client(fake.url, TOKEN, fake.ca_file) as one,
        Client(fake.url, TOKEN, fake.ca_file) as other,
    ):
        for client in (one, other, one):
            assert client.list_tokens().tokens == []
    assert len(fake.seen) == 3
