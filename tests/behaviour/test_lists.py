"""The added lists: newest first, in pages, filtered by query parameters."""

from __future__ import annotations

import pytest

from tests.behaviour.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_deployments_are_listed_newest_first_by_service_and_status(own: World) -> None:
    place = await own.place()
    first = await own.deployed("v1", place)
    place.check.sick["v2"] = "database unreachable"
    second = await own.deployed("v2", place)

    answer = await own.site.ask("GET", f"/v1/deployment?service={own.service}")
    assert [row["deploy_id"] for row in answer.data["deployments"]] == [
        second.deploy_id,
        first.deploy_id,
    ]
    answer = await own.site.ask("GET", f"/v1/deployment?service={own.service}&status=failed")
    assert [row["deploy_id"] for row in answer.data["deployments"]] == [second.deploy_id]
    answer = await own.site.ask("GET", f"/v1/deployment?service={own.service}&limit=1&offset=1")
    assert [row["deploy_id"] for row in answer.data["deployments"]] == [first.deploy_id]
    assert answer.data["total"] == 2


async def test_the_service_that_changed_last_is_listed_first(own: World) -> None:
    place = await own.place()
    await own.deployed("v1-of-" + own.service, place)

    answer = await own.site.ask("GET", "/v1/service")
    assert answer.data["services"][0]["service"] == own.service
    answer = await own.site.ask("GET", f"/v1/service?version=v1-of-{own.service}")
    assert [row["service"] for row in answer.data["services"]] == [own.service]


async def test_hosts_are_listed_by_service_and_connection(own: World) -> None:
    place = await own.place("v1")

    async def hosts(query: str) -> list[str]:
        answer = await own.site.ask("GET", f"/v1/host?service={own.service}{query}")
        assert answer.status == 200, answer
        return [name for row in answer.data["hosts"] for name in row["instances"]]

    assert place.id in await hosts("")
    assert place.id in await hosts("&connected=true")
    assert await hosts("&connected=false") == []


async def test_a_filter_that_is_none_is_refused_by_name(own: World) -> None:
    for path, field in (
        ("/v1/host?connected=perhaps", "connected"),
        ("/v1/service?version=a/b", "version"),
        ("/v1/service?colour=red", "colour"),
    ):
        answer = await own.site.ask("GET", path)
        assert (answer.status, answer.data["details"][0]["field"]) == (400, field)
