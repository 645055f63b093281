"""The reference's parameters and results: every documented field, its JSON name, type, default.

Added fields are not looked at here.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from coordinator import AsyncClient, Client, Coordinator
from coordinator.ports import Changes, HistoryRow
from coordinator.store import SqlStore
from protocol import models
from protocol.models import InstanceQueryParams
from tests.behaviour.reference import PARAMETERS, REQUIRED, RESULTS, Shape
from tests.behaviour.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")

ADDED = {"sha256", "strategy", "force", "plan"}


def check(data: Any, shape: Shape, where: str) -> None:
    """Check that JSON `data` is of this shape; more fields than documented are no error."""
    if isinstance(shape, Mapping):
        assert isinstance(data, dict), where
        for name, inner in shape.items():
            assert name in data, f"{where}.{name} is missing"
            check(data[name], inner, f"{where}.{name}")
    elif isinstance(shape, list):
        assert isinstance(data, list), where
        assert data, f"{where} is empty: nothing was looked at"
        for each in data:
            check(each, shape[0], f"{where}[]")
    else:
        assert is_go(data, shape), f"{where} is {data!r}, not {shape}"


def is_go(data: Any, type_: str) -> bool:
    """Whether `data` is what Go would write for a value of this type."""
    match type_:
        case "string":
            return isinstance(data, str)
        case "int":
            return isinstance(data, int) and not isinstance(data, bool)
        case "float64":
            return isinstance(data, int | float) and not isinstance(data, bool)
        case "time":
            pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z"
            return isinstance(data, str) and bool(re.fullmatch(pattern, data))
        case "*time":
            return data is None or is_go(data, "time")
    inner = type_.removeprefix("map[string]")
    return (
        isinstance(data, dict)
        and bool(data)
        and all(isinstance(key, str) and is_go(value, inner) for key, value in data.items())
    )


async def test_every_result_has_every_documented_field_with_its_type(world: World) -> None:
    door, seen = world.door, set()

    def look(result: BaseModel) -> None:
        name = type(result).__name__
        check(result.model_dump(mode="json"), RESULTS[name], name)
        seen.add(name)

    (place,) = await world.places(1, metadata={"zone": "a"}, address="10.0.0.5")
    params = world.params("v1", place)
    look(await door.execute_deployment(params))
    look(await world.ended(params.deploy_id))
    look(await world.deployed("v2", place))
    gate = place.driver.hold("start")
    running = await world.deploy("v3", place)
    await gate.reached.wait()
    look(await door.get_deployment_status(running))
    look(await door.cancel_deployment(running))
    gate.open()
    await world.ended(running)
    single = models.InstanceRollbackParams(instance_id=place.id, target_version="v2")
    one = await door.rollback_instance(single)
    look(one)
    look(await world.rollback_ended(one.rollback_id))
    gate = place.driver.hold("start")
    batch = models.BatchRollbackParams(
        service=world.service, target_version="v1", instances=[place.id]
    )
    several = await door.rollback_batch(batch)
    look(several)
    await gate.reached.wait()
    look(await door.get_rollback_status(several.rollback_id))
    look(await door.cancel_rollback(several.rollback_id))
    gate.open()
    await world.rollback_ended(several.rollback_id)
    look(await door.get_service_instance_versions(world.service))
    look(await door.get_service_instances(InstanceQueryParams(service_name=world.service)))
    look(await door.get_instance_version_history(place.id))
    look(await door.get_system_health())
    look(await door.get_system_stats())
    assert seen == set(RESULTS)


async def test_so_has_every_answer_over_http(own: World) -> None:
    ask = own.site.ask
    (place,) = await own.places(1, metadata={"zone": "a"})
    params = own.params("v1", place)
    answers = [("DeployResult", await ask("POST", "/v1/deployment", params.model_dump()))]
    await own.ended(params.deploy_id)
    gate = place.driver.hold("start")
    running = await own.deploy("v2", place)
    await gate.reached.wait()
    answers += [
        ("DeployStatus", await ask("GET", f"/v1/deployment/{running}")),
        ("DeployCancelResult", await ask("POST", f"/v1/deployment/{running}/cancel")),
    ]
    gate.open()
    await own.ended(running)
    body = {"service": own.service, "target_version": "v1", "instances": [place.id]}
    gate = place.driver.hold("start")
    answers.append(("BatchRollbackResult", await ask("POST", "/v1/rollback", body)))
    rollback_id = answers[-1][1].data["rollback_id"]
    await gate.reached.wait()
    answers += [
        ("RollbackStatus", await ask("GET", f"/v1/rollback/{rollback_id}")),
        ("RollbackCancelResult", await ask("POST", f"/v1/rollback/{rollback_id}/cancel")),
    ]
    gate.open()
    await own.rollback_ended(rollback_id)
    single = await ask(
        "POST", f"/v1/instance/{place.id}/rollback", {"target_version": "v1", "force": True}
    )
    await own.rollback_ended(single.data["rollback_id"])
    answers += [
        ("RollbackResult", single),
        ("ServiceVersions", await ask("GET", f"/v1/service/{own.service}/versions")),
        ("ServiceInstances", await ask("GET", f"/v1/service/{own.service}/instances")),
        ("VersionHistory", await ask("GET", f"/v1/instance/{place.id}/version-history")),
        ("SystemHealth", await ask("GET", "/v1/system/health")),
        ("SystemStats", await ask("GET", "/v1/system/stats")),
    ]
    assert {name for name, _ in answers} == set(RESULTS)
    for name, answer in answers:
        assert answer.status == 200
        assert set(answer.body) == {"code", "message", "data"}
        assert (answer.body["code"], answer.body["message"]) == (200, "success")
        check(answer.data, RESULTS[name], name)


async def test_parameters_have_the_documented_fields_and_defaults() -> None:
    for name, expected in PARAMETERS.items():
        fields = getattr(models, name).model_fields
        found = {
            field: REQUIRED if info.is_required() else info.default
            for field, info in fields.items()
            if field in expected or field not in ADDED
        }
        assert found == expected, name


@pytest.mark.parametrize("door", [Coordinator, AsyncClient, Client])
async def test_every_door_has_the_twelve_functions_with_their_documented_defaults(
    door: type[Any],
) -> None:
    functions: Mapping[str, Mapping[str, Any]] = {
        "execute_deployment": {"params": REQUIRED},
        "get_deployment_status": {"deploy_id": REQUIRED},
        "cancel_deployment": {"deploy_id": REQUIRED},
        "get_service_instance_versions": {
            "service_name": REQUIRED,
            "include_stopped": False,
            "at": None,
        },
        "get_service_instances": {"params": REQUIRED},
        "get_instance_version_history": {"instance_id": REQUIRED, "limit": 50, "offset": 0},
        "rollback_instance": {"params": REQUIRED},
        "rollback_batch": {"params": REQUIRED},
        "get_rollback_status": {"rollback_id": REQUIRED},
        "cancel_rollback": {"rollback_id": REQUIRED},
        "get_system_health": {},
        "get_system_stats": {"period": "24h"},
    }
    for name, expected in functions.items():
        signature = inspect.signature(getattr(door, name))
        found = {
            parameter.name: REQUIRED if parameter.default is parameter.empty else parameter.default
            for parameter in signature.parameters.values()
            if parameter.name != "self"
        }
        assert found == expected, name


async def test_the_documented_defaults_hold_over_http(own: World) -> None:
    running, stopped = await own.places(2)
    gate = running.driver.hold("start")
    params = own.params("v1", running).model_dump(exclude={"timeout", "retry_count", "sha256"})
    assert (await own.site.ask("POST", "/v1/deployment", params)).status == 200
    await gate.reached.wait()
    spelt_out = {**params, "timeout": 300, "retry_count": 3}
    again = await own.site.ask("POST", "/v1/deployment", spelt_out)
    assert again.status == 200, "with the documented defaults it is the same deployment"
    status = (await own.site.ask("GET", f"/v1/deployment/{params['deploy_id']}")).data
    (part,) = models.DeployStatus.model_validate(status).instances
    assert part.deadline is not None
    assert round((part.deadline - part.started_at).total_seconds()) == 300
    gate.open()
    await own.ended(params["deploy_id"])

    page = (await own.site.ask("GET", f"/v1/service/{own.service}/instances")).data
    assert (page["limit"], page["offset"]) == (100, 0)
    versions = (await own.site.ask("GET", f"/v1/service/{own.service}/versions")).data
    assert [row["instance_id"] for row in versions["instances"]] == [running.id]
    assert stopped.id not in str(versions)
    assert (await own.site.ask("GET", "/v1/system/stats")).data["period"] == "24h"


async def test_a_page_of_the_history_has_50_rows_unless_asked_otherwise(own: World) -> None:
    place = await own.place()
    now = datetime.now(UTC)
    rows = [
        HistoryRow(place.id, own.service, "v1", "deploy", f"deploy-{n}", now, "success")
        for n in range(51)
    ]
    store = await SqlStore.open(own.site.coordinator.settings.database_url)
    await store.commit(Changes(history=rows))
    await store.close()
    path = f"/v1/instance/{place.id}/version-history"
    page = (await own.site.ask("GET", path)).data
    assert (len(page["history"]), page["total"]) == (50, 51)
    for door in own.site.doors.values():
        assert len((await door.get_instance_version_history(place.id)).history) == 50


async def test_the_documented_instance_row_is_what_the_agent_declares(world: World) -> None:
    (place,) = await world.places(1, metadata={"zone": "a"}, address="10.0.0.5", port=8443)
    await world.deployed("v1", place)
    row = await world.row(place)
    assert (row.instance_id, row.host, row.port) == (place.id, "10.0.0.5", 8443)
    assert row.metadata == {"zone": "a"}
    plain = await world.place()
    assert (await world.row(plain)).host == "127.0.0.1", "where the agent connects from"
