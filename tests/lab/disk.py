"""A host's disk: an overlay of this machine's `/`, with what it writes in memory.

It is as large as said here, and can be made full: from then on nothing more fits on it.
What is on it outlives a loss of power and is gone at the end.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.commands import call

SIZE = 2 * 1024**3
"""Bytes; nothing is taken of this machine's memory before it is written."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Disk:
    """One host's: `root` is its `/` as seen from here, `console` where its output goes."""

    base: Path

    @property
    def root(self) -> Path:
        return self.base / "root"

    @property
    def console(self) -> Path:
        return self.base / "console"

    async def fill(self, leaving: int) -> None:
        """Leave so many bytes free, rounded down to whole pages."""
        disk = os.statvfs(self.base)
        used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
        await self._resize(used + leaving // _PAGE * _PAGE)

    async def free(self) -> None:
        """Have room again."""
        await self._resize(SIZE)

    async def _resize(self, size: int) -> None:
        await call("mount", "-o", f"remount,size={size}", str(self.base))


@asynccontextmanager
async def overlay(name: str) -> AsyncIterator[Disk]:
    """A new disk; nothing is left of it at the end."""
    base = Path(tempfile.mkdtemp(prefix=f"ferryman-{os.getpid()}-{name}-", dir="/run"))
    merged = base / "root"
    try:
        await call("mount", "-t", "tmpfs", "-o", f"mode=755,size={SIZE}", "tmpfs", str(base))
        for folder in ("upper", "work", "root"):
            (base / folder).mkdir()
        layers = f"lowerdir=/,upperdir={base}/upper,workdir={base}/work"
        await call("mount", "-t", "overlay", "overlay", "-o", layers, str(merged))
        yield Disk(base)
    finally:
        # Lazily: the last processes of a host that was switched off may still be leaving.
        await call("umount", "--lazy", str(merged), check=False)
        await call("umount", "--lazy", str(base), check=False)
        os.rmdir(base)
