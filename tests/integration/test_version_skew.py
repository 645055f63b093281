"""Agents and coordinators of different versions: what a newer minor one adds is ignored."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import aiohttp
import msgpack
import pytest

from protocol import messages
from protocol.codec import Decoder, decode_from_agent, decode_from_coordinator, encode
from protocol.messages import (
    FIXED_SERVER_NAME,
    OLDEST_ACCEPTED_MAJOR,
    PROTOCOL_MAJOR,
    PROTOCOL_MINOR,
    Ack,
    Activate,
    Authorities,
    AuthoritiesKept,
    Cancel,
    Certificate,
    CertificateRequest,
    Ended,
    Frame,
    Heartbeat,
    HeartbeatAck,
    Hello,
    InstanceRefused,
    InstanceState,
    Inventory,
    Past,
    PastEntry,
    PinnedVersion,
    Pins,
    Prepare,
    Progress,
    Regressed,
    RenewCertificate,
    Renewed,
    Report,
    Result,
    RetainedRelease,
    StateChanged,
    Step,
    TaskTold,
    Welcome,
    WorkInHand,
)
from protocol.states import InstanceStatus, TaskKind
from tests.behaviour.installation import Site
from tests.parts.local_agent import LocalInstance

DIGEST = "ab" * 32
WHERE: dict[str, Any] = {"task_id": "deploy-1", "instance_id": "instance-1", "attempt": 1}
STATE = InstanceState(
    instance_id="instance-1",
    service="user-service",
    status=InstanceStatus.RUNNING,
    version="v1",
    digest=DIGEST,
    retained=[RetainedRelease(version="v1", digest=DIGEST)],
)
ENDED = Ended(result=Result.SUCCEEDED, step=Step.COMMIT, digest=DIGEST)
REGRESSED = Regressed(message="it restarted", digest=DIGEST)
TOLD = TaskTold(kind=TaskKind.DEPLOY, service="user-service", version="v1")
PAST = PastEntry(number=1, at=datetime(2026, 1, 1, tzinfo=UTC), task=TOLD, ended=ENDED, **WHERE)

FROM_AGENT: list[Frame] = [
    Hello(host_id="host-a", agent_version="9.9.9"),
    Inventory(instances=[STATE], in_hand=[WorkInHand(step=Step.CHECK, **WHERE)]),
    Heartbeat(number=1),
    StateChanged(instance=STATE),
    Progress(step=Step.PREPARE, **WHERE),
    Report(seq=1, event=ENDED, instance=STATE, task=TOLD, **WHERE),
    Report(seq=2, event=REGRESSED, instance=STATE, **WHERE),
    Past(entries=[PAST]),
    CertificateRequest(csr="-----BEGIN CERTIFICATE REQUEST-----"),
    Renewed(),
    AuthoritiesKept(authorities=[DIGEST]),
]
FROM_COORDINATOR: list[Frame] = [
    Welcome(heartbeat_interval=10),
    HeartbeatAck(number=1),
    Ack(seq=1),
    Prepare(kind=TaskKind.DEPLOY, service="user-service", version="v1", time_left=60, **WHERE),
    Activate(digest=DIGEST, time_left=60, **WHERE),
    Cancel(**WHERE),
    RenewCertificate(),
    Certificate(pem="-----BEGIN CERTIFICATE-----"),
    InstanceRefused(instance_id="instance-1", reason="it belongs to host host-b"),
    Authorities(pems=["-----BEGIN CERTIFICATE-----"]),
    Pins(pins=[PinnedVersion(service="user-service", version="v1")]),
]


def newer(raw: Any, key: str = "") -> Any:
    """What a newer version would send: a field that nobody knows, in every part of the frame."""
    if isinstance(raw, list):
        return [newer(one) for one in raw]
    if not isinstance(raw, dict) or key == "metadata":
        return raw
    return {**{name: newer(one, name) for name, one in raw.items()}, "since_1_9": {"a": [1]}}


@pytest.mark.parametrize(
    ("frame", "decode"),
    [(frame, decode_from_agent) for frame in FROM_AGENT]
    + [(frame, decode_from_coordinator) for frame in FROM_COORDINATOR],
    ids=lambda value: getattr(value, "type", ""),
)
def test_fields_of_a_newer_minor_version_are_ignored(frame: Frame, decode: Decoder[Any]) -> None:
    raw = newer(msgpack.unpackb(encode(frame)))
    assert raw["since_1_9"]
    assert decode(msgpack.packb(raw)) == frame


def test_every_frame_is_looked_at() -> None:
    for union, samples in (
        (messages.ToCoordinator, FROM_AGENT),
        (messages.ToAgent, FROM_COORDINATOR),
    ):
        assert set(get_args(get_args(union)[0])) == {type(frame) for frame in samples}


async def greeted(site: Site, host: str, hello: dict[str, Any]) -> aiohttp.WSMessage:
    """What a joined host's agent hears after this hello."""
    async with site.agent([LocalInstance(f"instance-of-{host}")], keep_releases=1) as agent:
        identity = await agent.join()
        await agent.cut_off()
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(
                f"{site.url}/v1/agent/connect",
                ssl=identity.client_context(),
                server_hostname=FIXED_SERVER_NAME,
            ) as socket,
        ):
            said = msgpack.unpackb(encode(Hello(host_id=agent.host_id, agent_version="9.9.9")))
            await socket.send_bytes(msgpack.packb({**said, **hello}))
            return await socket.receive()


async def test_an_agent_of_a_newer_minor_version_is_welcome(tmp_path: Path) -> None:
    async with Site.open(tmp_path) as site:
        heard = await greeted(site, "newer", {"minor": PROTOCOL_MINOR + 8, "since_1_9": True})
    assert heard.type is aiohttp.WSMsgType.BINARY
    assert isinstance(decode_from_coordinator(heard.data), Welcome)


@pytest.mark.parametrize("major", [OLDEST_ACCEPTED_MAJOR - 1, PROTOCOL_MAJOR + 1])
async def test_another_major_version_is_refused_and_told_what_is_accepted(
    tmp_path: Path, major: int
) -> None:
    async with Site.open(tmp_path) as site:
        heard = await greeted(site, "other", {"major": major})
    assert heard.type is aiohttp.WSMsgType.CLOSE
    assert f"protocol {major} is not spoken here" in str(heard.extra)
    assert f"accepted are {OLDEST_ACCEPTED_MAJOR} to {PROTOCOL_MAJOR}" in str(heard.extra)
