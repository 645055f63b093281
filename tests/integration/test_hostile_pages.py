"""Pages of somebody else, in the browser of one who may: refused, told of, and nothing done."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest

from coordinator.pki import Authority
from protocol.models import DeployParams
from tests.lab.storm import join
from tests.parts.small_room import Room, answer, bearer, request, room


async def asked(at: Room, *headers: str, host: str = "localhost", path: str = "/livez") -> int:
    reader, writer = await at.dial()
    said = request(path, *headers).replace(b"Host: localhost", f"Host: {host}".encode())
    writer.write(said)
    status, body = await answer(reader)
    if status == 403:
        assert json.loads(body)["data"]["type"] == "permission_denied"
    writer.close()
    return status


@pytest.mark.parametrize(
    ("headers", "host", "status"),
    [
        ([], "localhost", 200),
        ([], "10.9.8.7:7420", 200),
        ([], "whatever.example.com", 200),
        (["Origin: https://localhost"], "localhost", 200),
        (["Origin: https://LOCALHOST:7420"], "localhost:7420", 200),
        (["Origin: https://127.0.0.1:7420"], "127.0.0.1:7420", 200),
        (["Origin: https://deploy.example.com"], "deploy.example.com", 200),
        (["Origin: https://a.wild.example.com"], "a.wild.example.com", 200),
        (["Sec-Fetch-Site: same-origin"], "localhost", 200),
        (["Sec-Fetch-Site: none"], "[::1]:7420", 200),
        (["Origin: https://evil.example.com"], "localhost", 403),
        (["Origin: http://localhost"], "localhost", 403),
        (["Origin: https://localhost:1"], "localhost", 403),
        (["Origin: null"], "localhost", 403),
        (["Origin: "], "localhost", 403),
        (["Origin: https://localhost", "Origin: https://evil.example.com"], "localhost", 403),
        (["Sec-Fetch-Site: cross-site"], "localhost", 403),
        (["Sec-Fetch-Site: same-site"], "localhost", 403),
        (["Sec-Fetch-Mode: no-cors", "Sec-Fetch-Site: cross-site"], "localhost", 403),
        (["Origin: https://evil.example.com"], "evil.example.com", 403),
        (["Sec-Fetch-Site: none"], "evil.example.com", 403),
        (["Sec-Fetch-Site: none"], "", 403),
        (["Sec-Fetch-Site: same-origin"], "localhost.evil.example.com", 403),
        (["Sec-Fetch-Site: same-origin"], "example.com", 403),
    ],
)
async def test_pages_ask_only_under_our_names_and_from_our_origin(
    tmp_path: Path, headers: list[str], host: str, status: int
) -> None:
    async with room(tmp_path, names=("deploy.example.com", "*.wild.example.com")) as at:
        assert await asked(at, *headers, host=host) == status


async def test_a_page_of_elsewhere_starts_nothing_even_with_a_token(tmp_path: Path) -> None:
    async with room(tmp_path) as at:
        params = DeployParams(
            service="s", version="v", instances=["i"], package_url="https://a/b", deploy_id="d"
        )
        said = request(
            "/v1/deployment",
            bearer(at.admin),
            "Origin: https://evil.example.com",
            method="POST",
            body=params.model_dump_json().encode(),
        )
        reader, writer = await at.dial()
        writer.write(said)
        assert (await answer(reader))[0] == 403
        assert (await at.coordinator.list_deployments()).total == 0
        for path, host in (("/v1/deployment/d", "evil.example.com"), ("/nowhere", "localhost")):
            asks = ("Origin: https://evil.example.com", bearer(at.admin))
            assert await asked(at, *asks, path=path, host=host) == 403
        writer.close()
        rows = (await at.coordinator.list_audit()).rows
        refused = [row for row in reversed(rows) if row.result == "permission_denied"]
        told = [(row.operation, row.object_id, row.message.partition(":")[0]) for row in refused]
        assert told == [
            ("execute_deployment", "", "Origin"),
            ("get_deployment_status", "d", "Host"),
            ("no_route", "", "Origin"),
        ]
        assert {(row.proof, row.who, row.address, row.count) for row in refused} == {
            ("none", "", "127.0.0.1", 1)
        }


async def test_a_page_that_does_not_stop_leaves_one_row(tmp_path: Path) -> None:
    async with room(tmp_path) as at:
        for _ in range(40):
            assert await asked(at, "Origin: https://evil.example.com", host="localhost") == 403
        rows = (await at.coordinator.list_audit()).rows
        (row,) = [row for row in rows if row.result == "permission_denied"]
        assert (row.proof, row.count) == ("none", 40)


@pytest.mark.parametrize("origin", ["https://localhost", "null", ""])
async def test_the_agents_websocket_refuses_every_origin(tmp_path: Path, origin: str) -> None:
    agent = join(Authority.open(tmp_path / "coordinator"), tmp_path / "host-a", "host-a")
    async with room(tmp_path) as at, aiohttp.ClientSession() as http:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(
                f"{at.url}/v1/agent/connect",
                ssl=agent.client_context(),
                server_hostname="coordinator.ferryman.internal",
                headers={"Origin": origin},
            )
        assert refused.value.status == 403


async def test_a_preflight_is_allowed_nothing_and_every_answer_has_its_guards(
    tmp_path: Path,
) -> None:
    async with room(tmp_path) as at, aiohttp.ClientSession() as http:
        for method, path in (
            ("GET", "/livez"),
            ("GET", "/v1/host"),
            ("GET", "/nowhere"),
            ("OPTIONS", "/v1/deployment"),
            ("GET", "/v1/agent/connect"),
        ):
            headers = {"Access-Control-Request-Method": "POST", "Cookie": "token=a"}
            async with http.request(method, at.url + path, ssl=at.tls, headers=headers) as said:
                given = said.headers
                assert not [name for name in given if name.lower().startswith("access-control")]
                assert "Set-Cookie" not in given
                assert given["Content-Security-Policy"] == (
                    "default-src 'none'; frame-ancestors 'none'"
                )
                assert given["X-Content-Type-Options"] == "nosniff"
                assert given["X-Frame-Options"] == "DENY"
                assert given["Referrer-Policy"] == "no-referrer"
                assert given["Cache-Control"] == "no-store"
