"""Takes away the beginning of a file that another process appends to; nothing of its end is lost.

The file system does it in one step, under the lock that an append takes, too. Only some can
(ext4, XFS); what to do where they can't is the caller's business.
"""

from __future__ import annotations

import os
from pathlib import Path

_COLLAPSE_RANGE = 0x08
"""FALLOC_FL_COLLAPSE_RANGE of linux/falloc.h."""

_WHOLE_BLOCKS = 64 * 1024
"""Bytes: a multiple of every usual block."""


def take_from_front(file: Path, most: int) -> bool:
    """Take away up to `most` bytes, a whole number of blocks; False if that is not possible."""
    import ctypes  # noqa: PLC0415 - only when there is something to take away

    length = most // _WHOLE_BLOCKS * _WHOLE_BLOCKS
    fallocate = getattr(ctypes.CDLL(None), "fallocate", None)
    if fallocate is None or length <= 0:
        return False
    fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        return bool(fallocate(descriptor, _COLLAPSE_RANGE, 0, length) == 0)
    finally:
        os.close(descriptor)
