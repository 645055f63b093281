"""`make demo` as it is run by hand: it proves its claims, and leaves nothing behind.

It runs in a network of its own, so that nothing is announced on the machine's LAN.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.needs import OWN_NETWORK, need_own_network

ROOT = Path(__file__).resolve().parent.parent.parent
DEMO = (sys.executable, "-m", "tests.demo")
DEADLINE = 200.0

WITHOUT_MULTICAST = "echo 0 >/proc/sys/net/ipv4/igmp_max_memberships"

USE_IT_AND_STOP = f"""
{WITHOUT_MULTICAST} && "$@" --keep || exit
. "$TMPDIR"/ferryman-demo-*/env.sh
ferryman hosts -o json >"$OUT/hosts"
ferryman versions user-service -o json >"$OUT/versions"
"$TMPDIR"/ferryman-demo-*/stop >"$OUT/stopped"
"""

pytestmark = pytest.mark.timeout(DEADLINE + 30)


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """Where the demo makes its folder; at the end nobody may have to do with it."""
    need_own_network()
    folder = tmp_path / "temporary"
    folder.mkdir()
    yield folder
    assert not processes_of(folder)
    assert not list(folder.iterdir())


def processes_of(folder: Path) -> list[str]:
    """The processes that name the folder in their arguments or work in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            said = (process / "cmdline").read_bytes().decode(errors="replace")
            if str(folder) in said or os.readlink(process / "cwd").startswith(str(folder)):
                found.append(said.replace("\0", " "))
    return found


def environment(temporary: Path) -> dict[str, str]:
    out = temporary.parent / "out"
    out.mkdir(exist_ok=True)
    return {**os.environ, "TMPDIR": str(temporary), "OUT": str(out), "TERM": "dumb"}


def run(temporary: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*OWN_NETWORK, *argv],
        cwd=ROOT,
        env=environment(temporary),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def test_the_demo_proves_its_claims_and_leaves_nothing(temporary: Path) -> None:
    done = run(temporary, *DEMO)
    assert done.returncode == 0, done.stdout + done.stderr
    proved = done.stdout.partition("== What this proved")[2]
    for claim in (
        "three agents found the coordinator by mDNS and joined",
        "v1 is deployed: exit code 0, and all three services answer v1",
        "v2 is deployed: exit code 0, and all three services answer v2",
        "the client was answered by v1 before the switch and by v2 after it",
        "the deployment failed: exit code 5, and the cause",
        "every instance went back to v2 by itself and says why",
        "the package server is stopped",
        "v1 is back, from the hosts' own disks: exit code 0",
        "no process of the demo is left",
    ):
        assert claim in proved, proved
    assert "3 instances, one cause: " in done.stderr
    assert "answered 500" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.sweep
def test_without_multicast_it_says_so_and_a_kept_fleet_can_be_used_and_stopped(
    temporary: Path,
) -> None:
    done = run(temporary, "sh", "-c", USE_IT_AND_STOP, "sh", *DEMO)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no mDNS: no multicast on the loopback" in done.stdout
    assert "three agents joined, told the coordinator's address: no mDNS" in done.stdout
    out = temporary.parent / "out"
    hosts = json.loads((out / "hosts").read_text())["hosts"]
    assert [host["connected"] for host in hosts] == [True, True, True]
    shown = json.loads((out / "versions").read_text())
    assert shown["version_summary"] == {"v1": 3}
    assert "is removed" in (out / "stopped").read_text()


def test_ctrl_c_leaves_nothing(temporary: Path) -> None:
    with subprocess.Popen(
        [*OWN_NETWORK, *DEMO, "--by-address"],
        cwd=ROOT,
        env=environment(temporary),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as demo:
        wait_for_a_service(temporary)
        os.killpg(demo.pid, signal.SIGINT)
        said, _ = demo.communicate(timeout=DEADLINE)
    assert demo.returncode == 130, said
    assert "demo: interrupted" in said
    assert "Traceback" not in said


def wait_for_a_service(temporary: Path) -> None:
    until = time.monotonic() + DEADLINE
    while not any("/releases/" in said for said in processes_of(temporary)):
        assert time.monotonic() < until, "no service was ever started"
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["nowhere", "out"])
def test_stop_removes_nothing_that_is_not_a_demo(tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    kept = tmp_path / "out" / "precious"
    kept.touch()
    argv = [*DEMO, "--stop", str(tmp_path / name)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is no folder of a kept demo" in done.stderr
    assert kept.exists()
