"""Gives memory that is free back to the system, which the C library keeps by itself.

Joining and unpacking leave some of it behind; an agent should be light when idle.
Where the C library has no such call, nothing is done.
"""

from __future__ import annotations

import gc

_M_ARENA_MAX = -8


def share_one_heap() -> None:
    """Let all threads take memory from one heap, which can be given back; before they begin."""
    import ctypes  # noqa: PLC0415 - beside what it is for

    limit = getattr(ctypes.CDLL(None), "mallopt", None)
    if limit is not None:
        limit(_M_ARENA_MAX, 1)


def give_back_memory() -> None:
    """Return what is free, that of unreachable objects too. Takes some milliseconds."""
    import ctypes  # noqa: PLC0415 - only when there is something to give back

    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
