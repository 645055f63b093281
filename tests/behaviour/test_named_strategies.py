"""Strategies by their names: as the configuration has them, with what a request changes."""

from __future__ import annotations

import pytest

from protocol.access import TokenParams
from protocol.errors import NotFoundError
from protocol.strategy import Strategy
from tests.behaviour.installation import CAREFUL
from tests.behaviour.world import Place, World, asked

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def carried_out(world: World, place: Place, **options: object) -> Strategy | None:
    """The strategy that a deployment to the place gets."""
    options.setdefault("service", place.local.service)
    status = await world.deployed("v1", place, **options)
    return status.rollout.strategy


async def test_a_request_changes_fields_of_the_named_one(world: World) -> None:
    place = await world.place()
    got = await carried_out(world, place, strategy=Strategy(name="careful", max_failures=None))
    assert got == Strategy(name="careful", canary=1, promote="manual", max_failures=None)
    got = await carried_out(world, place, strategy=Strategy(name="careful", canary=0, bake=1))
    assert got == Strategy(name="careful", canary=0, promote="manual", bake=1, max_failures=0)


async def test_a_deployment_gets_its_services_default_unless_it_asks_for_none(
    world: World,
) -> None:
    (place,) = await world.places(1, service=f"careful-{world.number}")
    named = Strategy(**CAREFUL.model_dump(), name="careful")
    assert await carried_out(world, place) == named
    assert await carried_out(world, place, strategy=Strategy()) is None
    other = await world.place()
    assert await carried_out(world, other) is None
    assert await carried_out(world, other, strategy=Strategy(bake=1)) == Strategy(bake=1)


async def test_what_a_deployment_gives_without_a_name_changes_its_services_default(
    world: World,
) -> None:
    (place,) = await world.places(1, service=f"careful-{world.number}")
    ten = await carried_out(world, place, strategy=Strategy(max_parallel=10))
    assert ten == Strategy(
        name="careful", canary=1, promote="manual", max_failures=0, max_parallel=10
    )
    taken = Strategy(canary=0, max_failures=None)
    assert await carried_out(world, place, strategy=taken) == Strategy(
        name="careful", canary=0, promote="manual"
    )

    params = world.params("v1", place, service=place.local.service, strategy=Strategy(canary=2))
    plan = await asked(world, "plan_deployment", params)
    assert plan.strategy == Strategy(name="careful", canary=2, promote="manual", max_failures=0)


async def test_a_rollback_gets_only_what_it_asks_for(world: World) -> None:
    service = f"careful-{world.number}"
    (place,) = await world.places(1, service=service)
    await world.deployed("v1", place, service=service)
    await world.deployed("v2", place, service=service)
    back = await world.rolled_back("v1", place, service=service)
    assert back.rollout.strategy is None
    again = await world.rolled_back(
        "v2", place, service=service, strategy=Strategy(name="careful", promote="auto")
    )
    assert again.rollout.strategy == Strategy(
        name="careful", canary=1, promote="auto", max_failures=0
    )


async def test_a_name_that_no_table_has_is_refused(world: World) -> None:
    place = await world.place()
    before = await world.task_ids()
    with pytest.raises(NotFoundError, match=r"^strategy\.name: no strategy hasty .* careful"):
        await world.deploy("v1", place, strategy=Strategy(name="hasty"))
    assert await world.task_ids() == before


async def test_they_are_listed_with_the_defaults(world: World) -> None:
    found = await asked(world, "list_strategies")
    assert [(one.name, one.strategy) for one in found.strategies] == [("careful", CAREFUL)]
    assert [(one.services, one.name) for one in found.defaults] == [("careful-*", "careful")]


async def test_a_restricted_token_sees_the_defaults_of_its_services(own: World) -> None:
    await own.places(1)
    await own.places(1, service=f"careful-{own.number}")
    for service, shown in ((own.service, 0), (f"careful-{own.number}", 1)):
        made = await own.site.coordinator.create_token(
            TokenParams(role="viewer", services=[service])
        )
        answer = await own.site.ask("GET", "/v1/strategy", token=made.secret)
        assert answer.status == 200
        assert len(answer.data["strategies"]) == 1
        assert len(answer.data["defaults"]) == shown


async def test_the_command_line_takes_one_by_its_name_and_lists_them(own: World) -> None:
    place = await own.place()
    site = own.site
    url = own.put("v1")
    said = await site.ferryman(
        *("deploy", own.service, "v1", "--package-url", url, "--instances", place.id),
        *("--strategy", "careful", "--canary", "0", "--max-parallel", "50%", "--wait"),
    )
    assert said.code == 0, said
    status = await site.coordinator.get_deployment_status(said.out.split()[0])
    assert status.rollout.strategy == Strategy(
        name="careful", canary=0, promote="manual", max_failures=0, max_parallel="50%"
    )
    (of_default,) = await own.places(1, service=f"careful-{own.number}")
    ten = Strategy(name="careful", canary=1, promote="manual", max_failures=0, max_parallel=10)
    for flags, got in (
        (("--max-parallel", "10"), ten),
        (("--strategy", "none"), None),
    ):
        said = await site.ferryman(
            *("deploy", of_default.local.service, "v1", "--package-url", url, "--all"),
            *(*flags, "--wait"),
        )
        assert said.code == 0, said
        status = await site.coordinator.get_deployment_status(said.out.split()[0])
        assert status.rollout.strategy == got
    shown = await site.ferryman("strategies")
    assert shown.out.splitlines()[1].split(None, 2) == [
        "careful",
        "careful-*",
        "canary 1; promote manual; max_failures 0",
    ]
