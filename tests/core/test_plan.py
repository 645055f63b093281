"""What a plan says of a strategy: sizes with their roundings, batches, warnings, and its id."""

from __future__ import annotations

from typing import Any

import pytest

from coordinator.core.plan import Seen, planned_batches, planned_sizes, short_of, warnings
from coordinator.core.plan_id import KINDS, differences, plan_id
from coordinator.core.waves import places
from protocol.models import DeployParams
from protocol.strategy import Strategy

NAMES = [f"i-{number}" for number in range(1, 8)]


def seen(name: str, **fields: Any) -> Seen:
    made: dict[str, Any] = {
        "host_id": f"host-of-{name}",
        "metadata": {},
        "version": "v1",
        "away": False,
        "held_by": "",
        "can_go_back": True,
        "short_of_bytes": 0,
    }
    return Seen(instance_id=name, **{**made, **fields})


def warned(strategy: Strategy | None, *instances: Seen) -> list[str]:
    names = [one.instance_id for one in instances]
    placed = places(strategy, names, {one.instance_id: one.metadata for one in instances})
    return warnings(strategy, instances, planned_batches(strategy, placed))


SEVEN = [seen(name) for name in NAMES]

# ---- room ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("releases", "package", "unpacked", "free", "short"),
    [
        (1, 50, 100, 150, 0),
        (2, 50, 100, 150, 50),
        (2, 50, 100, 200, 0),
        (3, 50, 100, 150, 150),
        (2, 50, 60, 150, 10),  # 60 are taken, and the agent wants 100 free for the second one.
        (1, 50, 300, 150, 150),
        (1, 50, None, 99, 1),
        (2, 50, None, 150, 50),
        (0, 50, 100, 0, 0),
        (2, None, None, 1, 0),
        (2, 50, 100, None, 0),
    ],
)
def test_room_is_counted_for_all_releases_of_a_disk(
    releases: int, package: int | None, unpacked: int | None, free: int | None, short: int
) -> None:
    assert short_of(releases, package, unpacked, free) == short


# ---- sizes -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "said", "total", "instances", "text"),
    [
        ("max_parallel", "25%", 7, 1, "25% of 7 = 1 (1.75 rounded down)"),
        ("max_parallel", "10%", 7, 1, "10% of 7 = 1 (0.7 rounded down, but at least 1)"),
        ("max_parallel", "50%", 8, 4, "50% of 8 = 4"),
        ("max_parallel", 3, 7, 3, "3"),
        ("canary", "10%", 7, 1, "10% of 7 = 1 (0.7 rounded up)"),
        ("canary", "25%", 7, 2, "25% of 7 = 2 (1.75 rounded up)"),
        ("canary", 20, 7, 7, "20, but there are only 7"),
        ("max_failures", "10%", 9, 0, "10% of 9 = 0 (0.9 rounded down)"),
        ("max_failures", 0, 9, 0, "0"),
        ("max_unreachable", "30%", 9, 2, "30% of 9 = 2 (2.7 rounded down)"),
    ],
)
def test_every_rounding_is_shown(
    field: str, said: int | str, total: int, instances: int, text: str
) -> None:
    (size,) = planned_sizes(Strategy.model_validate({field: said}), total)
    assert (size.field, size.said, size.instances, size.text) == (field, said, instances, text)


def test_what_is_not_said_is_not_shown() -> None:
    assert planned_sizes(None, 7) == []
    assert planned_sizes(Strategy(bake=60), 7) == []


# ---- batches ---------------------------------------------------------------


def test_the_batches_name_every_instance_in_its_turn() -> None:
    strategy = Strategy(canary=1, bake=60, max_parallel="40%")
    batches = planned_batches(strategy, places(strategy, NAMES, {}))
    assert [(one.batch, one.canary, one.instances) for one in batches] == [
        (0, True, ["i-1"]),
        (1, False, ["i-2", "i-3"]),
        (2, False, ["i-4", "i-5"]),
        (3, False, ["i-6", "i-7"]),
    ]


def test_without_a_strategy_there_is_one_batch_that_is_no_canary() -> None:
    (batch,) = planned_batches(None, places(None, NAMES, {}))
    assert (batch.canary, batch.instances) == (False, NAMES)


def test_a_spread_batch_names_its_instances_as_they_are_taken() -> None:
    zones = {name: {"zone": "a" if name < "i-5" else "b"} for name in NAMES}
    strategy = Strategy(canary=2, spread="zone")
    first = planned_batches(strategy, places(strategy, NAMES, zones))[0]
    assert {zones[name]["zone"] for name in first.instances} == {"a", "b"}


# ---- warnings --------------------------------------------------------------


def test_a_plan_in_order_warns_of_nothing() -> None:
    assert warned(None, *SEVEN) == []
    assert warned(Strategy(canary=1, max_parallel=2, bake=60, max_failures=1), *SEVEN) == []


