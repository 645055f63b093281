"""(+) How a task goes through its instances: waves, limits, pauses and the way back.

Without a strategy a task does everything at once, as the reference says. A size is a whole
number of instances or a percentage of all instances of the task.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import MAXYEAR, datetime
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema

from protocol.evidence import MOMENT_RULE, Moment
from protocol.names import NAME_RULE, StrategyName
from protocol.params import MAX_INSTANCES, Params
from protocol.results import Model

LONGEST_SPAN = 604_800
"""Seconds: a week."""

SIZE_RULE = f'a whole number from 0 to {MAX_INSTANCES} or a percentage from "0%" to "100%"'
AT_WORK_RULE = f'a whole number from 1 to {MAX_INSTANCES} or a percentage from "1%" to "100%"'
SPAN_RULE = f"a whole number of seconds from 0 to {LONGEST_SPAN}"
KEY_RULE = "a metadata key, 1 to 128 characters"
CLOCK_RULE = "a time of day from 00:00 to 24:00"
ZONE_RULE = "a time zone such as Europe/Berlin, or UTC"
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)
STRATEGY_RULE = "an object with the fields of a strategy, or left out"
NOT_BEFORE_RULE = f"{MOMENT_RULE}, before the year {MAXYEAR}"
DAYS_RULE = f"some of {', '.join(DAYS)}, each once"

_PERCENTAGE = re.compile(r"(100|[1-9]?[0-9])%", re.ASCII)
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]|24:00", re.ASCII)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}", re.ASCII)


def _at_least(lowest: int, rule: str) -> Callable[[object], object]:
    def check(value: object) -> object:
        number = value
        if isinstance(value, str):
            number = int(value[:-1]) if _PERCENTAGE.fullmatch(value) else None
        if type(number) is not int or not lowest <= number <= MAX_INSTANCES:
            raise ValueError(f"must be {rule}")
        return value

    return check


def _size_schema(lowest: int, percentages: str) -> WithJsonSchema:
    return WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": lowest, "maximum": MAX_INSTANCES},
                {"type": "string", "pattern": percentages},
            ]
        }
    )


Size = Annotated[
    int | str,
    BeforeValidator(_at_least(0, SIZE_RULE)),
    _size_schema(0, "^(100|[1-9]?[0-9])%$"),
]
AtWork = Annotated[
    int | str,
    BeforeValidator(_at_least(1, AT_WORK_RULE)),
    _size_schema(1, "^(100|[1-9][0-9]?)%$"),
]
Span = Annotated[int, Field(ge=0, le=LONGEST_SPAN)]


def _check_clock(text: str) -> str:
    if not _CLOCK.fullmatch(text):
        raise ValueError(f"must be {CLOCK_RULE}")
    return text


def _check_zone(text: str) -> str:
    try:
        if _ZONE.fullmatch(text):
            ZoneInfo(text)
            return text
    except (KeyError, ValueError, OSError):
        pass
    raise ValueError(f"must be {ZONE_RULE}")


class _ZoneSchema:
    """For the schema: the zones that are known here. They are looked for when it is made."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "enum": sorted(filter(_ZONE.fullmatch, available_timezones()))}


def _check_days(days: list[str]) -> list[str]:
    if len(set(days)) != len(days):
        raise ValueError(f"must be {DAYS_RULE}")
    return days


def _check_not_before(moment: datetime) -> datetime:
    if moment.year == MAXYEAR:
        raise ValueError(f"must be {NOT_BEFORE_RULE}")
    return moment


Clock = Annotated[
    str,
    AfterValidator(_check_clock),
    WithJsonSchema({"type": "string", "pattern": f"^({_CLOCK.pattern})$"}),
]


class Window(Params):
    """A time of the week in which something new may begin; `until` before `begin` is the next day.

    Across a change of the clock it is what clocks on the wall show there.
    """

    days: Annotated[
        list[Day],
        Field(min_length=1, max_length=7, json_schema_extra={"uniqueItems": True}),
        AfterValidator(_check_days),
    ] = Field(list(DAYS), description=DAYS_RULE)
    begin: Clock = Field(description=CLOCK_RULE)
    until: Clock = Field(description=CLOCK_RULE)
    timezone: Annotated[
        str,
        Field(max_length=64),
        AfterValidator(_check_zone),
        _ZoneSchema(),
    ] = Field("UTC", description=ZONE_RULE)


class UnnamedStrategy(Params):
    """(+) How a task goes through its instances. A field that is left out limits nothing, but that
    a canary, or `prepare: all`, without limits stops at the first failure.

    `max_parallel`: instances at work at once; a percentage is rounded down, to at least one.
    `canary`: the size of a first batch, rounded up; `promote`: who lets the others follow it.
    `bake`: seconds for which a batch must stay healthy, without restarts, before the next.
    `max_failures`, `max_unreachable`: more failed instances than this (of ALL, rounded down), or
    more whose agent stayed away, stop the task; the latter count there only.
    `prepare`: `all`: no instance is stopped before all have the verified release on disk.
    `on_failure`: `rollback`: at a limit, what the task switched goes back to what it ran.
    `spread`: a metadata key: batches take instances evenly over its values.
    `guard`: seconds after an instance's switch in which a restart or a failing health check
    takes it back.
    `not_before`, `windows`: when something new may begin.
    """

    max_parallel: AtWork | None = Field(None, description=AT_WORK_RULE)
    canary: Size = Field(0, description=SIZE_RULE)
    promote: Literal["auto", "manual"] = Field("auto", description="auto or manual")
    bake: Span = Field(0, description=SPAN_RULE)
    max_failures: Size | None = Field(None, description=SIZE_RULE)
    max_unreachable: Size | None = Field(None, description=SIZE_RULE)
    prepare: Literal["each", "all"] = Field("each", description="each or all")
    on_failure: Literal["stop", "rollback"] = Field("stop", description="stop or rollback")
    spread: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        None, description=KEY_RULE
    )
    guard: Span = Field(0, description=SPAN_RULE)
    not_before: Annotated[Moment, AfterValidator(_check_not_before)] | None = Field(
        None, description=NOT_BEFORE_RULE
    )
    windows: Annotated[list[Window], Field(min_length=1, max_length=32)] | None = Field(
        None, description="1 to 32 windows, each with days, begin, until and timezone"
    )


class Strategy(UnnamedStrategy):
    """(+) How a task goes through its instances; by `name`, as the configuration has it.

    `name`: a strategy of the coordinator's configuration, which the fields given here change;
    left out, they change the default of a deployment's service, if there is one. Without any field
    it is no strategy at all.
    """

    name: StrategyName | None = Field(None, description=NAME_RULE)

    def over(self, named: UnnamedStrategy) -> Strategy:
        """What is given here, and the rest as `named` has it."""
        whole = {field: getattr(named, field) for field in named.model_fields_set}
        whole |= {field: getattr(self, field) for field in self.model_fields_set}
        return Strategy(**whole)


class ConfiguredStrategy(Model):
    """(+) A strategy of the coordinator's configuration."""

    name: str
    strategy: UnnamedStrategy


class DefaultStrategy(Model):
    """(+) Which strategy deployments of some services get that name none."""

    services: str = Field(description="a shell-style pattern of their names")
    name: str


class StrategyList(Model):
    """(+) The named strategies, and which services take which of them by default."""

    strategies: list[ConfiguredStrategy]
    defaults: list[DefaultStrategy] = Field(
        description="in their order: the first pattern that matches counts"
    )
