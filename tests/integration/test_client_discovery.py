"""The client and the command line finding a coordinator by mDNS, over the loopback only."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from agent.discovery import AgentAnnouncer
from coordinator.client import AsyncClient, Client
from coordinator.discovery import Announcer
from protocol.errors import InvalidRequestError, UnavailableError
from tests.parts.command_line import piped
from tests.parts.fake_coordinator import TOKEN, FakeCoordinator, fake_coordinator, ok
from tests.parts.multicast import LOOPBACK, needs_multicast

WITHIN = 30


def ca_digest_of(ca_file: Path) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(ca_file.read_text())).hexdigest()


@asynccontextmanager
async def announced(fake: FakeCoordinator, ca_digest: str) -> AsyncIterator[None]:
    port = urlsplit(fake.url).port
    assert port
    announcer = Announcer("127.0.0.1", port, ca_digest, interfaces=LOOPBACK)
    await announcer.start()
    try:
        await asyncio.wait_for(announcer.announced(), WITHIN)
        yield
    finally:
        await announcer.stop()


@needs_multicast
async def test_both_clients_find_the_coordinator_of_their_authority(tmp_path: Path) -> None:
    with fake_coordinator(tmp_path, names=("coordinator.ferryman.internal",)) as fake:
        fake.script("GET", "/v1/token", ok({"tokens": []}))
        async with announced(fake, ca_digest_of(fake.ca_file)):
            async with await AsyncClient.discover(TOKEN, fake.ca_file, WITHIN) as client:
                assert client.url == fake.url
                assert (await client.list_tokens()).tokens == []

            def plain_script() -> int:
                with Client.discover(TOKEN, fake.ca_file, WITHIN) as client:
                    return len(client.list_tokens().tokens)

            assert await asyncio.to_thread(plain_script) == 0


@needs_multicast
async def test_who_announces_our_authority_and_cannot_prove_it_is_passed_over(
    tmp_path: Path,
) -> None:
    (tmp_path / "ours").mkdir()
    with (
        fake_coordinator(tmp_path) as impostor,
        fake_coordinator(tmp_path / "ours") as ours,
    ):
        async with announced(impostor, ca_digest_of(ours.ca_file)):
            with pytest.raises(UnavailableError, match=r"no coordinator.*--url"):
                await AsyncClient.discover(TOKEN, ours.ca_file, timeout=2)
        assert not impostor.seen


async def test_without_an_authority_nobody_is_believed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("FERRYMAN_CA_FILE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InvalidRequestError, match=r"ca_file: required"):
        await AsyncClient.discover(TOKEN)


@needs_multicast
async def test_the_command_lists_coordinators_agents_and_who_has_not_joined(
    tmp_path: Path,
) -> None:
    host_id = f"host-{secrets.token_hex(6)}"
    agent = AgentAnnouncer(host_id, 3, interfaces=LOOPBACK)
    await agent.start()
    try:
        with fake_coordinator(tmp_path) as fake:
            async with announced(fake, ca_digest_of(fake.ca_file)):
                ended = await asyncio.to_thread(piped, ["discover", "-o", "json"], {})
                plain = await asyncio.to_thread(piped, ["discover"], {})
    finally:
        await agent.stop()
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert [fake.url] in [one["urls"] for one in found["coordinators"]]
    assert [one["instances"] for one in found["agents"] if one["host_id"] == host_id] == [3]
    assert host_id in found["not_joined"]
    assert f"{fake.url}  " in plain.out
    assert host_id in plain.out.rpartition("not joined: ")[2]
