"""Bodies at the HTTP door: one JSON object of bounded size; a wrong field is refused by name."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pytest

from coordinator.http.envelope import MAX_BODY
from protocol.models import DeployParams, InstanceRollbackParams
from tests.parts.http_server import DEPLOYMENT, Door


async def test_a_whole_number_may_be_written_with_a_point(door: Door) -> None:
    body = b'{"role": "viewer", "ttl": 60.0}'
    assert (await door.ask("POST", "/v1/token", data=body)).status == 200
    for wrong in (b"60.5", b"1e400", b"-1.0", b"1e30"):
        refused = await door.ask("POST", "/v1/token", data=body.replace(b"60.0", wrong))
        assert refused.status == 400, wrong


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "must be a JSON object"),
        (b"{", "line 1"),
        (b"service=user-service", "must be a JSON object"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'{"service": "\xff"}', "byte 13 is not UTF-8"),
        (b'{"timeout": NaN}', "NaN"),
        (b'{"timeout": -Infinity}', "-Infinity"),
        (b'{"timeout": ' + b"9" * 5000 + b"}", "too many digits"),
        (b'{"a":' * 200_000, "nested too deep"),
        (b"[" * 1_000_000, "nested too deep"),
        (json.dumps("x" * MAX_BODY).encode(), "at most 4194304 bytes are accepted"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_malformed_body_is_refused_and_named(door: Door, body: bytes, said: str) -> None:
    answer = await door.ask("POST", "/v1/deployment", data=io.BytesIO(body))
    assert (answer.status, answer.type) == (400, "invalid_request")
    assert answer.fields == {"body"}
    assert said in answer.body["message"]
    assert door.doors.asked == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"service": "a/b"}, "service"),
        ({"version": ""}, "version"),
        ({"instances": []}, "instances"),
        ({"instances": ["a", "a"]}, "instances"),
        ({"instances": ["a", "b/c"]}, "instances[1]"),
        ({"instances": "a"}, "instances"),
        ({"package_url": "http://packages.example.com/a.tar"}, "package_url"),
        ({"deploy_id": None}, "deploy_id"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": "300"}, "timeout"),
        ({"timeout": 1.5}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"timeout": 1e300}, "timeout"),
        ({"retry_count": 101}, "retry_count"),
        ({"sha256": "ABC"}, "sha256"),
        ({"colour": "red"}, "colour"),
        ({"self": 1}, "self"),
        ({"a b": 1}, "a b"),
        ({"service": "\ud800"}, "service"),
    ],
)
async def test_a_wrong_field_is_refused_by_name(
    door: Door, change: dict[str, Any], field: str
) -> None:
    body = json.dumps({**DEPLOYMENT, **change})
    answer = await door.ask("POST", "/v1/deployment", data=body)
    assert (answer.status, answer.type) == (400, "invalid_request")
    assert answer.fields == {field}
    assert answer.body["message"].startswith(f"{field}: ")
    assert door.doors.asked == []


async def test_a_key_that_stands_there_twice_is_refused(door: Door) -> None:
    text = json.dumps(DEPLOYMENT)[:-1] + ', "deploy_id": "deploy-2"}'
    answer = await door.ask("POST", "/v1/deployment", data=text)
    assert answer.status == 400
    assert answer.fields == {"deploy_id"}


async def test_a_key_that_is_no_text_is_refused(door: Door) -> None:
    text = json.dumps({**DEPLOYMENT, "\ud800": 1})
    answer = await door.ask("POST", "/v1/deployment", data=text)
    assert (answer.status, answer.type) == (400, "invalid_request")


async def test_twenty_thousand_wrong_ids_are_refused_with_a_hundred_of_them(door: Door) -> None:
    answer = await door.ask(
        "POST", "/v1/deployment", json={**DEPLOYMENT, "instances": list(range(20_000))}
    )
    assert answer.status == 400
    assert len(answer.fields) == 100
    assert len(answer.body["message"]) < 2000


@pytest.mark.parametrize(
    "content_type", ["application/x-www-form-urlencoded", "text/plain; charset=latin-1", "nonsense"]
)
async def test_any_content_type_is_read_as_json(door: Door, content_type: str) -> None:
    answer = await door.ask(
        "POST",
        "/v1/deployment",
        data=json.dumps(DEPLOYMENT).encode(),
        headers={"Content-Type": content_type},
    )
    assert answer.status == 200
    assert door.doors.asked == [("execute_deployment", DeployParams(**DEPLOYMENT))]


async def test_twenty_thousand_instances_fit(door: Door) -> None:
    instances = [f"{number:05d}-{'x' * 100}" for number in range(20_000)]
    body = json.dumps({**DEPLOYMENT, "instances": instances}).encode()
    assert 2_000_000 < len(body) < MAX_BODY
    answer = await door.ask("POST", "/v1/deployment", data=io.BytesIO(body))
    assert answer.status == 200
    assert answer.body["data"]["total_instances"] == 20_000


@pytest.mark.parametrize(
    "body",
    [b"not gzip at all", gzip.compress(b" " * (64 * 1024 * 1024)), gzip.compress(b"{}", mtime=0)],
)
async def test_a_compressed_body_is_refused_and_never_unpacked(
    door: Door, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        answer = await door.ask(
            "POST", "/v1/deployment", data=body, headers={"Content-Encoding": "gzip"}
        )
        assert (answer.status, answer.fields) == (400, {"body"})
        assert "gzip" in answer.body["message"]
    assert caplog.text == ""


@pytest.mark.parametrize("expected", ["100-continue", "miracles"])
async def test_a_client_that_waits_to_be_asked_for_the_body_is_asked(
    door: Door, expected: str
) -> None:
    answer = await door.ask("POST", "/v1/deployment", json=DEPLOYMENT, headers={"Expect": expected})
    assert answer.status == 200


@pytest.mark.parametrize("body", [b"", b"{}", b'{"deploy_id": "deploy-1"}'])
async def test_cancel_takes_no_body_or_one_that_says_the_same(door: Door, body: bytes) -> None:
    answer = await door.ask("POST", "/v1/deployment/deploy-1/cancel", data=body)
    assert answer.status == 200
    assert door.doors.asked == [("cancel_deployment", "deploy-1")]


async def test_a_body_that_differs_from_the_path_is_refused(door: Door) -> None:
    body = {"target_version": "v1", "instance_id": "instance-2"}
    answer = await door.ask("POST", "/v1/instance/instance-1/rollback", json=body)
    assert (answer.status, answer.fields) == (400, {"instance_id"})
    assert door.doors.asked == []
    for same in ({"target_version": "v1"}, {"target_version": "v1", "instance_id": "instance-1"}):
        answer = await door.ask("POST", "/v1/instance/instance-1/rollback", json=same)
        assert answer.status == 200
    params = InstanceRollbackParams(instance_id="instance-1", target_version="v1")
    assert door.doors.asked == [("rollback_instance", params)] * 2
