"""A restore killed before every change that it makes on the disk: each in a folder of its own.

`python -m tests.parts.killed BEFORE BACKUP AFTER EVERY` copies the folder BEFORE to AFTER/1,
AFTER/1+EVERY and so on, and restores BACKUP there by a process that sends itself SIGKILL just
before the change of that number: a file opened for writing, a rename, a new folder, a removal.
Python's audit events tell of them, so it needs no privileges. It ends with the first restore
that was not killed. `killed_everywhere` runs it and looks at what was left.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from coordinator.data_dir import RESTORING, refuse_if_half_restored
from coordinator.restore import restore
from protocol.settings import SettingsError
from tests.parts.run import run

CHANGES = {"os.rename", "os.mkdir", "os.rmdir", "os.remove"}
WRITING = os.O_CREAT | os.O_WRONLY | os.O_RDWR


def die_before(number: int) -> None:
    """Send ourselves SIGKILL before the change with this number, counted from now."""
    seen = 0

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event in CHANGES or (event == "open" and _opens_for_writing(arguments[2])):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _opens_for_writing(flags: object) -> bool:
    return isinstance(flags, int) and bool(flags & WRITING)


def main(before: Path, backup: Path, after: Path, every: int) -> None:
    for number in range(1, 1000, every):
        folder = after / str(number)
        shutil.copytree(before, folder, symlinks=True)
        child = os.fork()
        if child == 0:
            die_before(number)
            restore(backup, data_dir=folder)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            sys.exit(os.waitstatus_to_exitcode(status))
        assert os.WTERMSIG(status) == signal.SIGKILL


async def killed_everywhere(before: Path, backup: Path, after: Path, every: int = 1) -> list[str]:
    """Restore, killed at every `every`-th point, then again; the state that each kill left.

    Asserts that no coordinator starts on a mixture, that the second restore leaves the backup's
    files and nothing else, and that the old files are all kept.
    """
    program = (sys.executable, "-m", "tests.parts.killed")
    ended = await run(*program, str(before), str(backup), str(after), str(every))
    assert ended.status == 0, ended.err
    return _looked_over(before, backup, _by_number(after))


def _by_number(after: Path) -> list[Path]:
    return sorted(after.iterdir(), key=lambda folder: int(folder.name))


def _looked_over(before: Path, backup: Path, folders: list[Path]) -> list[str]:
    old, new = files_in(before), files_in(folders[-1])
    states = []
    for folder in folders:
        states.append(_state_of(folder, old, new))
        half = states[-1] == "half"
        with pytest.raises(SettingsError, match="half restored") if half else nullcontext():
            refuse_if_half_restored(folder)
        restore(backup, data_dir=folder)
        assert _state_of(folder, old, new) == "new", folder.name
        kept = [files_in(replaced) for replaced in folder.glob("replaced-*")]
        assert old in kept, f"{folder.name}: the old files are lost"
        others = {path.name for path in folder.iterdir() if path.is_dir()}
        assert all(name.startswith("replaced-") for name in others), f"{folder.name}: {others}"
    return states


def files_in(folder: Path) -> dict[str, bytes]:
    """The files of a data directory by their names, but for the lock."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and path.name != "coordinator.lock"
    }


def _state_of(folder: Path, old: dict[str, bytes], new: dict[str, bytes]) -> str:
    if (folder / RESTORING).exists():
        return "half"
    here = files_in(folder)
    return "old" if here == old else "new" if here == new else "neither"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
