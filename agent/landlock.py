"""Landlock: the kernel's own wall around a process, which needs no rights to be put up.

From `confine` on, this thread and what it starts may make, write and remove things below
one folder, and nothing anywhere else: no file can be opened, no connection made, no
other process signalled. Kernels before 5.13, and some that were built without it, lack it.
"""

from __future__ import annotations

import ctypes
import os
import struct

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1
_NO_NEW_PRIVILEGES = 38

_RIGHTS = (
    *("execute", "write_file", "read_file", "read_dir", "remove_dir", "remove_file"),
    *("make_char", "make_dir", "make_reg", "make_sock", "make_fifo", "make_block", "make_sym"),
)
"""In the order of their bits; later versions of the kernel's interface added one each."""
_REFER, _TRUNCATE, _IOCTL = 1 << 13, 1 << 14, 1 << 15
_NET = 0b11
"""TCP: bind and connect."""
_SCOPES = 0b11
"""Abstract sockets and signals of those outside."""
_INSIDE = frozenset(
    {"write_file", "read_file", "read_dir", "make_dir", "make_reg", "make_sym", "remove_file"}
)


def version() -> int:
    """The version of the kernel's interface, 0 where there is none."""
    return max(_call(_CREATE_RULESET, None, 0, _VERSION), 0)


def confine(folder: int) -> int:
    """Put the wall around `folder`, an open one; return the version, 0 if there is no wall.

    Raises `OSError` if a kernel that has it does not do it.
    """
    has = version()
    if not has:
        return 0
    every = (1 << len(_RIGHTS)) - 1
    inside = sum(1 << bit for bit, name in enumerate(_RIGHTS) if name in _INSIDE)
    for since, right in ((2, _REFER), (3, _TRUNCATE)):
        if has >= since:
            every, inside = every | right, inside | right
    rules = struct.pack("QQQ", *_handled(has, every))
    ruleset = _checked(_call(_CREATE_RULESET, rules, len(rules), 0))
    try:
        beneath = struct.pack("=Qi", inside, folder)
        _checked(_call(_ADD_RULE, ruleset, _PATH_BENEATH, beneath, 0))
        no_new_privileges()
        _checked(_call(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return has


def no_new_privileges() -> None:
    """Let no program that is started from now on have more rights. Raises `OSError`."""
    arguments = (ctypes.c_ulong(number) for number in (1, 0, 0, 0))
    _checked(ctypes.CDLL(None, use_errno=True).prctl(_NO_NEW_PRIVILEGES, *arguments))


def _handled(has: int, files: int) -> tuple[int, int, int]:
    return files | (_IOCTL if has >= 5 else 0), _NET if has >= 4 else 0, _SCOPES if has >= 6 else 0


def _call(number: int, *arguments: int | bytes | None) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    cast = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    return int(libc.syscall(ctypes.c_long(number), *cast))


def _checked(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
