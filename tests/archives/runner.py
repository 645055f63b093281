"""Runs hostile archives through the reader of this interpreter, each in a process of its own.

`python -m tests.archives.runner FOLDER WAY [NAME]` prints a line of JSON for each archive: what
the refusal said, CPU seconds, by how much the memory grew, and what was touched outside of the
folder. The way `reader` is the reader alone, which needs nothing but what `agent.unpack` needs;
`walls` is the agent's own one, whose child unpacks, as another user where that can be.
The archive is built by one more process, and comes through a pipe.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Any

from agent.package_bytes import Arriving, PackageBytes
from agent.ports import StepError
from agent.unpack import unpack
from agent.unpack_apart import unpack_apart
from tests.archives.hostile import Hostile, Scene, everything
from tests.parts.stranger import STRANGER

_PIECE = 256 * 1024
_PEAK = """
import agent.unpacker
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM:")).split()[1])
"""


@dataclass(frozen=True)
class _Way:
    """How an archive is unpacked: from a descriptor, and its length if that is told.

    `child` is how much memory (in KiB) the child has at its start; without one it is None.
    """

    unpack: Callable[[int, int | None, Path], object]
    child: int | None = None


def main(folder: Path, way: str, only: str = "") -> None:
    """Run all of them, or those whose names begin with `only`."""
    how = {"reader": _by_reader, "walls": _behind_walls}[way]()
    for name, entry in everything().items():
        if name.startswith(only):
            print(json.dumps(_run(entry, how, folder)), flush=True)


def _by_reader() -> _Way:
    def unpacked(source: int, length: int | None, staging: Path) -> None:
        unpack(PackageBytes(partial(os.read, source, _PIECE), length), staging)

    return _Way(unpacked)


def _behind_walls() -> _Way:
    """What the child has at its start is asked of another one: `getrusage` counts its parent's."""
    user = STRANGER if os.geteuid() == 0 else None

    def unpacked(source: int, length: int | None, staging: Path) -> None:
        unpack_apart(Arriving(partial(os.read, source, _PIECE)), length, staging, user)

    argv = [sys.executable, "-P", "-c", _PEAK]
    asked = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    return _Way(unpacked, child=int(asked.stdout))


def _run(entry: Hostile, way: _Way, folder: Path) -> dict[str, Any]:
    scene = Scene(folder / "scene")
    set_up(scene)
    before = list(around(scene))
    source, builder = _started(entry, scene)
    answer, end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(answer)
        os.write(end, json.dumps(_unpacked(entry, way, source, scene)).encode())
        os._exit(0)
    os.close(end)
    os.close(source)
    with open(answer, "rb") as said:
        ran: dict[str, Any] = json.loads(said.read() or b'{"crashed": "it ended"}')
    for process in (child, builder):
        os.waitpid(process, 0)
    ran["name"] = entry.name
    ran["given_to"] = _taken_back(scene)
    ran["touched"] = [str(one) for one in set(before) ^ set(around(scene))]
    ran["modes"] = dict(_modes(scene))
    ran["links"] = [str(path) for path in scene.staging.rglob("*") if path.is_symlink()]
    shutil.rmtree(scene.root)
    return ran


def _taken_back(scene: Scene) -> int:
    """Make the staging folder ours, as it was; return whose it had become."""
    owner = scene.staging.stat().st_uid
    os.chown(scene.staging, os.geteuid(), os.getegid())
    scene.staging.chmod(0o755)
    return owner


def set_up(scene: Scene) -> None:
    """Make what is around the archive."""
    scene.staging.mkdir(parents=True)
    scene.staging.chmod(0o755)
    (scene.outside / "folder").mkdir(parents=True)
    (scene.outside / "secret").write_bytes(b"secret")
    (scene.outside / "secret").chmod(0o600)


def _started(entry: Hostile, scene: Scene) -> tuple[int, int]:
    """The end of a pipe that the archive comes from, and the process that builds it."""
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(source)
        try:
            with open(sink, "wb") as out:
                out.writelines(entry.build(scene))
        finally:
            os._exit(0)
    os.close(sink)
    return source, pid


def _unpacked(entry: Hostile, way: _Way, source: int, scene: Scene) -> dict[str, Any]:
    length = sum(map(len, entry.build(scene))) if entry.length else None
    used, held = time.process_time(), getrusage(RUSAGE_SELF).ru_maxrss
    said: dict[str, Any] = {"refused": ""}
    try:
        way.unpack(source, length, scene.staging)
    except StepError as error:
        said = {"refused": error.message}
    except Exception as error:  # noqa: BLE001 - told to the test, which fails
        said = {"crashed": repr(error)}
    child = getrusage(RUSAGE_CHILDREN)
    said["cpu"] = time.process_time() - used + child.ru_utime + child.ru_stime
    grew = getrusage(RUSAGE_SELF).ru_maxrss - held
    if way.child is not None:
        grew = max(grew, child.ru_maxrss - way.child)
    said["grew"] = grew * 1024
    return said


def around(scene: Scene) -> Iterator[tuple[object, ...]]:
    """Everything of the scene but what is in the staging folder, and what it looks like."""
    for path in (scene.root, *sorted(scene.root.rglob("*"))):
        if scene.staging in path.parents:
            continue
        now = path.lstat()
        content: object = path.read_bytes() if path.is_file() else ""
        changed = 0 if path == scene.staging else now.st_mtime_ns
        yield str(path), now.st_mode, now.st_uid, now.st_gid, now.st_ino, changed, content


def _modes(scene: Scene) -> Iterator[tuple[str, int]]:
    for path in scene.staging.rglob("*"):
        now = path.lstat()
        allowed = stat.S_ISREG(now.st_mode) or stat.S_ISDIR(now.st_mode)
        yield str(path.relative_to(scene.staging)), stat.S_IMODE(now.st_mode) if allowed else -1


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
