"""What a test needs of the machine: without it, it is skipped by name, but never on CI."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.shorten import take_from_front

OWN_NETWORK = (
    *("unshare", "--map-root-user", "--net"),
    *("sh", "-c", 'ip link set lo up && exec "$@"', "sh"),
)
"""Before a command: it then has nothing but a loopback of its own."""

HOST_PROGRAMS = ("systemd-nspawn", "ip", "nsenter", "setpriv", "mount")


def need_programs(*programs: str) -> None:
    """Skip, or on CI fail, if one of these is not installed."""
    lacking = [program for program in programs if shutil.which(program) is None]
    if lacking:
        _lack(f"needs {', '.join(lacking)}")


def need_fuzzer() -> None:
    """Skip, or on CI fail, without the fuzzer, which `make fuzzer` installs."""
    if importlib.util.find_spec("atheris") is None:
        _lack("needs atheris: make fuzzer")


def need_root(what: str) -> None:
    """Skip, or on CI fail, without root, which `what` needs."""
    if os.geteuid() != 0:
        _lack(f"{what} needs root")


def need_disks() -> None:
    """Skip, or on CI fail, if this machine can't mount a file system of a test's own."""
    need_root("mounting disks")
    need_programs("mkfs.ext4", "losetup", "mount", "umount")


def need_hosts() -> None:
    """Skip, or on CI fail, if this machine can't boot hosts."""
    need_root("booting hosts")
    need_programs(*HOST_PROGRAMS)


def need_own_network() -> None:
    """Skip, or on CI fail, if a process can't have a network of its own."""
    need_programs("unshare", "ip")
    if subprocess.run([*OWN_NETWORK, "true"], capture_output=True, check=False).returncode != 0:
        _lack("needs network namespaces: unshare --net fails")


def need_files_cut_from_the_front(folder: Path) -> None:
    """Skip, or on CI fail, if the file system of this folder can't do that."""
    file = folder / "cut"
    file.write_bytes(bytes(256 * 1024))
    if not take_from_front(file, 128 * 1024):
        _lack(f"needs a file system that takes away the beginning of files: {folder}")
    file.unlink()


def _lack(what: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"{what}: may not be skipped on CI")
    pytest.skip(what)
