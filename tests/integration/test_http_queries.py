"""Paths and queries at the HTTP door: decoded once, typed, and refused by name."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from protocol.models import InstanceQueryParams
from tests.parts.http_server import DEPLOYMENT, Door

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["a..b", "%2e%2e", "a%2Fb", "a%252Fb", "a%20b", "%ff", "-a", "%C3%A9", "a" * 129, "a%00"],
)
@pytest.mark.parametrize(
    ("method", "path", "field"),
    [
        ("GET", "/v1/deployment/{}", "deploy_id"),
        ("POST", "/v1/deployment/{}/cancel", "deploy_id"),
        ("GET", "/v1/service/{}/versions", "service_name"),
        ("GET", "/v1/service/{}/instances", "service_name"),
        ("GET", "/v1/instance/{}/version-history", "instance_id"),
        ("GET", "/v1/rollback/{}", "rollback_id"),
        ("GET", "/v1/deployment/{}/timeline", "deploy_id"),
        ("GET", "/v1/rollback/{}/timeline", "rollback_id"),
        ("POST", "/v1/token/{}/revoke", "token_id"),
    ],
)
async def test_a_bad_id_in_the_path_is_refused_by_name(
    door: Door, method: str, path: str, field: str, text: str
) -> None:
    answer = await door.ask(method, path.format(text))
    assert answer.status == 400, answer.body
    assert answer.fields == {field}
    assert "1 to 128" in answer.body["message"]
    assert door.doors.asked == []


async def test_escapes_in_the_path_are_decoded_once(door: Door) -> None:
    assert (await door.ask("GET", "/v1/deployment/deploy%2D1%2e2")).status == 200
    assert door.doors.asked == [("get_deployment_status", "deploy-1.2")]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=abc", "limit"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=", "limit"),
        ("limit=1.0", "limit"),
        ("limit=1_0", "limit"),
        ("limit=%D9%A3", "limit"),
        ("limit=" + "9" * 5000, "limit"),
        ("limit=1&limit=2", "limit"),
        ("offset=-1", "offset"),
        ("offset=9999999999999999999", "offset"),
        ("status=gone", "status"),
        ("version=..", "version"),
        ("colour=red", "colour"),
        ("service_name=other", "service_name"),
        ("%00=1", "\\x00"),
    ],
)
async def test_a_bad_query_is_refused_by_name(door: Door, query: str, field: str) -> None:
    answer = await door.ask("GET", f"/v1/service/user-service/instances?{query}")
    assert (answer.status, answer.type) == (400, "invalid_request")
    assert answer.fields == {field}
    assert door.doors.asked == []


async def test_queries_reach_the_service_typed_and_with_the_documented_defaults(door: Door) -> None:
    for path in (
        "/v1/service/user-service/instances",
        "/v1/service/user-service/instances?status=running&version=v1%2B2&limit=7&offset=3",
        "/v1/service/user-service/versions",
        "/v1/service/user-service/versions?include_stopped=true",
        "/v1/service/user-service/versions?include_stopped=1",
        "/v1/service/user-service/versions?include_stopped=false",
        "/v1/service/user-service/versions?at=2026-11-01T14:00%2B02:00",
        "/v1/service/user-service/rollback-readiness",
        "/v1/service/user-service/rollback-readiness?version=v1%2B2",
        "/v1/instance/instance-1/version-history",
        "/v1/instance/instance-1/version-history?limit=1000&offset=5",
        "/v1/system/stats",
        "/v1/system/stats?period=7d",
        "/v1/deployment?service=user-service&status=in_progress",
        "/v1/rollback?status=&service=",
        "/v1/host?limit=2",
    ):
        answer = await door.ask("GET", path, token="viewer")
        assert answer.status == 200, answer.body
    filtered = InstanceQueryParams(
        service_name="user-service", status="running", version="v1+2", limit=7, offset=3
    )
    assert door.doors.asked == [
        ("get_service_instances", InstanceQueryParams(service_name="user-service")),
        ("get_service_instances", filtered),
        ("get_service_instance_versions", "user-service", False, None),
        ("get_service_instance_versions", "user-service", True, None),
        ("get_service_instance_versions", "user-service", True, None),
        ("get_service_instance_versions", "user-service", False, None),
        ("get_service_instance_versions", "user-service", False, NOON),
        ("get_rollback_readiness", "user-service", ""),
        ("get_rollback_readiness", "user-service", "v1+2"),
        ("get_instance_version_history", "instance-1", 50, 0),
        ("get_instance_version_history", "instance-1", 1000, 5),
        ("get_system_stats", "24h"),
        ("get_system_stats", "7d"),
        ("list_deployments", "user-service", "in_progress", 100, 0),
        ("list_rollbacks", "", "", 100, 0),
        ("list_hosts", "", None, "", 2, 0),
    ]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/service/s/versions?include_stopped=maybe", "include_stopped"),
        ("/v1/service/s/versions?at=yesterday", "at"),
        ("/v1/service/s/versions?at=2026-11-01T14:00", "at"),
        ("/v1/service/s/rollback-readiness?version=a..b", "version"),
        ("/v1/service/s/rollback-readiness?target=v1", "target"),
        ("/v1/system/stats?period=2h", "period"),
        ("/v1/deployment?status=running", "status"),
        ("/v1/rollback?service=a..b", "service"),
        ("/v1/instance/i/version-history?limit=1001", "limit"),
        ("/v1/events?after=-1", "after"),
        ("/v1/events?after=99999999999999999999", "after"),
        ("/openapi.json?pretty=1", "pretty"),
        ("/livez?x=1", "x"),
    ],
)
async def test_every_query_names_what_is_wrong(door: Door, path: str, field: str) -> None:
    answer = await door.ask("GET", path)
    assert answer.status == 400
    assert answer.fields == {field}
    assert answer.body["message"].startswith(f"{field}: ")


async def test_a_post_takes_no_query(door: Door) -> None:
    answer = await door.ask("POST", "/v1/deployment?timeout=5", json=DEPLOYMENT)
    assert (answer.status, answer.fields) == (400, {"timeout"})
    assert door.doors.asked == []
