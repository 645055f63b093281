"""The lab itself: hosts boot, reach each other, stay apart, and leave nothing behind."""

from __future__ import annotations

import os

import pytest

from tests.lab.cgroups import CGROUP_ROOTS
from tests.lab.commands import LabError, call
from tests.lab.host import PYTHON, SystemdHost
from tests.lab.network import switch

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("lab_machine")]

CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], 9000), 2).close()"
CONNECT_IN_TIME = """
import socket, sys, time
for _ in range(100):
    try:
        sys.exit(socket.create_connection((sys.argv[1], 9000), 2).close())
    except OSError:
        time.sleep(0.1)
sys.exit("never reached")
"""
LISTENER = f"""
[Service]
ExecStart={PYTHON} -m http.server 9000 --bind 0.0.0.0
"""


async def test_two_hosts_reach_each_other_until_the_cable_is_cut() -> None:
    async with switch() as lan, SystemdHost("h1", lan) as first, SystemdHost("h2", lan) as second:
        await second.install_unit("listener.service", LISTENER)
        await second.run("systemctl", "start", "listener.service")
        await first.python("-c", CONNECT_IN_TIME, second.address)
        await second.cut_off()
        with pytest.raises(LabError, match=r"timed out|No route"):
            await first.python("-c", CONNECT, second.address)
        await second.heal()
        await first.python("-c", CONNECT_IN_TIME, second.address)


async def test_hosts_do_not_share_services() -> None:
    async with SystemdHost("h1") as first, SystemdHost("h2") as second:
        for host in (first, second):
            await host.install_unit("one.service", "[Service]\nExecStart=sleep 300\n")
            await host.run("systemctl", "start", "one.service")
        await first.run("systemctl", "kill", "--signal=KILL", "one.service")
        await first.run("systemctl", "stop", "one.service")
        assert (await second.run("systemctl", "is-active", "one.service")).output == "active\n"


async def test_what_a_host_writes_is_its_own(host: SystemdHost) -> None:
    await host.run("sh", "-c", "echo here >/etc/only-in-the-lab")
    assert host.files("/etc/only-in-the-lab").read_text() == "here\n"
    assert "only-in-the-lab" not in os.listdir("/etc")


async def test_nothing_is_left_even_when_a_test_fails() -> None:
    async def failing_test() -> None:
        async with SystemdHost("h9") as host:
            assert await _traces()
            await host.run("sh", "-c", "exit 7")

    with pytest.raises(LabError, match="status 7"):
        await failing_test()
    assert await _traces() == []


async def test_a_host_that_lost_power_is_cleared_away() -> None:
    async with SystemdHost("h9") as host:
        await host.power_off()
    assert await _traces() == []


async def _traces() -> list[str]:
    mine = f"ferryman-{os.getpid()}-"
    mounts = (await call("findmnt", "-rno", "TARGET")).output.split()
    spaces = (await call("ip", "netns", "list")).output.split()
    folders = [name for place in ("/run", *CGROUP_ROOTS) for name in _listed(place)]
    return [name for name in mounts + spaces + folders if mine in name]


def _listed(place: str) -> list[str]:
    return os.listdir(place) if os.path.isdir(place) else []
