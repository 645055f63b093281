"""A host's own cgroups: without them two hosts share one tree and end each other's services."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from tests.parts.waiting import until

CGROUP_ROOTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd")


@contextmanager
def own_cgroups(name: str) -> Iterator[list[Path]]:
    """A cgroup in each hierarchy that systemd uses; gone at the end."""
    roots = [Path(root) for root in CGROUP_ROOTS if Path(root, "cgroup.procs").exists()]
    groups = [root / name for root in roots]
    for group in groups:
        group.mkdir()
    try:
        yield groups
    finally:
        empty(groups)
        for group in groups:
            group.rmdir()


@asynccontextmanager
async def halted(groups: list[Path]) -> AsyncIterator[None]:
    """Stop everything in its tracks (cgroup v2; where there is none, nothing)."""
    stops = [group for group in groups if (group / "cgroup.freeze").exists()]
    try:
        for group in stops:
            (group / "cgroup.freeze").write_text("1")
            await until((group / "cgroup.events").read_text, lambda said: "frozen 1" in said)
        yield
    finally:
        for group in stops:
            (group / "cgroup.freeze").write_text("0")


def empty(groups: list[Path]) -> None:
    """Remove what a host that is switched off left in its cgroups."""
    for group in groups:
        for folder, _, _ in os.walk(group, topdown=False):
            if folder != str(group):
                os.rmdir(folder)
