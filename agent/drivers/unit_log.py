"""The last lines that a unit's last run left in the journal. Best effort, bounded."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from agent.drivers.systemctl import UnitState, run
from agent.output import TAIL_LINES, readable
from agent.ports import StepError

_JOURNALCTL = ("journalctl", "--quiet", "--no-pager", "--output=json")

Wanted = Callable[[Mapping[str, Any]], bool]

_ON_THE_WAY_SECONDS = 0.2

_OVERLAP_US = 1_000_000
"""systemd notes the beginning of a run only after its first process could write."""


async def last_lines(unit_name: str, unit: UnitState) -> str:
    """Return what the unit's processes wrote, else what systemd said of it; "" if nothing."""
    try:
        await _all_arrived()
        boot = await _this_boot()
        ours = partial(_is_of_this_run, unit)
        own = await _entries(ours, boot, f"_SYSTEMD_UNIT={unit_name}")
        return own or await _entries(ours, boot, f"UNIT={unit_name}")
    except StepError:
        return ""


async def lines_since(unit_name: str, since_us: int, *, of_systemd: bool = False) -> str:
    """Return what a unit wrote since a moment (monotonic), whichever of its starts it was.

    With `of_systemd` what systemd said of it, too.
    """
    wanted = [f"_SYSTEMD_UNIT={unit_name}"]
    try:
        await _all_arrived()
        boot = await _this_boot()
        if of_systemd:
            wanted += ["+", boot, f"UNIT={unit_name}"]
        return await _entries(lambda entry: _moment(entry) >= since_us, boot, *wanted)
    except StepError:
        return ""


async def _all_arrived() -> None:
    """What a process wrote just before its end may still be on the way to the journal.

    Only root may ask the journal to take it all in; others give it a moment.
    """
    if (await run("journalctl", "--sync")).status:
        await asyncio.sleep(_ON_THE_WAY_SECONDS)


async def _this_boot() -> str:
    """The match for this boot, as the journal's newest entry tells it.

    `journalctl --boot` asks the kernel, and in a container's sandbox that is the wrong one.
    """
    newest = await run(*_JOURNALCTL, "--lines=1", "--output-fields=_BOOT_ID")
    try:
        return f"_BOOT_ID={json.loads(newest.output)['_BOOT_ID']}"
    except (ValueError, KeyError, TypeError):
        raise StepError("the journal is empty") from None


async def _entries(wanted: Wanted, *matches: str) -> str:
    fields = "--output-fields=MESSAGE,INVOCATION_ID,_SYSTEMD_INVOCATION_ID"
    answer = await run(*_JOURNALCTL, f"--lines={TAIL_LINES}", fields, *matches)
    return readable("\n".join(_message(line, wanted) for line in answer.output.splitlines()))


def _message(line: str, wanted: Wanted) -> str:
    try:
        entry = json.loads(line)
        text = entry["MESSAGE"] if wanted(entry) else ""
        # The journal gives what is not UTF-8 as a list of bytes.
        return text if isinstance(text, str) else bytes(text).decode(errors="replace")
    except (ValueError, KeyError, TypeError):
        return ""


def _is_of_this_run(unit: UnitState, entry: Mapping[str, Any]) -> bool:
    """Tell by the run's id or, for a process that was gone too soon to be asked, by time."""
    known = {entry.get("INVOCATION_ID"), entry.get("_SYSTEMD_INVOCATION_ID")} - {None}
    if known:
        return unit.invocation in known
    return _moment(entry) >= unit.began_us - _OVERLAP_US


def _moment(entry: Mapping[str, Any]) -> int:
    return int(entry["__MONOTONIC_TIMESTAMP"])