@pytest.mark.parametrize(
    ("strategy", "warning"),
    [
        ({"canary": "100%"}, "the canary is all of the 7: nothing would follow it"),
        ({"promote": "manual"}, "promote is manual, but there is no canary to promote"),
        ({"bake": 60}, "bake changes nothing: there is one batch, and the last one does not bake"),
        ({"max_parallel": 7}, "max_parallel limits nothing: all 7 would be at work at once"),
        (
            {"max_failures": "10%"},
            "max_failures of 10% comes to 0: the first failed instance stops it",
        ),
        (
            {"max_unreachable": "10%"},
            "max_unreachable of 10% comes to 0: the first instance that stays away stops it",
        ),
        (
            {"on_failure": "rollback"},
            "on_failure is rollback, but no limit stops it: nothing would ever be taken back",
        ),
        ({"spread": "zone"}, "spread changes nothing: no instance has zone in its metadata"),
    ],
)
def test_what_a_strategy_would_not_come_to_is_warned_of(
    strategy: dict[str, Any], warning: str
) -> None:
    assert warned(Strategy(**strategy), *SEVEN) == [warning]


@pytest.mark.parametrize(
    "strategy", [{"max_failures": 0}, {"max_failures": "0%"}, {"max_failures": "20%"}]
)
def test_a_limit_that_was_meant_so_is_not_warned_of(strategy: dict[str, Any]) -> None:
    assert warned(Strategy(**strategy), *SEVEN) == []


def test_a_key_that_only_some_have_or_that_tells_nobody_apart_is_warned_of() -> None:
    strategy = Strategy(spread="zone")
    some = [seen("i-1", metadata={"zone": "a"}), seen("i-2")]
    (warning,) = warned(strategy, *some)
    assert warning == "without zone in their metadata, which spread takes as one value: i-2"
    same = [seen(name, metadata={"zone": "a"}) for name in NAMES]
    assert warned(strategy, *same) == ["spread changes nothing: all instances have the same zone"]


def test_more_away_than_are_allowed_would_stop_it() -> None:
    instances = [seen("i-1", away=True), seen("i-2", away=True), seen("i-3")]
    first, second = warned(Strategy(max_unreachable=1), *instances)
    assert first == (
        "2 are away and max_unreachable allows 1: it would stop unless they return: i-1, i-2"
    )
    assert second == "away, and would fail unless they return within their timeout: i-1, i-2"
    assert warned(Strategy(max_unreachable=2), *instances) == [second]


@pytest.mark.parametrize(
    ("strategy", "warning"),
    [
        (Strategy(canary=1), "it would stop unless its canary returns: i-1"),
        (
            Strategy(prepare="all"),
            "it would stop unless they return, as not all could prepare: i-1",
        ),
    ],
)
def test_where_one_that_is_away_stops_everything_it_is_said(
    strategy: Strategy, warning: str
) -> None:
    assert warning in warned(strategy, seen("i-1", away=True), seen("i-2"))
    second_away = warned(Strategy(canary=1), seen("i-1"), seen("i-2", away=True))
    assert not [text for text in second_away if "stop" in text]


def test_what_stands_in_the_way_comes_first() -> None:
    instances = [
        seen("i-1", held_by="deploy-7"),
        seen("i-2", short_of_bytes=1, can_go_back=False),
        seen("i-3", version="", can_go_back=False),
    ]
    limited = Strategy(on_failure="rollback", max_failures=0)
    assert warned(limited, *instances) == [
        "it would be refused now: other tasks hold i-1 by deploy-7",
        "too little room on the disks of host-of-i-2: it would fail there",
        "could not be taken back, as nothing ran there before: i-3",
        "could not go back to what they run: i-2",
    ]


def test_many_names_are_not_all_told() -> None:
    (warning,) = warned(None, *[seen(name, away=True) for name in NAMES])
    assert warning.endswith(": i-1, i-2, i-3, i-4, i-5 and 2 more")


# ---- the id ----------------------------------------------------------------


def test_an_id_is_one_that_the_interface_accepts() -> None:
    made = plan_id(dict.fromkeys(KINDS, "same"))
    params = {
        "service": "web",
        "version": "v1",
        "instances": ["a"],
        "package_url": "https://packages.example.com/p.tar.gz",
        "deploy_id": "d-1",
    }
    assert DeployParams.model_validate({**params, "plan": made}).plan == made


@pytest.mark.parametrize("kind", KINDS)
def test_two_ids_tell_which_kind_of_thing_differs(kind: str) -> None:
    before = {key: ["same"] for key in KINDS}
    told = plan_id(before)
    assert differences(told, plan_id(before)) == []
    assert differences(told, plan_id({**before, kind: ["another"]})) == [kind]
