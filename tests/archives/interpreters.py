"""The interpreters of this machine that the agent may run on, with what the reader needs.

Hosts bring their own Python. The libraries come from `requirements.lock`, checked by hash.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
MINORS = (11, 12, 13)

_LIBRARIES = ("backports-zstd", "isal")
_ASK = "import platform, sys; print(platform.python_version(), sys.implementation.name)"


@dataclass(frozen=True)
class Interpreter:
    """One interpreter."""

    program: Path
    version: str

    @property
    def is_ours(self) -> bool:
        """Whether the tests run on this version, too."""
        return self.version.split(".")[:2] == [str(part) for part in sys.version_info[:2]]

    def with_libraries(self, folder: Path) -> dict[str, str]:
        """The environment in which it finds the project, and what the reader needs, in `folder`.

        Raises `CalledProcessError` if the libraries can't be had.
        """
        requirements = folder / "requirements.txt"
        requirements.write_text("".join(_locked()))
        argv = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        argv += ["--require-hashes", "--only-binary=:all:", "--no-deps"]
        argv += ["--python-version", self.version, "--target", str(folder / "libraries")]
        subprocess.run([*argv, "-r", str(requirements)], check=True, capture_output=True)
        return {**os.environ, "PYTHONPATH": f"{PROJECT}:{folder / 'libraries'}"}


def interpreters() -> list[Interpreter]:
    """Our own one, and one of each other minor version that can be found."""
    found = {sys.version_info.minor: Interpreter(Path(sys.executable), _version(sys.executable))}
    for minor in MINORS:
        for program in _candidates(minor):
            if minor not in found and (version := _version(str(program))):
                found[minor] = Interpreter(program, version)
    return [found[minor] for minor in sorted(found)]


def _candidates(minor: int) -> Iterator[Path]:
    name = f"python3.{minor}"
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        yield Path(folder, name)
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    yield from sorted(pyenv.glob(f"versions/3.{minor}.*/bin/{name}"))


def _version(program: str) -> str:
    """The version of a CPython; "" if the program is none, or does not run."""
    try:
        ran = subprocess.run([program, "-c", _ASK], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    version, _, name = ran.stdout.strip().partition(" ")
    return version if ran.returncode == 0 and name == "cpython" else ""


def _locked() -> Iterator[str]:
    """The lines of the lock file for the libraries."""
    lock = (PROJECT / "requirements.lock").read_text()
    for name in _LIBRARIES:
        entry = re.search(rf"^{name}==[^\n]*\\\n(    --hash=[^\n]*\n)+", lock, re.MULTILINE)
        assert entry, f"{name} is not in requirements.lock"
        yield re.sub(r" ;[^\\\n]*", "", entry[0])
