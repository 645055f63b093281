"""An agent speaks for its own instances only: each of its frames, with another host's named.

Which frames speak of instances stands in the table of permissions. The other host has a
valid certificate of its own; what it says of an instance that is not its own changes nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from coordinator.permissions import FROM_AGENTS, SpeaksFor
from protocol.codec import decode_from_coordinator, encode
from protocol.messages import (
    FIXED_SERVER_NAME,
    Frame,
    Heartbeat,
    HeartbeatAck,
    Hello,
    Inventory,
)
from protocol.states import InstanceStatus, TaskState
from tests.behaviour.world import OFTEN, Place, World
from tests.integration.test_version_skew import FROM_AGENT
from tests.parts.identities import joined
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

SPEAKING = [f for f in FROM_AGENT if FROM_AGENTS[type(f)] is SpeaksFor.INSTANCES]
SHOWN_ANEW = {"deadline", "reason", "waits_until"}
"""What a status derives from the time of the question: when the timeout ends."""


@asynccontextmanager
async def other_host(own: World) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """The connection of a host that joined and has no instance, greeted."""
    host_id = f"other-{own.number}"
    site = own.site
    identity = joined(site.coordinator.certificates, site.folder / host_id, host_id)
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(
            f"{site.url}/v1/agent/connect",
            ssl=identity.client_context(),
            server_hostname=FIXED_SERVER_NAME,
        ) as socket,
    ):
        await say(socket, Hello(host_id=host_id, agent_version="1"))
        await say(socket, Inventory(instances=[]))
        yield socket


async def say(socket: aiohttp.ClientWebSocketResponse, frame: Any) -> None:
    await socket.send_bytes(encode(frame))


async def is_heard(socket: aiohttp.ClientWebSocketResponse) -> None:
    """All that was said before was taken in, or the connection was ended for it."""
    for number in range(3):
        if not socket.closed:
            await say(socket, Heartbeat(number=number))
        while (message := await socket.receive(20)).type is aiohttp.WSMsgType.BINARY:
            if decode_from_coordinator(message.data) == HeartbeatAck(number=number):
                break
        else:
            return


def about(frame: Frame, names: dict[str, str]) -> Frame:
    """The example of a frame with other names in it."""

    def renamed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: renamed(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [renamed(inner) for inner in value]
        return names.get(value, value) if isinstance(value, str) else value

    return type(frame).model_validate(renamed(frame.model_dump()))


async def truth(own: World, place: Place, deploy_id: str) -> list[dict[str, Any]]:
    row = (await own.row(place)).model_dump(exclude={"last_heartbeat"})
    status = await own.door.get_deployment_status(deploy_id)
    parts = [part.model_dump(exclude=SHOWN_ANEW) for part in status.instances]
    history = [entry.model_dump() for entry in await own.history(place)]
    rollout = status.rollout.model_dump(exclude=SHOWN_ANEW)
    rest = status.model_dump(exclude={"instances", "updated_at", "rollout"})
    return [row, rest, rollout, *parts, *history]


@pytest.mark.parametrize("frame", SPEAKING, ids=lambda frame: frame.type)
async def test_what_a_host_says_of_anothers_instance_changes_nothing(
    own: World, frame: Frame
) -> None:
    place = await own.place("v0")
    gate = place.driver.hold("start")
    deploy_id = await own.deploy("v1", place)
    await gate.reached.wait()
    await until(lambda: own.part(deploy_id, place), lambda part: part.step == "start", every=OFTEN)
    await own.in_status(place, InstanceStatus.STOPPED)
    before = await truth(own, place, deploy_id)
    names = {"instance-1": place.id, "deploy-1": deploy_id, "user-service": own.service}
    async with other_host(own) as socket:
        await say(socket, about(frame, names))
        await is_heard(socket)
    assert await truth(own, place, deploy_id) == before
    gate.open()
    assert (await own.ended(deploy_id)).status is TaskState.COMPLETED
    assert place.current == "v1"
