"""Every refusal of interface section 3 as raw HTTP: status, envelope, type, details; no trace."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.errors import BY_TYPE
from protocol.states import Phase
from tests.behaviour import bad_input
from tests.behaviour.installation import Answer
from tests.behaviour.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

LISTS = ("/v1/deployment", "/v1/rollback")


def refused(answer: Answer, type_: str, *names: str) -> list[dict[str, Any]]:
    """Check the envelope of a refusal whose message holds `names`; returns its details."""
    code = BY_TYPE[type_].code
    assert answer.status == code, answer
    assert set(answer.body) == {"code", "message", "data"}
    assert answer.body["code"] == code
    assert set(answer.data) == {"type", "details"}
    assert answer.data["type"] == type_
    for name in names:
        assert name in answer.body["message"], answer.body
    details: list[dict[str, Any]] = answer.data["details"]
    return details


async def stored(own: World) -> list[int]:
    return [(await own.site.ask("GET", path)).data["total"] for path in LISTS]


@pytest.mark.parametrize(
    ("path", "fields", "bad"),
    [
        ("/v1/deployment", bad_input.DEPLOYMENT, bad_input.BAD_DEPLOYMENTS),
        ("/v1/rollback", bad_input.BATCH, bad_input.BAD_BATCHES),
        (
            "/v1/instance/instance-1/rollback",
            {"target_version": "v1"},
            bad_input.BAD_SINGLES,
        ),
    ],
)
async def test_bad_input_is_400_that_names_the_field_and_stores_nothing(
    own: World, path: str, fields: dict[str, Any], bad: list[tuple[str, Any]]
) -> None:
    before = await stored(own)
    for field, value in bad:
        if field == "package_url" and value == "":
            continue
        answer = await own.site.ask("POST", path, {**fields, field: value})
        (detail,) = refused(answer, "invalid_request", field)
        assert detail["field"].partition("[")[0] == field, value
        assert detail["message"], value
        assert str(detail["message"]) in answer.body["message"]
    assert await stored(own) == before


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/rollback", bad_input.BATCH),
        ("/v1/instance/instance-1/rollback", {}),
    ],
)
@pytest.mark.parametrize(
    "one_package", [{"package_url": bad_input.DEPLOYMENT["package_url"]}, {"sha256": "0" * 64}]
)
async def test_one_package_for_what_may_be_different_versions_is_400(
    own: World, path: str, fields: dict[str, Any], one_package: dict[str, str]
) -> None:
    before = await stored(own)
    body = {**fields, "target_version": "@previous", **one_package}
    (detail,) = refused(await own.site.ask("POST", path, body), "invalid_request", *one_package)
    assert detail["field"] in one_package
    assert "can't be given with @previous" in detail["message"]
    assert await stored(own) == before


async def test_missing_fields_are_named(own: World) -> None:
    answer = await own.site.ask("POST", "/v1/deployment", {})
    details = refused(answer, "invalid_request")
    assert [detail["field"] for detail in details] == list(bad_input.DEPLOYMENT)
    assert all("required" in detail["message"] for detail in details)


@pytest.mark.parametrize(
    "raw", [b"", b"nonsense", b"[]", b'{"service": NaN}', b'{"a": 1, "a": 2}', b"\xff", b"[" * 9999]
)
async def test_a_body_that_is_no_json_object_is_400(own: World, raw: bytes) -> None:
    refused(await own.site.ask("POST", "/v1/deployment", raw=raw or b" "), "invalid_request")


async def test_bad_names_in_the_path_are_400(own: World) -> None:
    for path, field in (
        ("/v1/deployment/{}", "deploy_id"),
        ("/v1/rollback/{}", "rollback_id"),
        ("/v1/service/{}/versions", "service_name"),
        ("/v1/service/{}/instances", "service_name"),
        ("/v1/instance/{}/version-history", "instance_id"),
    ):
        for name in ("-a", "a..b", "a%20b", "%C3%A9", "x" * 129):
            (detail,) = refused(
                await own.site.ask("GET", path.format(name)), "invalid_request", field
            )
            assert detail["field"] == field
    for path, field in (
        ("/v1/deployment/a..b/cancel", "deploy_id"),
        ("/v1/rollback/a..b/cancel", "rollback_id"),
    ):
        (detail,) = refused(await own.site.ask("POST", path), "invalid_request", field)
        assert detail["field"] == field


async def test_bad_queries_are_400(own: World) -> None:
    place = await own.place()
    history = f"/v1/instance/{place.id}/version-history"
    instances = f"/v1/service/{own.service}/instances"
    for path, field in (
        *((f"{history}?limit={n}", "limit") for n in ("0", "1001", "-1", "many", "")),
        *((f"{history}?offset={n}", "offset") for n in ("-1", "1.5", "")),
        *((f"{path}?limit={n}", "limit") for path in (*LISTS, instances) for n in ("0", "1001")),
        (f"{instances}?status=healthy", "status"),
        (f"{instances}?colour=red", "colour"),
        (f"{history}?limit=1&limit=2", "limit"),
        (f"/v1/service/{own.service}/versions?include_stopped=maybe", "include_stopped"),
        ("/v1/system/stats?period=2h", "period"),
        ("/v1/deployment?status=done", "status"),
    ):
        details = refused(await own.site.ask("GET", path), "invalid_request", field)
        assert details[0]["field"] == field, path


async def test_unknown_things_are_404_by_name(own: World) -> None:
    place = await own.place()
    before = await stored(own)
    deployment = own.params("v1", place, instances=[place.id, "nobody"]).model_dump()
    (detail,) = refused(
        await own.site.ask("POST", "/v1/deployment", deployment), "not_found", "nobody"
    )
    assert (detail["field"], detail["instance_id"]) == ("instances", "nobody")
    batch = {"service": own.service, "target_version": "v1", "instances": ["nobody"]}
    (detail,) = refused(await own.site.ask("POST", "/v1/rollback", batch), "not_found", "nobody")
    assert (detail["field"], detail["instance_id"]) == ("instances", "nobody")
    (detail,) = refused(
        await own.site.ask("POST", "/v1/instance/nobody/rollback", {"target_version": "v1"}),
        "not_found",
        "nobody",
    )
    assert (detail["field"], detail["instance_id"]) == ("instance_id", "nobody")

    for method, path, field in (
        ("GET", "/v1/deployment/nothing", "deploy_id"),
        ("POST", "/v1/deployment/nothing/cancel", "deploy_id"),
        ("GET", "/v1/rollback/nothing", "rollback_id"),
        ("POST", "/v1/rollback/nothing/cancel", "rollback_id"),
        ("GET", "/v1/service/nothing/versions", "service_name"),
        ("GET", "/v1/service/nothing/instances", "service_name"),
        ("GET", "/v1/instance/nothing/version-history", "instance_id"),
    ):
        (detail,) = refused(await own.site.ask(method, path), "not_found", "nothing")
        assert detail["field"] == field, path
    assert await stored(own) == before


async def test_an_instance_of_another_service_is_400(own: World) -> None:
    other = await own.place(service=f"other-{own.number}")
    before = await stored(own)
    body = own.params("v1", other).model_dump()
    (detail,) = refused(
        await own.site.ask("POST", "/v1/deployment", body), "invalid_request", other.id
    )
    assert detail["field"] == "instances"
    assert (detail["instance_id"], detail["service"]) == (other.id, other.local.service)
    assert await stored(own) == before


async def test_another_body_with_the_same_id_is_409(own: World) -> None:
    place = await own.place()
    body = own.params("v1", place).model_dump()
    assert (await own.site.ask("POST", "/v1/deployment", body)).status == 200
    await own.ended(body["deploy_id"])
    again = await own.site.ask("POST", "/v1/deployment", {**body, "version": "v2"})
    (detail,) = refused(again, "conflict", body["deploy_id"])
    assert detail["field"] == "deploy_id"


async def test_a_held_instance_is_409_that_names_it_and_the_holder(own: World) -> None:
    place = await own.place("v1")
    gate = place.driver.hold("start")
    holder = await own.deploy("v2", place)
    await gate.reached.wait()
    before = await stored(own)
    body = {"service": own.service, "target_version": "v1", "instances": [place.id]}
    for path, sent in (
        ("/v1/deployment", own.params("v3", place).model_dump()),
        ("/v1/rollback", {**body, "package_url": own.put("v0"), "target_version": "v0"}),
        (
            f"/v1/instance/{place.id}/rollback",
            {"package_url": own.put("v0"), "target_version": "v0"},
        ),
    ):
        details = refused(await own.site.ask("POST", path, sent), "conflict", place.id, holder)
        assert details == [{"instance_id": place.id, "task_id": holder}]
    assert await stored(own) == before
    gate.open()
    await own.ended(holder)


async def test_a_rollback_that_the_fleets_state_forbids_is_409(own: World) -> None:
    runs, never = await own.places(2)
    await own.deployed("v1", runs)
    before = await stored(own)
    for place, version, why in (
        (runs, "v1", "already runs v1"),
        (runs, "v0", "no successful task brought"),
        (never, "v1", "never ran"),
    ):
        body = {"service": own.service, "target_version": version, "instances": [place.id]}
        for path, sent in (
            ("/v1/rollback", body),
            (f"/v1/instance/{place.id}/rollback", {"target_version": version}),
        ):
            (detail,) = refused(await own.site.ask("POST", path, sent), "conflict", place.id, why)
            assert (detail["instance_id"], detail["version"]) == (place.id, version)
    assert await stored(own) == before


async def test_cancelling_an_ended_task_is_409_that_tells_the_state(own: World) -> None:
    place = await own.place("v1")
    deploy_id = await own.deploy("v2", place)
    await own.in_phase(deploy_id, place, Phase.COMPLETED)
    rollback_id = await own.roll_back("v1", place)
    await own.rollback_ended(rollback_id)
    for path, task_id in (
        (f"/v1/deployment/{deploy_id}/cancel", deploy_id),
        (f"/v1/rollback/{rollback_id}/cancel", rollback_id),
    ):
        details = refused(await own.site.ask("POST", path), "conflict", "completed")
        assert details == [{"task_id": task_id, "status": "completed"}]


async def test_a_rollback_whose_body_names_another_instance_than_its_path_is_400(
    own: World,
) -> None:
    place = await own.place("v1")
    body = {"instance_id": "another", "target_version": "v1"}
    answer = await own.site.ask("POST", f"/v1/instance/{place.id}/rollback", body)
    (detail,) = refused(answer, "invalid_request", "instance_id")
    assert detail["field"] == "instance_id"


async def test_a_path_that_the_body_contradicts_is_told_on_one_printable_line(own: World) -> None:
    body = {"instance_id": "another", "target_version": "v1"}
    answer = await own.site.ask("POST", "/v1/instance/one%0Atwo%1B[2J/rollback", body)
    (detail,) = refused(answer, "invalid_request", r"one\ntwo\x1b[2J")
    assert detail["message"].isprintable()
