"""What an agent that is root gives up before it looks into a package: the second wall.

The parent looks up whom to become; the child, once it has imported all it needs and
before it reads a byte, gives everything up for good. What is planned is done, or the
package is not unpacked. The first wall is the reader itself, `agent.archive`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pwd
import resource
import signal
import struct
from dataclasses import dataclass

from agent import landlock
from agent.limits import Limits

UNPACK_USER = "ferryman-unpack"
"""The system user that unpacks where the agent is root; it owns nothing else."""

MEMORY = 1024 * 1024 * 1024
"""Bytes of address space: zstd's largest window, and room."""
DESCRIPTORS = 64

_NEEDED = (0, 5, 6, 7)
"""CAP_CHOWN; CAP_KILL, since the child is another user's; CAP_SETGID; CAP_SETUID."""
_PARENT_DIED = 1
_CAPABILITIES_VERSION = 0x20080522


@dataclass(frozen=True, slots=True)
class UnpackUser:
    """Whom the child becomes."""

    uid: int
    gid: int


def unpack_user() -> UnpackUser | None:
    """Whom to become; None without root's rights, or if the host has no such user."""
    if os.geteuid() != 0 or not _may_become_another():
        return None
    try:
        found = pwd.getpwnam(UNPACK_USER)
    except KeyError:
        return None
    return UnpackUser(found.pw_uid, found.pw_gid) if found.pw_uid else None


def weaknesses() -> list[str]:
    """What is missing on this host, in words; empty if unpacking is walled in as meant."""
    missing = []
    if os.geteuid() == 0 and unpack_user() is None:
        why = (
            f"there is no user {UNPACK_USER}"
            if _may_become_another()
            else "it lacks CAP_CHOWN, CAP_KILL, CAP_SETGID or CAP_SETUID"
        )
        missing.append(f"packages are unpacked as root, without its capabilities: {why}")
    if not landlock.version():
        missing.append(
            "packages are unpacked without Landlock: the kernel, or a filter of calls, has none"
        )
    return missing


def give_up(user: UnpackUser | None, folder: int, limits: Limits) -> None:
    """In the child: keep no right but to write below `folder`, from now on the working directory.

    Raises `OSError` if something that is planned can't be done.
    """
    with contextlib.suppress(PermissionError):
        os.fchdir(folder)
        os.chroot(".")
    if user:
        os.setgroups([])
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    # A root without capabilities may not enter what it has given away.
    os.fchdir(folder)
    _drop_capabilities()
    landlock.no_new_privileges()
    landlock.confine(folder)
    os.umask(0)
    for what, most in (
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_NOFILE, DESCRIPTORS),
        (resource.RLIMIT_FSIZE, limits.unpacked),
    ):
        resource.setrlimit(what, (most, most))
    # Last, since a change of the user forgets it.
    ctypes.CDLL(None).prctl(_PARENT_DIED, signal.SIGKILL, 0, 0, 0)


def _may_become_another() -> bool:
    with open("/proc/self/status", encoding="ascii") as status:
        line = next(line for line in status if line.startswith("CapEff:"))
    has = int(line.split()[1], 16)
    return all(has & 1 << one for one in _NEEDED)


def _drop_capabilities() -> None:
    none = struct.pack("6I", *[0] * 6)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(struct.pack("Ii", _CAPABILITIES_VERSION, 0), none) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
