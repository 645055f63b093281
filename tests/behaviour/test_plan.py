"""(+) Plans: what a deployment would do is told before, and a deployment can be held to it."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from protocol.access import TokenParams
from protocol.errors import (
    ConflictError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
)
from protocol.models import DeployParams
from protocol.plan import DeploymentPlan, PlannedInstance
from protocol.states import TaskState
from protocol.strategy import Strategy
from tests.behaviour.world import OFTEN, Place, World, asked
from tests.parts.audit_trail import newest
from tests.parts.packages import tar_gz
from tests.parts.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def plan_of(world: World, params: DeployParams) -> DeploymentPlan:
    made = await asked(world, "plan_deployment", params)
    assert isinstance(made, DeploymentPlan)
    return made


def of(plan: DeploymentPlan, place: Place) -> PlannedInstance:
    return next(one for one in plan.instances if one.instance_id == place.id)


async def changed_since(world: World, params: DeployParams, plan: DeploymentPlan) -> set[str]:
    """In what the fleet or the request is found to have changed; nothing is started."""
    before = await world.task_ids()
    with pytest.raises(ConflictError) as refused:
        await world.door.execute_deployment(params.model_copy(update={"plan": plan.plan}))
    assert refused.value.message.startswith("plan: it is another one by now. Changed since")
    assert all(one["message"] in refused.value.message for one in refused.value.details)
    assert await world.task_ids() == before
    return {one["changed"] for one in refused.value.details}


# ---- what is told ----------------------------------------------------------


async def test_a_plan_names_every_instance_and_changes_nothing(world: World) -> None:
    places = await world.places(3)
    strategy = Strategy(canary="10%", max_parallel="25%", bake=5, promote="manual")
    params = world.params("v1", *places, strategy=strategy)
    trail = await newest(world.site)

    plan = await plan_of(world, params)

    assert [(one.canary, one.instances) for one in plan.batches] == [
        (True, [places[0].id]),
        (False, [places[1].id]),
        (False, [places[2].id]),
    ]
    assert [one.instance_id for one in plan.instances] == [place.id for place in places]
    assert [one.text for one in plan.sizes] == [
        "25% of 3 = 1 (0.75 rounded down, but at least 1)",
        "10% of 3 = 1 (0.3 rounded up)",
    ]
    assert (plan.total_instances, plan.away, plan.strategy) == (3, 0, strategy)
    assert (plan.longest_seconds, plan.ends_by, plan.begins_at) == (None, None, None)
    assert await world.task_ids() == set()
    assert await newest(world.site) == trail
    assert world.downloads("v1") == 0
    assert await world.history(places[0]) == []


async def test_the_same_question_gets_the_same_plan(world: World) -> None:
    place = await world.place("v1")
    params = world.params("v2", place)
    first = await plan_of(world, params)
    again = await plan_of(world, params.model_copy(update={"deploy_id": world.new_id()}))
    assert first.plan == again.plan
    assert first.longest_seconds == 60 + 120
    assert first.ends_by is not None
    assert (first.ends_by - first.made_at).total_seconds() == 180


async def test_who_is_away_and_who_is_held_is_told(world: World) -> None:
    away, held, free = await world.place(), await world.place(), await world.place()
    gate = held.driver.hold("start")
    task_id = await world.deploy("v1", held)
    await gate.reached.wait()
    await world.away(away)

    params = world.params("v2", away, held, free, strategy=Strategy(max_unreachable=0))
    plan = await plan_of(world, params)

    assert plan.away == 1
    assert not of(plan, away).connected
    assert of(plan, away).away_since is not None
    assert of(plan, held).held_by == task_id
    assert (of(plan, free).connected, of(plan, free).held_by) == (True, "")
    assert f"it would be refused now: other tasks hold {held.id} by {task_id}" in plan.warnings
    assert any("max_unreachable allows 0" in text for text in plan.warnings)
    gate.open()
    await world.ended(task_id)


async def test_bytes_are_told_once_an_agent_has_told_them(world: World) -> None:
    first, second = await world.place(), await world.place()
    files = {"VERSION": b"v1\n", "blob": b"x" * 100_000}
    package = tar_gz(files)
    url = world.site.packages.put(world.name("v1"), package)
    params = world.params("v1", first, second, package_url=url)

    unknown = await plan_of(world, params)
    assert (unknown.package_bytes, unknown.download_bytes) == (None, None)
    assert {one.download_bytes for one in unknown.instances} == {None}
    assert {one.free_bytes_after for one in unknown.instances} == {None}

    await world.deployed("v1", first, package_url=url)
    plan = await plan_of(world, params)
    assert (plan.package_bytes, plan.download_bytes) == (len(package), 2 * len(package))
    here = of(plan, second)
    assert here.free_bytes is not None
    assert here.free_bytes_after == here.free_bytes - sum(map(len, files.values()))

    digest = hashlib.sha256(package).hexdigest()
    known = await plan_of(world, params.model_copy(update={"sha256": digest}))
    assert (of(known, first).download_bytes, of(known, second).download_bytes) == (0, len(package))
    assert of(known, first).free_bytes_after == of(known, first).free_bytes
    assert known.download_bytes == len(package)


async def test_what_was_brought_ahead_of_time_is_not_fetched(world: World) -> None:
    first, second = await world.place(), await world.place()
    params = world.params("v1", first, second)
    before = await plan_of(world, params)
    await world.prefetched("v1", first)

    plan = await plan_of(world, params)

    assert (of(plan, first).download_bytes, of(plan, second).download_bytes) == (
        0,
        len(world.package("v1")),
    )
    assert await changed_since(world, params, before) == {"request"}
    assert world.downloads("v1") == 1


async def test_what_each_would_go_back_to_is_told(world: World) -> None:
    runs, new = await world.place("v1"), await world.place()
    plan = await plan_of(world, world.params("v2", runs, new))
    back = of(plan, runs)
    assert (back.version, back.back_to, back.back_from, back.back_reason) == (
        "v1",
        "v1",
        "from_disk",
        "",
    )
    first = of(plan, new)
    assert (first.version, first.back_to, first.back_from) == ("", "", "no_target")
    assert first.back_reason == "nothing was ever deployed there"


async def test_a_window_tells_when_it_begins(world: World) -> None:
    place = await world.place()
    strategy = Strategy.model_validate({"not_before": "2999-01-01T00:00:00Z"})
    plan = await plan_of(world, world.params("v1", place, strategy=strategy))
    assert plan.begins_at == strategy.not_before
    assert plan.ends_by is not None
    assert strategy.not_before is not None
    assert (plan.ends_by - strategy.not_before).total_seconds() == pytest.approx(180, abs=0.01)


async def test_an_end_after_more_windows_than_are_counted_is_not_known(world: World) -> None:
    places = await world.places(14)
    minutes = [{"begin": f"22:{at:02}", "until": f"22:{at + 1:02}"} for at in range(0, 60, 2)]
    strategy = Strategy.model_validate({"windows": minutes, "max_parallel": 1})
    plan = await plan_of(world, world.params("v1", *places, strategy=strategy, timeout=86_400))
    assert (plan.longest_seconds, plan.ends_by) == (None, None)
    assert plan.longest_reason == "not known: it may need more windows than are counted"
    one = await plan_of(world, world.params("v1", places[0], strategy=strategy))
    assert (one.longest_seconds is not None, one.longest_reason) == (True, "")


async def test_what_could_not_be_deployed_has_no_plan(world: World) -> None:
    place = await world.place()
    other = await world.place(service=f"other-{world.number}")
    with pytest.raises(NotFoundError, match="nobody"):
        await plan_of(world, world.params("v1", place, instances=["nobody"]))
    with pytest.raises(InvalidRequestError, match=other.id):
        await plan_of(world, world.params("v1", other))
    with pytest.raises(NotFoundError, match=r"strategy\.name"):
        await plan_of(world, world.params("v1", place, strategy=Strategy(name="unheard-of")))


# ---- a deployment that is held to its plan ---------------------------------


async def test_a_deployment_is_carried_out_as_planned(world: World) -> None:
    places = await world.places(2)
    params = world.params("v1", *places, strategy=Strategy(max_parallel=1))
    plan = await plan_of(world, params)

    held_to_it = params.model_copy(update={"plan": plan.plan})
    first = await world.door.execute_deployment(held_to_it)
    assert (await world.ended(first.deploy_id)).status is TaskState.COMPLETED

    # The plan is a condition of the first time, and no part of what is asked for.
    assert await world.door.execute_deployment(held_to_it) == first
    assert await world.door.execute_deployment(params) == first


async def test_a_release_that_was_found_damaged_since_makes_it_another_plan(world: World) -> None:
    place = await world.place("v1")
    params = world.params("v2", place)
    plan = await plan_of(world, params)

    (place.agent.root(place.id) / "current" / "VERSION").write_text("something else\n")
    await place.agent.verify(place.id)
    await until(
        lambda: plan_of(world, params),
        lambda seen: of(seen, place).back_from == "from_url",
        every=OFTEN,
    )
    assert await changed_since(world, params, plan) == {"ways"}


async def test_a_fleet_that_has_changed_is_refused_by_what_changed(world: World) -> None:
    place, other = await world.place("v1"), await world.place("v1")
    params = world.params("v3", place, other)

    plan = await plan_of(world, params)
    await world.deployed("v2", place)
    assert await changed_since(world, params, plan) == {"versions"}

    plan = await plan_of(world, params)
    gate = place.driver.hold("start")
    holder = await world.deploy("v1", place)
    await gate.reached.wait()
    assert "held" in await changed_since(world, params, plan)
    gate.open()
    await world.ended(holder)

    plan = await plan_of(world, params)
    await world.away(other)
    assert await changed_since(world, params, plan) == {"away"}


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        ({"timeout": 59}, {"request"}),
        ({"version": "v3"}, {"request"}),
        ({"sha256": "ab" * 32}, {"request"}),
        ({"strategy": Strategy(max_failures=1)}, {"strategy"}),
        ({"strategy": Strategy(canary=1)}, {"strategy", "batches"}),
    ],
)
async def test_another_request_is_another_plan(
    world: World, change: dict[str, Any], kinds: set[str]
) -> None:
    places = await world.places(2)
    params = world.params("v2", *places)
    plan = await plan_of(world, params)
    assert await changed_since(world, params.model_copy(update=change), plan) == kinds


async def test_an_agent_that_returns_makes_the_plan_hold_again(own: World) -> None:
    """Whether it is away is part of the plan, and nothing else of its comings and goings."""
    place = await own.place("v1")
    params = own.params("v2", place)
    plan = await plan_of(own, params)
    await own.away(place)
    assert await changed_since(own, params, plan) == {"away"}
    await place.agent.let_back()
    await own.connected(place)
    await until(lambda: plan_of(own, params), lambda now: now.plan == plan.plan, every=OFTEN)


async def test_what_is_no_plans_id_is_refused(world: World) -> None:
    place = await world.place()
    body = world.params("v1", place).model_dump(exclude_none=True)
    answer = await world.site.ask("POST", "/v1/deployment", {**body, "plan": "plan-1"})
    assert (answer.status, answer.data["details"][0]["field"]) == (400, "plan")


async def test_who_may_look_may_plan_for_the_services_that_are_theirs(own: World) -> None:
    place = await own.place()
    body = own.params("v1", place).model_dump(exclude_none=True)
    viewer = await own.site.coordinator.create_token(TokenParams(role="viewer"))
    answer = await own.site.ask("POST", "/v1/deployment/plan", body, token=viewer.secret)
    assert answer.status == 200
    theirs = TokenParams(role="viewer", services=["nobodys-*"])
    restricted = await own.site.coordinator.create_token(theirs)
    answer = await own.site.ask("POST", "/v1/deployment/plan", body, token=restricted.secret)
    assert (answer.status, answer.data["type"]) == (403, PermissionDeniedError.type)
