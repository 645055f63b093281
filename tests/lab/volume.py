"""A disk of a host's own that can lose its power: a loop-mounted ext4 file system.

Nothing reaches the disk by itself: it commits every 300 s and allocates late, so what was
not synced is lost by a power cut, as it may be on a real machine.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

from tests.lab.commands import call
from tests.parts.waiting import until

_OPTIONS = "loop,noauto_da_alloc,commit=300"


class Volume:
    """`async with Volume(folder) as volume:` is mounted at `volume.path`. Needs root."""

    def __init__(self, folder: Path, megabytes: int = 64) -> None:
        self._slot = folder / "slot"
        self._slot.mkdir()
        self.path = self._slot / "disk"
        self._image = folder / "disk.img"
        self._size = megabytes * 1024 * 1024

    async def remount(self) -> None:
        """Take it out and in again: after a power cut the journal is replayed."""
        await until(self._taken_out, every=0.01)
        await until(self._attached, lambda seen: not seen, every=0.01)
        await self._mount()

    async def _taken_out(self) -> bool:
        """A host that boots meanwhile may be busy with its copy of the mount for a moment."""
        return (await call("umount", str(self.path), check=False)).status == 0

    async def _attached(self) -> str:
        return (await call("losetup", "--associated", str(self._image))).output

    async def _mount(self) -> None:
        await call("mount", "-o", _OPTIONS, str(self._image), str(self.path))

    async def __aenter__(self) -> Self:
        # Whoever copies this machine's mounts meanwhile, as a host that boots does, must let
        # go of the disk together with us: or it lives on in memory, untouched by the cut.
        await call("mount", "--bind", str(self._slot), str(self._slot))
        await call("mount", "--make-shared", str(self._slot))
        self.path.mkdir()
        with self._image.open("wb") as image:
            os.truncate(image.fileno(), self._size)
        await call("mkfs.ext4", "-q", "-F", str(self._image))
        await self._mount()
        return self

    async def __aexit__(self, *_: object) -> None:
        await call("umount", "--lazy", str(self.path), check=False)
        await call("umount", "--lazy", str(self._slot), check=False)
        self._image.unlink()
