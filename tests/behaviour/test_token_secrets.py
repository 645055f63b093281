"""A token's secret is in the answer that made it, and nowhere else that anybody looks."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from coordinator.caller import Role
from coordinator.http.routes import ROUTES
from protocol.access import TokenParams
from protocol.logs import QUIETER
from tests.behaviour.world import World
from tests.parts.http_server import DEPLOYMENT

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_secret_is_in_no_log_list_event_refusal_or_database(
    own: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(QUIETER["aiosqlite"], logger="aiosqlite")
    site = own.site
    made = [
        await site.coordinator.create_token(TokenParams(role=role.value, ttl=600)) for role in Role
    ]
    secrets = [token.secret for token in made]
    told: list[Any] = []
    place = await own.place("v1")
    for token in [*secrets, *(f"{secret}x" for secret in secrets)]:
        for route in ROUTES:
            if route.result is None or route.name == "events" or route.role is Role.ADMIN:
                continue
            path = route.path.format(**dict.fromkeys(route.path_fields, "some-1"))
            body = DEPLOYMENT if route.method == "POST" else None
            told.append((await site.ask(route.method, path, body, token=token)).body)
        told += [
            (await site.ask("GET", f"/v1/host?token={token}")).body,
            (await site.ask("POST", "/v1/agent/enroll", enrolling(token))).body,
            (await site.ask("POST", "/v1/agent/enroll", enrolling([token]))).body,
            (await site.ask("POST", "/v1/token", {"role": "viewer", "name": [token]})).body,
        ]
        await site.ask("POST", f"/v1/token/{token}/revoke")  # the path is told back, to them alone
    for one in made:
        told.append((await site.ask("POST", f"/v1/token/{one.token_id}/revoke")).body)
        told.append((await site.ask("GET", "/v1/host", token=one.secret)).body)
    told.append((await site.ask("GET", "/v1/token")).body)
    told.append(await all_events(own, place.id))

    shown = str(told)
    assert all(one.token_id in shown for one in made), "they are listed"
    data_dir = site.coordinator.settings.data_dir
    files = [path for path in data_dir.rglob("*") if path.is_file() and path.suffix != ".token"]
    kept = b"".join(path.read_bytes() for path in files)
    for secret in [*secrets, own.site.token]:
        random = secret[-43:]
        assert random not in shown
        assert random not in caplog.text
        assert random.encode() not in kept


def enrolling(token: Any) -> dict[str, Any]:
    return {"token": token, "host_id": "host-x", "csr": "PEM"}


async def all_events(own: World, until_named: str) -> str:
    told: list[str] = []
    async with own.site.events(own.site.token, after=0) as stream, asyncio.timeout(60):
        while not told or until_named not in told[-1]:
            told.append((await stream.content.readline()).decode())
    return "".join(told)
