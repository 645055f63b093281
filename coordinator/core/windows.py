"""When something new may begin: `not_before` and the windows of the week. Pure.

A window is open whenever clocks on the wall in its time zone show a time in it. One that would
end before it begins, or as it begins, ends on the next day; one that begins at 24:00 is of the
next day as a whole. So an hour that a change of the clock leaves out is
not there, and in one that is there twice a window is open both times.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from protocol.strategy import DAYS, Strategy, Window

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_LOOKS_AHEAD = 16
"""Days: a window of one day of the week may be left out once, by a change of the clock."""


def opens_at(strategy: Strategy, now: datetime) -> datetime | None:
    """When something new may begin, in UTC; None if it may now."""
    earliest = max(now, strategy.not_before) if strategy.not_before else now
    if strategy.windows:
        earliest = min(_next(window, earliest) for window in strategy.windows)
    return earliest if earliest > now else None


def closes_at(strategy: Strategy, now: datetime) -> datetime | None:
    """When the windows that are open now have closed; None if none is open, or one always is."""
    windows = strategy.windows or ()
    if not any(_open(window, now) for window in windows):
        return None
    turns = sorted({turn for window in windows for turn in _turns(window, now)})
    return next((turn for turn in turns if not any(_open(one, turn) for one in windows)), None)


def _next(window: Window, moment: datetime) -> datetime:
    """When the window is open at or after `moment`."""
    if _open(window, moment):
        return moment
    return next(turn for turn in _turns(window, moment) if _open(window, turn))


def _open(window: Window, moment: datetime) -> bool:
    shown = moment.astimezone(ZoneInfo(window.timezone)).replace(tzinfo=None)
    midnight = shown.replace(hour=0, minute=0, second=0, microsecond=0)
    return any(begin <= shown < end for begin, end in _spans(window, midnight - _DAY, 2))


def _spans(window: Window, day: datetime, days: int) -> Iterator[tuple[datetime, datetime]]:
    """Begin and end, as clocks on the wall show them, of the windows of these days."""
    begin, end = _of_day(window.begin), _of_day(window.until)
    while end <= begin:
        end += _DAY
    for _ in range(days):
        if DAYS[day.weekday()] in window.days:
            yield day + begin, day + end
        day += _DAY


def _of_day(clock: str) -> timedelta:
    return timedelta(hours=int(clock[:2]), minutes=int(clock[3:]))


def _turns(window: Window, after: datetime) -> list[datetime]:
    """The moments after that one at which the window may open or close, in their order.

    They are those at which a clock comes to its begin or its end, and those at which it changes.
    """
    zone = ZoneInfo(window.timezone)
    shown = after.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    turns = set(_changes(zone, after))
    for span in _spans(window, shown - _DAY, _LOOKS_AHEAD):
        for clock in span:
            for fold in (0, 1):
                turns.add(clock.replace(tzinfo=zone, fold=fold).astimezone(UTC))
    return sorted(turn for turn in turns if turn > after)


def _changes(zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """When the clock changes in the days after that moment, to the second."""
    before = after.astimezone(UTC).replace(microsecond=0)
    for _ in range(_LOOKS_AHEAD):
        then = before + _DAY
        if _offset(zone, before) != _offset(zone, then):
            yield _change(zone, before, then)
        before = then


def _change(zone: ZoneInfo, before: datetime, then: datetime) -> datetime:
    """The first second that has another offset than `before`."""
    old = _offset(zone, before)
    while then - before > _SECOND:
        middle = before + (then - before) // (2 * _SECOND) * _SECOND
        before, then = (middle, then) if _offset(zone, middle) == old else (before, middle)
    return then


def _offset(zone: ZoneInfo, moment: datetime) -> timedelta | None:
    return moment.astimezone(zone).utcoffset()
