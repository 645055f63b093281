"""Waiting for a condition with a deadline, never for luck."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, TypeVar, overload

T = TypeVar("T")

LONG_ENOUGH = 60.0
"""Seconds: far more than anything here takes, so that running out of it is a defect."""


@overload
async def until(
    look: Callable[[], Awaitable[T]],
    is_so: Callable[[T], object] = bool,
    *,
    within: float = LONG_ENOUGH,
    every: float = 0.05,
) -> T: ...
@overload
async def until(
    look: Callable[[], T],
    is_so: Callable[[T], object] = bool,
    *,
    within: float = LONG_ENOUGH,
    every: float = 0.05,
) -> T: ...
async def until(
    look: Callable[[], Any],
    is_so: Callable[[Any], object] = bool,
    *,
    within: float = LONG_ENOUGH,
    every: float = 0.05,
) -> Any:
    """Look again and again until it is so; return what was seen."""
    deadline = time.monotonic() + within
    while True:
        seen = look()
        if isawaitable(seen):
            seen = await seen
        if is_so(seen):
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {within} s; last seen: {seen!r}")
        await asyncio.sleep(every)
