"""A fleet that stays: two small files that tell a shell how to reach it and how to end it."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from tests.demo.fleet import INSTANCES, Fleet
from tests.demo.packages import SERVICE
from tests.demo.traces import daemons_of, end_everything, services_of
from tests.parts.daemons import BIN

MARK = "ferryman-demo"
"""A file of this name says that a folder is a demo's, so that nothing else is ever removed."""


def leave_directions(fleet: Fleet) -> str:
    """Write `env.sh` and `stop` into the folder; return what to tell the person."""
    folder = fleet.folder
    (folder / "env.sh").write_text(_environment(fleet))
    stop = folder / "stop"
    stop.write_text(_stop(folder))
    stop.chmod(0o755)
    example = f"deploy {SERVICE} v2 --package-url {fleet.packages.url('v2')} --all"
    return f"""
The fleet stays up. To talk to it, in any shell:

  . {shlex.quote(str(folder / "env.sh"))}

which sets PATH and the three variables that the command reads:

{_indented(_environment(fleet))}
and then, for example:

  ferryman hosts
  ferryman instances {SERVICE}
  ferryman {example}
  ferryman rollback --instance {INSTANCES[0]} v1
  ferryman history {INSTANCES[0]}
  ferryman discover
  curl {fleet.url(INSTANCES[0])}

Logs, packages and releases are in {folder}.
To stop everything and remove that folder:

  {shlex.quote(str(stop))}
"""


async def stop_kept(folder: Path) -> str:
    """End what belongs to the folder and remove it; returns what to tell, or raises ValueError."""
    if not (folder / MARK).is_file():
        raise ValueError(f"{folder} is no folder of a kept demo")
    await end_everything(folder)
    if left := [*daemons_of(folder).values(), *services_of(folder).values()]:
        raise ValueError(f"these still run: {'; '.join(left)}")
    shutil.rmtree(folder)
    return f"Stopped, and {folder} is removed."


def _environment(fleet: Fleet) -> str:
    coordinator = fleet.coordinator
    token = shlex.quote(str(coordinator.data_dir / "admin.token"))
    return (
        f"export PATH={shlex.quote(str(BIN))}:$PATH\n"
        f"export FERRYMAN_URL={coordinator.url}\n"
        f"export FERRYMAN_TOKEN=$(cat {token})\n"
        f"export FERRYMAN_CA_FILE={shlex.quote(str(coordinator.ca_file))}\n"
    )


def _stop(folder: Path) -> str:
    here = Path(__file__).resolve().parent.parent.parent
    command = [sys.executable, "-m", "tests.demo", "--stop", os.fspath(folder)]
    return f"#!/bin/sh\ncd {shlex.quote(str(here))} && exec {shlex.join(command)}\n"


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.splitlines())
