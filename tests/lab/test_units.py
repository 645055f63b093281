"""The shipped units, users and folders, read by systemd's own tools."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lab.host import PROJECT
from tests.lab.needs import need_programs

UNITS = ["ferryman-agent.service", "ferryman-coordinator.service"]
WITHOUT_ROOT = PROJECT / "systemd/without-root/ferryman-agent.conf"
MOST_EXPOSED = {"ferryman-agent.service": 2.5, "ferryman-coordinator.service": 1.5}
"""What `systemd-analyze security` may say at most: 0 is shut in, 10 is open to everything."""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A root folder with the units and programs where an operator puts them."""
    units = tmp_path / "etc/systemd/system"
    programs = tmp_path / "opt/ferryman/bin"
    units.mkdir(parents=True)
    programs.mkdir(parents=True)
    for unit in UNITS:
        shutil.copy(PROJECT / "systemd" / unit, units)
        program = programs / unit.removesuffix(".service")
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return tmp_path


def analyze(*argv: str) -> subprocess.CompletedProcess[str]:
    need_programs("systemd-analyze")
    return subprocess.run(
        ["systemd-analyze", *argv], capture_output=True, text=True, check=False, timeout=60
    )


@pytest.mark.parametrize("unit", UNITS)
def test_systemd_finds_no_fault_in_the_unit(installed: Path, unit: str) -> None:
    verdict = analyze("verify", f"--root={installed}", "--recursive-errors=no", "--man=no", unit)
    assert (verdict.returncode, verdict.stdout + verdict.stderr) == (0, "")


def test_systemd_would_find_one(installed: Path) -> None:
    unit = installed / "etc/systemd/system" / UNITS[0]
    unit.write_text(unit.read_text().replace("Type=notify", "Type=notfy"))
    verdict = analyze(
        "verify", f"--root={installed}", "--recursive-errors=no", "--man=no", UNITS[0]
    )
    assert "notfy" in verdict.stderr


def exposure(folder: Path, unit: str) -> float:
    """How exposed systemd finds the unit, with the drop-ins that are in the folder."""
    verdict = analyze("security", "--offline=true", "--no-pager", f"--root={folder}", unit)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", verdict.stdout)
    assert found, verdict.stdout + verdict.stderr
    return float(found[1])


@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_is_shut_in_as_far_as_promised(installed: Path, unit: str) -> None:
    assert exposure(installed, unit) <= MOST_EXPOSED[unit]


def test_the_agent_without_root_is_shut_in_further(installed: Path) -> None:
    with_root = exposure(installed, UNITS[0])
    drop_ins = installed / "etc/systemd/system/ferryman-agent.service.d"
    drop_ins.mkdir()
    shutil.copy(WITHOUT_ROOT, drop_ins)
    assert exposure(installed, UNITS[0]) < with_root


def test_a_unit_that_is_opened_up_would_be_noticed(installed: Path) -> None:
    for unit in UNITS:
        file = installed / "etc/systemd/system" / unit
        text = file.read_text().replace("CapabilityBoundingSet=\n", "")
        file.write_text(text.replace("SystemCallFilter", "#SystemCallFilter"))
        assert exposure(installed, unit) > MOST_EXPOSED[unit]


@pytest.mark.parametrize("unit", UNITS)
def test_the_unit_is_watched_restarted_and_keeps_its_state(unit: str) -> None:
    lines = (PROJECT / "systemd" / unit).read_text().splitlines()
    assert {"Type=notify", "Restart=always", "WatchdogSec=60s", "StartLimitIntervalSec=0"} <= set(
        lines
    )
    assert any(line.startswith("StateDirectory=ferryman") for line in lines)
