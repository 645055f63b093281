"""Finding a command and making the environment that it runs with.

A service gets what was configured for it, what Ferryman tells it, and no more of the
agent's own environment than PATH, HOME and LANG: never its secrets or systemd's sockets.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent.ports import StepError

_PASSED_ON = ("PATH", "HOME", "LANG")
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def service_environment(*layers: Mapping[str, str]) -> dict[str, str]:
    """Return PATH, HOME and LANG of the agent, overlaid by `layers` in their order."""
    base = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    base.setdefault("PATH", _DEFAULT_PATH)
    for layer in layers:
        base.update(layer)
    return base


def release_directory(current: Path) -> Path:
    """Return the release that the link `current` leads to; raise `StepError` if to none."""
    try:
        release = current.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise StepError(f"no release to start: {current} leads nowhere ({error})") from error
    if not release.is_dir():
        raise StepError(f"no release to start: {release} is not a directory")
    return release


def resolve_command(command: Sequence[str], directory: Path, path: str) -> list[str]:
    """Return `command` with its program as an absolute path.

    A program with a slash is looked for in `directory`, a bare name on `path`. Raises
    `StepError`, which does not pass with time, if it is missing or not executable.
    """
    program = command[0]
    if "/" not in program:
        found = shutil.which(program, path=path)
        if found is None:
            raise StepError(f"command {program!r} not found on PATH {path}")
        return [found, *command[1:]]
    target = directory / program
    if not target.is_file():
        raise StepError(f"command {program!r} not found in {directory}")
    if not os.access(target, os.X_OK):
        raise StepError(f"command {program!r} in {directory} is not executable")
    return [str(target), *command[1:]]
