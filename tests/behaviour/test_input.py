"""Interface section 3, "Input", in the library; raw HTTP and the command line follow elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from protocol.errors import InvalidRequestError
from protocol.models import (
    BatchRollbackParams,
    DeployParams,
    InstanceQueryParams,
    InstanceRollbackParams,
)
from protocol.params import Params
from protocol.states import TaskState
from tests.behaviour import bad_input
from tests.behaviour.bad_input import BATCH, DEPLOYMENT, NO_LIMITS, NO_NAMES, NO_OFFSETS, SINGLE
from tests.behaviour.world import World
from tests.parts.packages import sha256

pytestmark = pytest.mark.asyncio(loop_scope="session")

ACCEPTS = {
    "service": "A-Z a-z 0-9 . _ -",
    "service_name": "A-Z a-z 0-9 . _ -",
    "deploy_id": "A-Z a-z 0-9 . _ -",
    "instance_id": "A-Z a-z 0-9 . _ -",
    "version": "A-Z a-z 0-9 . _ + -",
    "target_version": "A-Z a-z 0-9 . _ + -",
    "package_url": "https:// URL without user info",
    "instances": "1 to 20000 different instance ids",
    "timeout": "from 1 to 86400",
    "retry_count": "from 0 to 100",
    "limit": "from 1 to 1000",
    "offset": "from 0",
    "sha256": "SHA-256 as 64 lower-case hex digits",
    "force": "true or false",
    "status": "running, stopped, error or empty",
}


def refused(model: type[Params], fields: dict[str, Any], field: str, value: Any) -> None:
    """Check that `value` is refused, naming the field and what it accepts."""
    with pytest.raises(InvalidRequestError) as caught:
        model(**{**fields, field: value})
    (detail,) = caught.value.details
    assert detail["field"].partition("[")[0] == field, value
    assert detail["field"] in caught.value.message
    known = field in model.model_fields
    all_fields = ", ".join(model.model_fields)
    expected = ACCEPTS[field] if known else f"not known; accepted are {all_fields}"
    assert expected in detail["message"], (value, detail)
    assert expected in caught.value.message


async def test_each_field_of_a_deployment_is_checked() -> None:
    for field, value in bad_input.BAD_DEPLOYMENTS:
        if not (field == "sha256" and value is None):
            refused(DeployParams, DEPLOYMENT, field, value)


async def test_each_field_of_a_batch_rollback_is_checked() -> None:
    for field, value in bad_input.BAD_BATCHES:
        if not (field == "package_url" and value == ""):
            refused(BatchRollbackParams, BATCH, field, value)


async def test_each_field_of_a_single_rollback_is_checked() -> None:
    for field, value in bad_input.BAD_SINGLES:
        refused(InstanceRollbackParams, SINGLE, field, value)
    for value in NO_NAMES:
        refused(InstanceRollbackParams, SINGLE, "instance_id", value)


async def test_each_field_of_an_instance_query_is_checked() -> None:
    query = {"service_name": "user-service"}
    for value in NO_NAMES:
        refused(InstanceQueryParams, query, "service_name", value)
    for value in NO_LIMITS:
        refused(InstanceQueryParams, query, "limit", value)
    for value in NO_OFFSETS:
        refused(InstanceQueryParams, query, "offset", value)
    for value in ("healthy", "RUNNING", 1, None):
        refused(InstanceQueryParams, query, "status", value)


async def test_every_required_field_that_is_missing_is_named() -> None:
    required: list[tuple[type[Params], dict[str, Any]]] = [
        (DeployParams, DEPLOYMENT),
        (BatchRollbackParams, BATCH),
        (InstanceRollbackParams, SINGLE),
        (InstanceQueryParams, {"service_name": "user-service"}),
    ]
    for model, fields in required:
        for missing in fields:
            rest = {name: value for name, value in fields.items() if name != missing}
            with pytest.raises(InvalidRequestError, match=f"{missing}: required") as caught:
                model(**rest)
            assert ACCEPTS[missing] in caught.value.message


async def test_all_wrong_fields_are_named_at_once() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        DeployParams(**{**DEPLOYMENT, "service": "a b", "timeout": 0, "speed": "high"})
    named = {detail["field"] for detail in caught.value.details}
    assert named == {"service", "timeout", "speed"}
    assert all(f"{field}: " in caught.value.message for field in named)


async def test_what_the_rules_allow_is_accepted() -> None:
    for name in bad_input.NAMES:
        DeployParams(**{**DEPLOYMENT, "service": name, "deploy_id": name, "instances": [name]})
    for version in bad_input.VERSIONS:
        DeployParams(**{**DEPLOYMENT, "version": version})
    for timeout in (1, 86_400):
        DeployParams(**DEPLOYMENT, timeout=timeout)
    for retry_count in (0, 100):
        DeployParams(**DEPLOYMENT, retry_count=retry_count)
    DeployParams(**{**DEPLOYMENT, "instances": [f"i-{n}" for n in range(20_000)]})
    DeployParams(**DEPLOYMENT, sha256=sha256(b""))
    for limit in (1, 1000):
        InstanceQueryParams(service_name="a", limit=limit)


@pytest.mark.parametrize(
    ("function", "field"),
    [
        ("get_deployment_status", "deploy_id"),
        ("cancel_deployment", "deploy_id"),
        ("get_service_instance_versions", "service_name"),
        ("get_instance_version_history", "instance_id"),
        ("get_rollback_status", "rollback_id"),
        ("cancel_rollback", "rollback_id"),
    ],
)
async def test_ids_that_are_plain_arguments_are_checked(
    world: World, function: str, field: str
) -> None:
    ask: Callable[[Any], Awaitable[Any]] = getattr(world.door, function)
    for value in NO_NAMES:
        with pytest.raises(InvalidRequestError) as caught:
            await ask(value)
        (detail,) = caught.value.details
        assert detail["field"] == field, value
        assert field in caught.value.message


async def test_limit_and_offset_that_are_plain_arguments_are_checked(world: World) -> None:
    place = await world.place()
    ask: Callable[..., Awaitable[Any]] = world.door.get_instance_version_history
    for value in NO_LIMITS:
        with pytest.raises(InvalidRequestError, match="from 1 to 1000") as caught:
            await ask(place.id, value)
        assert caught.value.details[0]["field"] == "limit", value
    for value in NO_OFFSETS:
        with pytest.raises(InvalidRequestError, match="from 0") as caught:
            await ask(place.id, 50, value)
        assert caught.value.details[0]["field"] == "offset", value


async def test_include_stopped_is_true_or_false(world: World) -> None:
    place = await world.place()
    ask: Callable[..., Awaitable[Any]] = world.door.get_service_instance_versions
    for value in ("true", 1, None):
        with pytest.raises(InvalidRequestError, match="true or false") as caught:
            await ask(place.local.service, value)
        assert caught.value.details[0]["field"] == "include_stopped"


async def test_versions_may_have_a_plus_all_the_way_to_the_host(world: World) -> None:
    place = await world.place()
    url = world.site.packages.put(f"{world.service}/plus.tar.gz", world.package("plus"))
    status = await world.deployed("1.2.3-rc.1+build.5", place, package_url=url)
    assert status.status is TaskState.COMPLETED
    assert await place.runs() == "1.2.3-rc.1+build.5"


async def test_a_retry_count_of_0_and_a_timeout_of_a_day_are_taken(world: World) -> None:
    place = await world.place()
    status = await world.deployed("v1", place, retry_count=0, timeout=86_400)
    assert status.status is TaskState.COMPLETED
