"""Where it is looked: all that was seen on the way, logs, the database, files by their mode."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from coordinator.permissions import COMMANDS
from tests.e2e.canary.planted import Run
from tests.parts.canary import Canaries, Finding, open_files, rows_of

EXPECTED = {
    ("tasks.package_url", "signature"),
    ("tasks.package_url", "elsewhere"),
    ("assignments.ran", "signature"),
}
"""Kept on purpose, in a file of mode 0600: see docs/adr/0025."""


def found(run: Run) -> set[Finding]:
    """Where which secret is, by all that was seen and all that is on the disk."""
    system = run.system
    places = [
        *run.seen,
        ("coordinator's log", system.coordinator.log.read_bytes()),
        *((f"{agent.host_id}'s log", agent.log.read_bytes()) for agent in run.agents),
        *rows_of(system.coordinator.data_dir / "coordinator.db"),
        *open_files(system.folder),
    ]
    return Canaries(run.secrets).found(places)


def other_processes(run: Run) -> Iterator[int]:
    """The daemons and what they have started, but not the service that has the secret."""
    services = {
        pid
        for agent in run.agents
        for spec in agent.instances
        for pid in agent.service_pids(spec.instance_id)
    }
    parents = {run.system.coordinator.pid, *(agent.pid for agent in run.agents)}
    for process in Path("/proc").glob("[0-9]*"):
        pid = int(process.name)
        with suppress(OSError):
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            if pid not in services and (pid in parents or parent in parents):
                yield pid


def everything_was_seen(run: Run) -> bool:
    """The search would be worth nothing if the run had not been where the secrets are."""
    places = {place for place, _ in run.seen}
    assert {"event stream", "a cancel", "other bytes", "a wrong token"} <= places
    assert run.asked == set(COMMANDS)
    assert {f"ferryman {name}" for name in COMMANDS} <= places
    assert {"next ca key", "host-a's renewed key", "host-b's renewed key"} <= set(run.secrets)
    assert run.agents[1].events()
    assert any(place.startswith("arguments of") for place in places)
    assert any(place.startswith("environ of") for place in places)
    by_role = {place for place in places if place.startswith("GET ")}
    assert len(by_role) > 3 * 12, by_role
    assert json.loads((run.agent.state_dir / "journal/instance-1.json").read_text())
    environment = (run.agent.state_dir / "services/instance-1/output.log").stat()
    assert environment.st_mode & 0o077 == 0
    return True
